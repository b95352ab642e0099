"""A run's folder: config, metrics, evaluations, and a checkpoint from which training goes on."""

import csv
import io
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import yaml

from models.agent import Agent

from .config import Config, PretrainConfig
from .config_file import built, config_of, plain
from .files import atomic_file
from .policy.errors import UserError

FORMAT = 1
PROGRESS = "progress.yaml"      # tells how far a run came whose checkpoint was not kept


@dataclass
class Progress:
    """How far a training has come."""

    demos: int = 0          # demonstrations gathered
    updates: int = 0        # learning steps done
    steps: int = 0          # environment steps of the agent's own
    episodes: int = 0       # episodes that the agent began
    seconds: float = 0.0    # wall time so far
    done: bool = False


class Remembered(Protocol):
    """What an agent learns from, as a checkpoint holds it."""

    def state_dict(self) -> dict[str, Any]:
        """Arrays, for np.savez."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them over."""
        ...


@contextmanager
def saved_when_stopped(folder: Path, save: Callable[[], None], command: str) -> Iterator[None]:
    """What is stopped within, by Ctrl-C or from outside, is saved first; command: what goes on with it.

    UserError where a loss is no number: then nothing is saved over the last checkpoint.
    """
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)    # ended from outside: save as at Ctrl-C
    try:
        yield
    except KeyboardInterrupt:
        save()
        print(f"\n{folder}: saved; go on with `surgrl {command} --resume {folder}`")
        raise
    except FloatingPointError as error:
        raise UserError(f"{folder}: {error}. The last checkpoint is kept") from error
    finally:
        signal.signal(signal.SIGTERM, previous)


class Run:
    """The folder runs/<name>, of a training or a pretraining. Every file is written whole or not at all."""

    def __init__(self, folder: str | Path):
        """An existing run, or one to be begun with `begin`."""
        self.folder = Path(folder)

    def begin(self, config: Config | PretrainConfig) -> None:
        """Make the folder and write the config; UserError when a run of that name exists."""
        self.require_free()
        with atomic_file(self.folder / "config.yaml") as path:
            path.write_text(yaml.safe_dump(plain(config), sort_keys=False, width=110))

    def require_free(self) -> None:
        """UserError when a run of that name exists."""
        if (self.folder / "config.yaml").exists():
            raise UserError(f"{self.folder} already holds a run; go on with --resume, take another name=..., "
                            "or remove the folder")

    def config(self) -> Config:
        """The config that a training was begun with."""
        return config_of(self._values("train"))

    def pretraining(self) -> PretrainConfig:
        """The config that a pretraining was begun with."""
        return built(PretrainConfig, self._values("pretrain"))

    def progress(self) -> Progress:
        """How far the newest checkpoint is, or was when it was kept; a fresh Progress when there is none yet."""
        self._values("train")
        path, kept = self.folder / "checkpoint.pt", self.folder / PROGRESS
        if path.is_file():
            return Progress(**_load(path)["progress"])
        return Progress(**yaml.safe_load(kept.read_text())) if kept.is_file() else Progress()

    def finished(self) -> bool:
        """Whether training came to its end."""
        return self.progress().done

    def save(self, agent: Agent, memory: Remembered, progress: Progress) -> None:
        """Write a checkpoint: first the memory under a name of its own, then the state that refers to it."""
        for kind in ("memory", "checkpoint", "metrics", "eval"):    # scratch files of a process that was killed
            for left in self.folder.glob(f".{kind}-*"):
                left.unlink()
        memory_name = f"memory-{progress.demos}-{progress.episodes}-{progress.updates}.npz"
        if not progress.done:       # a finished run is never gone on with: its memory would only fill the disk
            with atomic_file(self.folder / memory_name) as path, path.open("wb") as file:
                np.savez(file, **memory.state_dict())
        state = {"format": FORMAT, "agent": agent.state_dict(), "progress": asdict(progress), "memory": memory_name}
        buffer = io.BytesIO()       # torch tells a full disk as a failure of its own; this way it is an OSError
        torch.save(state, buffer)
        with atomic_file(self.folder / "checkpoint.pt") as path:
            path.write_bytes(buffer.getbuffer())
        for old in self.folder.glob("memory-*.npz"):
            if progress.done or old.name != memory_name:
                old.unlink()

    def restore(self, agent: Agent, memory: Remembered | None = None) -> Progress:
        """Load the checkpoint into agent and memory; a fresh Progress when there is none yet."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return Progress()
        state = _load(path)
        try:
            agent.load_state_dict(state["agent"])
            progress = Progress(**state["progress"])
            if memory is not None and not progress.done:
                with np.load(self.folder / state["memory"], allow_pickle=False) as arrays:
                    memory.load_state_dict(dict(arrays))
        except Exception as error:      # whatever a file of other shapes makes torch, zip or NumPy raise
            raise _unusable(path, error) from error
        return progress

    def _values(self, command: str) -> Any:
        """What config.yaml says; command: that makes such runs."""
        path = self.folder / "config.yaml"
        if not path.is_file():
            raise UserError(f"{self.folder}: no run here (config.yaml is missing); make one with "
                            f"`surgrl {command} CONFIG`")
        try:
            return yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            raise UserError(f"{path}: not readable as YAML: {error}") from error


def _load(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, weights_only=True)
        if state["format"] == FORMAT:
            return state
    except Exception as error:          # whatever a damaged file makes torch, pickle or zip raise
        raise _unusable(path, error) from error
    raise UserError(f"{path}: checkpoint format {state['format']}, this surgrl reads {FORMAT}; train anew")


def _unusable(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"{path}: damaged, or of another config ({reason}); it is left as it is: "
                     "restore it from a copy, or train anew under another name")


class Table:
    """A CSV file that grows by rows; on resuming, rows of work that was lost are taken out."""

    def __init__(self, path: Path, counter: str, done: int):
        """Keep only rows whose column `counter` is at most `done`."""
        self.path, self._fields = path, []
        if path.exists():
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self._fields = list(rows[0]) if rows else []
            self._rewrite([row for row in rows if int(row[counter]) <= done])

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; a column that was not there before makes the file anew, so that none is lost."""
        new = [name for name in row if name not in self._fields]
        if new:
            rows = []
            if self.path.exists():
                with self.path.open(newline="") as file:
                    rows = list(csv.DictReader(file))
            self._fields += new
            self._rewrite(rows)
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self._fields, restval="").writerow(row)
            file.flush()
            os.fsync(file.fileno())

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        with atomic_file(self.path) as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._fields, restval="")
            writer.writeheader()
            writer.writerows(rows)


def free_space(folder: Path, needed: int) -> None:
    """UserError when less than `needed` bytes are left where the run is to be written."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(f"{folder}: {free / 1e9:.1f} GB free, this run needs up to {needed / 1e9:.1f} GB; "
                        "make room, lower memory.capacity, or choose another folder with --runs")
