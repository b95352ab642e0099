"""What every training does: demonstrations first, logs, evaluations on unseen seeds, checkpoints."""

import sys
import time
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from models.agent import Agent
from models.memory import EpisodeMemory

from .config import Config
from .demo_file import Demo, demo_files, episode_seed, read_demo
from .demos import disturbed
from .evaluate import AgentPolicy, Score, evaluate
from .footage import Footage, choose
from .policy.errors import UserError
from .policy.spec import Array
from .recorded import Recorded, Shown, demonstrations, error_of
from .records import success_told
from .run import Run, Table
from .world import FIRST_UNSEEN_SEED, Moment, World

FREE = "size", "image_size", "noise", "randomise"       # options of a recording that training may have otherwise
ASIDE = 20              # recordings left aside that the error is measured on, at most


class Trainer(ABC):
    """Demonstrations, then learning on them alone, then acting and learning in turns, as a kind of agent does it."""

    log_every = 50          # learning steps between rows of metrics.csv

    def __init__(self, run: Run, config: Config, world: World | Recorded, agent: Agent, memory: EpisodeMemory,
                 quiet: bool):
        """Restore what was saved; open the logs."""
        from torch.utils.tensorboard import SummaryWriter
        self.run, self.config, self.agent, self.memory = run, config, agent, memory
        self.world: Any = world     # without a task a Recorded, in which nothing acts
        self.progress = run.restore(agent, memory)
        self.metrics = Table(run.folder / "metrics.csv", "update", self.progress.updates)
        self.scores = Table(run.folder / "eval.csv", "update", self.progress.updates)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.board = SummaryWriter(run.folder / "tensorboard", purge_step=self.progress.updates)
        self._extras = memory.extras
        self._started = time.monotonic() - self.progress.seconds
        self._saved = time.monotonic()
        self._sum: dict[str, float] = {}
        self._count = 0
        self._aside: list[Shown] | None = None      # demonstrations that are not learnt from, once they are read
        self.bar = tqdm(total=self._planned(), initial=self.progress.updates, unit="update", disable=quiet,
                        dynamic_ncols=True, desc=config.name, mininterval=0.5 if sys.stderr.isatty() else 20)
        self.bar.set_postfix_str(success_told(run.folder))      # of a run that goes on, the one before

    def train(self) -> Score | None:
        """To the end; the final Score, where there is a task to try it in."""
        self._demonstrate()
        while self.progress.updates < self.config.demos.updates and not self._out_of_time():
            self._learn(self.agent.update(self.memory))
        while self.progress.steps < self.config.steps and not self._out_of_time():
            self._go_on()
        score = self._evaluate()
        self.progress.done = True
        self.save()
        return score

    @abstractmethod
    def _go_on(self) -> None:
        """Act and learn for a while; what lies between two chances to evaluate and to save."""

    def save(self) -> None:
        """Write a checkpoint now."""
        self.progress.seconds = time.monotonic() - self._started
        self.run.save(self.agent, self.memory, self.progress)
        self._saved = time.monotonic()

    def close(self) -> None:
        """Close logs and environment."""
        self.bar.close()
        self.board.close()
        self.world.close()

    def _planned(self) -> int:
        config = self.config
        return config.demos.updates + config.steps // config.update_every

    def _out_of_time(self) -> bool:
        limit = self.config.minutes * 60
        return limit > 0 and time.monotonic() - self._started >= limit

    def _demonstrate(self) -> None:
        """Gather demonstrations: recordings; scripted ones, recorded or asked for now."""
        demos = self.config.demos
        if self.config.recordings.sources:
            self._watch()
            return
        recorded = demo_files(demos.folder, demos.episodes) if demos.folder else []
        for k in tqdm(range(self.progress.demos, demos.episodes), initial=self.progress.demos, total=demos.episodes,
                      leave=False, desc="demonstrations", unit="episode", disable=self.bar.disable, dynamic_ncols=True):
            if recorded:
                self._recall(recorded[k])
            else:
                self._ask_expert(k)
            self.memory.end()
            self.progress.demos += 1
            self._checkpoint_if_due()

    def _watch(self) -> None:
        """Learn from recordings: what was done is the label of every moment."""
        learnt_from, _ = choose(self.config.recordings, self.config.seed)
        footage, beyond = Footage(self.memory), []
        for shown in demonstrations(learnt_from[self.progress.demos:], self.config, self.world.action,
                                    progress="" if self.bar.disable else "demonstrations"):
            footage.add(shown.film, shown.actions)
            beyond.append(shown.beyond)
            self.progress.demos += 1
            self._checkpoint_if_due()
        if any(beyond) and not self.bar.disable:
            print(f"{self.run.folder}: in {np.mean(beyond):.1%} of the recorded moments an action was beyond the "
                  "policy's range; it was cut to it", file=sys.stderr)

    def _ask_expert(self, k: int) -> None:
        """The k-th demonstration, in the simulator. Disturbed, it shows how to recover (Laskey et al. 2017)."""
        noise = np.random.default_rng([self.config.seed, k])
        moment = self.world.reset(seed=episode_seed(self.config.seed, k))
        self._remember(moment, demo=True)
        while not (moment.terminated or moment.truncated):
            action = disturbed(self.world.expert(), self.config.demos.noise, noise)
            moment = self.world.step(action)
            self._remember(moment, action)

    def _recall(self, path: Path) -> None:
        """A recorded demonstration."""
        demo = fitting_demo(path, self.config, self.world)
        own = [demo.proprio_names.index(name) for name in self.world.proprio.names]
        for t, frame in enumerate(demo.frames):
            signals = {"mask": self.world.prepare_mask(demo.masks[t])} if "mask" in self._extras else {}
            if "expert" in self._extras:
                signals["expert"] = demo.expert[t]
            image, proprio = self.world.prepare_recorded(frame), demo.proprio[t, own]
            if t == 0:
                self.memory.begin(image, proprio, demo=True, **signals)
            else:
                ended = demo.terminated and t == len(demo.actions)
                self.memory.add(demo.actions[t - 1], float(demo.rewards[t - 1]), ended, image, proprio, **signals)

    def _remember(self, moment: Moment, action: Array | None = None, demo: bool = False) -> None:
        """Store a moment; without an action it begins an episode."""
        signals = {"mask": self.world.mask(moment)} if "mask" in self._extras else {}
        if "expert" in self._extras:
            signals["expert"] = self.world.expert()
        if "right" in self._extras:
            signals["right"] = moment.right
        if action is None:
            self.memory.begin(moment.frame, moment.proprio, demo=demo, **signals)
        else:
            self.memory.add(action, moment.reward, moment.terminated, moment.frame, moment.proprio, **signals)

    def _learn(self, found: dict[str, float]) -> None:
        """One learning step was made; keep its metrics."""
        for name, value in found.items():
            self._sum[name] = self._sum.get(name, 0.0) + value
        self._count += 1
        self.progress.updates += 1
        self.bar.update()
        if self.progress.updates % self.log_every == 0:
            self._log()
        self._checkpoint_if_due()

    def _log(self) -> None:
        means = {name: value / self._count for name, value in self._sum.items()}
        self._sum, self._count = {}, 0
        seconds = time.monotonic() - self._started
        self.metrics.add({"update": self.progress.updates, "step": self.progress.steps, "seconds": round(seconds, 1),
                          **{name: f"{value:.6g}" for name, value in means.items()}})
        for name, value in means.items():
            self.board.add_scalar(name, value, self.progress.updates)

    def _evaluate(self) -> Score | None:
        """Success on seeds that no training sees, without exploration, and error on recordings left aside."""
        if self.config.recordings.sources:
            self._measure_aside()
        if isinstance(self.world, Recorded):
            return None
        seeds = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + self.config.eval.episodes)
        score = evaluate(self.world, AgentPolicy(self.agent, self.config.image.stack), seeds)
        self.scores.add({"update": self.progress.updates, "step": self.progress.steps,
                         "seconds": round(time.monotonic() - self._started, 1), **score.row()})
        self.board.add_scalar("eval/success", score.success, self.progress.updates)
        self.bar.set_postfix_str(f"success {score.success:.0%}")
        return score

    def _measure_aside(self) -> None:
        """How far the policy's actions are from those of demonstrations that it did not learn from."""
        if self._aside is None:
            _, aside = choose(self.config.recordings, self.config.seed)
            self._aside = list(demonstrations(aside[:ASIDE], self.config, self.world.action))
        if self._aside:
            error = float(np.mean([error_of(self.agent, shown, self.config.image.stack) for shown in self._aside]))
            self._sum["held_out/error"] = error * (self._count or 1)     # the row is of means
            self._count = self._count or 1
            self._log()
            self.bar.set_postfix_str(f"held-out error {error:.3g}")

    def _evaluate_if_due(self, begun: int) -> None:
        """Where the steps since `begun` passed a multiple of eval.every."""
        due = self.progress.steps // self.config.eval.every > begun // self.config.eval.every
        if due and self.progress.steps < self.config.steps:
            self._evaluate()

    def _checkpoint_if_due(self) -> None:
        if time.monotonic() - self._saved >= self.config.checkpoint_every:
            self.save()


