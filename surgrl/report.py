"""`surgrl report RUN RUN …`: runs compared on one page that needs no other file."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from . import charts
from .config_file import plain
from .page import Page
from .policy.errors import UserError
from .records import Group, Pooled, by_task, differences, of_trainings, read_groups
from .world import FIRST_UNSEEN_SEED

# Told beside the success of the training's own evaluations: file that `surgrl eval` wrote into the run -> column
MEASURED = {"eval-clean": "success, clean", "eval-test-full": "success, held-out looks"}
NARROW = "\N{NO-BREAK SPACE}"
LOSSES = 12         # panels at most
NOTE = ("Lines are means over seeds at places that every seed has reached. Their band, as every interval here, is of "
        "95 %: the wider, at either end, of Student's t over the seeds and Wilson's over all their episodes.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl report`."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run; those that differ in their seed only "
                        "are shown as one, and what is no training's run is left out")
    parser.add_argument("--out", default="report.html", help="page to write (default: report.html)")
    parser.add_argument("--videos", type=int, default=2, metavar="N",
                        help="episodes in each group's video; 0: no videos (default: 2)")


def run(args: argparse.Namespace) -> None:
    """Write the page; prints its path."""
    if not args.videos >= 0:
        raise UserError(f"--videos is {args.videos}; it must be 0 or above")
    groups = read_groups(of_trainings(args.runs))
    empty = [record.folder for group in groups for record in group.records if not record.scores]
    for folder in empty:
        print(f"{folder}: not evaluated yet; its success is left out")
    path = Path(args.out)
    write_report(groups, path, args.videos)
    print(path.resolve())


def write_report(groups: Sequence[Group], path: Path, episodes: int) -> None:
    """The page of these groups at `path`, with `episodes` in each video."""
    runs = sum(len(group.records) for group in groups)
    tasks = by_task(groups)
    page = Page("Training runs compared", f"{_count(runs, 'run')}, {_count(len(groups), 'config')}, "
                f"{_count(len(tasks), 'task')}: {', '.join(tasks)}.")
    page.text(NOTE)
    for task, members in tasks.items():
        page.heading(task)
        _summary(page, members)
        page.chart(charts.success_curves(members))
        names = losses(members)
        if names:
            page.subheading("What was learnt from")
            page.chart(charts.metric_curves(members, names))
        if episodes:
            page.subheading("As it acts")
            _videos(page, members, episodes)
        page.subheading("Configs")
        for group in members:
            page.folded(f"{group.label}: {', '.join(str(record.folder) for record in group.records)}",
                        yaml.safe_dump(plain(group.config), sort_keys=False, width=110))
    page.write(path)


def losses(groups: Sequence[Group]) -> list[str]:
    """The metrics worth a panel: those that change, of most groups first, without how long things took."""
    count: dict[str, int] = {}
    for group in groups:
        for name in {name: None for record in group.records for name in record.metrics}:
            told = [record.metrics[name] for record in group.records if name in record.metrics]
            if "/" in name and not name.startswith("time/") and any(np.nanstd(column) > 0 for column in told
                                                                    if np.isfinite(column).any()):
                count[name] = count.get(name, 0) + 1
    return sorted(count, key=lambda name: -count[name])[:LOSSES]


def _summary(page: Page, groups: Sequence[Group]) -> None:
    """Best success in large, then a row for each group."""
    finals = [(group.final, group.label) for group in groups if group.final]
    if finals:
        best, label = max(finals, key=lambda pair: pair[0].success)
        steps = [_mean(group, "step") for group in groups]
        page.figures([(f"{best.success:.0%}", f"success of {label}, {best.low:.0%}-{best.high:.0%}"),
                      (f"{best.episodes}", f"episodes on unseen seeds, {_count(best.seeds, 'training')}"),
                      (f"{max(steps):,.0f}", "environment steps of its own, at most")])
    extra = [name for name in MEASURED if any(group.measured(name) for group in groups)]
    rows = [[group.label, group.method, _seeds(group), _told(group.final),
             *(_told(group.measured(name)) for name in extra), f"{_mean(group, 'step'):,.0f}",
             f"{_mean(group, 'update'):,.0f}", f"{_mean(group, 'seconds') / 60:.1f}{NARROW}min",
             "\n".join(f"{key} {value}" for key, value in changed.items())]
            for group, changed in zip(groups, differences(groups), strict=True)]
    page.table(["runs", "agent", "seeds", "success at the end", *(MEASURED[name] for name in extra), "steps", "updates",
                "wall time", "config, where they differ"], rows)


def _videos(page: Page, groups: Sequence[Group], episodes: int) -> None:
    """One for each group whose agent has learnt something."""
    from .rollout_video import rollout
    clips = []
    for group in groups:
        record = next((record for record in group.records if (record.folder / "checkpoint.pt").is_file()), None)
        if record is None:
            continue
        print(f"video of {record.folder}", flush=True)
        seeds = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + episodes)
        clips.append((rollout(record.folder, seeds), f"{group.label}, seed {record.config.seed}"))
    page.videos(clips)
    page.text("The first unseen seeds, not chosen ones; in the corner, what the policy sees.")


def _seeds(group: Group) -> str:
    unfinished = sum(not record.progress.done for record in group.records)
    seeds = ", ".join(str(record.config.seed) for record in group.records)
    return seeds + (f"\n({unfinished} not finished)" if unfinished else "")


def _told(score: Pooled | None) -> str:
    if score is None:
        return "not run"
    interval = f"{score.low:.0%}-{score.high:.0%} of {score.episodes}"
    return f"{score.success:.0%}\n{interval.replace(' ', NARROW)}"


def _mean(group: Group, name: str) -> float:
    """Over seeds, of the newest; 0 before the first."""
    return float(np.mean(np.nan_to_num([record.last(name) for record in group.records])))


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
