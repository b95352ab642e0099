"""The official package against the same player: the same observations, rewards and ends. Opt-in, as it needs an
interpreter of its own:

    python3.10 -m venv PEER && PEER/bin/pip install "mlagents-envs==0.28.0" "protobuf<3.21" "numpy<1.24"
    SURGRL_MLAGENTS=PEER/bin/python python -m pytest tests/envs/test_unity_official.py
"""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401  registers the ids

ROOT, STEPS = Path(__file__).parents[2], 60
PEER = os.environ.get("SURGRL_MLAGENTS", "")
PLAYER = [sys.executable, str(ROOT / "tests" / "unity_player.py"), "--package", "2.0.1", "--max-step", "15"]
needs_peer = pytest.mark.skipif(not PEER, reason="SURGRL_MLAGENTS names no Python that has mlagents-envs")


@needs_peer
@pytest.mark.parametrize("words", [
    (), ("--floats",), ("--channels", "1"), ("--channels", "9"), ("--alone",), ("--actions", "multi", "--alone"),
    ("--actions", "multi", "--package", "1.0.8", "--api", "1.0.0"), ("--actions", "hybrid", "--new-ids"),
    ("--actions", "single", "--forbid"), ("--width", "50"), ("--size", "0")], ids=" ".join)
def test_ours_sees_what_the_official_package_sees(tmp_path, words):
    player = [*PLAYER, *words]
    done = subprocess.run([PEER, str(ROOT / "tests" / "unity_official.py"), "--steps", str(STEPS), "--out",
                           str(tmp_path / "told.npz"), "--", *player], capture_output=True, text=True, timeout=200,
                          env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(tmp_path / "told.npz") as file:
        told = dict(file)
    rewards, ends, observed = ours(player)
    assert np.array_equal(np.float32(rewards), told["rewards"]) and ends == told["ends"].tolist() and any(ends)
    assert len(observed) == sum(name.startswith("obs_") for name in told)
    for k, mine in enumerate(observed):
        theirs = told[f"obs_{k}"]
        if mine.dtype == np.uint8:      # the official package divides by 255
            theirs = theirs * 255
            assert np.abs(theirs - theirs.round()).max() < 1e-3
            theirs = theirs.round().astype(np.uint8)
        assert mine.shape == theirs.shape and np.array_equal(mine, theirs), k


def ours(player):
    """Rewards, ends (1 terminated, 2 truncated), and all observations, of the same actions."""
    env = gymnasium.make("surgrl/Unity-v0", player=player, player_seed=7, parameters={"stiffness": 2.5},
                         actions="native", observation="state").unwrapped
    env.reset()
    behaviour, rng = env.behaviour, np.random.default_rng(0)
    observed = [[] for _ in behaviour.observations]
    rewards, ends = [], []

    def tell(sight):
        for k, kept in enumerate(observed):
            kept.append(sight.observation(k))

    tell(env._shown)
    for _ in range(STEPS):
        numbers = rng.uniform(-1, 1, behaviour.continuous).astype(np.float32)
        choices = [rng.integers(size) for size in behaviour.branches]
        allowed = [np.flatnonzero(free) for free in env._sight.allowed]
        choices = [choice if choice in free else free[0] for choice, free in zip(choices, allowed, strict=True)]
        native = (numbers, choices) if behaviour.continuous and choices else choices if choices else numbers
        _, reward, terminated, truncated, _ = env.step(np.array(choices) if native is choices else native)
        tell(env._shown)
        rewards.append(reward)
        ends.append(1 if terminated else 2 if truncated else 0)
        if ends[-1]:
            env.reset()
            tell(env._shown)
    env.close()
    return rewards, ends, [np.stack(kept) for kept in observed]
