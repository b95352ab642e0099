"""Whatever is done, every task's state stays finite and inside its limits. A new id is picked up by itself."""

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs import kinematics
from envs.scenes import flap, lesion
from envs.scenes.bed import tissue_height
from envs.scope import BEND_LIMIT, BEND_TOTAL, FORCE_MAX, SHAFT, SLACK, TIP
from tests.ids import OWN as IDS

EXACT = 1e-9            # of rounding
LEADS = (0, 0, 12, 35, 55, 75)      # steps of the expert that come first: by the later ones it holds tissue
KINDS = ("corner", "other corner", "alternating", "axis", "still", "random", "expert")
seeds, leads = st.integers(0, 2 ** 40), st.sampled_from(LEADS)


@pytest.fixture(scope="module", params=IDS)
def env(request):
    made = gymnasium.make(request.param, observation="state").unwrapped
    yield made
    made.close()


def chosen(env, kind, corner, rng, k):
    """An action of a kind: (A,) in [-1, 1]."""
    size = len(corner)
    return {"corner": lambda: corner, "other corner": lambda: rng.choice([-1.0, 1.0], size),
            "alternating": lambda: corner * (-1.0) ** k, "axis": lambda: corner * (np.arange(size) == k % size),
            "still": lambda: np.zeros(size), "random": lambda: rng.uniform(-1, 1, size), "expert": env.expert}[kind]()


def inside(env):
    """Assert that all that the state holds is finite, and within the limits that the scene names."""
    for name, value in env.get_state().items():
        if name != "generator":
            assert np.isfinite(np.asarray(value, dtype=float)).all(), name
    scene = env.scene
    for name in scene.arms:
        tip, arm = scene.pose(name)[:3, 3], scene.arm(name)
        assert (tip >= scene.workspace[0] - EXACT).all() and (tip <= scene.workspace[1] + EXACT).all(), tip
        assert tip[2] >= scene.surface(*tip[:2])
        assert kinematics.within_limits(arm.q) and kinematics.JAW_LOW <= arm.jaw <= kinematics.JAW_HIGH
    if hasattr(scene, "tissue"):
        x, y, z = scene.tissue().T
        dome = np.maximum(lesion.dome(x - scene.pose("lesion")[0, 3], y - scene.pose("lesion")[1, 3]), 0)
        assert (z - tissue_height(x, y) - dome - flap.THICKNESS / 2).min() > -2e-4      # m, of the table of heights
        assert np.abs(scene.tissue()).max() < 0.2       # m: it hangs at its anchor
    if hasattr(scene, "scope"):
        scope = scene.scope
        everywhere = scene.colon.wall(scope.position, scene.colon.station(scope.position))
        assert everywhere.distance >= TIP - SLACK - EXACT and 0 <= scope.force <= FORCE_MAX + EXACT
        assert (np.abs(scope.bend) <= np.array(BEND_LIMIT) + EXACT).all()
        assert np.hypot(*scope.bend) <= BEND_TOTAL + EXACT
        assert 0 <= scope.inserted <= SHAFT + EXACT and abs(scope.roll) <= np.pi + EXACT
        assert np.allclose(scope.rotation.T @ scope.rotation, np.eye(3), atol=EXACT)


def live(env, seed, lead, kinds):
    """An episode of that seed: `lead` steps of the expert, then an action of each kind, until it ends."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    corner = rng.choice([-1.0, 1.0], env.action_space.shape)
    inside(env)
    for k in range(lead + len(kinds)):
        action = env.expert() if k < lead else chosen(env, kinds[k - lead], corner, rng, k)
        obs, reward, terminated, *_ = env.step(action)
        if k >= lead:
            assert np.isfinite(reward) and env.observation_space.contains(obs)
            inside(env)
        if terminated:
            return


@settings(max_examples=20, deadline=None)
@given(seed=seeds, lead=leads, kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=12))
def test_hostile_actions_leave_every_state_finite_and_inside(env, seed, lead, kinds):
    live(env, seed, lead, kinds)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, lead=leads, kind=st.sampled_from(KINDS))
def test_so_do_sixty_of_one_kind(env, seed, lead, kind):
    live(env, seed, lead, [kind] * 60)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=10_000, deadline=None)
@given(seed=seeds, lead=leads, kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=12))
def test_so_do_ten_thousand_sequences(env, seed, lead, kinds):
    live(env, seed, lead, kinds)
