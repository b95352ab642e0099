"""What runs leave behind, read back: config, curves, evaluations; and runs that differ in their seed only, together."""

import csv
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .config import Config
from .config_file import plain
from .intervals import over_seeds
from .policy.errors import UserError
from .policy.spec import Array
from .run import Progress, Run

Columns = dict[str, Array]      # name -> (rows,) float64
RECENT = 20                     # rows of metrics.csv that tell how fast a training is now


@dataclass(frozen=True)
class Record:
    """A run's folder, read."""

    folder: Path
    config: Config
    metrics: Columns            # of metrics.csv
    scores: Columns             # of eval.csv
    progress: Progress          # of its checkpoint

    def last(self, name: str) -> float:
        """The newest `update`, `step` or `seconds` that either file tells; nan before the first."""
        told = [table[name][-1] for table in (self.metrics, self.scores) if name in table]
        return float(max(told, default=np.nan))

    def measured(self, name: str) -> Any:
        """What `<folder>/<name>.json` holds, or that file in a folder of its name; None where it was not measured.

        Numbers that JSON has no word for, nulls there, are NaN.
        """
        places = [self.folder / f"{name}.json", self.folder / name / f"{name}.json"]
        path = next((path for path in places if path.is_file()), None)
        if path is None:
            return None
        try:
            return _numbers(json.loads(path.read_text()))
        except ValueError as error:
            raise UserError(f"{path}: not readable as JSON ({error}); remove it and measure anew") from error

    def score(self, name: str) -> Mapping[str, Any] | None:
        """The policy's score in `<name>.json`, which `surgrl eval` wrote; None where it was not measured."""
        told = self.measured(name) or {}
        return told.get("policy", told.get("seen"))     # "seen": on the training's own seeds


@dataclass(frozen=True)
class Group:
    """Runs of one config, apart by their seeds."""

    label: str
    records: tuple[Record, ...]

    @cached_property
    def config(self) -> Config:
        """Of the first seed."""
        return self.records[0].config

    @property
    def method(self) -> str:
        """The agent and its objectives, e.g. `drqv2 + dear`."""
        return " + ".join(str(part.get("name")) for part in (self.config.agent, *self.config.objectives))

    @cached_property
    def final(self) -> "Pooled | None":
        """The newest evaluation of every run, pooled."""
        return pooled([{name: column[-1] for name, column in record.scores.items()}
                       for record in self.records if record.scores])

    def measured(self, name: str) -> "Pooled | None":
        """The policy's scores in `<name>.json` of every run that has it, pooled."""
        return pooled([score for record in self.records if (score := record.score(name))])

    def every(self, name: str) -> list[Any]:
        """What `<name>.json` holds, of every run that has it."""
        return [told for record in self.records if (told := record.measured(name)) is not None]


class Pooled(NamedTuple):
    """Scores of several seeds as one; `over_seeds` tells how the 95 % interval is made."""

    success: float
    low: float
    high: float
    episodes: int
    seeds: int

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.success:.0%} ({self.low:.0%}-{self.high:.0%})"


class Standing(NamedTuple):
    """How far a training has come."""

    share: float                # of its work, in [0, 1]
    seconds_left: float         # nan: not known yet


class Curve(NamedTuple):
    """A value over the course of trainings, (N,) each, with its 95 % interval."""

    x: Array
    mean: Array
    low: Array
    high: Array


def read_record(folder: str | Path) -> Record:
    """Read a run's folder."""
    run = Run(folder)
    return Record(run.folder, run.config(), columns(run.folder / "metrics.csv"), columns(run.folder / "eval.csv"),
                  run.progress())


def columns(path: Path) -> Columns:
    """The columns of a CSV file of numbers, nan where a cell is empty; none where there is no file."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else [])}


def newest_success(folder: Path) -> float:
    """Of the run's last evaluation; nan before the first."""
    success = columns(folder / "eval.csv").get("success")
    return float("nan") if success is None else float(success[-1])


def success_told(folder: Path) -> str:
    """`success 85%` of the run's last evaluation; empty before the first."""
    success = newest_success(folder)
    return "" if np.isnan(success) else f"success {success:.0%}"


