"""`surgrl disentangle RUN`: does one half of the latent tell the instrument and nothing else, the other the rest?"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from models.agent import Agent
from models.objectives.dear import Dear
from models.sight import Sight

from .disentanglement import dci, factor_vae, mig, principal
from .files import atomic_file, require_place, write_json
from .interventions import Pictures, Sampler
from .policy.errors import UserError
from .policy.image import stacked
from .policy.spec import Array
from .run import Run
from .train import make_agent_for
from .world import FIRST_UNSEEN_SEED, Moment, training_world

SHOWN = 4               # rows of the picture
# Numbers kept of each half for MIG, DCI and FactorVAE. These take every number of a code for an axis of its own, but
# DEAR leaves the basis within a half free: principal axes are the one basis that does not depend on it, up to sign.
AXES = 8
SAME = 0.98             # IoU of two masks, from which on the instrument is seen alike: what is moved may cover it
TARGETS = {"agent_ratio": (">=", 50.0), "abs_cos": ("<", 0.05), "mask_iou": (">", 0.9)}


@dataclass(frozen=True)
class Sensitivity:
    """How far each half moves, as mean squared distance, when one thing changes in the picture."""

    agent_instrument: float
    agent_things: float         # target, flap, lesion elsewhere
    agent_tissue: float         # another palette and texture
    world_instrument: float
    world_things: float
    world_tissue: float
    agent_ratio: float          # agent half: instrument moved over things moved
    agent_ratio_uncovered: float    # the same over pairs whose true mask stays as it was; nan where there is none
    uncovered: float            # share of these pairs
    agent_ratio_tissue: float   # agent half: instrument moved over tissue painted anew
    world_ratio: float          # world half: things moved over instrument moved
    world_ratio_tissue: float
    abs_cos: float              # mean |cos(world, agent)|
    mask_iou: float             # mean over pictures; nan where no decoder was trained


class Eyes:
    """An agent's encoder, and DEAR's mask decoder where it has one."""

    def __init__(self, agent: Agent, stack: int):
        """UserError for an agent whose latent has no two halves."""
        encoder = getattr(agent, "encoder", None)
        if not isinstance(encoder, Sight) or encoder.latent_dim % 2:
            raise UserError("this run's agent has no encoder with an even latent_dim, so there are no halves to "
                            "compare; choose a run with `objectives: [{name: dear}]`")
        self._encoder, self._stack = encoder.eval(), stack
        objectives = getattr(agent, "objectives", torch.nn.ModuleDict()).values()
        self._decoder = next((part.decoder for part in objectives if isinstance(part, Dear)), None)

    @torch.no_grad()
    def halves(self, moments: Sequence[Moment]) -> tuple[Array, Array]:
        """(N, D/2) of the world and (N, D/2) of the agent. A stack shows the moment standing still."""
        device = next(self._encoder.parameters()).device
        codes = []
        for k in range(0, len(moments), 128):
            planes = np.stack([stacked([moment.frame] * self._stack) for moment in moments[k:k + 128]])
            codes.append(self._encoder(torch.as_tensor(planes, device=device)).float().cpu())
        world, agent = torch.cat(codes).chunk(2, dim=1)
        return world.numpy(), agent.numpy()

    @torch.no_grad()
    def masks(self, agent: Array) -> Array | None:
        """(N, D/2) -> (N, h, w) probability of the newest frame's mask; None without a decoder."""
        if self._decoder is None:
            return None
        device = next(self._encoder.parameters()).device
        logits = self._decoder(torch.as_tensor(agent, device=device))[:, -1]
        return logits.sigmoid().cpu().numpy()


