"""ColonNavigate: what ends it, what it pays and costs, and the actions it was published with."""

import gymnasium
import numpy as np
import pytest

from envs.discrete import ADVANCE
from envs.scope import ENTRY, STIFFNESS
from envs.tasks.navigate import BEND_SPEED, BLIND_LIMIT, CAECUM, FORCE_LIMIT, INSERTION_SPEED

ID = "envs:surgrl/ColonNavigate-v0"


@pytest.fixture(scope="module")
def env():
    made = gymnasium.make(ID, observation="state")
    yield made
    made.close()


@pytest.fixture(scope="module")
def seen():
    made = gymnasium.make(ID, image_size=(84, 84))
    yield made
    made.close()


def run(env, seed, act, steps=400):
    """Infos of an episode of act(env)."""
    env.reset(seed=seed)
    infos, over = [], False
    while not over and len(infos) < steps:
        *_, terminated, truncated, info = env.step(act(env))
        infos.append(info)
        over = terminated or truncated
    return infos


def expert(env):
    return env.get_wrapper_attr("expert")()


def test_an_action_of_one_inserts_and_bends_at_full_speed(env):
    inner = env.unwrapped
    obs, _ = env.reset(seed=1)
    after, *_ = env.step(np.array([1.0, -1.0, 1.0]))
    moved = after["proprio"] - obs["proprio"]
    dt = inner.dt
    assert moved == pytest.approx([BEND_SPEED * dt, -BEND_SPEED * dt, INSERTION_SPEED * dt, 0.0], abs=1e-6)
    assert np.degrees(BEND_SPEED * dt) == pytest.approx(3.0)        # Corsi et al. 2023
    assert inner.proprio_names == ("bend_x", "bend_y", "inserted", "roll")
    assert [c.name for c in inner.channels] == ["bend_x", "bend_y", "insertion"]
    assert [c.unit for c in inner.channels] == ["rad/s", "rad/s", "m/s"]


def test_success_is_the_caecum_and_nothing_before_it(env):
    for seed in range(5):
        infos = run(env, seed, expert)
        scene = env.unwrapped.scene
        assert infos[-1]["success"] and not any(info["success"] for info in infos[:-1])
        for info in infos:
            assert info["success"] == (info["progress_m"] >= scene.colon.length - CAECUM) == (info["distance"] == 0)
        progress = sum(info["reward_terms"]["progress"] for info in infos) * INSERTION_SPEED * env.unwrapped.dt
        assert progress == pytest.approx(infos[-1]["progress_m"] - ENTRY, abs=0.04)    # begins 20-50 mm in
        assert [info["reward_terms"]["success"] for info in infos[-2:]] == [0, 50]


def test_pushing_into_the_wall_costs_then_fails(env):
    infos = run(env, 3, lambda env: np.array([1.0, 0.0, 1.0]))
    forces = [info["force_N"] for info in infos]
    assert infos[-1]["failure"] and forces[-1] >= FORCE_LIMIT > max(forces[:-1])
    assert infos[-1]["reward_terms"]["failure"] == -50
    assert [info["cost"] for info in infos] == [float(force > 0.05) for force in forces]
    assert all(info["reward_terms"]["wall"] < 0 for info in infos if info["cost"])
    assert infos[0]["cost"] == 0 and sum(info["cost"] for info in infos) >= 3


def test_looking_at_the_wall_for_too_long_fails(env):
    infos = run(env, 2, lambda env: np.array([1.0, 0.0, 0.0]))      # turns without end, goes nowhere
    assert infos[-1]["failure"] and infos[-1]["force_N"] < FORCE_LIMIT
    blind = [info["blind_steps"] for info in infos]
    assert blind[-1] == BLIND_LIMIT and blind[-BLIND_LIMIT - 1:] == list(range(BLIND_LIMIT + 1))
    assert all((info["lumen_visible"] == 0) == (info["blind_steps"] > 0) for info in infos)


