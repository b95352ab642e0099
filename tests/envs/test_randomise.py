"""Randomisation: levels are sound, test levels are held out, and a mistake is named."""

from dataclasses import fields

import gymnasium
import numpy as np
import pytest
import yaml

from envs.camera import Camera
from envs.effects import Effects
from envs.geometry import rotation_by
from envs.randomise import BOUNDS, LEVELS, Randomiser, Style, load_randomiser, styled_camera
from tests.ids import OWN as IDS

NAMES = list(yaml.safe_load(LEVELS.read_text()))


def test_the_levels_are_those_that_are_promised():
    assert NAMES == ["none", "mild", "full", "test-mild", "test-full"]


@pytest.mark.parametrize("train", ["mild", "full"])
@pytest.mark.parametrize("test", ["test-mild", "test-full"])
def test_test_levels_share_no_palette_and_no_texture_with_training(train, test):
    seen, held_out = load_randomiser(train), load_randomiser(test)
    assert not set(seen.palettes) & set(held_out.palettes) and not set(seen.textures) & set(held_out.textures)
    assert held_out.palettes and held_out.textures


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_style_and_every_draw_is_within_its_range(name):
    randomiser = load_randomiser(name)
    styles = [randomiser.draw(np.random.default_rng(seed)) for seed in range(50)]
    assert styles[3] == randomiser.draw(np.random.default_rng(3))
    assert (len(set(map(str, styles))) == 1) == (name == "none")
    ranges = yaml.safe_load(LEVELS.read_text())[name]
    for style in styles:
        factors = style.factors()
        for key in set(ranges) & set(factors):
            assert ranges[key][0] - 0.5 * (key == "latency") <= factors[key] <= ranges[key][1]


def test_none_leaves_everything_as_it_was_built():
    assert load_randomiser("none").draw(np.random.default_rng(0)) == Style() and load_randomiser("none").none


def test_factors_name_everything_that_varies():
    names = set(Style().factors())
    assert {entry.name for entry in fields(Effects)} < names
    assert {key.removesuffix("_mm").removesuffix("_deg") for key in BOUNDS} <= names


def test_ranges_of_ones_own_come_from_a_file_or_a_dict(tmp_path):
    (tmp_path / "mine.yaml").write_text("power: [0.5, 0.6]\n")
    for source in (str(tmp_path / "mine.yaml"), {"power": [0.5, 0.6]}):
        assert 0.5 <= load_randomiser(source).draw(np.random.default_rng(0)).power <= 0.6


@pytest.mark.parametrize(("ranges", "told"), [
    ({"power": [1.2, 0.8]}, "power runs from 1.2 to 0.8"), ({"power": [0.5, 99]}, "within 0.05 to 10"),
    ({"power": 1.0}, "power is 1.0"), ({"power": [0.5, "x"]}, "power is"), ({"powr": [1, 1]}, "'powr' is unknown"),
    ({"smoke": [0, 1.5]}, "smoke"), ({"palettes": ["green"]}, "palettes is"), ({"textures": [-1]}, "textures is"),
    ({"noise": [float("nan"), 1.0]}, "noise")])
def test_a_range_that_cannot_be_is_named(ranges, told):
    with pytest.raises(ValueError, match=told):
        Randomiser(ranges)


@pytest.mark.parametrize("text", ["- 1\n", "power: [\n"])
def test_a_file_that_holds_no_ranges_is_named(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"bad\.yaml"):
        load_randomiser(str(tmp_path / "bad.yaml"))


