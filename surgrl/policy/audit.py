"""The audit log: what was asked of the robot, what was sent and why, in a file that shows whether it was changed.

A record is one JSON line, sealed to the one before (chain.py). `write` only copies and queues; a thread of its own
does the rest, so that neither a slow disk nor a full one holds up whoever moves the robot. `trouble` says when the
log cannot be trusted any more: then the robot must not move.

What a record holds is for the caller to say; `surgrl audit` understands: "state" (active, hold, ...), "reasons" (list
of str), "asked" and "sent" (lists or dicts of numbers, SI; absent or null: nothing was asked, or sent).
"""

import fcntl
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple

from . import chain
from .errors import UserError

SYNC = 1.0              # s, between two times that the disk is told to keep what it was given
STALL = 2.0             # s, that the writer may be busy with the disk before the log counts as not written
MIN_FREE = 100.0        # MB, least space on the disk at which the log may be trusted to go on
CLOSE = 5.0             # s, that closing waits for a disk that does not answer
RESERVED = ("n", "t_mono", "t_wall", "audit", "hash")       # keys that the log gives itself


class Head(NamedTuple):
    """The newest record in the file. Kept elsewhere too (a topic, a recording), it vouches for all before it."""

    n: int
    hash: str


def new_path(folder: Path) -> Path:
    """A path in `folder` that is named by the time (UTC), so that names sort as the logs were begun."""
    name, newest = _utc(), max((path.stem for path in chain.logs(folder)), default="")
    return folder / f"{name if name > newest else newest + '1'}.jsonl"      # the clock may have been set back


