"""Every bundle that comes with surgrl: small, whole, and as good as it says in the scenes as they are now."""

import pytest

from surgrl.evaluate import BundlePolicy, evaluate
from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.runtime import PolicyRuntime
from surgrl.pretrained import find_bundle, pretrained_names
from surgrl.world import FIRST_UNSEEN_SEED, camera_world


@pytest.mark.parametrize("name", pretrained_names())
def test_a_pretrained_bundle_is_small_and_tells_how_it_came_to_be(name):
    bundle = PolicyBundle.load(find_bundle(name))
    assert sum(file.stat().st_size for file in bundle.folder.iterdir()) <= 2_000_000
    assert {"agent", "config", "seed", "steps", "commit", "scores"} <= set(bundle.origin)


@pytest.mark.parametrize("name", pretrained_names())
def test_a_pretrained_bundle_still_succeeds(name):
    bundle = PolicyBundle.load(find_bundle(name))
    world = camera_world(bundle)
    score = evaluate(world, BundlePolicy(PolicyRuntime(bundle)), range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + 12))
    assert score.success >= bundle.origin["scores"]["success"] - 0.1
    world.close()
