"""docs/recordings.md tells the truth: its table of formats is measured anew, its options are the command's."""

import argparse
import importlib.util
import re
from pathlib import Path

import pytest

from surgrl.outside import LEAST_RED, is_outside
from surgrl.policy.spec import Array
from surgrl.view import add_view_arguments

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/recordings.md").read_text(encoding="utf-8")


def load(path):
    """A script of the project as a module."""
    spec = importlib.util.spec_from_file_location(path.stem + "_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_formats_is_what_is_read():
    pytest.importorskip("pyarrow")
    formats = load(ROOT / "docs/formats.py")
    assert TEXT[TEXT.index(formats.BEGIN) + len(formats.BEGIN):TEXT.index(formats.END)].strip() == formats.table()


def test_every_option_of_a_view_is_explained():
    parser = argparse.ArgumentParser()
    add_view_arguments(parser)
    names = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
    assert len(names) > 6 and [name for name in names if f"`{name}" not in TEXT and name != "--help"] == []


def test_the_pages_of_recording_and_of_recordings_know_each_other():
    assert "(recording.md)" in TEXT and "(recordings.md)" in (ROOT / "docs/recording.md").read_text(encoding="utf-8")


def taken_for_outside(pictures: list[Array]) -> float:
    return sum(map(is_outside, pictures)) / len(pictures)


def test_the_rule_for_outside_pictures_is_as_good_and_as_bad_as_the_page_says():
    pytest.importorskip("pybullet")
    import numpy as np
    outside = load(ROOT / "benchmarks/outside.py")
    assert f"less than {LEAST_RED:.0%} of its lit pixels" in re.sub(r"(\d) %", r"\1%", TEXT)
    for name, draw in outside.OUTSIDE.items():
        rng = np.random.default_rng(1)
        share = taken_for_outside([draw(rng) for _ in range(30)])
        assert share == 0 if name == "a bare face, close" else share >= 0.9, name
    assert taken_for_outside(list(outside.inside("surgrl/Reach-v0", 2, "full"))) == 0
