"""`surgrl train CONFIG`: scripted demonstrations, then acting and learning in turns; resumable at any time."""

import argparse
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from models.agent import Agent
from models.allocator import keep_freed_memory
from models.make import make_agent
from models.memory import EpisodeMemory

from .config import Config, load_config
from .demos import Demo, demo_files, disturbed, episode_seed, read_demo
from .evaluate import AgentPolicy, Score, evaluate
from .policy.errors import UserError
from .policy.image import stacked
from .policy.spec import Array
from .records import success_told
from .run import Run, Table, free_space
from .sweep import add_sweep_arguments, sweep
from .world import FIRST_UNSEEN_SEED, Moment, World, training_world

LOG_EVERY = 50          # learning steps between rows of metrics.csv


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl train`."""
    parser.add_argument("config", nargs="?", help="YAML file, or the name of a config that comes with surgrl")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. seed=2 agent.lr=1e-4 name=reach-2")
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder, exactly as it was begun")
    parser.add_argument("--runs", default="runs", help="folder in which runs are kept (default: runs)")
    add_sweep_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, or go on; prints where the run is. The exit code: 1 when one of several runs failed."""
    if args.resume and (args.seeds or args.grid or args.jobs is not None):
        raise UserError("--resume goes on with one run; to go on with several, give their own command again")
    if args.seeds or args.grid or args.jobs is not None:
        return sweep(args)
    if args.resume:
        if args.config:
            raise UserError(f"--resume goes on with the config in {args.resume}; leave out {args.config!r}")
        folder = Path(args.resume)
        if Run(folder).finished():
            print(f"{folder}: training is finished; see `surgrl eval {folder}`")
            return 0
    elif args.config is None:
        raise UserError("which config? Give a YAML file or one of those that `surgrl list` shows, or --resume RUN")
    else:
        config = load_config(args.config, args.overrides)
        folder = Path(args.runs) / config.name
        world, *_ = make_parts(config)      # a config that cannot work leaves no run behind
        if config.demos.folder:
            fitting_demo(demo_files(config.demos.folder, config.demos.episodes)[0], config, world)
        world.close()
        Run(folder).begin(config)
    score = train(Run(folder))
    print(f"{folder}: success {score}")
    return 0


def make_agent_for(config: Config, world: World) -> Agent:
    """The agent that the config describes, for this world; a user's mistakes told as such."""
    options = dict(config.agent)
    name = options.pop("name", None)
    side = config.image.size
    try:
        return make_agent(name, options, objectives=config.objectives, encoder=config.encoder,
                          image_shape=(3 * config.image.stack, side, side), action_dim=len(world.action.names),
                          proprio_dim=len(world.proprio.names), seed=config.seed, device=config.device)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"config: {error}") from error


def make_parts(config: Config) -> tuple[World, Agent, EpisodeMemory]:
    """World, agent and memory, as the config says."""
    world = training_world(config)
    agent = make_agent_for(config, world)
    side, extras = config.image.size, [name for name in ("mask", "expert") if name in agent.needs]
    memory = EpisodeMemory(config.memory.capacity, frame_shape=(side, side, 3), action_dim=len(world.action.names),
                           proprio_dim=len(world.proprio.names), stack=config.image.stack,
                           nstep=config.memory.nstep, gamma=config.memory.gamma, seed=config.seed, extras=extras)
    return world, agent, memory


def fitting_demo(path: Path, config: Config, world: World) -> Demo:
    """A recorded demonstration that this config's training can use; UserError for any other."""
    demo = read_demo(path, config.env.id)
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


def train(run: Run, quiet: bool = False) -> Score:
    """Train the run to its end, from wherever it stands; the final Score."""
    config = run.config()
    free_space(run.folder, 2 * config.memory.capacity * config.image.size ** 2 * 3)
    keep_freed_memory()
    torch.set_num_threads(config.threads)
    world, agent, memory = make_parts(config)
    trainer = Trainer(run, config, world, agent, memory, quiet)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)    # ended from outside: save as at Ctrl-C
    try:
        return trainer.train()
    except KeyboardInterrupt:
        trainer.save()
        print(f"\n{run.folder}: saved; go on with `surgrl train --resume {run.folder}`")
        raise
    except FloatingPointError as error:
        raise UserError(f"{run.folder}: {error}. The last checkpoint is kept") from error
    finally:
        signal.signal(signal.SIGTERM, previous)
        trainer.close()


class Trainer:
    """The loop: demonstrations, then learning on them alone, then acting and learning in turns."""

    def __init__(self, run: Run, config: Config, world: World, agent: Agent, memory: EpisodeMemory, quiet: bool):
        """Restore what was saved; open the logs."""
        from torch.utils.tensorboard import SummaryWriter
        self.run, self.config, self.world, self.agent, self.memory = run, config, world, agent, memory
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
        self.bar = tqdm(total=self._planned(), initial=self.progress.updates, unit="update", disable=quiet,
                        dynamic_ncols=True, desc=config.name, mininterval=0.5 if sys.stderr.isatty() else 20)
        self.bar.set_postfix_str(success_told(run.folder))      # of a run that goes on, the one before

    def train(self) -> Score:
        """To the end; the final Score."""
        self._demonstrate()
        while self.progress.updates < self.config.demos.updates and not self._out_of_time():
            self._update()
        while self.progress.steps < self.config.steps and not self._out_of_time():
            self._episode()
        score = self._evaluate()
        self.progress.done = True
        self.save()
        return score

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
        """Gather scripted demonstrations, recorded or asked for now."""
        demos = self.config.demos
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

    def _episode(self) -> None:
        """Act with exploration for one episode, learning on the way."""
        moment = self.world.reset(seed=self.config.seed * 10 ** 6 + self.progress.episodes)
        self.progress.episodes += 1
        begun = self.progress.steps
        self.agent.reset()
        self._remember(moment)
        frames = [moment.frame] * self.config.image.stack
        while not (moment.terminated or moment.truncated) and self.progress.steps < self.config.steps:
            action = self.agent.act(stacked(frames), True, moment.proprio)
            moment = self.world.step(action)
            self._remember(moment, action)
            frames = [*frames[1:], moment.frame]
            self.progress.steps += 1
            if self.progress.steps % self.config.update_every == 0:
                self._update()
        self.memory.end()
        # Not before the episode is over: evaluation plays in the same world.
        due = self.progress.steps // self.config.eval.every > begun // self.config.eval.every
        if due and self.progress.steps < self.config.steps:
            self._evaluate()
        self._checkpoint_if_due()

    def _remember(self, moment: Moment, action: Array | None = None, demo: bool = False) -> None:
        """Store a moment; without an action it begins an episode."""
        signals = {"mask": self.world.mask(moment)} if "mask" in self._extras else {}
        if "expert" in self._extras:
            signals["expert"] = self.world.expert()
        if action is None:
            self.memory.begin(moment.frame, moment.proprio, demo=demo, **signals)
        else:
            self.memory.add(action, moment.reward, moment.terminated, moment.frame, moment.proprio, **signals)

    def _update(self) -> None:
        found = self.agent.update(self.memory)
        for name, value in found.items():
            self._sum[name] = self._sum.get(name, 0.0) + value
        self._count += 1
        self.progress.updates += 1
        self.bar.update()
        if self.progress.updates % LOG_EVERY == 0:
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

    def _evaluate(self) -> Score:
        """Success on seeds that no training sees, without exploration."""
        seeds = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + self.config.eval.episodes)
        score = evaluate(self.world, AgentPolicy(self.agent, self.config.image.stack), seeds)
        self.scores.add({"update": self.progress.updates, "step": self.progress.steps,
                         "seconds": round(time.monotonic() - self._started, 1), **score.row()})
        self.board.add_scalar("eval/success", score.success, self.progress.updates)
        self.bar.set_postfix_str(f"success {score.success:.0%}")
        return score

    def _checkpoint_if_due(self) -> None:
        if time.monotonic() - self._saved >= self.config.checkpoint_every:
            self.save()
