"""A write is whole or it did not happen."""

import json
import stat

import pytest

from surgrl.files import atomic_file, atomic_folder, write_json


class PowerCutError(Exception):
    """What a test raises in the middle of a write."""


def test_a_file_appears_whole_under_its_name(tmp_path):
    with atomic_file(tmp_path / "new" / "a.csv") as scratch:
        scratch.write_text("all")
        assert not (tmp_path / "new" / "a.csv").exists()
        assert scratch.suffix == ".csv"
    assert (tmp_path / "new" / "a.csv").read_text() == "all"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.csv"]


def test_an_exception_leaves_the_old_file_and_no_scratch(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(PowerCutError), atomic_file(tmp_path / "a.csv") as scratch:
        scratch.write_text("half")
        raise PowerCutError
    assert (tmp_path / "a.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_file_can_be_read_by_the_rest_of_the_lab(tmp_path):
    with atomic_file(tmp_path / "a.csv") as scratch:
        scratch.write_text("all")
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == 0o644


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").touch()
    with atomic_folder(tmp_path / "bundle") as scratch:
        (scratch / "new").touch()
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_exception_leaves_the_old_folder_and_no_scratch(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").touch()
    with pytest.raises(PowerCutError), atomic_folder(tmp_path / "bundle") as scratch:
        (scratch / "new").touch()
        raise PowerCutError
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_numbers_that_json_lacks_are_written_as_null(tmp_path):
    write_json(tmp_path / "a.json", {"distance": float("nan"), "rows": [(1, float("inf"), -0.5, None, "NaN", True)]})
    text = (tmp_path / "a.json").read_text()
    told = {"distance": None, "rows": [[1, None, -0.5, None, "NaN", True]]}
    assert json.loads(text, parse_constant=pytest.fail) == told
