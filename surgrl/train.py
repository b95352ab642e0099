"""`surgrl train CONFIG`: scripted demonstrations, then acting and learning in turns; resumable at any time."""

import argparse
from pathlib import Path
from typing import Any

import torch

from models.agent import Agent
from models.allocator import keep_freed_memory
from models.episodes import TooSmallError
from models.make import make_agent
from models.memory import SIGNALS, EpisodeMemory

from .config import Config
from .config_file import load_config
from .demo_file import demo_files
from .device import require_device
from .evaluate import Score
from .policy.errors import UserError
from .recorded import Recorded, fitting, recorded_world
from .run import Run, free_space, saved_when_stopped
from .sweep import add_sweep_arguments, sweep
from .trainer import Trainer, fitting_demo
from .world import World, training_world, two_eyed_world


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
        if config.recordings.sources:
            fitting(config, world.action, world.image.rate)
        elif config.demos.folder:
            fitting_demo(demo_files(config.demos.folder, config.demos.episodes)[0], config, world)
        world.close()
        Run(folder).begin(config)
    score = train(Run(folder))
    print(f"{folder}: " + ("is finished; there is no task to try it in" if score is None else f"success {score}"))
    return 0


def world_of(config: Config) -> Any:
    """Where the config says that is learnt: a task's World, or, from recordings alone, a Recorded."""
    return training_world(config) if config.env.id else recorded_world(config)


def make_agent_for(config: Config, world: World | Recorded) -> Agent:
    """The agent that the config describes, for this world; a user's mistakes told as such."""
    options = dict(config.agent)
    name = options.pop("name", None)
    side = config.image.size
    require_device(config.device)
    try:
        return make_agent(name, options, objectives=config.objectives, encoder=config.encoder,
                          image_shape=(3 * config.image.stack, side, side), action_dim=len(world.action.names),
                          proprio_dim=len(world.proprio.names), seed=config.seed, device=config.device,
                          channels=[*zip(world.action.names, world.action.units, world.action.low, world.action.high,
                                         strict=True)])
    except (ValueError, RuntimeError) as error:
        raise UserError(f"config: {error}") from error


def make_parts(config: Config) -> tuple[Any, Agent, EpisodeMemory]:
    """World (see world_of), agent and memory, as the config says."""
    world = world_of(config)
    try:
        return _parts_of(config, world)
    except UserError:
        world.close()
        raise


def _parts_of(config: Config, world: Any) -> tuple[Any, Agent, EpisodeMemory]:
    agent = make_agent_for(config, world)
    side, extras = config.image.size, [name for name in SIGNALS if name in agent.needs]
    if "mask" in extras and config.recordings.sources:
        raise UserError("config: an objective (dear) asks for the instrument's mask in every picture, which no "
                        "recording tells; leave it out: objectives=[]")
    if "mask" in extras:
        world.require_instrument()
    if "right" in extras:
        if config.demos.folder or config.recordings.sources:
            raise UserError("config: demonstrations in files show one eye only, and an objective needs both; leave "
                            "demos.folder and recordings.sources empty, or set views to 1")
        world.close()       # which eyes are needed, the agent told, and it had to know the actions first
        world = two_eyed_world(config)
    memory = EpisodeMemory(config.memory.capacity, frame_shape=(side, side, 3), action_dim=len(world.action.names),
                           proprio_dim=len(world.proprio.names), stack=config.image.stack,
                           nstep=config.memory.nstep, gamma=config.memory.gamma, seed=config.seed, extras=extras,
                           embed=getattr(agent, "embed", None))
    return world, agent, memory


def trainer_for(agent: Agent) -> type[Trainer]:
    """How an agent of this kind is trained."""
    from .offpolicy import OffPolicyTrainer
    from .onpolicy import OnPolicyTrainer
    return OnPolicyTrainer if getattr(agent, "on_policy", False) else OffPolicyTrainer


def train(run: Run, quiet: bool = False) -> Score | None:
    """Train the run to its end, from wherever it stands; the final Score, where there is a task to try it in."""
    config = run.config()
    free_space(run.folder, 2 * config.memory.capacity * config.image.size ** 2 * 3)
    keep_freed_memory()
    torch.set_num_threads(config.threads)
    world, agent, memory = make_parts(config)
    trainer = trainer_for(agent)(run, config, world, agent, memory, quiet)
    try:
        with saved_when_stopped(run.folder, trainer.save, "train"):
            return trainer.train()
    except TooSmallError as error:
        raise UserError(f"config: memory.capacity: {error}") from error
    finally:
        trainer.close()
