"""A file of JSON lines in which each record is sealed to the one before by a hash; and the proof that it still is.

A line is `{"n":0,"t_mono":...,"t_wall":...,...,"hash":"..."}`. Its hash is the SHA-256 of the hash of the record before
(64 zeros before the first) followed by the line's own bytes without `,"hash":"..."`. What is hashed is what stands in
the file, so that no other program's way to write numbers matters.
"""

import fcntl
import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import UserError

FORMAT = 1
START = "0" * 64                # the hash before the first record
SEAL = len(',"hash":""}') + 64  # bytes at the end of a line, which its hash does not cover
AHEAD = 2000                    # lines looked at beyond a broken one, to tell what happened to it
HEADER, END, LOST = "header", "end", "lost"     # values of "audit", in the records that the log itself writes
Record = dict[str, Any]


class Fault(NamedTuple):
    """The first thing that is not as it was written."""

    line: int       # in the file, from 1
    kind: str       # changed, missing, inserted, swapped, truncated
    text: str       # what happened, as far as it can be told


class Tail(NamedTuple):
    """How a file ends: what the one that goes on from there must tell."""

    hash: str                       # of its last whole record
    records: int                    # up to there
    torn: dict[str, Any] | None     # count and sha256 of the bytes after it, which a crash cut; None: there are none


class Verdict(NamedTuple):
    """What a file is worth."""

    path: Path
    tail: Tail                      # of what holds
    before: dict[str, Any] | None   # as the first header tells: file, hash and torn of the log before
    crashes: int                    # times that it went on after an end that was none
    live: bool                      # a process is writing to it now
    fault: Fault | None             # None: all of it holds


class _Line(NamedTuple):
    body: bytes     # what the hash covers, but for the closing brace
    hash: str
    record: Record


