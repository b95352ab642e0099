"""What an experiment is told: one config is all of it. config_file.py reads it from YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .policy.errors import UserError


@dataclass(frozen=True)
class RecordingsConfig:
    """Recordings that are learnt from, and how their pictures are taken."""

    sources: list[str] = field(default_factory=list)    # files, folders, globs: videos, bags, datasets
    rate: float = 30.0          # Hz, at which pictures are taken, stacked, and actions given
    view: dict[str, Any] = field(default_factory=dict)      # what of a picture is seen: see surgrl/view.py
    topic: str = ""             # the camera, of recordings with several
    right_topic: str = ""       # that of a second eye, for objectives that compare two
    units: dict[str, str] = field(default_factory=dict)     # of actions by name, where recordings do not say theirs
    held_out: float = 0.1       # share of the recordings that is left aside, to measure on
    most: int = 0               # recordings that are taken, the first ones; 0: all


@dataclass(frozen=True)
class LikenessConfig:
    """A reward for looking like a demonstration: see surgrl/likeness.py."""

    encoder: str = ""           # of a pretraining with tcn: its folder, or encoder.pt; empty: no such reward
    sources: list[str] = field(default_factory=list)    # recordings of what is to be done
    view: dict[str, Any] = field(default_factory=dict)  # what of their pictures is seen: see surgrl/view.py
    topic: str = ""             # the camera, of recordings with several
    against: str = "end"        # of the nearest demonstration: its end, or its moment of the same time
    alpha: float = 1.0          # weight of the squared distance
    beta: float = 0.1           # weight of its root, which still pulls where the square no longer does
    gamma: float = 1e-3         # of squared distance, below which the root no longer pulls either


@dataclass(frozen=True)
class EnvConfig:
    """Where is learnt."""

    id: str = "surgrl/Reach-v0"                         # Gymnasium id; empty: none, learn from recordings alone
    options: dict[str, Any] = field(default_factory=dict)   # passed to gymnasium.make
    reward: dict[str, float] = field(default_factory=dict)  # weights of named terms of the reward; 1 where left out
    likeness: LikenessConfig = LikenessConfig()         # adds the term `likeness`
    seeds: int = 0              # episodes that differ: so many take turns; 0: no two are alike
    workers: int = 4            # environments side by side, for agents that learn on-policy


@dataclass(frozen=True)
class ImageConfig:
    """What the policy sees."""

    render: int = 120           # px, side of the square that the simulator draws
    size: int = 64              # px, side of the square that the network sees
    stack: int = 3              # frames, newest last
    proprio: bool = False       # also read what the robot tells of itself: an arm's pose and jaw, a scope's bend


@dataclass(frozen=True)
class MemoryConfig:
    """What is remembered."""

    capacity: int = 100_000     # steps
    nstep: int = 3              # steps summed into a return
    gamma: float = 0.99         # discount of one step


@dataclass(frozen=True)
class DemoConfig:
    """Scripted demonstrations, mixed into the replay."""

    episodes: int = 0           # how many; they are never forgotten
    noise: float = 0.0          # standard deviation of the disturbance of what the expert does (labels stay clean)
    updates: int = 0            # learning steps on demonstrations alone, before the agent acts
    folder: str = ""            # where `surgrl demos` put them, disturbed as recorded; empty: the expert is asked now


@dataclass(frozen=True)
class EvalConfig:
    """How the learning is watched."""

    every: int = 5000           # the agent's own steps between evaluations; the end is always evaluated
    episodes: int = 20


@dataclass(frozen=True)
class Config:
    """One experiment."""

    name: str                   # of the run: its folder is runs/<name>
    seed: int = 1               # of weights, episodes and batches
    steps: int = 100_000        # environment steps of the agent's own
    update_every: int = 2       # environment steps for one learning step
    minutes: float = 0.0        # wall time after which training ends; 0: no limit
    checkpoint_every: float = 60.0      # s of wall time between checkpoints
    threads: int = 2            # of torch
    device: str = "cpu"
    env: EnvConfig = EnvConfig()
    action: dict[str, Any] = field(default_factory=dict)    # without a task: names, units, low, high, frame
    image: ImageConfig = ImageConfig()
    encoder: dict[str, Any] = field(default_factory=dict)
    agent: dict[str, Any] = field(default_factory=lambda: {"name": "drqv2"})
    objectives: list[dict[str, Any]] = field(default_factory=list)
    memory: MemoryConfig = MemoryConfig()
    demos: DemoConfig = DemoConfig()
    recordings: RecordingsConfig = RecordingsConfig()       # demonstrations: of robots, by name and unit of action
    eval: EvalConfig = EvalConfig()

    def __post_init__(self) -> None:
        """Refuse numbers that no training can use."""
        least = {"seed": (self.seed, 0), "steps": (self.steps, 0), "update_every": (self.update_every, 1),
                 "minutes": (self.minutes, 0), "checkpoint_every": (self.checkpoint_every, 0),
                 "threads": (self.threads, 1), "image.size": (self.image.size, 32),
                 "image.render": (self.image.render, self.image.size), "image.stack": (self.image.stack, 1),
                 "memory.nstep": (self.memory.nstep, 1), "memory.capacity": (self.memory.capacity, 1000),
                 "demos.episodes": (self.demos.episodes, 0), "demos.noise": (self.demos.noise, 0),
                 "demos.updates": (self.demos.updates, 0), "eval.every": (self.eval.every, 1),
                 "eval.episodes": (self.eval.episodes, 1), "env.seeds": (self.env.seeds, 0),
                 "env.workers": (self.env.workers, 1)}
        _at_least(least)
        if not 0 < self.memory.gamma <= 1:
            raise UserError(f"config: memory.gamma is {self.memory.gamma}; it must be above 0 and at most 1")
        if not self.seed < 1000:
            raise UserError(f"config: seed is {self.seed}; it must be below 1000, so that evaluation seeds stay unseen")
        _sound_name(self.name)
        if self.demos.folder and not self.demos.episodes:
            raise UserError("config: demos.folder is given, but demos.episodes is 0; set how many are to be read")
        asked = {"demos.updates": self.demos.updates,
                 **{f"agent.{key}": self.agent.get(key) for key in ("demo_share", "rehearse")}}
        for key, value in asked.items():
            if value and not (self.demos.episodes or self.recordings.sources):
                raise UserError(f"config: {key} is {value}, which needs demonstrations; set demos.episodes above 0, "
                                "name recordings.sources, or set it to 0")
        shown = (f"demos.episodes is {self.demos.episodes}" if self.demos.episodes else
                 f"recordings.sources names {len(self.recordings.sources)}" if self.recordings.sources else "")
        if self.agent.get("name") == "dvc" and shown and _is_zero(self.agent.get("imitation")):
            raise UserError(f"config: {shown}, which teach dvc by imitation; set agent.imitation above 0, or "
                            "demos.episodes and demos.updates to 0, and name no recordings.sources")
        _sound_recordings(self.recordings)
        if self.recordings.sources and self.demos.episodes:
            raise UserError(f"config: demos.episodes is {self.demos.episodes}, but the demonstrations are "
                            "recordings.sources; set it to 0, or name none")
        if not self.env.id and (self.steps or not self.recordings.sources):
            raise UserError("config: without a task (env.id is empty) there is nothing to act in; set steps to 0, and "
                            "name recordings.sources")
        if self.env.id and self.action:
            raise UserError(f"config: action is that of the task {self.env.id}; leave the key out, or set env.id to ''")


@dataclass(frozen=True)
class SeenConfig:
    """What an encoder sees."""

    size: int = 64              # px, side of the square
    stack: int = 1              # frames, newest last


@dataclass(frozen=True)
class PretrainConfig:
    """Learning to see from recordings alone."""

    name: str                   # of the run: its folder is runs/<name>
    seed: int = 1               # of weights, batches, and which recordings are left aside
    updates: int = 2000
    minutes: float = 0.0        # wall time after which training ends; 0: no limit
    checkpoint_every: float = 60.0      # s of wall time between checkpoints
    measure_every: int = 200    # updates between measurements on the recordings left aside
    threads: int = 2            # of torch
    device: str = "cpu"
    recordings: RecordingsConfig = RecordingsConfig()
    image: SeenConfig = SeenConfig()
    encoder: dict[str, Any] = field(default_factory=dict)
    agent: dict[str, Any] = field(default_factory=lambda: {"name": "observer"})
    objectives: list[dict[str, Any]] = field(default_factory=list)
    capacity: int = 50_000      # pictures held at once

    def __post_init__(self) -> None:
        """Refuse numbers that no training can use."""
        _at_least({"seed": (self.seed, 0), "updates": (self.updates, 1), "minutes": (self.minutes, 0),
                   "checkpoint_every": (self.checkpoint_every, 0), "measure_every": (self.measure_every, 1),
                   "threads": (self.threads, 1), "image.size": (self.image.size, 32),
                   "image.stack": (self.image.stack, 1), "capacity": (self.capacity, 100)})
        _sound_name(self.name)
        _sound_recordings(self.recordings)
        if self.agent.get("name") != "observer":
            raise UserError(f"config: agent.name is {self.agent.get('name')!r}; recordings alone are learnt from by "
                            "the observer: agent: {name: observer}")


def _at_least(least: Mapping[str, tuple[float, float]]) -> None:
    for key, (value, low) in least.items():
        if not value >= low:
            raise UserError(f"config: {key} is {value}; it must be at least {low}")


def _is_zero(value: Any) -> bool:
    """Whether an option is none or 0, as text too; whether it is a number at all, its agent says."""
    try:
        return float(value or 0) == 0
    except (TypeError, ValueError):
        return False


def _sound_name(name: str) -> None:
    if not name or "/" in name or name.startswith("."):
        raise UserError(f"config: name {name!r} must be a folder's name, e.g. reach-1")


def _sound_recordings(told: RecordingsConfig) -> None:
    if not 0 < told.rate <= 1000:
        raise UserError(f"config: recordings.rate is {told.rate}; it must be above 0 and at most 1000 Hz")
    if not 0 <= told.held_out < 1:
        raise UserError(f"config: recordings.held_out is {told.held_out}; it must be at least 0 and below 1")
    _at_least({"recordings.most": (told.most, 0)})