def test_a_glance_at_the_wall_is_forgiven(env):
    env.reset(seed=2)
    for k in range(100):
        *_, terminated, _, info = env.step(np.array([1.0 if k < 25 or k >= 75 else -1.0, 0.0, 0.0]))
        assert not terminated
    assert info["blind_steps"] < BLIND_LIMIT


def test_every_start_sees_the_lumen_and_touches_nothing(env):
    starts = set()
    for seed in range(60):
        _, info = env.reset(seed=seed)
        assert info["lumen_visible"] == 1 and info["force_N"] == 0 and info["clearance_m"] > 0
        assert env.unwrapped.scene.scope.wall.distance >= 0.0064
        starts.add(env.unwrapped.scene.colon.seed)
    assert len(starts) == 60


def test_the_lumen_s_offset_is_that_of_the_dark_in_the_image(seen):
    """DVC reads d from the image: the centroid of dark pixels. Ours is geometry; the two must tell the same story."""
    from_image, from_geometry = [], []
    for seed in range(6):
        env = seen
        obs, info = env.reset(seed=seed)
        rng, over = np.random.default_rng(seed), False
        while not over:
            luma = obs["image"].astype(float) @ [0.299, 0.587, 0.114]
            rows, columns = np.nonzero(luma <= np.quantile(luma, 0.04))
            centroid = np.array([columns.mean() - 41.5, rows.mean() - 41.5]) / 42
            lumen = env.unwrapped.scene.lumen()
            if lumen.offset < 0.8:
                from_image.append(centroid)
                from_geometry.append(lumen.direction[:2] / lumen.direction[2] / np.tan(np.radians(50)))
            action = np.clip(expert(env) + rng.normal(0, 0.7, 3), -1, 1)
            obs, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated or info["distance"] < 0.1     # the caecum is no dark lumen
    apart = np.linalg.norm(np.array(from_image) - from_geometry, axis=1)
    assert len(apart) > 300 and np.median(apart) < 0.30, (len(apart), np.median(apart))


def test_the_lumen_is_darker_than_the_wall(seen):
    for seed in range(5):
        obs, _ = seen.reset(seed=seed)
        luma = obs["image"].mean(axis=2)
        assert np.quantile(luma, 0.05) < 0.6 * np.median(luma) and obs["image"].shape == (84, 84, 3)


def test_there_is_no_instrument_to_mask(seen):
    _, info = seen.reset(seed=0)
    assert info["mask"].shape == (84, 84) and not info["mask"].any()


def test_the_camera_rides_on_the_tip(seen):
    inner = seen.unwrapped
    seen.reset(seed=4)
    first = inner.camera
    seen.step(np.array([0.5, 0.5, 1.0]))
    scope, camera = inner.scene.scope, inner.camera
    assert camera.eye != first.eye and camera.eye == pytest.approx(scope.position)
    assert np.allclose(camera.rotation, scope.rotation, atol=1e-12)
    assert np.allclose(camera.intrinsics(84, 84), first.intrinsics(84, 84))


@pytest.mark.parametrize("asked", ["servo", "workspace"])
def test_what_only_an_arm_has_is_refused_by_name(env, asked):
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"{asked}.*Navigate"):
        env.unwrapped.servo(np.zeros(3)) if asked == "servo" else env.unwrapped.workspace


# Published actions.

@pytest.mark.parametrize(("kind", "discrete", "continuous"), [
    ("safe", 0, [0, 0, ADVANCE]), ("safe", 1, [1, 0, ADVANCE]), ("safe", 2, [-1, 0, ADVANCE]),
    ("safe", 3, [0, 1, ADVANCE]),
    ("safe", 4, [0, -1, ADVANCE]), ("dvc", [1, 1, 1], [0, 0, 1, 0]), ("dvc", [2, 1, 0], [1, -1, 1, 0]),
    ("dvc", [0, 2, 1], [-1, 0, 1, 1]), ("dvc", [1, 0, 2], [0, 1, 1, -1])])
