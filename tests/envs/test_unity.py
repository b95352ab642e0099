"""A Unity scene as an environment: what it shows, takes and tells, whatever the behaviour is like."""

from contextlib import contextmanager

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401  registers the ids
from envs.make import colon_navigate, retract
from envs.scenes.unity import Action, PlayerError, UnityScene
from envs.scenes.unity_channels import Statistic
from envs.unity_presets import PRESETS
from envs.unity_sensors import Tally
from tests.unity_player import Beside

IDS = sorted(name for name in gymnasium.registry if name.startswith("surgrl/Unity"))
OLD = ("--package", "1.0.8", "--api", "1.0.0")


@contextmanager
def played(*words, name="surgrl/Unity-v0", **options):
    """An environment with a stand-in, and the stand-in."""
    player = Beside(*words)
    env = gymnasium.make(name, **{"port": player.port, "player_seed": 1, **options})
    try:
        yield env, player
    finally:
        env.close()
        player.join(10)
    assert not player.is_alive() and player.error is None, player.error


def live(env, steps, seed=0):
    """Random actions; (obs, reward, terminated, truncated, info) of each step."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(steps):
        space = env.action_space
        action = rng.uniform(-1, 1, space.shape) if isinstance(space, gymnasium.spaces.Box) else space.sample()
        found.append(env.step(action))
        assert env.observation_space.contains(found[-1][0])
        if found[-1][2] or found[-1][3]:
            env.reset()
    return found


@pytest.mark.parametrize("words", [
    (), OLD, ("--package", "2.0.1"), ("--floats",), ("--floats", "--package", "2.0.1"), ("--channels", "1"),
    ("--channels", "1", "--package", "2.0.1"), ("--channels", "9"), ("--channels", "9", "--alone"),
    ("--channels", "9", "--package", "2.0.1")], ids=" ".join)
def test_a_picture_is_the_same_however_it_travels(words):
    with played(*words, "--size", "48", "--width", "64", image_size=None, seed_parameter="seed") as (env, player):
        obs, info = env.reset(seed=3)
        for _ in range(4):
            obs, *_ = env.step(np.array([0.5, 0.0, 0.0]))
        x, y, z, _ = obs["proprio"]
        rows, columns = np.mgrid[0:48, 0:64]
        away = np.hypot(columns - (x + 1) / 2 * 63, rows - (y + 1) / 2 * 47)
        drawn = np.stack([np.clip(255 - 6 * away, 0, 255), np.full((48, 64), int(127 + 120 * z)), rows * 255 // 48], 2)
        if "1" in words[1:2]:
            drawn = np.repeat(drawn.astype(np.uint8).mean(2, keepdims=True), 3, 2)
        assert obs["image"].shape == (48, 64, 3) and obs["image"].dtype == np.uint8
        assert np.abs(obs["image"].astype(int) - drawn.astype(np.uint8)).max() <= 1


@pytest.mark.parametrize("kind, space", [
    ("continuous", gymnasium.spaces.Box(-1, 1, (3,))), ("single", gymnasium.spaces.Discrete(5)),
    ("multi", gymnasium.spaces.MultiDiscrete([3, 3, 3])),
    ("hybrid", gymnasium.spaces.Tuple((gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.MultiDiscrete([3, 2]))))])
def test_every_kind_of_action_is_taken_in_both_forms(kind, space):
    words = ("--actions", kind, "--size", "16", *(OLD if kind in ("single", "multi") else ()))
    with played(*words, image_size=(16, 16)) as (env, player):
        env.reset()
        live(env, 5)
        assert isinstance(env.action_space, gymnasium.spaces.Box) and player.log["acted"] == 5
    with played(*words, image_size=(16, 16), actions="native") as (env, _):
        env.reset()
        assert env.action_space == space
        live(env, 5)


@pytest.mark.parametrize("kind, choices", [("continuous", None), ("hybrid", np.array([0, 0]))])
def test_numbers_out_of_range_are_refused_as_ones_own_too(kind, choices):
    with played("--actions", kind, "--size", "16", image_size=(16, 16), actions="native") as (env, player):
        env.reset()
        numbers = np.zeros(2 + (choices is None))
        for wrong in (5.0, np.nan, -1.001):
            numbers[0] = wrong
            with pytest.raises(ValueError, match=r"leaves \[-1, 1\]"):
                env.step(numbers if choices is None else (numbers, choices))
        numbers[0] = np.nextafter(np.float32(1), np.float32(2))     # of rounding, as in the other form
        env.step(numbers if choices is None else (numbers, choices))
        assert player.log["acted"] == 1


def test_a_choice_that_is_forbidden_gives_way_to_the_nearest_and_is_refused_as_ones_own():
    with played("--actions", "multi", "--forbid", "--size", "16", image_size=(16, 16)) as (env, player):
        _, info = env.reset()
        assert [list(free) for free in info["action_mask"]] == [[1, 1, 1]] * 3
        *_, info = env.step(np.array([0.0, 0.0, 0.0]))
        assert [list(free) for free in info["action_mask"]] == [[0, 1, 1]] * 3
        before = env.unwrapped.unity.decisions["Scope?team=0"][0].observation(1)
        obs, *_ = env.step(np.array([-1.0, -1.0, 1.0]))
        assert np.allclose(obs["proprio"][:3] - before[:3], [0, 0, 0.1], atol=1e-5)
    with played("--actions", "multi", "--forbid", "--size", "16", actions="native", image_size=(16, 16)) as (env, _):
        env.reset()
        env.step(np.array([0, 0, 0]))
        with pytest.raises(ValueError, match=r"choice 0 of branch 1 .* allowed now: \[1, 2\]"):
            env.step(np.array([1, 0, 1]))
        env.step(np.array([1, 1, 1]))       # and nothing was lost by it


@pytest.mark.parametrize("words", [(), ("--alone",), ("--new-ids",), ("--new-ids", "--alone")], ids=" ".join)
def test_an_episode_that_ended_by_itself_is_followed_without_a_phantom_step(words):
    with played(*words, "--max-step", "4", "--size", "16", image_size=(16, 16)) as (env, player):
        for _ in range(3):
            obs, _ = env.reset()
            assert obs["proprio"][3] == 0           # the step counter
            ends = [env.step(np.ones(3))[2:4] for _ in range(4)]
            assert ends == [(False, False)] * 3 + [(False, True)]
        assert player.log["resets"] == 1 and player.log["acted"] == 12
        with pytest.raises(ValueError, match="the episode is over; call reset"):
            env.unwrapped.step(np.ones(3))


def test_an_episode_broken_off_is_reset_by_force_which_costs_unitys_step_of_zeros():
    with played("--size", "16", image_size=(16, 16)) as (env, player):
        env.reset()
        env.step(np.ones(3))
        obs, _ = env.reset()
        assert obs["proprio"][3] == 1 and player.log["resets"] == 2
        env.reset()         # nothing was done in this one: it is still at its beginning
        assert player.log["resets"] == 2


def test_the_goal_terminates_and_a_limit_truncates():
    def to_goal(env):
        obs, _ = env.reset()
        while True:
            obs, reward, terminated, truncated, info = env.step(np.clip(-obs["proprio"][:3] / 0.1, -1, 1))
            assert reward == pytest.approx(-np.abs(obs["proprio"][:3]).sum(), abs=1e-5)
            assert reward == sum(info["reward_terms"].values())
            if terminated or truncated:
                return terminated, truncated, info
    with played("--size", "16", image_size=(16, 16)) as (env, _):
        terminated, truncated, info = to_goal(env)
        assert terminated and not truncated and info["success"] and not info["failure"]
        assert info["statistics"] == {"Episode/Success": 1.0}
        *_, info = env.reset()
        assert not info["success"]
    with played("--size", "16", "--max-step", "1", image_size=(16, 16)) as (env, _):
        terminated, truncated, info = to_goal(env)
        assert truncated and not terminated and not info["success"] and not info["failure"]


@pytest.mark.parametrize("success, won", [("end", True), (-0.6, True), (5.0, False), ("statistic", True)])
def test_success_is_known_as_one_says(success, won):
    with played("--size", "16", image_size=(16, 16), success=success) as (env, _):
        obs, _ = env.reset()
        terminated = False
        while not terminated:
            obs, _, terminated, _, info = env.step(np.clip(-obs["proprio"][:3] / 0.1, -1, 1))
        assert info["success"] is won and info["failure"] is not won


def test_a_term_of_the_reward_is_neither_cost_nor_distance_nor_success():
    tally = Tally("statistic")
    tally.begin(episode=True)
    tally.hear({"Reward/cost": [Statistic(-0.1, "sum")], "cost": [Statistic(1.0, "most_recent")],
                "reward/Success": [Statistic(0.0, "sum")], "Episode/Success": [Statistic(1.0, "average")],
                "Reward/distance": [Statistic(-0.3, "sum")]})
    tally.judge(0.0, False)
    told = tally.told()
    assert told["cost"] == 1.0 and "distance" not in told and tally.won
    assert tally.terms(-0.4, 0.0) == {"agent": 0.0, "group": 0.0, "cost": -0.1, "Success": 0.0, "distance": -0.3}


def test_parameters_engine_and_seeds_reach_the_scene():
    with played("--size", "16", image_size=(16, 16), parameters={"stiffness": 2.5, "fat": {"uniform": [0, 1]}},
                seed_parameter="seed", player_seed=41, time_scale=5, engine={"quality": 1}) as (env, player):
        assert player.log["seed"] == 41 and player.log["parameters"]["stiffness"] == 2.5
        assert player.log["engine"] == ["0100000001000000", "020000000000a040"]     # quality 1, time scale 5
        first, _ = env.reset(seed=10 ** 9)
        other, _ = env.reset(seed=10 ** 9 + 1)
        again, _ = env.reset(seed=10 ** 9, options={"parameters": {"stiffness": 3}})
        assert np.array_equal(first["image"], again["image"]) and np.array_equal(first["proprio"], again["proprio"])
        assert not np.array_equal(first["proprio"], other["proprio"])
        assert player.log["parameters"]["stiffness"] == 3 and player.log["parameters"]["seed"] < 2 ** 24


def test_of_parameters_that_are_refused_none_reaches_the_scene():
    with played("--size", "16", image_size=(16, 16)) as (env, player):
        env.reset()
        with pytest.raises(ValueError, match="parameter fat is 'x'"):
            env.reset(options={"parameters": {"stiffness": 9.0, "fat": "x"}})
        env.step(np.zeros(3))
        assert player.log["parameters"] == {}


def test_episodes_after_a_seed_are_others_and_the_same_again():
    with played("--size", "16", "--max-step", "3", image_size=(16, 16), seed_parameter="seed") as (env, player):
        def starts(seed):
            found = [env.reset(seed=seed)[0]["proprio"][:3]]
            for broken_off in (False, False, True, False):
                over = False
                while not over:
                    over = any(env.step(np.zeros(3))[2:4]) or broken_off
                found.append(env.reset()[0]["proprio"][:3])
            return np.array(found)
        first, again, other = starts(5), starts(5), starts(6)
        assert np.array_equal(first, again) and len(np.unique(np.concatenate([first, other]), axis=0)) == 10
        assert player.log["resets"] == 1 + 2 * 3        # seeds, and what is broken off; no other


def test_agents_and_behaviours_beside_ours_are_answered_and_do_not_disturb():
    with played("--agents", "3", "--helper", "--stagger", "--new-ids", "--size", "16", "--max-step", "6",
                behaviour="Scope", image_size=(16, 16)) as (env, player):
        env.reset()
        found = live(env, 40)
        counters = [obs["proprio"][3] for obs, *_ in found]
        assert counters[:6] == [1, 2, 3, 4, 5, 6] and player.log["acted"] > 80
        assert sum(truncated or terminated for _, _, terminated, truncated, _ in found) >= 6


def test_several_behaviours_have_to_be_chosen_from():
    player = Beside("--helper", "--size", "16")
    with pytest.raises(ValueError, match="behaviour '': the scene has 'Scope', 'Helper'; choose one"):
        gymnasium.make("surgrl/Unity-v0", port=player.port)
    player.join(10)


def test_a_named_behaviour_that_decides_late_is_waited_for():
    with played("--helper", "--late", "4", "--size", "16", behaviour="Scope", image_size=(16, 16)) as (env, _):
        obs, _ = env.reset()
        assert env.unwrapped.behaviour.name == "Scope?team=0" and obs["proprio"][3] == 0
        assert [obs["proprio"][3] for obs, *_ in live(env, 3)] == [1, 2, 3]


def test_a_scene_drives_every_agent_of_every_behaviour():
    player = Beside("--agents", "2", "--helper", "--actions", "hybrid", "--size", "16", "--max-step", "5")
    scene = UnityScene(port=player.port)
    scene.reset()
    assert {name: (len(sights), *sights[0].behaviour[2:]) for name, sights in scene.decisions.items()} == {
        "Scope?team=0": (2, 2, (3, 2)), "Helper?team=0": (1, 0, (5,))}
    endings = 0
    for _ in range(12):
        scene.step({name: [Action([0.1] * sight.behaviour.continuous, [1] * len(sight.behaviour.branches))
                           for sight in sights] for name, sights in scene.decisions.items()})
        endings += sum(map(len, scene.endings.values()))
    assert endings == 6 and scene.decisions["Scope?team=0"][1].observation(0).shape == (16, 16, 3)
    with pytest.raises(ValueError, match="1 actions for behaviour 'Scope.team=0'; 2 of its agents wait"):
        scene.step({"Scope?team=0": [Action([0, 0], [0, 0])]})
    with pytest.raises(ValueError, match="it must be 2 finite numbers"):
        scene.step({"Scope?team=0": [Action([0, np.nan], [0, 0])] * 2})
    scene.close()
    scene.close()
    with pytest.raises(PlayerError, match="make the environment anew"):
        scene.step({})
    player.join(10)
    assert player.error is None


@pytest.mark.parametrize("name, words, channels", [
    ("surgrl/UnityColon-v0", ("--actions", "continuous", "--vector", "4"), PRESETS["colon"].acting.channels),
    ("surgrl/UnityColon-v0", ("--actions", "multi", "--vector", "0", *OLD), PRESETS["dvc"].acting.channels),
    ("surgrl/UnityColon-v0", ("--actions", "single", "--vector", "0", "--channels", "1", "--package", "2.0.1"),
     PRESETS["safe"].acting.channels),
    ("surgrl/UnityRetract-v0", ("--actions", "four", "--vector", "8"), PRESETS["retract"].acting.channels),
    ("surgrl/UnityRetract-v0", ("--actions", "multi", "--vector", "8", *OLD), PRESETS["saferl"].acting.channels)])
def test_a_published_scene_is_known_by_what_it_takes(name, words, channels):
    with played(*words, name=name) as (env, _):
        obs, _ = env.reset(seed=0)
        assert env.unwrapped.channels == channels and obs["image"].shape == (84, 84, 3)
        live(env, 3)


def test_the_presets_for_our_own_agents_are_the_tasks_of_our_own_scenes():
    for preset, build in (("retract", retract), ("colon", colon_navigate)):
        own, known = build(), PRESETS[preset]
        assert [tuple(channel) for channel in known.acting.channels] == [
            (name, unit, pytest.approx(low), pytest.approx(high)) for name, unit, low, high in own.channels]
        assert tuple(name for name, _ in known.proprio) == own.proprio_names and known.dt == pytest.approx(own.dt)
        own.close()


@pytest.mark.parametrize("preset, action, choices", [
    ("dvc", [1, -1, 0], [1, 2, 0]), ("saferl", [1, 0, -1], [1, 0, 2]), ("safe", [0, 0, 0.7], [0]),
    ("safe", [1, 0, 0.7], [3]), ("safe", [-0.9, 0.2, -1], [4]),
    ("safe", [0, 1, 0.7], [2]), ("safe", [0, -1, 0.7], [1])])
def test_what_a_published_scenes_choices_mean(preset, action, choices):
    acting = PRESETS[preset].acting
    free = [np.ones(size, bool) for size in acting.sizes]
    assert acting.unity(np.array(action, float), free).discrete == choices


@pytest.mark.parametrize("name, words, told", [
    ("surgrl/UnityColon-v0", ("--actions", "two"), "none of the scenes colon, dvc, safe: its behaviour 'Scope.team=0' "
                                                   r"takes 2 numbers and the branches \[\]"),
    ("surgrl/UnityRetract-v0", ("--actions", "four", "--vector", "3"), "none of the scenes retract, saferl")])
def test_a_scene_that_is_none_of_the_known_ones_is_told(name, words, told):
    player = Beside(*words, "--size", "16")
    with pytest.raises(ValueError, match=told):
        gymnasium.make(name, port=player.port)
    player.join(10)


def test_pictures_are_fitted_by_height_so_that_the_middle_stays_the_middle():
    with played("--size", "48", image_size=(96, 128)) as (env, _):
        wide = env.reset(seed=0)[0]["image"]
        assert wide.shape == (96, 128, 3) and not wide[:, :16].any() and not wide[:, -16:].any() and wide[:, 20].any()
    with played("--size", "48", "--width", "96", image_size=(24, 24), render_mode="rgb_array",
                render_size=(48, 96)) as (env, _):
        square, whole = env.reset(seed=0)[0]["image"], env.render()
        assert square.shape == (24, 24, 3) and np.abs(square[:, :, 2].astype(int) - whole[1::2, 24:72:2, 2]).max() < 8


def test_a_sensor_named_mask_is_the_instruments_mask():
    with played("--mask", "--size", "32", image_size=(32, 32)) as (env, _):
        obs, info = env.reset()
        assert env.unwrapped.tells_mask and info["mask"].shape == (32, 32) and set(np.unique(info["mask"])) == {0, 1}
        assert obs["image"][:, :, 0][info["mask"] == 1].min() > obs["image"][:, :, 0][info["mask"] == 0].mean()


def test_a_scene_without_a_camera_is_for_state_alone():
    player = Beside("--size", "0")
    with pytest.raises(ValueError, match="camera 0: the scene's sensors with pictures are"):
        gymnasium.make("surgrl/Unity-v0", port=player.port)
    player.join(10)
    with played("--size", "0", observation="state") as (env, _):
        obs, info = env.reset()
        assert set(obs) == {"proprio", "state"} and "mask" not in info
        live(env, 3)


@pytest.mark.parametrize("options, told", [
    ({"colour": "red"}, "option 'colour' is unknown; allowed: player, port"), ({"port": 70000}, "port is 70000"),
    ({"observation": "sound"}, "observation 'sound'"), ({"actions": "joystick"}, "actions 'joystick'"),
    ({"image_size": (8, 8)}, "image_size"), ({"randomise": "mild"}, "a Unity scene draws itself"),
    ({"eyes": ["right"]}, "a Unity scene draws itself"), ({"layout": "whc"}, "layout 'whc'"),
    ({"player": "/none/game.x86_64"}, "/none/game.x86_64: no such file"), ({"player": 3}, "player 3 must be the path"),
    ({"player": "/tmp"}, "is a folder; give the executable"),
    ({"player": "no-such-command-here"}, "does not start")])
def test_an_option_that_cannot_be_is_refused_before_anything_starts(options, told):
    with pytest.raises(ValueError, match=told):
        gymnasium.make("surgrl/Unity-v0", disable_env_checker=True, **options)


def test_a_player_that_may_not_be_executed_or_is_no_program_is_told(tmp_path):
    player = tmp_path / "colon.x86_64"
    player.write_text("no program")
    player.chmod(0o644)
    with pytest.raises(ValueError, match="colon.x86_64 may not be executed; chmod"):
        gymnasium.make("surgrl/Unity-v0", player=player)
    player.chmod(0o755)
    with pytest.raises(ValueError, match="colon.x86_64 does not start: Exec format error"):
        gymnasium.make("surgrl/Unity-v0", player=str(player))


@pytest.mark.parametrize("options, told", [
    ({"success": "maybe"}, "success is 'maybe'"), ({"dt": -1}, "dt is -1"), ({"preset": "x"}, "preset 'x' is unknown"),
    ({"preset": "dvc"}, "not the scene of preset 'dvc'"), ({"engine": {"shadows": 1}}, "engine setting 'shadows'"),
    ({"parameters": {"a": "b"}}, "parameter a is 'b'"), ({"camera": "Eye"}, r"camera 'Eye': .*\['EndoCam'\]"),
    ({"behaviour": "Arm", "start_time": 0.5}, "behaviour 'Arm': the scene has 'Scope' after 0.5 s"),
    ({"time_scale": "fast"}, "time_scale is 'fast'")])
def test_an_option_that_does_not_fit_the_scene_is_refused_and_unity_quits(options, told):
    player = Beside("--size", "16")
    with pytest.raises(ValueError, match=told):
        gymnasium.make("surgrl/Unity-v0", port=player.port, **options)
    player.join(10)
    assert not player.is_alive() and player.error is None


@pytest.mark.parametrize("observation", ["image", "state"])
@pytest.mark.filterwarnings("ignore::UserWarning")      # check_env advises on spaces without bounds
def test_gymnasium_finds_nothing_wrong(observation):
    from gymnasium.utils.env_checker import check_env
    with played("--size", "32", image_size=(32, 32), seed_parameter="seed", observation=observation) as (env, _):
        check_env(env.unwrapped, skip_render_check=True, skip_close_check=True)