def plain(value: Any) -> Any:
    """A copy of a value that JSON can say: arrays as lists; nan, inf, -inf as strings; what is unknown as its text."""
    kind = type(value)
    if kind is float:
        return value if isfinite(value) else str(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    if kind is np.ndarray or isinstance(value, np.generic):
        told = value.tolist()
        return plain(told) if type(told) in (float, int, bool, str, list) else str(told)
    if isinstance(value, Mapping):
        return plain(dict(value))
    if isinstance(value, list | tuple | set | frozenset):
        return plain(list(value))
    return str(value)


def seal(record: Record, previous: str) -> tuple[bytes, str]:
    """A record of plain values as a line, and the line's hash. previous: hash of the record before."""
    body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    digest = _digest(previous, body)
    return body[:-1] + f',"hash":"{digest}"}}\n'.encode(), digest


def read_tail(path: Path) -> Tail:
    """How a file ends, without reading it all. UserError when it is no audit log."""
    with path.open("rb") as file:
        first, size = file.readline(), file.seek(0, 2)
        line = _unseal(first)
        if first.endswith(b"\n") and (line is None or line.record.get("audit") != HEADER):
            raise UserError(f"{path}: not an audit log; move it out of the folder of audit logs, or name another file")
        step = 1 << 16
        while True:     # a line is of any length: look at more of the end until it holds one that is whole
            file.seek(max(0, size - step))
            lines, rest = file.read().splitlines(keepends=True), b""
            while lines and (last := _unseal(lines[-1])) is None:
                rest = lines.pop() + rest
            if lines and last is not None:
                return Tail(last.hash, int(last.record["n"]) + 1, _torn(rest))
            if step >= size:
                return Tail(START, 0, _torn(rest))
            step *= 8


def verify(path: str | Path, visit: Callable[[Record], None] | None = None) -> Verdict:
    """Read a file and prove its chain. visit: called with each record that holds, in order.

    A file that does not end with its end record was cut off, or its process was killed: which of them, nobody can tell
    from the file alone, so it is a fault, unless a process is writing to it now.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            live = _is_locked(file.fileno())
            return _verify(path, file, live, visit)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name an audit log that can") from error


def verify_folder(folder: str | Path, visit: Callable[[Record], None] | None = None) -> list[Verdict]:
    """Verdicts of all logs in a folder, oldest first, and of the chain from file to file.

    The file after it vouches for the end of one whose process was killed.
    """
    paths = logs(Path(folder))
    if not paths:
        raise UserError(f"{folder}: holds no audit log (*.jsonl); name the folder that the gate writes to")
    verdicts = [verify(path, visit) for path in paths]
    names = [path.name for path in paths]
    for place in range(1, len(verdicts)):
        verdicts[place - 1], verdicts[place] = _joined(verdicts[place - 1], verdicts[place], names)
    return verdicts


def logs(folder: Path) -> list[Path]:
    """Audit logs in a folder, oldest first: their names begin with the time."""
    return sorted(path for path in folder.glob("*.jsonl") if path.is_file())


def _verify(path: Path, file: Any, live: bool, visit: Callable[[Record], None] | None) -> Verdict:
    previous, number, crashes, last = START, 0, 0, ""
    before: dict[str, Any] | None = None
    place, torn, since = 0, b"", 0      # bytes that are no record, and their first line: a header must tell of them

    def verdict(fault: Fault | None) -> Verdict:
        return Verdict(path, Tail(previous, number, _torn(torn)), before, crashes, live, fault)

    lines = enumerate(file, 1)
    for place, raw in lines:
        line = _unseal(raw)
        if line is None:
            torn, since = torn + raw, since or place
            if place - since > AHEAD:
                return verdict(Fault(since, "changed", "is no record, nor are those after it: is this an audit log?"))
            continue
        if _digest(previous, line.body) != line.hash or line.record.get("n") != number:
            after = [text for _, text in islice(lines, AHEAD)]
            if since:
                return verdict(Fault(since, "changed", f"record {number} is not what was written"))
            return verdict(_diagnose(place, line, previous, number, after))
        told = line.record.get("audit")
        if told == HEADER and (line.record.get("torn") != _torn(torn)):
            return verdict(Fault(since or place, "changed", "is not what a crash left, as the header after it tells"))
        if since and told != HEADER:
            return verdict(Fault(since, "inserted", f"is not of this log: record {number} stands after it"))
        if number == 0 and told != HEADER:
            return verdict(Fault(place, "missing", "the header, which comes first, is not there"))
        if number == 0:
            before = line.record.get("before")
        if visit is not None:
            visit(line.record)
        crashes += told == HEADER and (bool(since) or last not in ("", END))
        previous, number, last, torn, since = line.hash, number + 1, told or "record", b"", 0
    if since and torn.endswith(b"\n"):
        return verdict(Fault(since, "changed", f"record {number} is not what was written"))
    if live:
        return verdict(None)
    if since:
        return verdict(Fault(since, "truncated", "ends within a record: the process was killed, the disk was full, "
                                                 "or the end was cut off"))
    if last != END:
        return verdict(Fault(place + 1, "truncated", "the end record is not there: the process was killed, "
                                                     "or the end was cut off"))
    return verdict(None)


def _diagnose(place: int, line: _Line, previous: str, number: int, after: list[bytes]) -> Fault:
    """What happened to the line at `place`, where record `number` should be, sealed to `previous`."""
    rest = [found for text in after if (found := _unseal(text))]
    told = line.record.get("n")
    moved = isinstance(told, int) and told > number and not any(found.record.get("n") == told for found in rest)
    if not moved and rest and rest[0].record.get("n") == number and _digest(previous, rest[0].body) == rest[0].hash:
        return Fault(place, "inserted", f"is not of this log: record {number} stands after it")
    if not isinstance(told, int) or told == number:
        return Fault(place, "changed", f"record {number} is not what was written")
    if told < number:
        return Fault(place, "inserted", f"is record {told}, which has its place before, where {number} should be")
    if any(found.record.get("n") == number for found in rest):
        return Fault(place, "swapped", f"is record {told}, and record {number} stands after it")
    many = f"records {number} to {told - 1} are" if told - number > 1 else f"record {number} is"
    return Fault(place, "missing", f"{many} not there")


def _joined(first: Verdict, second: Verdict, names: list[str]) -> tuple[Verdict, Verdict]:
    """The verdicts of two files that follow each other, with what the second tells of the first."""
    before = second.before
    if second.tail.records == 0 or (first.fault and first.fault.kind != "truncated"):
        return first, second
    name = (before or {}).get("file")
    if before is None or name != first.path.name:
        told = f"it goes on from {name}" if before else "it says that it is the first"
        if before is None or name in names:
            fault = Fault(1, "inserted", f"stands between two logs that belong together, or beside them: {told}, "
                                         f"not from {first.path.name}")
        else:
            fault = Fault(1, "missing", f"the file before it, {name}, is not there")
        return first, second._replace(fault=second.fault or fault)
    if before.get("hash") == first.tail.hash and before.get("torn") == first.tail.torn:
        if first.fault is not None:     # killed, and its end is as it was then
            first = first._replace(fault=None, crashes=first.crashes + 1)
        return first, second
    more = str(before.get("hash")).encode() in first.path.read_bytes()
    text = (f"{second.path.name} began before its last records were written: two processes wrote here"
            if more and before.get("torn") == first.tail.torn else
            f"its end is not the one that {second.path.name} went on from")
    return first._replace(fault=Fault(first.tail.records + 1, "inserted" if more else "truncated", text)), second


def _digest(previous: str, body: bytes) -> str:
    return sha256(previous.encode() + body).hexdigest()


def _unseal(line: bytes) -> _Line | None:
    """A line's parts; None when it is not a whole record."""
    line = line.removesuffix(b"\n")
    body, end = line[:-SEAL] + b"}", line[-SEAL:]
    if not (end.startswith(b',"hash":"') and end.endswith(b'"}')):
        return None
    try:
        record, digest = json.loads(body), end[9:-2].decode("ascii")
    except ValueError:
        return None
    return _Line(body, digest, record) if isinstance(record, dict) else None


def _torn(rest: bytes) -> dict[str, Any] | None:
    rest = rest.removesuffix(b"\n")        # which the process that went on had to add
    return {"bytes": len(rest), "sha256": sha256(rest).hexdigest()} if rest else None


def _is_locked(descriptor: int) -> bool:
    """Whether a process holds the file open for writing, as AuditLog does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