def standing(folder: Path, config: Config) -> Standing:
    """How far the training in `folder` is, from the files that it writes."""
    metrics = columns(folder / "metrics.csv")
    if not metrics:
        return Standing(0.0, float("nan"))
    first = config.demos.updates
    work = np.minimum(metrics["update"], first) + metrics["step"] // config.update_every
    planned, seconds = max(1, first + config.steps // config.update_every), metrics["seconds"]
    spent, gained = (column[-1] - column[-RECENT:][0] for column in (seconds, work))
    left = (planned - work[-1]) * spent / gained if gained > 0 else float("nan")
    share = work[-1] / planned
    if config.minutes:
        limit = config.minutes * 60
        left, share = np.minimum(left, limit - seconds[-1]), max(share, seconds[-1] / limit)
    return Standing(min(1.0, float(share)), max(0.0, float(left)))


def of_trainings(folders: Iterable[str | Path]) -> list[Path]:
    """Those that trainings left, as `runs/*` gives more; the others are named on standard error, unless all are such.

    What is not there at all, a misspelt name, stays: reading refuses it.
    """
    given = [Path(folder) for folder in folders]
    found = [folder for folder in given if _of_training(folder) or not folder.exists()]
    if found and len(found) < len(given):
        others = ", ".join(str(folder) for folder in given if folder not in found)
        print(f"left out, as no training's run: {others}", file=sys.stderr)
    return found or given       # reading says of them what they are


def read_groups(folders: Iterable[str | Path]) -> list[Group]:
    """Runs that differ in seed and name only, together; in the order in which they are given."""
    found: dict[str, list[Record]] = {}
    for folder in dict.fromkeys(Path(folder).resolve() for folder in folders):
        record = read_record(_shown(folder))
        key = json.dumps({**plain(record.config), "name": "", "seed": 0}, sort_keys=True)
        same = found.setdefault(key, [])
        for other in same:
            if other.config.seed == record.config.seed:
                raise UserError(f"{other.folder} and {record.folder} have the same config and the same seed "
                                f"{record.config.seed}: they would count twice; leave one out")
        same.append(record)
    groups = [sorted(records, key=lambda record: record.config.seed) for records in found.values()]
    stems = [_stem(records[0].config) for records in groups]
    return [Group(stem if stems.count(stem) == 1 else records[0].config.name, tuple(records))
            for stem, records in zip(stems, groups, strict=True)]


def by_task(groups: Iterable[Group]) -> dict[str, list[Group]]:
    """Gymnasium id -> its groups."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(group.config.env.id, []).append(group)
    return found


def differences(groups: Sequence[Group]) -> list[dict[str, str]]:
    """For each group, the config's keys in which groups differ beside the method's names; "-": no such key."""
    flats = [flat(plain(group.config)) for group in groups]
    keys = [key for key in dict.fromkeys(key for values in flats for key in values)
            if key not in ("name", "seed", "agent.name") and len({values.get(key) for values in flats}) > 1]
    return [{key: values.get(key, "-") for key in keys} for values in flats]


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested values -> {dotted key: value as text}."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        else:
            found[above + key] = value if isinstance(value, str) else json.dumps(value)
    return found


def pooled(scores: Sequence[Mapping[str, Any]]) -> Pooled | None:
    """Rows with `success` and `episodes`, one for each seed, as one; None of none."""
    if not scores:
        return None
    episodes = int(sum(score["episodes"] for score in scores))
    return Pooled(*over_seeds(np.array([score["success"] for score in scores]), episodes), episodes, len(scores))


def success_curve(group: Group, axis: str) -> Curve:
    """Success over `axis` ("step", "seconds" or "update"), as far as every seed that was evaluated has come."""
    tables = [record.scores for record in group.records if record.scores]
    if len(tables) == 1:
        return Curve(tables[0][axis], *(tables[0][name] for name in ("success", "low", "high")))
    x, values = aligned(tables, axis, "success")
    episodes = int(sum(table["episodes"][-1] for table in tables))
    bands = np.array([over_seeds(column, episodes) for column in values.T]).reshape(-1, 3)
    return Curve(x, *bands.T)


def aligned(tables: Sequence[Columns], axis: str, name: str) -> tuple[Array, Array]:
    """Places x (N,) that all tables reach, and the values there, by straight lines between rows: (S, N)."""
    pairs = [pair for pair in (_sorted(table[axis], table[name]) for table in tables) if len(pair[0])]
    if not pairs:
        return np.zeros(0), np.zeros((0, 0))
    low, high = max(x[0] for x, _ in pairs), min(x[-1] for x, _ in pairs)
    if low > high or all(len(x) == 1 for x, _ in pairs):    # evaluated at the end only: one point, the ends' mean
        return np.array([np.mean([x[-1] for x, _ in pairs])]), np.array([[y[-1]] for _, y in pairs])
    x = np.unique(np.concatenate([x for x, _ in pairs]))
    x = x[(low <= x) & (x <= high)]
    return x, np.array([np.interp(x, *pair) for pair in pairs])


def _sorted(x: Array, y: Array) -> tuple[Array, Array]:
    """Finite points, x ascending; of several at one x the last."""
    sound = np.isfinite(x) & np.isfinite(y)
    places, first = np.unique(x[sound][::-1], return_index=True)
    return places, y[sound][::-1][first]


def _numbers(told: Any) -> Any:
    """What JSON tells, NaN for null."""
    if isinstance(told, dict):
        return {key: _numbers(value) for key, value in told.items()}
    if isinstance(told, list):
        return [_numbers(value) for value in told]
    return np.nan if told is None else told


def _of_training(folder: Path) -> bool:
    """Whether a config lies there, and not a pretraining's."""
    try:
        Run(folder).pretraining()
    except UserError:
        return (folder / "config.yaml").is_file()
    return False


def _stem(config: Config) -> str:
    """The run's name without its seed."""
    return re.sub(rf"[-_.](s|seed)?{config.seed}$", "", config.name)


def _shown(folder: Path) -> Path:
    """As short as it can be told from here."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
