"""The method in docs/extend.md works as it stands there: one file, one line."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from models.make import OBJECTIVES

GUIDE = Path(__file__).parents[2] / "docs" / "extend.md"


@pytest.fixture
def guided(tmp_path, monkeypatch):
    """The guide's file and its line, as a reader would put them in; the objective's name."""
    file, line = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    name, where = re.search(r'"(\w+)": "([\w.:]+)"', line).groups()
    path = tmp_path / f"{name}.py"
    path.write_text(file)
    spec = importlib.util.spec_from_file_location(f"models.objectives.{name}", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(OBJECTIVES, name, where)
    return name


def test_the_guides_method_learns_beside_the_agent(guided, make_small, make_memory):
    agent, memory = make_small({"name": guided}, batch_size=32, shift=1), make_memory()
    found = [agent.update(memory)[f"{guided}/agree"] for _ in range(100)]
    assert np.mean(found[-5:]) < 0.5 * np.mean(found[:5])


def test_the_guide_names_its_options_and_refuses_others(guided, make_small):
    with pytest.raises(ValueError, match="has no option 'feature'; it has: features=64, redundancy=0.005"):
        make_small({"name": guided, "feature": 32})
