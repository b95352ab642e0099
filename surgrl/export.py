"""`surgrl export RUN OUT`: a run's policy as a bundle, proved equal to the network that was trained."""

import argparse
import contextlib
import io
import logging
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from .card import CARD, card
from .config import Config
from .config_file import plain
from .evaluate import Actor, AgentPolicy, BundlePolicy, ExpertPolicy, evaluate
from .files import atomic_folder
from .frames import fit_profile, lived_profile
from .policy.bundle import PROFILE, PolicyBundle
from .policy.errors import UserError
from .policy.image import prepare
from .policy.profile import FrameProfile
from .policy.runtime import PolicyRuntime
from .policy.spec import Array
from .recorded import TASK, Recorded, fit_recorded, golden_frames
from .run import Run
from .train import make_agent_for, world_of
from .world import FIRST_UNSEEN_SEED, Moment, World, camera_world

GOLDEN_FRAMES = 6
PARITY = 1e-5           # of the action's [-1, 1]: onnxruntime against torch, float32 on a CPU
OPSET = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl export`."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a run, e.g. runs/reach-demo")
    parser.add_argument("out", metavar="OUT", help="folder of the bundle; an older bundle there is replaced")
    parser.add_argument("--episodes", type=int, default=0,
                        help="score the exported bundle on so many unseen seeds and write it down in the manifest")


def run(args: argparse.Namespace) -> None:
    """Write the bundle and tell what it is."""
    out = Path(args.out)
    if args.episodes < 0:
        raise UserError(f"--episodes is {args.episodes}; it must be 0, which scores nothing, or above")
    if out.exists() and not (out / "manifest.yaml").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is no bundle; it is left as it is: choose another folder")
    bundle = export(Path(args.run_folder), out, episodes=args.episodes)
    size = sum(file.stat().st_size for file in bundle.folder.iterdir())
    print(f"{bundle.folder}: {size / 1e6:.2f} MB; verify it with `surgrl check {bundle.folder}`")
    if "scores" in bundle.origin:
        print(f"success on unseen seeds: {bundle.origin['scores']}")


def export(run_folder: Path, out: Path, episodes: int = 0) -> PolicyBundle:
    """The policy of a run as a bundle in folder `out`, scored on `episodes` unseen seeds if any."""
    run = Run(run_folder)
    config = run.config()
    world = world_of(config)
    if episodes and isinstance(world, Recorded):
        raise UserError(f"{run_folder}: was learnt from recordings alone: there is no task to score it in; leave out "
                        f"--episodes {episodes}")
    agent = make_agent_for(config, world)
    progress = run.restore(agent)
    if progress.updates == 0:
        raise UserError(f"{run_folder}: nothing is learnt yet (no checkpoint); train it with "
                        f"`surgrl train --resume {run_folder}`")
    origin: dict[str, Any] = {
        "run": config.name, "agent": config.agent["name"], "updates": progress.updates, "steps": progress.steps,
        "training_seconds": round(progress.seconds), "seed": config.seed,
        "torch": torch.__version__, "commit": _commit(), "config": plain(config)}
    actor: Actor = PreparedPolicy(AgentPolicy(agent, config.image.stack))
    if config.env.id and world.has_expert:
        actor = ExpertPolicy()
    world.close()
    with atomic_folder(out) as folder:
        bundle = PolicyBundle(folder, config.env.id or TASK, world.image, world.proprio, world.action, origin,
                              getattr(agent.policy(), "state_dim", 0))
        frames, proprio, planes = _golden_inputs(bundle, config, actor)
        profile = _profile(bundle, config, actor)
        if profile is not None:
            profile.save(folder / PROFILE)
        policy = agent.policy().eval().cpu()
        inputs = _inputs(planes, proprio)
        actions, states = _actions(policy, inputs, bundle.state)
        if bundle.state:
            inputs["state"] = states
        _write_onnx(policy, inputs, bundle.onnx)
        _prove_parity(bundle.onnx, inputs, actions)
        bundle.write(frames, proprio, actions)
        if episodes:
            camera = camera_world(bundle)
            seeds = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + episodes)
            score = evaluate(camera, BundlePolicy(PolicyRuntime(bundle)), seeds, progress="scoring the bundle")
            camera.close()
            bundle = replace(bundle, origin={**origin, "scores": score.row()})
            bundle.write(frames, proprio, actions)
        (folder / CARD).write_text(card(replace(bundle, folder=out)))
    return PolicyBundle.load(out)


class PreparedPolicy:
    """An agent as it stands, in a world whose frames come as the camera gives them."""

    def __init__(self, policy: AgentPolicy):
        """policy: the agent's."""
        self._policy = policy

    def reset(self) -> None:
        """Forget the last episode."""
        self._policy.reset()

    def act(self, moment: Moment, world: World) -> Array:
        """(A,) in [-1, 1]."""
        return self._policy.act(moment._replace(frame=prepare(moment.frame, world.image)), world)


def _profile(bundle: PolicyBundle, config: Config, actor: Actor) -> FrameProfile | None:
    """What training-like frames look like; None of recordings that are too few."""
    if not config.env.id:
        return fit_recorded(config, bundle.image)
    if isinstance(actor, ExpertPolicy):
        return fit_profile(bundle.task, bundle.image, config.env.options)
    world = camera_world(bundle)
    try:
        return lived_profile(world, actor)
    finally:
        world.close()


def _golden_inputs(bundle: PolicyBundle, config: Config, actor: Actor) -> tuple[Array, Array, Array]:
    """Camera frames (n, H, W, 3), proprio (n, P), network input (n, C, h, w): of first steps in an unseen episode, or
    of a recording."""
    if config.env.id:
        frames, proprio = _lived_inputs(bundle, actor)
    else:
        frames = golden_frames(config, bundle.image, GOLDEN_FRAMES)
        proprio = np.zeros((len(frames), 0), np.float32)
    seen = [prepare(frame, bundle.image) for frame in frames]
    stack = bundle.image.stack
    padded = [seen[0]] * (stack - 1) + seen         # an episode's first frame repeats
    planes = [np.concatenate(padded[k:k + stack], axis=2).transpose(2, 0, 1) for k in range(len(seen))]
    return frames, proprio, np.ascontiguousarray(np.stack(planes))


def _lived_inputs(bundle: PolicyBundle, actor: Actor) -> tuple[Array, Array]:
    world: World = camera_world(bundle)
    moments = [world.reset(seed=FIRST_UNSEEN_SEED - 1)]
    actor.reset()
    while len(moments) < GOLDEN_FRAMES:
        over = moments[-1].terminated or moments[-1].truncated      # of a scene whose episodes are that short
        moments.append(world.reset(seed=FIRST_UNSEEN_SEED - 1) if over
                       else world.step(actor.act(moments[-1], world)))
    world.close()
    frames, proprio = (np.stack([getattr(moment, name) for moment in moments]) for name in ("frame", "proprio"))
    return frames, proprio


def _inputs(planes: Array, proprio: Array) -> dict[str, Array]:
    return {"images": planes} | ({"proprio": proprio} if proprio.shape[1] else {})


def _actions(policy: nn.Module, inputs: dict[str, Array], state_dim: int) -> tuple[Array, Array]:
    """Actions (n, A) of the frames in order, and the recurrent states (n, S) before each."""
    tensors = [torch.as_tensor(value) for value in inputs.values()]
    with torch.no_grad():
        if not state_dim:
            return policy(*tensors).numpy(), np.zeros((len(tensors[0]), 0), np.float32)
        state, actions, states = torch.zeros(1, state_dim), [], []
        for now in zip(*(tensor.split(1) for tensor in tensors), strict=True):
            states.append(state)
            action, state = policy(now[0], now[1] if len(now) > 1 else None, state)
            actions.append(action)
    return torch.cat(actions).numpy(), torch.cat(states).numpy()


def _write_onnx(policy: nn.Module, inputs: dict[str, Array], path: Path) -> None:
    """Trace with two rows, so that the batch size stays free."""
    tensors = {name: torch.as_tensor(values[:2]) for name, values in inputs.items()}
    batch = torch.export.Dim("batch", min=1, max=256)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")     # the exporter speaks of its own future, not of this network
        torch.onnx.export(policy, kwargs=tensors, f=str(path), dynamo=True, input_names=list(inputs),
                          output_names=["action", "next_state"] if "state" in inputs else ["action"],
                          opset_version=OPSET, dynamic_shapes={name: {0: batch} for name in inputs},
                          external_data=False, verbose=False)


def _prove_parity(path: Path, inputs: dict[str, Array], actions: Array) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    error = float(np.abs(session.run(None, inputs)[0] - actions).max())
    if not error <= PARITY:
        raise UserError(f"the exported network differs from the trained one by {error:.2g}, allowed {PARITY:.0e}; "
                        "nothing was written")


def _commit() -> str:
    """Commit of the code that exports, with a mark when it was changed since; unknown outside a checkout."""
    here = Path(__file__).parent
    try:
        said = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12", "--match="], cwd=here,
                              capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()
