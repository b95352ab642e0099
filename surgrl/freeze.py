"""`surgrl freeze RUN OUT`: a run's convolutions as weights for `encoder: {name: frozen}`, with a card and a probe."""

import argparse
import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from models.encoder import Encoder
from models.encoders.frozen import Frozen

from .config import Config, EnvConfig
from .config_file import plain
from .files import atomic_folder
from .policy.errors import UserError
from .probe import pictures_of, probe
from .run import Progress, Run
from .train import make_agent_for
from .world import training_world

WEIGHTS, TOLD, CARD = "weights.pt", "weights.yaml", "CARD.md"
LAYERS, POOL = "4", 4       # what is probed, and what the frozen encoder `surgical` reads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl freeze`."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a run whose encoder is drqv2's, of one frame")
    parser.add_argument("out", metavar="OUT", help="folder for weights.pt, weights.yaml and CARD.md")
    parser.add_argument("--licence", required=True, help="that others may use the weights under, e.g. Apache-2.0")
    parser.add_argument("--pictures", type=int, default=1600, help="pictures for the linear probe (at least 40)")
    parser.add_argument("--tasks", nargs="+", metavar="ID", default=[], help="tasks of the probe (default: the run's)")


def run(args: argparse.Namespace) -> None:
    """Write the folder and print how to use it."""
    out = Path(args.out)
    if args.pictures < 40:
        raise UserError(f"--pictures is {args.pictures}; a probe needs at least 40")
    if out.exists() and not (out / TOLD).is_file():
        raise UserError(f"{out} exists and holds no frozen weights; it is left as it is: choose another folder")
    told = freeze(Path(args.run_folder), out, licence=args.licence, pictures=args.pictures, tasks=args.tasks)
    for row in told["probe"]:
        print(f"{row['task']} {row['place']:12s} R2 {row['r2']:.3f} (random weights {row['r2_random']:.3f})")
    print(f"encoder: {{name: frozen, network: drqv2, weights: {out / WEIGHTS}, sha256: {told['sha256']}, "
          f"licence: {args.licence}, layers: '{LAYERS}', pool: {POOL}, side: {told['side']}}}")


def freeze(run_folder: Path, out: Path, *, licence: str, pictures: int, tasks: list[str]) -> dict[str, Any]:
    """Weights, card and probe in folder `out`; what weights.yaml says."""
    run = Run(run_folder)
    config = run.config()
    world = training_world(config)
    agent = make_agent_for(config, world)
    world.close()
    progress = run.restore(agent)
    encoder = getattr(agent, "encoder", None)
    if not isinstance(encoder, Encoder) or encoder.channels != 3:
        raise UserError(f"{run_folder}: its encoder is not drqv2's convolutions on single frames; train one with "
                        "`surgrl train see`, or with encoder.name=drqv2 image.stack=1")
    if progress.updates == 0:
        raise UserError(f"{run_folder}: nothing is learnt yet (no checkpoint); train it with "
                        f"`surgrl train --resume {run_folder}`")
    state = {f"convolutions.{name}": value.cpu() for name, value in encoder.convolutions.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    told: dict[str, Any] = {"licence": licence, "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
                            "network": "drqv2", "side": config.image.size, "updates": progress.updates,
                            "torch": str(torch.__version__), "config": plain(config)}
    with atomic_folder(out) as folder:
        (folder / WEIGHTS).write_bytes(buffer.getvalue())
        options: dict[str, Any] = {"network": "drqv2", "layers": LAYERS, "pool": POOL}
        size = (config.image.size, config.image.size)
        seeing = Frozen(3, size, weights=str(folder / WEIGHTS), sha256=told["sha256"], licence=licence, **options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            blind = Frozen(3, size, weights="random", **options)
        told["probe"] = [row for task in tasks or [config.env.id]
                         for row in _probed(config, task, pictures, seeing, blind)]
        (folder / TOLD).write_text(yaml.safe_dump(told, sort_keys=False, width=110))
        (folder / CARD).write_text(_card(out.name, config, progress, told, (folder / WEIGHTS).stat().st_size, pictures))
    return told


def _probed(config: Config, task: str, pictures: int, seeing: Frozen, blind: Frozen) -> list[dict[str, Any]]:
    """For each place in the task's pictures, how well both encoders tell it."""
    images, places, names = pictures_of(replace(config, env=EnvConfig(id=task)), pictures)
    r2, error = probe(seeing, images, places)
    control, control_error = probe(blind, images, places)
    return [{"task": task, "place": name, "r2": round(float(r2[k]), 4), "r2_random": round(float(control[k]), 4),
             "error": round(float(error[k]), 5), "error_random": round(float(control_error[k]), 5)}     # m
            for k, name in enumerate(names)]


def _card(name: str, config: Config, progress: Progress, told: dict[str, Any], size: int, pictures: int) -> str:
    """What these weights are, as Markdown; every number measured or read from the run."""
    methods = ", ".join(entry["name"] for entry in config.objectives) or "none"
    rows = "\n".join(f"| `{row['task']}` {row['place']} | {row['r2']:.3f} | {1000 * row['error']:.1f} mm | "
                     f"{row['r2_random']:.3f} | {1000 * row['error_random']:.1f} mm |" for row in told["probe"])
    return f"""# {name}

The four convolutions of DrQ-v2's encoder, learnt in simulation on `{config.env.id}` by
`{config.agent["name"]}` with the objectives {methods}. For one frame at a time, {config.image.size} px a side.
{size / 1000:.0f} kB, licence {told["licence"]}, sha256 `{told["sha256"]}`.
Research software: not a medical device, never for clinical use.

## Data

{config.demos.episodes} episodes of the scripted expert, disturbed by noise of {config.demos.noise:g}, and
{progress.steps} steps of the agent's own; {progress.updates} updates in {progress.seconds / 60:.0f} minutes of wall
time, seed {config.seed}. All of it simulated; no patient's data.

## Linear probe

Ridge regression of places on features of layer {LAYERS}, pooled by {POOL}; {pictures} pictures of seeds that
no training saw, arm, things and tissue drawn apart, the last quarter held out. Beside it the same network with random
weights. An R2 of 0 or less: not told at all.

| place | R2 | error (rms) | R2, random weights | error, random weights |
|---|---|---|---|---|
{rows}

## Recipe

`surgrl train` with this config, then `surgrl freeze`:

```yaml
{yaml.safe_dump(plain(config), sort_keys=False, width=110).rstrip()}
```
"""
