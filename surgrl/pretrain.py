"""`surgrl pretrain CONFIG SOURCE...`: an encoder learnt from recordings, without reward or simulator; resumable."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from models.agents.observer import Observer
from models.allocator import keep_freed_memory
from models.learnt import FILE, Learnt, read_learnt
from models.make import make_agent
from models.memory import SIGNALS, EpisodeMemory

from .config import PretrainConfig
from .config_file import built, plain, read_values
from .device import require_device
from .files import atomic_file
from .footage import Footage, absolute, choose, watch
from .policy.errors import UserError
from .policy.spec import ActionSpec
from .recorded_actions import action_range, actions_of
from .recordings import Source
from .run import Progress, Run, Table, free_space, saved_when_stopped

LOG_EVERY = 50      # updates between rows of metrics.csv
# What objectives ask of a recording beside its pictures; those that are not here ask for nothing more, or, as a batch's
# `mask` and `right`, by their own `needs`.
ACTIONS = ("forward", "inverse", "icm", "stadie", "latent_k")
REWARDS = ("dbc",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl pretrain`."""
    parser.add_argument("config", nargs="?", help="YAML file, or the name of a config that comes with surgrl")
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="recordings: files, folders or globs, of videos, "
                        "bags, datasets; words with = are overrides, e.g. seed=2 name=watch-2 recordings.rate=10")
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder, exactly as it was begun")
    parser.add_argument("--runs", default="runs", help="folder in which runs are kept (default: runs)")


def run(args: argparse.Namespace) -> None:
    """Learn, or go on; prints what was found and how to use it."""
    if args.resume:
        if args.config:
            raise UserError(f"--resume goes on with the config in {args.resume}; leave out {args.config!r}")
        begun = Run(args.resume)
        config = begun.pretraining()
        if begun.finished():
            print(f"{begun.folder}: is finished; use it: encoder: {{init: {begun.folder / FILE}}}")
            return
    elif args.config is None:
        raise UserError("which config? Give a YAML file or one that `surgrl list` shows, and recordings; or --resume "
                        "RUN")
    else:
        config = config_from(args.config, args.sources)
        begun = Run(Path(args.runs) / config.name)
        begun.require_free()
    seen = Seen(config)
    if not args.resume:
        begun.begin(config)     # now: recordings that cannot be read leave no run behind
    pretrain(begun, seen)


def config_from(source: str, words: list[str]) -> PretrainConfig:
    """The config, with overrides among the words and recordings named by the others."""
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    values = read_values(source, overrides)
    named = [word for word in words if word not in overrides]
    if named:
        values["recordings"] = {**(values.get("recordings") or {}), "sources": named}
    config = built(PretrainConfig, values)
    if not config.recordings.sources:
        raise UserError("which recordings? Give files, folders or globs after the config, or recordings.sources in it")
    values["recordings"]["sources"] = absolute(config.recordings.sources)
    return built(PretrainConfig, values)


def pretrain(run: Run, seen: "Seen") -> Progress:
    """Learn to the end, from wherever it stands."""
    free_space(run.folder, 100_000_000)
    keep_freed_memory()
    torch.set_num_threads(seen.config.threads)
    learner = Pretraining(run, seen)
    try:
        with saved_when_stopped(run.folder, learner.save, "pretrain"):
            return learner.learn()
    finally:
        learner.bar.close()


class Seen:
    """The recordings of a config, read, and an observer that has learnt nothing yet."""

    def __init__(self, config: PretrainConfig, quiet: bool = False):
        """UserError where they cannot be read, or an objective asks for what they lack. quiet: without bars."""
        self.config, self.quiet = config, quiet
        action = what_is_told(config)
        self.agent = make_observer(config, action)
        self.sources = choose(config.recordings, config.seed)
        self.footage, self.aside = (self._read(sources, action, text) for sources, text in zip(
            self.sources, ("reading", "reading those left aside"), strict=True))

    def _read(self, sources: list[Source], action: ActionSpec | None, text: str) -> Footage:
        config = self.config
        extras = [name for name in SIGNALS if name in self.agent.needs]
        side = config.image.size
        footage = Footage(EpisodeMemory(config.capacity, frame_shape=(side, side, 3), stack=config.image.stack, nstep=1,
                                        action_dim=len(action.names) if action else 1, seed=config.seed, extras=extras))
        for film in watch(sources, config.recordings, side, config.image.stack, two="right" in extras,
                          progress="" if self.quiet else text, most=config.capacity):
            footage.add(film, None if action is None else actions_of(film, action, config.recordings, "an objective"))
        return footage