def test_a_discrete_action_is_its_continuous_counterpart(kind, discrete, continuous):
    by_number = gymnasium.make(ID, observation="state", actions=kind)
    by_rate = gymnasium.make(ID, observation="state", roll=kind == "dvc")
    for env, action in ((by_number, discrete), (by_rate, np.array(continuous, float))):
        env.reset(seed=6)
        for _ in range(5):
            env.step(np.array(action) if isinstance(action, list) else action)
    a, b = (env.unwrapped.scene.scope.get_state() for env in (by_number, by_rate))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    by_number.close()
    by_rate.close()


def test_the_published_spaces_are_as_published():
    for kind, space in (("dvc", gymnasium.spaces.MultiDiscrete([3, 3, 3])), ("safe", gymnasium.spaces.Discrete(5))):
        env = gymnasium.make(ID, observation="state", actions=kind)
        assert env.action_space == space
        env.reset(seed=0)
        assert space.contains(expert(env)), "what it gives is a choice, not the rates of env.unwrapped.expert()"
        assert all(info["success"] for info in [run(env, seed, expert)[-1] for seed in range(4)])
        env.close()


def test_dvc_stands_still_while_it_sees_no_lumen():
    env = gymnasium.make(ID, observation="state", actions="dvc")
    env.reset(seed=2)
    turning = [env.step(np.array([2, 1, 1])) for _ in range(60)]
    blind = next(k for k, step in enumerate(turning) if step[4]["blind_steps"])
    inserted = [step[0]["proprio"][2] for step in turning[:blind + BLIND_LIMIT]]
    assert inserted[blind] > inserted[0] and inserted[-1] == inserted[blind]
    env.close()


@pytest.mark.parametrize(("kind", "action"), [
    ("safe", 5), ("safe", -1), ("safe", 1.0), ("safe", np.nan),
    ("dvc", np.array([3, 0, 0])), ("dvc", np.array([1, 1])), ("dvc", np.array([0.5, 1, 1]))])
def test_a_discrete_action_that_is_none_is_refused(kind, action):
    env = gymnasium.make(ID, observation="state", actions=kind, disable_env_checker=True)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="is not one of"):
        env.step(action)
    env.close()


def test_unknown_actions_are_refused_by_name():
    with pytest.raises(ValueError, match="actions 'joystick'.*continuous, dvc, safe"):
        gymnasium.make(ID, actions="joystick")


# State and memory.

def test_a_state_set_again_lives_on_the_same(env):
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (40, 3))
    inner = env.unwrapped
    env.reset(seed=8)
    for action in actions[:20]:
        inner.step(action)
    saved = {"scene": inner.scene.get_state(), "task": inner.task.get_state()}
    first = [inner.step(action) for action in actions[20:]]
    env.reset(seed=9)           # another colon altogether
    inner.scene.set_state(saved["scene"])
    inner.task.set_state(saved["task"])
    second = [inner.step(action) for action in actions[20:]]
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a[0]["proprio"], b[0]["proprio"]) and np.array_equal(a[0]["state"], b[0]["state"])
        assert a[1] == b[1] and a[4] == b[4]


def test_a_picture_after_set_state_is_of_that_colon(seen):
    inner = seen.unwrapped
    obs, _ = seen.reset(seed=8)
    saved = inner.scene.get_state()
    seen.reset(seed=9)
    inner.scene.set_state(saved)
    assert np.abs(inner.scene.picture(84, 84).image.astype(int) - obs["image"]).max() <= 2


def test_force_is_of_the_stated_spring(env):
    infos = run(env, 3, lambda env: np.array([1.0, 0.0, 1.0]))
    lead = env.unwrapped.scene.scope.get_state()["lead"]
    assert infos[-1]["force_N"] == pytest.approx(STIFFNESS * np.linalg.norm(lead))