class AuditLog:
    """An append-only file of sealed records. One process writes to a file at a time."""

    def __init__(self, path: Path, *, about: Mapping[str, Any], queue: int = 1000, min_free: float = MIN_FREE):
        """Open `path` (or go on at its end) and write the header; a new file is chained to the newest beside it.

        about: what the log is of (node, limits). queue: records that may wait for the disk.
        min_free: MB that must be free on it. UserError when it cannot be written, or is not an audit log.
        """
        self.path, self._limit, self._min_free = Path(path), queue, min_free
        self._queue: SimpleQueue[tuple[int, int, dict[str, Any]] | None] = SimpleQueue()
        self._failed: str | None = None         # for good: what follows would stand after a torn line
        self._short: str | None = None          # for as long as the disk has too little room
        self._lost = self._told = 0             # records that the queue had no room for; of them, told in the file
        self._closed = False
        self._beat = time.monotonic()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._refusal(error) from error
        try:
            self._begin(about)
        except BaseException as error:
            os.close(self._file)
            if isinstance(error, OSError):
                raise self._refusal(error) from error
            raise
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def write(self, record: Mapping[str, Any]) -> None:
        """Queue a copy of `record`: plain values, arrays, lists and dicts of them. Never blocks, never raises."""
        now, wall = time.monotonic_ns(), time.time_ns()
        if self._queue.qsize() >= self._limit:
            self._lost += 1
            return
        try:
            copy = chain.plain(record)      # now: the caller goes on to change its arrays
        except Exception as error:          # a value that cannot even be printed
            copy = {"unwritable": type(error).__name__}
        self._queue.put((now, wall, copy))

    @property
    def trouble(self) -> str | None:
        """Why the log cannot be trusted now; None: all that was written to it is in the file, or about to be."""
        if self._failed or self._closed:
            return self._failed or f"{self.path}: the audit log is closed"
        if not self._thread.is_alive():
            return f"{self.path}: the thread that writes the audit log has ended"
        if self._lost > self._told:
            return f"{self.path}: {self._lost - self._told} records were lost: the disk is slower than they come"
        if time.monotonic() - self._beat > STALL:
            return f"{self.path}: the disk has not answered for {time.monotonic() - self._beat:.1f} s"
        return self._short

    @property
    def head(self) -> Head:
        """The newest record in the file."""
        return self._head

    def close(self) -> None:
        """Write what is queued and the end record. Waits for the disk CLOSE s at most; never raises."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join(CLOSE)

    def __enter__(self) -> "AuditLog":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _begin(self, about: Mapping[str, Any]) -> None:
        """Lock the file and write its header."""
        self._lock()
        self._look_at_space()
        if self._short:
            raise UserError(f"{self._short}; make room, or name another folder")
        tail = chain.read_tail(self.path)
        self._head = Head(tail.records - 1, tail.hash)
        header = {"audit": chain.HEADER, "format": chain.FORMAT, "utc": _utc(), "pid": os.getpid(),
                  "about": chain.plain(about), "before": None if tail.records else self._newest_other(),
                  "torn": tail.torn}
        line = self._sealed(header)
        size = os.fstat(self._file).st_size
        with self.path.open("rb") as file:
            file.seek(max(0, size - 1))
            unended = file.read(1) not in (b"", b"\n")
        self._put(b"\n" + line if unended else line)    # what a crash left stays, on a line of its own
        os.fsync(self._file)
        folder = os.open(self.path.parent, os.O_RDONLY)     # or a power cut could take the file's name with it
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _newest_other(self) -> dict[str, Any] | None:
        """File, hash and torn end of the newest log beside this one."""
        others = [path for path in chain.logs(self.path.parent) if path.name != self.path.name]
        if not others:
            return None
        tail = chain.read_tail(others[-1])
        return {"file": others[-1].name, "hash": tail.hash, "torn": tail.torn}

    def _lock(self) -> None:
        for trial in range(3):      # `surgrl audit` looks at the lock too, for an instant
            try:
                return fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05 * (trial < 2))
        raise UserError(f"{self.path}: another process writes to this audit log; only one may: "
                        "stop it, or name another file")

    def _run(self) -> None:
        """The writer: everything that waits on the disk."""
        synced, going = time.monotonic(), True
        try:
            while going:
                going = self._write_batch()
                if time.monotonic() - synced > SYNC or not going:
                    os.fsync(self._file)
                    self._look_at_space()
                    synced = time.monotonic()
        except OSError as error:
            self._failed = f"{self.path}: the audit log cannot be written ({error.strerror})"
        except Exception as error:
            self._failed = f"{self.path}: the audit log has failed ({type(error).__name__}: {error})"
        finally:
            os.close(self._file)

    def _write_batch(self) -> bool:
        """Write all that waits, as one piece; False once the log is to end."""
        batch: list[bytes] = []
        self._beat = time.monotonic()
        try:
            item = self._queue.get(timeout=0.2)
            self._beat = time.monotonic()
            while item is not None:
                now, wall, record = item
                clash = [key for key in RESERVED if key in record]
                if clash:
                    record = {"given": record}
                    self._failed = f"{self.path}: a record has the key {clash[0]!r}, which the log gives itself"
                batch.append(self._sealed(record, now, wall))
                item = self._queue.get_nowait()
            going = False
        except Empty:
            going = True
        lost = self._lost
        if lost > self._told:
            batch.append(self._sealed({"audit": chain.LOST, "records": lost - self._told}))
        if not going:
            batch.append(self._sealed({"audit": chain.END}))
        self._put(b"".join(batch))
        self._told = lost
        return going

    def _sealed(self, record: Mapping[str, Any], now: int | None = None, wall: int | None = None) -> bytes:
        n = self._head.n + 1
        stamps = {"n": n, "t_mono": time.monotonic_ns() if now is None else now,
                  "t_wall": time.time_ns() if wall is None else wall}
        line, digest = chain.seal({**stamps, **record}, self._head.hash)
        self._head = Head(n, digest)
        return line

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:     # a disk that gets full takes a part
            rest = rest[os.write(self._file, rest):]

    def _look_at_space(self) -> None:
        disk = os.fstatvfs(self._file)
        free = disk.f_bavail * disk.f_frsize / 1e6
        self._short = None if free >= self._min_free else (
            f"{self.path}: {free:.0f} MB are free on its disk, the audit log needs {self._min_free:.0f}")

    def _refusal(self, error: OSError) -> UserError:
        return UserError(f"{self.path}: the audit log cannot be written ({error.strerror}); "
                         "name a folder that this user may write to, with room on its disk")


def _utc() -> str:
    now = time.time_ns()
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now // 10**9))}.{now // 1000 % 10**6:06d}Z"