def test_an_unknown_level_lists_those_there_are():
    with pytest.raises(ValueError, match="test-full"):
        load_randomiser("extreme")


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("level", ["full", "test-full"])
def test_every_task_is_varied_by_the_seed_and_stays_within_its_spaces(name, level):
    env = gymnasium.make(name, image_size=(48, 64), randomise=level, disable_env_checker=True)
    starts = []
    for seed in (0, 1, 0):
        obs, info = env.reset(seed=seed)
        assert set(info["factors"]) == set(Style().factors())
        for _ in range(5):
            obs, _, _, _, info = env.step(env.action_space.high)
            assert env.observation_space["proprio"].contains(obs["proprio"])
        starts.append((obs["image"].astype(int), obs["proprio"], str(info["factors"])))
    first, other, again = starts
    assert first[2] == again[2] != other[2] and np.array_equal(first[1], again[1])
    assert np.abs(first[0] - again[0]).mean() < 1 < np.abs(first[0] - other[0]).mean()
    env.close()


@pytest.mark.parametrize("name", IDS)
def test_a_varied_state_is_a_value_too(name):
    env = gymnasium.make(name, observation="state", randomise="full", disable_env_checker=True).unwrapped
    rng = np.random.default_rng(0)
    env.reset(seed=2)
    for _ in range(3):
        env.step(rng.uniform(-1, 1, env.action_space.shape))
    state = env.get_state()
    actions = rng.uniform(-1, 1, (5, *env.action_space.shape))
    first = [env.step(action)[0]["state"] for action in actions]
    env.reset(seed=9)
    env.set_state(state)
    assert all(np.array_equal(env.step(action)[0]["state"], seen) for action, seen in zip(actions, first, strict=True))
    env.close()


def test_a_field_of_view_beyond_what_the_camera_can_see_is_refused_before_any_episode():
    with pytest.raises(ValueError, match=r"fov_scale reaches 2.0; with this camera's 100 degrees .* not be above 1.7"):
        gymnasium.make("surgrl/ColonNavigate-v0", randomise={"fov_scale": [1.6, 2.0]})
    for name, most in (("surgrl/ColonNavigate-v0", 1.7), ("surgrl/Reach-v0", 2.0)):
        env = gymnasium.make(name, image_size=(32, 32), randomise={"fov_scale": [most, most]})
        env.reset(seed=0)
        env.close()


def test_a_field_of_view_that_varies_keeps_few_shaders():
    env = gymnasium.make("surgrl/Reach-v0", image_size=(16, 16), randomise={"fov_scale": [0.9, 1.1]})
    for seed in range(12):
        env.reset(seed=seed)
    assert len(env.unwrapped.scene.bullet._shaders) <= 8
    env.close()


def test_latency_delays_an_action_by_whole_steps():
    env = gymnasium.make("surgrl/Reach-v0", observation="state", randomise={"latency": [2, 2]})
    start = env.reset(seed=1)[0]["proprio"][:3]
    moved = [np.abs(env.step(np.array([0.5, 0, 0]))[0]["proprio"][:3] - start).max() for _ in range(3)]
    assert moved[:2] == [0, 0] and moved[2] > 5e-4
    env.close()


def test_a_late_action_is_the_one_that_was_given_though_its_array_is_used_again():
    env = gymnasium.make("surgrl/Reach-v0", observation="state", randomise={"latency": [2, 2]})

    def seen(reused):
        found, buffer = [env.reset(seed=1)[0]["proprio"]], np.zeros(3)
        for value in (1.0, -1.0, 0.0, 0.5, 0.0):
            buffer[0] = value
            found.append(env.step(buffer if reused else buffer.copy())[0]["proprio"])
        return np.array(found)
    assert np.array_equal(seen(True), seen(False))
    env.close()


def test_the_camera_moves_along_its_own_axes_and_the_action_with_it():
    camera = Camera("c", (0, -0.05, 0.09), (0, 0, 0), 56.0, 0.02, 0.4)
    moved = styled_camera(camera, Style(camera_shift=(0.001, 0.0, 0.002), camera_turn=(0.0, 0.0, 0.1)))
    assert camera.rotation.T @ np.subtract(moved.eye, camera.eye) == pytest.approx([0.001, 0, 0.002])
    assert np.allclose(camera.rotation.T @ moved.rotation, rotation_by(np.array([0, 0, 0.1])))
