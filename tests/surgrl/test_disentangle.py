"""`surgrl disentangle`: what is changed in a picture is that alone, and the figures follow their definitions."""

import json
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from models.encoder import Encoder
from models.make import make_agent
from surgrl.cli import main
from surgrl.config_file import config_of
from surgrl.disentangle import Eyes, mask_iou, sensitivity
from surgrl.interventions import Pictures, Sampler
from surgrl.policy.errors import UserError
from surgrl.run import Run
from surgrl.world import FIRST_UNSEEN_SEED

TINY = {"name": "tiny", "threads": 1, "image": {"render": 32, "size": 32, "stack": 1}, "steps": 0,
        "encoder": {"latent_dim": 16}, "objectives": [{"name": "dear"}], "memory": {"capacity": 2000},
        "agent": {"name": "drqv2", "batch_size": 16, "hidden_dim": 32}, "demos": {"episodes": 2, "updates": 2},
        "eval": {"episodes": 1}}


@pytest.fixture(scope="module", params=["surgrl/Reach-v0", "surgrl/Retract-v0"])
def sampled(request):
    """A sampler, states, and their pictures."""
    made = Sampler(config_of(TINY | {"env": {"id": request.param}, "image": {"render": 64, "size": 64, "stack": 1}}))
    rng = np.random.default_rng(0)
    states = made.states(range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + 20), 8, rng)
    yield made, states, made.pictures(states, rng), rng
    made.close()


def test_a_moved_instrument_leaves_the_rest_where_it_was(sampled):
    sampler, states, shown, _ = sampled
    assert len(states) == 8
    for before, after in zip(shown.before, shown.instrument, strict=True):
        free = (sampler.mask(before) | sampler.mask(after)) == 0
        free = cv2.erode(free.astype(np.uint8), np.ones((7, 7)), borderValue=1) > 0     # its edge shades 3 px around
        changed = np.abs(before.frame.astype(int) - after.frame).max(2) > 4
        assert changed.any() and not changed[free].any()


def test_moved_things_leave_the_instrument_where_it_was(sampled):
    sampler, _, shown, _ = sampled
    for before, after in zip(shown.before, shown.things, strict=True):
        assert not np.array_equal(before.frame, after.frame)
        assert np.array_equal(before.proprio, after.proprio)
    for before, after in zip(shown.tissue_before, shown.tissue, strict=True):
        assert np.array_equal(sampler.mask(before), sampler.mask(after))
    assert any(not np.array_equal(b.frame, a.frame) for b, a in zip(shown.tissue_before, shown.tissue, strict=True))


def test_factors_are_those_of_the_picture_and_drawn_apart(sampled):
    sampler, states, _, rng = sampled
    moments, factors, names = sampler.factors(states, rng)
    assert len(moments) == 8 and factors.shape == (8, len(names)) and np.isfinite(factors).all()
    assert names[:4] == ["tip x", "tip y", "tip z", "jaw"] and names[-1] == "palette"
    assert {"target x", "target y"} <= set(names) or {"lesion x", "sheet x"} <= set(names)


def test_a_task_without_an_instrument_is_refused():
    with pytest.raises(UserError, match="moves no instrument"):
        Sampler(config_of(TINY | {"env": {"id": "surgrl/ColonNavigate-v0"}}))


def test_sensitivity_is_the_ratio_of_mean_squared_distances():
    codes = {"before": ([[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2), "instrument": ([[1.0, 1.0]] * 2, [[6.0, 1.0]] * 2),
             "things": ([[3.0, 0.0]] * 2, [[0.0, 2.0], [0.0, 1.5]]), "tissue": ([[1.0, 3.0]] * 2, [[0.0, 3.0]] * 2)}
    eyes = SimpleNamespace(halves=lambda name: tuple(np.array(half) for half in codes[name]), masks=lambda agent: None)
    names = {field: field if field in codes else "before" for field in Pictures._fields}
    masks = np.eye(2)[[[0, 1], [0, 1]]]         # in the first pair, what is moved comes to cover the instrument
    found = sensitivity(eyes, SimpleNamespace(**names), masks, masks * [[[0]], [[1]]])
    assert (found.agent_ratio, found.agent_ratio_tissue) == (36.0 / 0.625, 9.0)
    assert (found.agent_ratio_uncovered, found.uncovered) == (144.0, 0.5)
    assert np.isnan(sensitivity(eyes, SimpleNamespace(**names), masks, 0 * masks).agent_ratio_uncovered)
    assert (found.world_ratio, found.world_ratio_tissue, found.abs_cos) == (4.0, 9.0, 0.0)
    assert np.isnan(found.mask_iou)


def test_iou_of_a_mask():
    drawn, true = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    drawn[0, :2], true[0, 1:3] = True, True
    assert mask_iou(drawn, true)[0] == pytest.approx(1 / 3) and np.isnan(mask_iou(drawn, true)[1])
    larger = np.pad(true, ((0, 0), (1, 2), (2, 2)), constant_values=True)       # seen by an agent of the middle alone
    assert mask_iou(drawn, larger)[0] == pytest.approx(1 / 3)


def test_an_agent_without_halves_is_refused():
    with pytest.raises(UserError, match="even latent_dim"):
        Eyes(SimpleNamespace(encoder=Encoder(3, (32, 32), latent_dim=7)), 1)
    Eyes(make_agent("dvc", {}, objectives=[{"name": "dear"}], image_shape=(3, 32, 32), action_dim=3,
                    encoder={"latent_dim": 16}), 1)       # every agent sees by an encoder


def test_the_command_writes_a_table_and_a_picture(trained, tmp_path, capsys):
    pytest.importorskip("sklearn")
    begun = Run(tmp_path / "begun")
    begun.begin(config_of(TINY))
    assert main(["disentangle", str(begun.folder)]) == 1 and "nothing is learnt yet" in capsys.readouterr().err
    folder = shutil.copytree(trained, tmp_path / "tiny")
    assert main(["disentangle", str(folder), "--pairs", "20", "--pictures", "400"]) == 0
    said, shown = capsys.readouterr()
    assert all(f"{what}: " in shown for what in ("states", "pairs", "pictures", "MIG, DCI, FactorVAE"))
    assert "agent half: instrument moved / things moved" in said and "missed" in said
    found = json.loads((folder / "disentangle" / "disentangle.json").read_text())
    assert found["trained"]["agent_ratio"] > 0
    assert set(found["trained"]["told"]) == set(found["untrained"]["agent_share"])
    assert cv2.imread(str(folder / "disentangle" / "disentangle.png")).shape[1] > 1000
    assert main(["disentangle", str(folder), "--pairs", "1"]) == 1
