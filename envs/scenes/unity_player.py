"""A built Unity player as a process of ours: found, started, watched, ended."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PORT_WORD = "--mlagents-port"
QUIT_TIME = 5.0         # s, that a player has to quit by itself
END_TIME = 1.0          # s, that it has after each signal
LAST_WORDS = 300        # characters of what it printed, for an error
UNPROXIED = "localhost,127.0.0.1"       # gRPC, on which Unity speaks to us, sends even these to an HTTP proxy


def command_of(player: Any) -> list[str]:
    """The words that start a player: a path, or a list of words. ValueError where there is none that can be run."""
    words = [player] if isinstance(player, (str, os.PathLike)) else player
    sound = isinstance(words, (list, tuple)) and words and isinstance(words[0], (str, os.PathLike)) and all(
        isinstance(word, (str, os.PathLike, int, float)) for word in words)     # YAML reads a number as one
    if not sound:
        raise ValueError(f"player {player!r} must be the path of a built Unity player, or a list of words")
    words = [str(word) for word in words]
    path = Path(words[0])
    if len(path.parts) > 1 or path.exists():        # otherwise a command that the shell's PATH finds
        if path.is_dir():
            inside = ", ".join(sorted(found.name for found in path.glob("*.x86_64"))) or "none"
            raise ValueError(f"player {path} is a folder; give the executable in it (*.x86_64 there: {inside})")
        if not path.is_file():
            raise ValueError(f"player {path}: no such file; build one as docs/unity.md tells")
        if not os.access(path, os.X_OK):
            raise ValueError(f"player {path} may not be executed; chmod +x {path}")
        words[0] = os.path.abspath(path)         # a link stays one: a virtual environment's Python is
    return words


class Player:
    """The process. It ends with this object, with the interpreter, and when its line to us breaks."""

    def __init__(self, words: Sequence[str], port: int, arguments: Sequence[str] = ()):
        """Start it; arguments: further ones. Unity's own arguments come before --mlagents-port, of which the last
        counts."""
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the player
        try:
            self.process = subprocess.Popen([*words, *arguments, PORT_WORD, str(port)], stdin=subprocess.DEVNULL,
                                            stdout=self._printed, stderr=subprocess.STDOUT, start_new_session=True,
                                            env=_environment())
        except OSError as error:
            self._printed.close()
            raise ValueError(f"player {words[0]} does not start: {error.strerror}") from error
        self._end = weakref.finalize(self, _end, self.process)

    def gone(self) -> str:
        """Why it runs no more; empty while it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        size = self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, size - LAST_WORDS))
        said = " ".join(self._printed.read().decode(errors="replace").split())
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        return f"the player {how}; " + (f"it said last: {said}" if said else "it said nothing")

    def close(self) -> None:
        """Wait for it to quit, then end it. May be called again."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(QUIT_TIME)
        self._end()
        self._printed.close()


def _environment() -> dict[str, str]:
    """Ours, with no proxy between the player and us."""
    others = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    spared = {name: os.environ.get(name, others) for name in ("no_proxy", "no_grpc_proxy")}
    return {**os.environ, **{name: f"{hosts},{UNPROXIED}".lstrip(",") for name, hosts in spared.items()}}


def _end(process: subprocess.Popen) -> None:
    """With all that it started: behind a wrapper such as xvfb-run, the player is a child that would live on."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + END_TIME
        with contextlib.suppress(ProcessLookupError, PermissionError):      # nobody is left of its group
            os.killpg(process.pid, kind)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.01)
