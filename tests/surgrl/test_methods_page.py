"""docs/methods.md: a row for every objective, made from what was measured and from nothing else."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

from models.make import OBJECTIVES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def methods(monkeypatch):
    """docs/methods.py, which finds docs/results.py beside it."""
    monkeypatch.syspath_prepend(str(DOCS))
    yield import_module("methods")
    for name in ("methods", "results"):
        sys.modules.pop(name, None)


def test_every_objective_has_a_row_and_what_was_not_measured_says_so(methods, make_run, tmp_path):
    score = {"success": 0.75, "low": 0.66, "high": 0.82, "episodes": 100}
    kept = tmp_path / "methods"
    make_run(kept / "runs", "methods-dear", "objectives=[{name: dear}]", measured={"eval-clean": {"policy": score}})
    (kept / "cost.json").write_text(json.dumps({"setting": "64 px", "rows": {"dear": {"ratio": 1.18}}}))
    (kept / "checks.json").write_text(json.dumps({"dear": {
        "figure": 140.0, "control": 1.7, "bound": 50.0, "what": "selectivity of the agent's half", "higher": True}}))
    assert methods.main([], tmp_path) == 0
    rows = {line.split("|")[1].strip(" `"): [cell.strip() for cell in line.split("|")[2:-1]]
            for line in (tmp_path / "methods.md").read_text().splitlines() if line.startswith("| ")}
    assert set(OBJECTIVES) | {"none"} <= set(rows)
    assert rows["dear"][:3] == ["1.18", "140 (>= 50)", "1.7"] and rows["dear"][3].startswith("**75%**")
    assert rows["dear"][4] == "not run" and rows["curl"] == ["not run"] * 5
    assert rows["none"] == ["1.00", "", "", "not run", "not run"]


def test_each_method_is_told_with_its_source_and_its_check(methods, tmp_path):
    assert methods.main([], tmp_path) == 0
    text = (tmp_path / "methods.md").read_text()
    assert all(f"\n## {name}\n" in text for name in OBJECTIVES) and "arXiv:2004.04136" in text
