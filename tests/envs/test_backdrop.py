"""What never moves is drawn once: the picture is the one that a drawing of everything gives."""

import gymnasium
import numpy as np
import pytest


@pytest.mark.parametrize("name", ["Reach", "Retract"])
def test_the_picture_is_that_of_everything_drawn_at_once(name):
    env = gymnasium.make(f"envs:surgrl/{name}-v0", randomise="full").unwrapped
    for seed in range(3):       # another camera and another texture each
        env.reset(seed=seed)
        for _ in range(40):
            env.step(env.expert())
        bullet, camera = env.scene.bullet, env.camera
        rgb, buffer, bodies = bullet.raster(camera, 84, 84)
        for body in bullet._backdrop:
            bullet._blend(body, True)
        rgba, depth, ids = bullet._draw(camera, 84, 84)
        for body in bullet._backdrop:
            bullet._blend(body, False)
        same = bodies == ids
        assert same.mean() > 0.998      # a tie in depth may go to either
        assert np.abs(buffer - depth).max() < 1e-6
        assert np.abs(rgb[same].astype(int) - rgba[..., :3][same]).max() <= 1
        assert np.isin(ids, bullet._backdrop).any() and not np.isin(ids, bullet._backdrop).all()
    env.close()


def test_a_hidden_body_stays_hidden_when_the_backdrop_is_drawn_anew():
    env = gymnasium.make("envs:surgrl/Reach-v0").unwrapped
    env.reset(seed=0)
    bullet, target = env.scene.bullet, env.scene._target_body
    bullet.show(target, False)
    assert not (bullet.raster(env.camera, 64, 64)[2] == target).any()       # a new size: the backdrop is drawn
    bullet.show(target, True)
    assert (bullet.raster(env.camera, 64, 64)[2] == target).any()
    env.close()


def test_a_new_colour_does_not_show_what_is_hidden_and_keeps_the_backdrop_unless_it_is_part_of_it():
    env = gymnasium.make("envs:surgrl/Reach-v0").unwrapped
    env.reset(seed=0)
    bullet, target = env.scene.bullet, env.scene._target_body
    before = bullet.raster(env.camera, 64, 64)[0]
    kept = dict(bullet._backdrops)
    bullet.show(target, False)
    bullet.tint(target, (1, 1, 1, 1))
    assert not (bullet.raster(env.camera, 64, 64)[2] == target).any() and bullet._backdrops == kept
    bed = bullet._backdrop[0]
    bullet.tint(bed, (0.2, 0.2, 0.2, 1))
    after, _, bodies = bullet.raster(env.camera, 64, 64)
    assert after[bodies == bed].mean() < 0.5 * before[bodies == bed].mean()
    env.close()
