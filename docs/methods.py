"""Writes docs/methods.md, every objective beside the others, from the files in docs/methods/: one command.

    python docs/methods.py                                      # the page, from what was measured and is kept
    python docs/methods.py --measure [--jobs 2] [--only dear]   # first measure checks, costs and trainings
    python docs/methods.py --measure checks costs               # minutes instead of hours
"""

import argparse
import inspect
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from results import CLEAN, NOT_RUN, OTHER, keep, score_cell, table

from models.make import OBJECTIVES, describe
from surgrl.config_file import load_config
from surgrl.files import atomic_file
from surgrl.measure import fill
from surgrl.policy.errors import UserError
from surgrl.records import pooled, read_record

DOCS = Path(__file__).parent
ROOT = DOCS.parent
CONFIG, PLAIN = "reach-small", "none"       # what all are trained with; the run without an objective
HEAD = """# Methods

Made by `python docs/methods.py` from the files in `docs/methods/`; change nothing here by hand.

* **cost**: CPU time of a DrQ-v2 update with the objective over one without, in one run: {setting}
  (`python benchmarks/methods.py`). Reconstruction draws whole images and clips encode several, which is what they cost.
* **check**: what proves the method right (`tests/checks/`), and its control, which must fail: both are run by the
  tests, too.
* **Reach**: success within 5 mm on 100 unseen seeds after one small training with varied looks, config
  [{config}](../surgrl/configs/{config}.yaml), the objective with its default options and weight 1; **held-out** under
  the randomisation level `test-full`. One training seed each: a difference of less than about 15 points means nothing.
  `darla` and `latent_k` let no gradient of the policy into the encoder (`latent_k`'s `isolate: false` does), and a
  thousand updates are few for what they learn in its place.
"""


def main(words: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    """Measure where asked to, then write the page; 1 when a measurement failed."""
    parser = argparse.ArgumentParser(description="docs/methods.md: every objective beside the others")
    parser.add_argument("--measure", nargs="*", choices=list(PARTS), metavar="PART",
                        help=f"first measure {', '.join(PARTS)}, or the parts named; a training that is there is kept")
    parser.add_argument("--only", nargs="+", choices=[PLAIN, *OBJECTIVES], default=[PLAIN, *OBJECTIVES],
                        metavar="METHOD", help="measure these alone")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at the same time (default: 2)")
    args = parser.parse_args(words)
    kept, failed = docs / "methods", []
    try:
        if args.measure is not None:
            for part in args.measure or PARTS:
                failed += PARTS[part](args.only, kept, args.jobs)
        page = write_page(kept)
    except UserError as error:
        print(f"methods: error: {error}", file=sys.stderr)
        return 1
    with atomic_file(docs / "methods.md") as path:
        path.write_text(page, encoding="utf-8")
    print(docs / "methods.md")
    return 1 if failed else 0


def measure_checks(names: Sequence[str], kept: Path, jobs: int) -> list[str]:
    """What the tests ask of these objectives, with its figures."""
    sys.path.insert(0, str(ROOT))       # tests are no package that is installed
    checks = _read(kept / "checks.json")
    for name in names:
        if name != PLAIN:
            checks[name] = import_module(f"tests.checks.{name}").measure()._asdict()
            print(f"{name}: {checks[name]['figure']:.3g}, control {checks[name]['control']:.3g}", flush=True)
    _write(kept / "checks.json", checks)
    return []


def measure_costs(names: Sequence[str], kept: Path, jobs: int) -> list[str]:
    """Of all objectives, whatever the names: a ratio holds within one run only."""
    _command(ROOT / "benchmarks" / "methods.py", "--size", 64, "--batch", 128, "--threads", 1, "--json",
             kept / "cost.json")
    return []


def measure_runs(names: Sequence[str], kept: Path, jobs: int) -> list[str]:
    """Trainings that are not there yet, and their evaluations; a line for each of these that failed."""
    runs = ROOT / "runs"
    options = ",".join("[]" if name == PLAIN else f"[{{name: {name}}}]" for name in names)
    _command("-m", "surgrl", "train", CONFIG, "name=methods", "--seeds", load_config(CONFIG).seed, "--grid",
             f"objectives={options}", "--jobs", jobs, "--runs", runs)
    records = [record for record in map(read_record, sorted(runs.glob("methods-*/"))) if record.progress.done
               and _method(record) in names]
    failed = fill(records, 100, jobs, (CLEAN, OTHER))
    for record in records:
        keep(record, kept / "runs")
    return failed


PARTS = {"checks": measure_checks, "costs": measure_costs, "runs": measure_runs}


def write_page(kept: Path) -> str:
    """The page as text."""
    costs, checks = _read(kept / "cost.json"), _read(kept / "checks.json")
    records = {_method(record): record for record in map(read_record, sorted((kept / "runs").glob("*/")))}
    rows, parts = [], [HEAD.format(setting=costs.get("setting", NOT_RUN), config=CONFIG)]
    said = describe()
    for name in [PLAIN, *OBJECTIVES]:
        cost = 1.0 if name == PLAIN else costs.get("rows", {}).get(name, {}).get("ratio")
        record = records.get(name)
        scores = [record.score(what) if record else None for what in (CLEAN, OTHER)]
        rows.append([f"`{name}`" if name != PLAIN else "none", NOT_RUN if cost is None else f"{cost:.2f}",
                     *(("", "") if name == PLAIN else _check(checks.get(name))),
                     *(score_cell(pooled([score] if score else [])) for score in scores)])
    parts.append(table(["objective", "cost", "check", "control", "Reach", "Reach, held-out"], rows))
    for name in OBJECTIVES:
        check = checks.get(name)
        parts.append(f"## {name}\n\n{said[name]} {_source(name)}" + (f"\n\nCheck: {check['what']}." if check else ""))
    return "\n\n".join(parts) + "\n"


def _check(check: dict[str, Any] | None) -> tuple[str, str]:
    """Figure with the bound that it meets, and the control's."""
    if check is None:
        return NOT_RUN, NOT_RUN
    sign = ">=" if check["higher"] else "<="
    return f"{check['figure']:.3g} ({sign} {check['bound']:.3g})", f"{check['control']:.3g}"


def _source(name: str) -> str:
    """The first line of the method's file, which names its source."""
    module = import_module("models." + OBJECTIVES[name].partition(":")[0])
    return f"*{inspect.getdoc(module).splitlines()[0]}*"


def _method(record: Any) -> str:
    return next((str(entry["name"]) for entry in record.config.objectives), PLAIN)


def _write(path: Path, values: dict[str, Any]) -> None:
    with atomic_file(path) as scratch:
        scratch.write_text(json.dumps(values, indent=1))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _command(*words: Any) -> None:
    """Run Python with these words; UserError where it fails."""
    done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"`python {' '.join(map(str, words))}` ended with {done.returncode}")


if __name__ == "__main__":
    raise SystemExit(main())