def sensitivity(eyes: Eyes, shown: Pictures, true_masks: Array, moved_masks: Array) -> Sensitivity:
    """Distances between the codes of `shown`; masks (N, h, w) of `shown.before` and of `shown.things`."""
    (world, agent) = eyes.halves(shown.before)
    plain = eyes.halves(shown.tissue_before)
    distances = {}
    for what, before in (("instrument", (world, agent)), ("things", (world, agent)), ("tissue", plain)):
        after = eyes.halves(getattr(shown, what))
        for half, was, now in zip(("world", "agent"), before, after, strict=True):
            distances[f"{half}_{what}"] = np.square(now - was).sum(1)
    moved = {name: float(distance.mean()) for name, distance in distances.items()}
    uncovered = mask_iou(true_masks > 0, moved_masks > 0) >= SAME
    alike = [distances[name][uncovered].mean() if uncovered.any() else np.nan
             for name in ("agent_instrument", "agent_things")]
    cosine = (world * agent).sum(1) / (np.linalg.norm(world, axis=1) * np.linalg.norm(agent, axis=1))
    drawn = eyes.masks(agent)
    iou = float("nan") if drawn is None else float(np.nanmean(mask_iou(drawn > 0.5, true_masks > 0)))
    return Sensitivity(**moved, agent_ratio=moved["agent_instrument"] / moved["agent_things"],
                       agent_ratio_uncovered=float(alike[0] / alike[1]),
                       uncovered=float(uncovered.mean()),
                       agent_ratio_tissue=moved["agent_instrument"] / moved["agent_tissue"],
                       world_ratio=moved["world_things"] / moved["world_instrument"],
                       world_ratio_tissue=moved["world_tissue"] / moved["world_instrument"],
                       abs_cos=float(np.abs(cosine).mean()), mask_iou=iou)


def mask_iou(drawn: Array, true: Array) -> Array:
    """(N, h, w) and (N, H, W) bool -> (N,) intersection over union; nan where there is nothing in either.

    Of larger true masks the middle counts: an agent that learnt with the augmentation crop sees no more.
    """
    top, left = ((true.shape[k] - drawn.shape[k]) // 2 for k in (1, 2))
    true = true[:, top:top + drawn.shape[1], left:left + drawn.shape[2]]
    both, either = (drawn & true).sum((1, 2)), (drawn | true).sum((1, 2))
    return np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)


def metrics(eyes: Eyes, moments: Sequence[Moment], factors: Array, names: Sequence[str]) -> dict[str, Any]:
    """MIG, DCI and FactorVAE score of both halves' principal axes, and each factor's share in the agent's half."""
    world, agent = (principal(half, AXES) for half in eyes.halves(moments))
    codes = np.concatenate([world, agent], axis=1)
    found = dci(codes, factors)
    share = found.importance[world.shape[1]:].sum(0)
    return {"mig": mig(codes, factors), "dci_disentanglement": found.disentanglement,
            "dci_completeness": found.completeness, "dci_informativeness": found.informativeness,
            "factor_vae": factor_vae(codes, factors), "factor_vae_chance": 1 / len(names),
            "told": dict(zip(names, found.told.tolist(), strict=True)),
            "agent_share": dict(zip(names, share.tolist(), strict=True))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl disentangle`."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a run, best one with the objective dear")
    parser.add_argument("--out", metavar="FOLDER", help="where table and picture go (default: RUN/disentangle)")
    parser.add_argument("--pairs", type=int, default=300, help="pictures that are changed, each in three ways")
    parser.add_argument("--pictures", type=int, default=2000,
                        help="pictures for MIG, DCI and FactorVAE (at least 400; 0 leaves these out)")
    parser.add_argument("--seed", type=int, default=FIRST_UNSEEN_SEED, help="first of the seeds that they come from")


def run(args: argparse.Namespace) -> None:
    """Measure, print a table, write it as JSON and draw a picture."""
    if not (args.pairs >= 20 and (args.pictures == 0 or args.pictures >= 400) and args.seed >= 0):
        raise UserError(f"--pairs is {args.pairs}, --pictures {args.pictures}, --seed {args.seed}; at least 20 pairs, "
                        "400 pictures or none, and seed 0 or above")
    if args.out:
        require_place(Path(args.out, "disentangle.json"))
    out = Path(args.out) if args.out else Path(args.run_folder) / "disentangle"
    found, picture = disentangle(Path(args.run_folder), args.pairs, args.pictures, args.seed)
    write_json(out / "disentangle.json", found)
    with atomic_file(out / "disentangle.png") as path:
        picture(path)
    print(_table(found))
    print(f"{out}: disentangle.json, disentangle.png")


def disentangle(folder: Path, pairs: int, pictures: int, seed: int) -> tuple[dict[str, Any], Any]:
    """All figures of a run's encoder and of an untrained one; and a function that draws the picture to a path."""
    run, rng = Run(folder), np.random.default_rng(seed)
    config = run.config()
    world = training_world(config)
    untrained, trained = make_agent_for(config, world), make_agent_for(config, world)
    world.close()
    if run.restore(trained).updates == 0:
        raise UserError(f"{folder}: nothing is learnt yet (no checkpoint); train it with "
                        f"`surgrl train --resume {folder}`")
    eyes = {"trained": Eyes(trained, config.image.stack), "untrained": Eyes(untrained, config.image.stack)}
    sampler = Sampler(config)
    try:
        states = sampler.states(range(seed, seed + max(pairs, pictures)), max(pairs, pictures), rng)
        shown = sampler.pictures([states[k] for k in rng.permutation(len(states))[:pairs]], rng)
        truth, moved = (np.stack([sampler.mask(moment) for moment in part]) for part in (shown.before, shown.things))
        found: dict[str, Any] = {"run": config.name, "pairs": pairs, "pictures": pictures, "axes": AXES, "seed": seed,
                                 "targets": {name: f"{sign} {value:g}" for name, (sign, value) in TARGETS.items()}}
        for name, seeing in eyes.items():
            found[name] = asdict(sensitivity(seeing, shown, truth, moved))
        if pictures:
            moments, factors, names = sampler.factors(states, rng)
            for name, seeing in tqdm(eyes.items(), desc="MIG, DCI, FactorVAE", unit="encoder", leave=False,
                                     dynamic_ncols=True):
                found[name] |= metrics(seeing, moments, factors, names)
    finally:
        sampler.close()
    from .disentangle_picture import draw
    return found, lambda path: draw(path, eyes["trained"], shown, truth, found["trained"], SHOWN)


def _table(found: dict[str, Any]) -> str:
    """As a person reads it."""
    rows = [("agent half: instrument moved / things moved", "agent_ratio"),
            ("  of pairs in which nothing comes to cover it", "agent_ratio_uncovered"),
            ("  share of these", "uncovered"),
            ("agent half: instrument moved / tissue repainted", "agent_ratio_tissue"),
            ("world half: things moved / instrument moved", "world_ratio"),
            ("world half: tissue repainted / instrument moved", "world_ratio_tissue"),
            ("mean |cos(world, agent)|", "abs_cos"), ("mask IoU on unseen seeds", "mask_iou"), ("MIG", "mig"),
            ("DCI disentanglement", "dci_disentanglement"), ("DCI completeness", "dci_completeness"),
            ("DCI informativeness", "dci_informativeness"), ("FactorVAE score", "factor_vae")]
    trained, untrained = found["trained"], found["untrained"]
    lines = [f"{'':48s}{'trained':>10s}{'untrained':>11s}   target"]
    for text, key in rows:
        if key in trained:
            lines.append(f"{text:48s}{trained[key]:10.3f}{untrained[key]:11.3f}   {_verdict(key, trained[key])}")
    if "agent_share" in trained:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in trained["agent_share"].items())
        lines.append(f"of what the codes tell, the agent half holds: {shares}")
    return "\n".join(lines)


def _verdict(key: str, value: float) -> str:
    if key not in TARGETS:
        return ""
    sign, goal = TARGETS[key]
    met = {">=": value >= goal, ">": value > goal, "<": value < goal}[sign]
    return f"{sign} {goal:g}: {'met' if met else 'missed'}"
