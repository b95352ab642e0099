"""Writes that are whole or not there at all: a crash or a full disk leaves the old file in place."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; it takes the name of `path` when the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _told_of(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        with scratch.open("rb") as written:
            os.fsync(written.fileno())
        scratch.chmod(0o644)            # mkstemp's 0600 would hide results from the rest of the lab
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty scratch folder; it replaces the folder `path` when the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _told_of(path):
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        if path.exists():
            aside = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
            os.replace(path, aside / path.name)
            os.replace(scratch, path)
            shutil.rmtree(aside)
        else:
            os.replace(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def require_place(path: str | Path) -> None:
    """Raise now, before minutes of work, the OSError with which a write of this file would end."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _told_of(path), tempfile.TemporaryFile(dir=path.parent):
        pass


def write_json(path: str | Path, data: Any) -> None:
    """Write plain data as JSON (see json_text); whole or not at all."""
    with atomic_file(path) as scratch:
        scratch.write_text(json_text(data, indent=1))


def json_text(data: Any, indent: int | None = None) -> str:
    """Plain data as JSON, null for NaN and the infinities, which JSON has no word for."""
    return json.dumps(_sound(data), indent=indent, allow_nan=False)


def _sound(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _sound(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_sound(value) for value in data]
    return None if isinstance(data, float) and not isfinite(data) else data


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """An OSError within names the path that was asked for, not its scratch file."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise
