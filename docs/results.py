"""Writes docs/results.md and its curves from the files of runs, every number from them: one command.

    python docs/results.py                                      # the page, from the runs kept in docs/results/
    python docs/results.py runs/*                               # keep the small files of these there too, then the page
    python docs/results.py runs/* --measure --episodes 100      # first evaluate what was not evaluated yet

A kept run is a folder of its config, curve, measurements and progress, without weights: remove it to drop the run.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from surgrl import charts
from surgrl.config_file import config_names, load_config, plain
from surgrl.files import atomic_file, atomic_folder
from surgrl.intervals import t_half
from surgrl.measure import HELD_OUT, fill
from surgrl.policy.errors import UserError
from surgrl.records import Group, Pooled, Record, by_task, of_trainings, pooled, read_groups
from surgrl.run import PROGRESS

DOCS = Path(__file__).parent
NOT_RUN = "not run"
CLEAN, OTHER, SEEN = "eval-clean", f"eval-{HELD_OUT}", "eval-train-seeds"       # files that surgrl.measure makes
HEAD = """# Results

Made by `python docs/results.py` from the files of the {runs} runs in `docs/results/`; change nothing here by hand.

* **clean**: success on seeds that no training sees, with the task's plain looks. **held-out**: the same seeds under
  the randomisation level `{held_out}`, whose textures, lights and distractions no training sees either.
* **seen seeds**: success on seeds of the training itself, plain looks. The **gap of seeds** is seen minus unseen, the
  **gap of looks** clean minus held-out: percentage points, mean and Student's 95 % interval over the training seeds.
* Every score has its 95 % interval: the wider, at either end, of Student's t over the training seeds and Wilson's over
  all their episodes. One training seed leaves Wilson's alone, which says nothing about other trainings.
* Steps are the agent's own in the environment, without demonstrations; steps, updates and wall time are means over
  seeds. Wall time is that of the whole training, demonstrations and evaluations included, beside whatever else ran.
"""
DISENTANGLED = {
    "agent_ratio": "agent half: instrument moved / things moved",
    "agent_ratio_uncovered": "agent half: the same, of pairs whose true mask stays",
    "uncovered": "share of these pairs",
    "agent_ratio_tissue": "agent half: instrument moved / tissue repainted",
    "world_ratio": "world half: things moved / instrument moved",
    "world_ratio_tissue": "world half: tissue repainted / instrument moved",
    "abs_cos": "mean abs cos(world, agent)", "mask_iou": "mask IoU on unseen seeds", "mig": "MIG",
    "dci_disentanglement": "DCI disentanglement", "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness", "factor_vae": "FactorVAE score"}


def main(words: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    """Measure where asked to, then write the page; 1 when a measurement failed or a run cannot be read."""
    parser = argparse.ArgumentParser(description="docs/results.md, from the files of runs")
    parser.add_argument("runs", nargs="*", help="folders of runs to keep in docs/results, beside those that are there")
    parser.add_argument("--measure", action="store_true", help="first run the evaluations that are missing")
    parser.add_argument("--episodes", type=int, default=100, help="of each evaluation (default: 100)")
    parser.add_argument("--jobs", type=int, default=1, help="evaluations at the same time (default: 1)")
    args = parser.parse_args(words)
    if not (args.episodes >= 1 and args.jobs >= 1):
        parser.error(f"--episodes is {args.episodes}, --jobs {args.jobs}; both must be at least 1")
    failed: list[str] = []
    try:
        given = [record for group in read_groups(of_trainings(args.runs)) for record in group.records]
        if args.measure:
            failed = fill(given, args.episodes, args.jobs)
        for record in given:
            keep(record, docs / "results")
        kept = sorted((docs / "results").glob("*/"))
        if not kept:
            raise UserError(f"{docs / 'results'}: no runs are kept here; name folders of runs")
        write_page(read_groups(kept), docs)
    except UserError as error:
        print(f"results: error: {error}", file=sys.stderr)
        return 1
    print(docs / "results.md")
    return 1 if failed else 0


def keep(record: Record, kept: Path) -> None:
    """Copy what the page is made of to a folder of the run's name: whatever a training wrote but its weights."""
    with atomic_folder(kept / record.folder.name) as scratch:
        for path in [record.folder / "eval.csv", *record.folder.glob("*.json")]:
            if path.is_file():
                shutil.copyfile(path, scratch / path.name)
        for name, values in (("config.yaml", plain(record.config)), (PROGRESS, asdict(record.progress))):
            (scratch / name).write_text(yaml.safe_dump(values, sort_keys=False, width=110), encoding="utf-8")


def write_page(groups: Sequence[Group], docs: Path) -> None:
    """results.md and its curves in images/results/."""
    images = docs / "images" / "results"
    drawn = dict[Path, str]()
    parts = [HEAD.format(runs=sum(len(group.records) for group in groups), held_out=HELD_OUT)]
    for task, members in by_task(groups).items():
        short = task.split("/")[-1].rsplit("-v", 1)[0]
        picture = images / f"{short.lower()}.svg"
        # White paper of its own: the page may be read on black.
        drawn[picture] = charts.success_curves(members).replace("<svg ", '<svg style="background: #fff" ', 1)
        links = {}
        for group in members:
            own = _shipped(group)
            links[group.label] = (f"[{own}](../surgrl/configs/{own}.yaml)" if own
                                  else f"[yaml](results/{group.records[0].folder.name}/config.yaml)")
        parts += [f"## {short}", f"`{task}`: success on unseen seeds while training, over steps and wall time.",
                  f"![learning curves of {short}](images/results/{picture.name})", _scores(members, links),
                  "### Robustness", _robustness(members), "### The latent's two halves", _halves(members)]
    notes = docs / "results-notes.md"
    if notes.is_file():
        parts += ["## What did not work", notes.read_text(encoding="utf-8").strip()]
    parts += ["## Every run", _runs([record for group in groups for record in group.records])]
    _write_all({**drawn, docs / "results.md": "\n\n".join(parts) + "\n"})
    for path in images.glob("*"):
        if path not in drawn:
            path.unlink()


def _scores(groups: Sequence[Group], links: Mapping[str, str]) -> str:
    """A row for each method, then the floor and the ceiling."""
    rows = []
    for name, group in _named(groups).items():
        runs = len(group.records)
        clean, other, seen = (score_cell(group.measured(what), runs) for what in (CLEAN, OTHER, SEEN))
        rows.append([name, _seeds(group.records), clean, other, _gap(group, CLEAN, OTHER), seen,
                     _gap(group, SEEN, CLEAN), _mean(group, "step"), _mean(group, "update"), _minutes(group),
                     links[group.label]])
    for player, name in (("random", "random policy"), ("expert", "scripted expert")):
        told = [scores[player] for group in groups for scores in group.every(CLEAN) if player in scores]
        if told:        # the same seeds wherever they were played: one is all
            rows.append([name, "", score_cell(pooled(told[:1])), *[""] * 8])
    return table(["method", "training seeds", "clean", "held-out", "gap of looks", "seen seeds", "gap of seeds",
                   "steps", "updates", "wall time", "config"], rows)


def _robustness(groups: Sequence[Group]) -> str:
    """Success under each attack, for each method."""
    named = {f"{name}, under the looks of its training" if _attacked_varied(group) else name: group
             for name, group in _named(groups).items()}
    told = {name: [dict(_attacks(scores)) for scores in group.every("attack")] for name, group in named.items()}
    attacks = list(dict.fromkeys(attack for every in told.values() for scores in every for attack in scores))
    if not attacks:
        return f"`surgrl attack` (FGSM against a random sign of the same size): {NOT_RUN}."
    rows = [[attack, *(score_cell(pooled([scores[attack] for scores in told[name] if attack in scores]),
                              len(group.records)) for name, group in named.items())] for attack in attacks]
    return ("Success on unseen seeds, plain looks where nothing else is told, while every picture is disturbed.\n\n"
            + table(["attack", *named], rows))


def _attacked_varied(group: Group) -> bool:
    """Whether an attack was measured under varied looks: until it could be told otherwise, those of the training."""
    trained = any(record.config.env.options.get("randomise", "none") != "none" for record in group.records)
    return trained and any(scores.get("randomise") != "none" for scores in group.every("attack"))


def _halves(groups: Sequence[Group]) -> str:
    """What `surgrl disentangle` told, beside the same network untrained."""
    named = {name: group.every("disentangle") for name, group in _named(groups).items()}
    named = {name: every for name, every in named.items() if every}
    if not named:
        return f"`surgrl disentangle`: {NOT_RUN}."
    rows = []
    for key, text in DISENTANGLED.items():
        cells = [[[scores[part][key] for scores in every
                   if np.isfinite(scores.get(part, {}).get(key, np.nan))]
                  for part in ("trained", "untrained")] for every in named.values()]
        if any(trained for trained, _ in cells):
            goal = next((every[0].get("targets", {}).get(key, "") for every in named.values()), "")
            rows.append([text, *(f"{_spread(trained)} ({_spread(raw)})" for trained, raw in cells), goal])
    return "Mean over seeds and, of several, the range; in brackets the same of an untrained network.\n\n" + table(
        ["", *named, "target"], rows)


def _runs(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        scores = [record.score(name) for name in (CLEAN, OTHER)]
        last = pooled([{name: column[-1] for name, column in record.scores.items()}] if record.scores else [])
        rows.append([f"`{record.folder.name}`", str(record.config.seed), *(
            f"{record.last(name):,.0f}" if record.scores or record.metrics else "0" for name in ("step", "update")),
            f"{np.nan_to_num(record.last('seconds')) / 60:.1f} min", "yes" if record.progress.done else "no",
            score_cell(last), *(score_cell(pooled([score] if score else [])) for score in scores)])
    return table(["run", "seed", "steps", "updates", "wall time", "finished", "last evaluation in training", "clean",
                   "held-out"], rows)


def _attacks(told: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every score that `surgrl attack` wrote, by what was done to the pictures."""
    for row in told.get("rows", []):
        if row["budget"] == 0:
            yield "none", row["control"]
            continue
        yield f"{row['budget']}/255, FGSM on the {told['aim']}", row["attack"]
        yield f"{row['budget']}/255, random signs", row["control"]


def _named(groups: Sequence[Group]) -> dict[str, Group]:
    """By method, or by the runs' own names where a method is there twice."""
    methods = [group.method for group in groups]
    return {method if methods.count(method) == 1 else f"{method} ({group.label})": group
            for method, group in zip(methods, groups, strict=True)}


def _shipped(group: Group) -> str:
    """Name of the config that comes with surgrl and is this one, whatever its seed; empty: none."""
    own = {**plain(group.config), "name": "", "seed": 0}
    return next((name for name in config_names() if {**plain(load_config(name)), "name": "", "seed": 0} == own), "")


def _seeds(records: Sequence[Record]) -> str:
    unfinished = sum(not record.progress.done for record in records)
    return ", ".join(str(record.config.seed) for record in records) + (
        f" ({unfinished} not finished)" if unfinished else "")


def score_cell(score: Pooled | None, runs: int = 1) -> str:
    """A table's cell: with its interval, and with how many of the runs it was measured in, where not in all."""
    if score is None:
        return NOT_RUN
    part = f", {score.seeds} of {runs} seeds" if score.seeds < runs else ""
    return f"**{score.success:.0%}** {score.low:.0%}-{score.high:.0%} of {score.episodes}{part}"


def _gap(group: Group, better: str, worse: str) -> str:
    """In percentage points, of the runs that were measured in both ways; of several, with Student's interval."""
    told = [(record.score(better), record.score(worse)) for record in group.records]
    gaps = 100 * np.array([one["success"] - other["success"] for one, other in told if one and other])
    if not len(gaps):
        return NOT_RUN
    return f"{gaps.mean():+.0f}" + (f" (±{t_half(gaps):.0f})" if len(gaps) > 1 else "")


def _mean(group: Group, name: str) -> str:
    return f"{np.mean(np.nan_to_num([record.last(name) for record in group.records])):,.0f}"


def _minutes(group: Group) -> str:
    return f"{np.mean(np.nan_to_num([record.last('seconds') for record in group.records])) / 60:.1f} min"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    across = f" [{min(values):.3g}, {max(values):.3g}]" if len(values) > 1 else ""
    return f"{np.mean(values):.3g}{across}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _write_all(files: Mapping[Path, str]) -> None:
    for path, text in files.items():
        with atomic_file(path) as scratch:
            scratch.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
