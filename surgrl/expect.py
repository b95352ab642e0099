"""`surgrl expect`: teach PLATO what to expect of instrument, marker and flap; measure what it finds impossible."""

import argparse
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from models.plato.learn import learn_dynamics, learn_perception
from models.plato.model import Plato
from models.plato.monitor import WARM_UP, calibrate

from .files import atomic_file, require_place, write_json
from .films import Studio
from .policy.errors import UserError
from .quadruplets import CONCEPTS, CONTROL, Quadruplet, free_films, quadruplets
from .surprise import encode, figures, pair_surprise, unchanged

LABELS = {1: "tissue", 2: "instrument", 3: "target", 4: "flap"}
ALARMS = 0.1            # share of possible films that may raise a flag
HELD_OUT = 80           # possible films at least that are kept from learning; half of them set the thresholds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl expect`."""
    parser.add_argument("--out", metavar="FOLDER", default="runs/expect", help="where all goes (default: %(default)s)")
    parser.add_argument("--films", type=int, default=240, help="possible films to learn from (default: %(default)s)")
    parser.add_argument("--steps", type=int, nargs=2, default=[2500, 1000], metavar=("SEE", "FORETELL"),
                        help="learning steps of perception, then of dynamics (default: 2500 1000)")
    parser.add_argument("--quadruplets", type=int, default=40, help="of each concept (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of films, weights and batches (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Film, learn, measure; write model, figures and picture, and print a table."""
    least = {"--films": (args.films, 20), "--steps": (min(args.steps), 10), "--quadruplets": (args.quadruplets, 3),
             "--seed": (args.seed, 0)}
    for name, (value, low) in least.items():
        if value < low:
            raise UserError(f"{name} is {value}; it must be {low} or more")
    out = Path(args.out)
    require_place(out / "expect.json")
    studio = Studio()
    try:
        learnt, held_out, tested = _film(studio, args.films, args.quadruplets, args.seed)
    finally:
        studio.close()
    plato, losses = learn(learnt, args.steps, args.seed)
    half = len(held_out) // 2
    thresholds = calibrate(plato, _codes(plato, held_out[:half]), ALARMS)
    found: dict[str, Any] = {
        "films": args.films, "steps": args.steps, "seed": args.seed, **losses, "objects": list(LABELS.values()),
        "cpu_s": round(process_time()),
        "concepts": measure(plato, Plato(plato.labels, seed=args.seed + 1), tested),
        "monitor": watch(plato, thresholds, _codes(plato, held_out[half:]), tested)}
    with atomic_file(out / "plato.pt") as path:
        plato.save(path, thresholds=thresholds, seed=args.seed)
    write_json(out / "expect.json", found)
    from .expect_picture import draw
    with atomic_file(out / "expect.png") as path:
        draw(path, plato, [tested[concept][0] for concept in CONCEPTS])
    print(_table(found))
    print(f"{out}: expect.json, expect.png, plato.pt")


def learn(films: tuple[np.ndarray, np.ndarray], steps: Iterable[int], seed: int) -> tuple[Plato, dict[str, float]]:
    """Perception, then dynamics, of films (N, T, H, W, 3) and labels (N, T, H, W); the model and both last losses."""
    see, foretell = steps
    plato = Plato(tuple(LABELS), seed=seed)
    images, labels = (part.reshape(-1, *part.shape[2:]) for part in films)
    seeing = learn_perception(plato, images, labels, steps=see, seed=seed, progress=_bar("perception"))
    plato.perception.requires_grad_(False)
    foretelling = learn_dynamics(plato, _codes(plato, list(zip(*films, strict=True))), steps=foretell, seed=seed,
                                 progress=_bar("dynamics"))
    return plato, {"perception_loss": seeing, "dynamics_loss": foretelling}


@torch.no_grad()
def measure(plato: Plato, untrained: Plato, tested: dict[str, list[Quadruplet]]) -> dict[str, Any]:
    """For each concept, and each kind in it: figures of the trained network, an untrained one, and of "unchanged"."""
    found: dict[str, Any] = {}
    for concept, made in tested.items():
        sums: dict[str, list[tuple[float, float]]] = {"trained": [], "untrained": [], "unchanged": []}
        for quadruplet in made:
            codes, raw = encode(plato, quadruplet), encode(untrained, quadruplet)
            for name, (seen, judge) in {"trained": (codes, plato.surprise), "untrained": (raw, untrained.surprise),
                                        "unchanged": (codes, unchanged)}.items():
                sums[name].append((pair_surprise(judge(seen.possible)), pair_surprise(judge(seen.impossible))))
        found[concept] = {name: figures(*zip(*pairs, strict=True)) for name, pairs in sums.items()}
        kinds = [quadruplet.kind for quadruplet in made]
        if len(set(kinds)) > 1:
            found[concept]["trained"]["accuracy_by_kind"] = {
                kind: float(np.mean([i > p for (p, i), what in zip(sums["trained"], kinds, strict=True)
                                     if what == kind])) for kind in sorted(set(kinds))}
    return found


def watch(plato: Plato, thresholds: Tensor, free: Tensor, tested: dict[str, list[Quadruplet]]) -> dict[str, Any]:
    """Share of films that the monitor flags: of possible ones (N, T, K, D) that set no threshold, and of impossible."""
    def flags(codes: Tensor) -> Tensor:
        return (plato.surprise(codes)[:, WARM_UP - 1:] > thresholds).flatten(1).any(1).float()
    found: dict[str, Any] = {"thresholds": dict(zip(LABELS.values(), thresholds.tolist(), strict=True)),
                             "allowed": ALARMS, "possible": float(flags(free).mean())}
    for concept in CONCEPTS:
        codes = [encode(plato, quadruplet) for quadruplet in tested[concept]]
        found[concept] = {"possible": float(torch.cat([flags(pair.possible) for pair in codes]).mean()),
                          "impossible": float(torch.cat([flags(pair.impossible) for pair in codes]).mean())}
    return found


def _film(studio: Studio, films: int, count: int, seed: int) -> tuple[tuple, list, dict[str, list[Quadruplet]]]:
    """Films to learn from, as arrays; others that are held out; quadruplets. Each from a seed of its own."""
    learning, holding, testing = np.random.SeedSequence(seed).spawn(3)
    learnt = free_films(studio, films, np.random.default_rng(learning), _bar("films"))
    held_out = free_films(studio, max(films // 2, HELD_OUT), np.random.default_rng(holding), _bar("held-out films"))
    tested = {concept: quadruplets(studio, concept, count, np.random.default_rng(testing), _bar(concept))
              for concept in (*CONCEPTS, CONTROL)}
    return tuple(np.stack(part) for part in zip(*learnt, strict=True)), held_out, tested


def _codes(plato: Plato, films: list) -> Tensor:
    """(N, T, K, D)."""
    return torch.stack([plato.encode(images, labels) for images, labels in films])


def _bar(what: str) -> Any:
    return partial(tqdm, desc=what, leave=False, disable=None)


def _table(found: dict[str, Any]) -> str:
    """As a person reads it."""
    lines = [f"{'accuracy (95 %)':26s}{'trained':>22s}{'untrained':>22s}{'unchanged':>12s}{'relative surprise':>26s}"]
    for concept, row in found["concepts"].items():
        told = [f"{row[name]['accuracy']:.2f} ({row[name]['accuracy_95'][0]:.2f}-{row[name]['accuracy_95'][1]:.2f})"
                for name in ("trained", "untrained")]
        relative = row["trained"]["relative"], *row["trained"]["relative_95"]
        lines.append(f"{concept:26s}{told[0]:>22s}{told[1]:>22s}{row['unchanged']['accuracy']:>12.2f}"
                     f"{'{:+.3f} ({:+.3f} to {:+.3f})'.format(*relative):>26s}")
    monitor = found["monitor"]
    lines.append(f"monitor: flags {monitor['possible']:.0%} of possible films (allowed {monitor['allowed']:.0%}); of "
                 "impossible ones " + ", ".join(f"{monitor[c]['impossible']:.0%} ({c})" for c in CONCEPTS))
    return "\n".join(lines)
