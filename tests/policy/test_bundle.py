"""A bundle is whole, or it is refused by name and left as it lies."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.errors import UserError
from surgrl.policy.runtime import PolicyRuntime
from surgrl.policy.spec import ActionSpec, ImageSpec, ProprioSpec

FILES = ("policy.onnx", "manifest.yaml", "golden.npz")


@pytest.fixture
def bundle(tmp_path: Path, make_bundle: Callable[..., PolicyBundle]) -> PolicyBundle:
    return make_bundle(tmp_path / "bundle")


def _contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def _rewrite_manifest(folder: Path, **changes: object) -> None:
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
    (folder / "manifest.yaml").write_text(yaml.safe_dump({**manifest, **changes}))


def test_what_is_written_is_what_is_read(tmp_path, bundle):
    again = PolicyBundle.load(bundle.folder)
    assert again == bundle
    for name, values in bundle.golden().items():
        assert np.array_equal(values, again.golden()[name])


@pytest.mark.parametrize("seed", range(8))
def test_any_spec_survives_being_written_and_read(tmp_path, bundle, seed):
    rng = np.random.default_rng(seed)
    folder = tmp_path / f"other {seed}"
    shutil.copytree(bundle.folder, folder)
    width, height, count = (int(number) for number in rng.integers((64, 64, 1), (2000, 2000, 5)))
    top, left = int(rng.integers(0, height // 2)), int(rng.integers(0, width // 2))
    low = rng.normal(size=count)
    made = PolicyBundle(
        folder, f"surgrl/Task{seed}-v0",
        ImageSpec("caméra", width, height, (top, left, height // 2, width // 2), (8, 9),
                  int(rng.integers(1, 5)), float(rng.uniform(1, 100)), str(rng.choice(["rgb", "bgr"]))),
        ProprioSpec(("x", "jaw"), "base"),
        ActionSpec(tuple(f"a{number}" for number in range(count)), ("m/s",) * count, tuple(low.tolist()),
                   tuple((low + rng.uniform(0.1, 1, count)).tolist()), "caméra"),
        {"agent": "x", "scores": {"success": 0.25, "seeds": [1, 2]}, "note": "naïve: yes, 100 %"})
    made.write(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 2)), np.zeros((1, count)))
    assert PolicyBundle.load(folder) == made


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.05, 0.5, 0.95])
def test_one_flipped_bit_is_refused_by_name_and_the_file_left_in_place(bundle, name, place):
    path = bundle.folder / name
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0b100
    path.write_bytes(data)
    before = _contents(bundle.folder)
    with pytest.raises(UserError, match=name):
        PolicyBundle.load(bundle.folder)
    assert _contents(bundle.folder) == before


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle, name):
    (bundle.folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        PolicyBundle.load(bundle.folder)


def test_a_folder_that_is_not_there_is_named_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(UserError, match="no such bundle.*surgrl export"):
        PolicyBundle.load(tmp_path / "none")


@pytest.mark.parametrize("form", [3, "1", None])
def test_another_format_is_refused_with_both_numbers(bundle, form):
    _rewrite_manifest(bundle.folder, format=form)
    with pytest.raises(UserError, match=f"bundle format {form!r}, this surgrl reads 1 and 2"):
        PolicyBundle.load(bundle.folder)


def test_a_manifest_edited_by_hand_is_refused(bundle):
    text = (bundle.folder / "manifest.yaml").read_text()
    (bundle.folder / "manifest.yaml").write_text(text.replace("- 0.05", "- 0.5"))
    with pytest.raises(UserError, match="manifest.yaml.*not the one that was exported"):
        PolicyBundle.load(bundle.folder)


@pytest.mark.parametrize("text", ["", "[1, 2", "just words", "- a\n- b\n", "format: 1\n",
                                  "format: 1\nsha256: 3\n"])
def test_a_manifest_that_is_none_is_refused(bundle, text):
    (bundle.folder / "manifest.yaml").write_text(text)
    with pytest.raises(UserError, match="manifest.yaml"):
        PolicyBundle.load(bundle.folder)


def test_a_network_that_does_not_give_its_golden_actions_is_refused(bundle):
    golden = bundle.golden()
    bundle.write(golden["frames"], golden["proprio"], golden["actions"] + 0.01)
    with pytest.raises(UserError, match="golden action is off by 0.01"):
        PolicyRuntime(PolicyBundle.load(bundle.folder))


def test_golden_actions_that_are_no_numbers_are_refused(bundle):
    golden = bundle.golden()
    bundle.write(golden["frames"], golden["proprio"], np.full_like(golden["actions"], np.nan))
    with pytest.raises(UserError, match="off by nan"):
        PolicyRuntime(PolicyBundle.load(bundle.folder))


def test_a_path_with_spaces_and_other_letters(tmp_path, make_bundle):
    folder = tmp_path / "ma politique 手術 é"
    make_bundle(folder)
    assert PolicyRuntime(PolicyBundle.load(str(folder))).golden_error <= 1e-4