class Pretraining:
    """Learning from what was read, measuring on what was left aside."""

    def __init__(self, run: Run, seen: Seen):
        """Restore what was saved."""
        self.run, self.config = run, seen.config
        self.agent, self.footage, self.aside = seen.agent, seen.footage, seen.aside
        self.progress = run.restore(self.agent, self.footage)
        self.metrics = Table(run.folder / "metrics.csv", "update", self.progress.updates)
        self._started = time.monotonic() - self.progress.seconds
        self._saved, self._rows = time.monotonic(), list[dict[str, float]]()
        self.measured: dict[str, float] = {}
        if not seen.quiet:
            learnt_from, aside = map(len, seen.sources)
            print(f"{run.folder}: learns from {learnt_from} recordings, {len(self.footage.memory)} steps at "
                  f"{self.config.recordings.rate:g} Hz; {aside or 'none'} left aside", flush=True)
        self.bar = tqdm(total=self.config.updates, initial=self.progress.updates, unit="update", disable=seen.quiet,
                        dynamic_ncols=True, desc=self.config.name, mininterval=0.5 if sys.stderr.isatty() else 20)

    def learn(self) -> Progress:
        """To the end; leaves the encoder's file behind."""
        config = self.config
        while self.progress.updates < config.updates and not self._out_of_time():
            self._rows.append(self.agent.update(self.footage.memory))
            self.progress.updates += 1
            self.bar.update()
            if self.progress.updates % config.measure_every == 0 or self.progress.updates % LOG_EVERY == 0:
                self._log(measure=self.progress.updates % config.measure_every == 0)
            if time.monotonic() - self._saved >= config.checkpoint_every:
                self.save()
        self._log(measure=True)
        with atomic_file(self.run.folder / FILE) as path:
            path.write_bytes(learnt_by(self.agent, config, self.progress, self.measured).packed())
        self.progress.done = True
        self.save()
        self.bar.close()
        measured = ", ".join(f"{name} {value:.3g}" for name, value in self.measured.items())
        print(f"{self.run.folder}: {self.progress.updates} updates; on recordings left aside: {measured or 'none'}\n"
              f"encoder: {{init: {self.run.folder / FILE}, freeze: true}}      # or freeze: false")
        return self.progress

    def save(self) -> None:
        """Write a checkpoint now."""
        self.progress.seconds = time.monotonic() - self._started
        self.run.save(self.agent, self.footage, self.progress)
        self._saved = time.monotonic()

    def _log(self, measure: bool) -> None:
        """A row of metrics: means since the last one, and where asked for what is measured on recordings left aside."""
        if len(self.aside.memory) and measure:
            self.measured = self.agent.examine(self.aside.memory)
        names = self._rows[0] if self._rows else {}
        row = {name: sum(row[name] for row in self._rows) / len(self._rows) for name in names}
        row |= {f"held_out/{name}": value for name, value in self.measured.items() if measure}
        self._rows = []
        if row:
            self.metrics.add({"update": self.progress.updates, "seconds": round(time.monotonic() - self._started, 1),
                              **{name: f"{value:.6g}" for name, value in row.items()}})

    def _out_of_time(self) -> bool:
        limit = self.config.minutes * 60
        return limit > 0 and time.monotonic() - self._started >= limit


def what_is_told(config: PretrainConfig) -> ActionSpec | None:
    """What the recordings tell of actions, where an objective asks; UserError where it asks for what they lack."""
    names = [entry.get("name") for entry in config.objectives]
    found = [source for part in choose(config.recordings, config.seed) for source in part]
    needs = make_observer(config, None).needs
    for name in names:
        if name in REWARDS:
            raise UserError(f"config: objective {name!r} asks for rewards, which no recording tells; leave it out")
    if "mask" in needs:
        raise UserError("config: an objective (dear) asks for the instrument's mask in every picture, which no "
                        "recording tells; leave it out, or learn it in simulation: `surgrl train see`")
    asking = next((name for name in names if name in ACTIONS), None)
    if asking is None:
        return None
    return action_range(found, config.recordings, f"objective {asking!r}")


def make_observer(config: PretrainConfig, action: ActionSpec | None) -> Any:
    """The Observer that the config describes; a user's mistakes told as such."""
    options, side = dict(config.agent), config.image.size
    require_device(config.device)
    try:
        return make_agent(options.pop("name"), options, objectives=config.objectives, encoder=config.encoder,
                          image_shape=(3 * config.image.stack, side, side), seed=config.seed, device=config.device,
                          action_dim=len(action.names) if action else 1)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"config: {error}") from error


def learnt_by(agent: Observer, config: PretrainConfig, progress: Progress, measured: dict[str, float]) -> Learnt:
    """The observer's encoder, with what a time-contrastive objective learnt to compare."""
    compared: Any = next((agent.objectives[name] for name in ("tcn", "triplet") if name in agent.objectives), None)
    entry = {key: value for key, value in config.encoder.items() if key not in ("init", "freeze")}
    if "init" in config.encoder:
        entry = read_learnt(config.encoder["init"]).entry
    cpu = {name: value.cpu() for name, value in agent.encoder.state_dict().items()}
    project = {} if compared is None else {name: value.cpu() for name, value in compared.project.state_dict().items()}
    return Learnt(entry, (agent.encoder.channels, *agent.encoder.size), cpu, project,
                  unit=compared is not None and getattr(compared, "views", 1) == 1,     # as triplets are compared
                  origin={"config": plain(config), "updates": progress.updates, "held_out": measured,
                          "torch": str(torch.__version__)})