def fitting_demo(path: Path, config: Config, world: World) -> Demo:
    """A recorded demonstration that this config's training can use; UserError for any other."""
    demo = read_demo(path, config.env.id)
    if config.env.reward or config.env.likeness.encoder:
        raise UserError("config: demos.folder with env.reward or env.likeness: files tell the rewards of the task as "
                        "it is; leave demos.folder empty, and the expert is asked anew")
    other = [name for name, value in demo.options.items()
             if name not in FREE and config.env.options.get(name) != value]
    other += [name for name in config.env.options if name not in (*FREE, *demo.options)]
    if other:
        raise UserError(f"{path}: recorded with {other[0]} {demo.options.get(other[0], 'as it is by default')}, the "
                        f"config's env.options say {config.env.options.get(other[0], 'nothing of it')}: record the "
                        "demonstrations anew with that option")
    missing = [name for name in world.proprio.names if name not in demo.proprio_names]
    if missing:
        raise UserError(f"{path}: tells the proprio {', '.join(demo.proprio_names)}; the config's task has "
                        f"{missing[0]!r} too: record the demonstrations anew")
    if demo.actions.shape[1] != len(world.action.names):
        raise UserError(f"{path}: actions of {demo.actions.shape[1]} entries, the config's task takes "
                        f"{len(world.action.names)} ({', '.join(world.action.names)}): record them anew")
    height, width = demo.frames.shape[1:3]
    if height != width or height < config.image.size:
        raise UserError(f"{path}: pictures of {width}x{height} px; the config needs squares of image.size "
                        f"{config.image.size} px or more: record them with --size {config.image.render}")
    return demo
