"""What an observation may show beside the image, for every task."""

import gymnasium
import numpy as np
import pytest

from envs.eyes import BASELINE, EYES
from envs.scene import INSTRUMENT, LABELS
from tests.ids import OWN as IDS

ALL = ("right", "depth", "segmentation")


@pytest.mark.parametrize("name", IDS)
def test_every_task_shows_stereo_depth_and_segmentation_when_asked(name):
    env = gymnasium.make(name, image_size=(48, 64), eyes=ALL)
    obs, info = env.reset(seed=0)
    assert set(obs) == {"proprio", *(eye.key for eye in EYES.values())} and env.observation_space.contains(obs)
    assert set(np.unique(obs["segmentation"])) <= set(LABELS)
    assert np.array_equal(obs["segmentation"] == INSTRUMENT, info["mask"] == 1)
    assert 0.001 < np.median(obs["depth"]) < 0.3
    assert 0.5 < np.abs(obs["image"].astype(int) - obs["image_right"]).mean() < 60
    env.close()


def test_disparity_and_depth_tell_the_same_distance():
    env = gymnasium.make("surgrl/Reach-v0", image_size=(240, 320), eyes=ALL)
    obs, _ = env.reset(seed=1)
    inner = env.unwrapped
    assert np.linalg.norm(np.subtract(inner.camera_right.eye, inner.camera.eye)) == pytest.approx(BASELINE)
    green = [(picture[..., 1].astype(int) > picture[..., 0] + 15) for picture in (obs["image"], obs["image_right"])]
    disparity = np.nonzero(green[0])[1].mean() - np.nonzero(green[1])[1].mean()
    depth = np.median(obs["depth"][green[0]])
    assert inner.camera.intrinsics(240, 320)[0, 0] * BASELINE / disparity == pytest.approx(depth, rel=0.05)
    env.close()


def test_one_eye_may_be_asked_for_by_its_name_and_an_unknown_one_is_refused():
    env = gymnasium.make("surgrl/Reach-v0", image_size=(32, 32), eyes="depth")
    assert set(env.reset(seed=0)[0]) == {"proprio", "image", "depth"}
    env.close()
    for eyes in (("right",), "depth"):
        with pytest.raises(ValueError, match="eyes .* with observation 'state', which shows no picture"):
            gymnasium.make("surgrl/Reach-v0", observation="state", eyes=eyes)
    with pytest.raises(ValueError, match="eyes 'xray'"):
        gymnasium.make("surgrl/Reach-v0", eyes=("xray",), disable_env_checker=True)


def test_a_needle_lies_on_the_tissue_turned_by_the_seed():
    env = gymnasium.make("surgrl/ReachNeedle-v0", image_size=(120, 160), eyes="segmentation").unwrapped
    turns = []
    for seed in range(4):
        obs, _ = env.reset(seed=seed)
        pose = env.scene.pose("target")
        assert pose[2, 3] - env.scene.surface(*pose[:2, 3]) == pytest.approx(0.0015)
        assert pose[2, 2] > 0.7                             # flat, along the tissue's slope
        assert (obs["segmentation"] == 3).sum() > 10
        turns.append(np.arctan2(pose[1, 0], pose[0, 0]))
    assert np.ptp(turns) > 0.5
    env.close()
