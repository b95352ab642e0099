"""What the endoscope sees: geometry of the camera, and a light that falls off with distance."""

import gymnasium
import numpy as np
import pytest

from envs.camera import Camera
from envs.endoscope import EndoscopeLight, EndoscopeShader

CAMERA = Camera("endoscope_left", (0, 0, 0.1), (0, 0.001, 0), 60.0, 0.01, 0.5)


def plane(distance, size=64):
    """A grey plane across the axis at `distance` m, shaded."""
    shader = EndoscopeShader(CAMERA, EndoscopeLight(gloss=0.0), size, size)
    lit = np.full((size, size, 3), 90, np.uint8)
    return shader.shade(lit, np.full((size, size), distance, np.float32), np.zeros((size, size), bool))


def test_brightness_falls_with_distance_and_towards_the_edge():
    near, far = plane(0.08), plane(0.16)
    assert near[32, 32].mean() > 1.5 * far[32, 32].mean()
    assert near[32, 32].mean() > 1.2 * near[0, 0].mean()


def test_where_nothing_is_it_is_black():
    shader = EndoscopeShader(CAMERA, EndoscopeLight(), 64, 64)
    empty = np.zeros((64, 64), bool)
    empty[:10] = True
    image = shader.shade(np.full((64, 64, 3), 200, np.uint8), np.full((64, 64), 0.1, np.float32), empty)
    assert image[:10].max() == 0 and image[20:].min() > 0


def test_a_glossy_surface_facing_the_light_shines_and_a_slanted_one_does_not():
    lit = np.full((64, 64, 3), 60, np.uint8)
    facing = np.full((64, 64), 0.1, np.float32)
    slanted = facing + np.linspace(-0.06, 0.06, 64, dtype=np.float32)[None, :]
    empty = np.zeros((64, 64), bool)
    gain = [EndoscopeShader(CAMERA, EndoscopeLight(gloss=g), 64, 64).shade(lit, depth, empty)[32, 32].astype(int)
            for depth in (facing, slanted) for g in (0.0, 0.5)]
    assert (gain[1] - gain[0]).min() > 30
    assert (gain[3] - gain[2]).max() < 5


def test_depth_buffer_turns_into_metres():
    shader = EndoscopeShader(CAMERA, EndoscopeLight(), 64, 64)
    assert shader.depth_in_metres(np.array([[0.0, 1.0]]))[0] == pytest.approx([0.01, 0.5])


@pytest.mark.parametrize("change", [{"near": 0.0}, {"far": 0.005}, {"fov": 0.0}, {"fov": 200.0},
                                    {"target": (0, 0, 0.1)}])
def test_an_impossible_camera_is_refused(change):
    values = {"frame": "c", "eye": (0, 0, 0.1), "target": (0, 0, 0), "fov": 60.0, "near": 0.01, "far": 0.5}
    with pytest.raises(ValueError, match="camera c"):
        Camera(**{**values, **change})


def test_intrinsics_tell_where_the_renderer_draws_the_marker_and_the_mask_the_tool():
    env = gymnasium.make("envs:surgrl/Reach-v0", image_size=(240, 320))
    inner = env.unwrapped
    k = inner.camera.intrinsics(240, 320)
    for seed in range(5):
        obs, info = env.reset(seed=seed)
        tip, image = obs["proprio"][:3], obs["image"].astype(int)
        marker = tip + inner.task.state(inner.scene)
        u, v, _ = k @ marker / marker[2]
        green = (image[..., 1] > image[..., 0] + 15) & (info["mask"] == 0)
        rows, columns = np.nonzero(green)
        assert abs(columns.mean() - u) < 3 and abs(rows.mean() - v) < 3
        u, v, _ = k @ tip / tip[2]
        if 4 <= u < 316 and 4 <= v < 236:
            assert info["mask"][int(v) - 4:int(v) + 4, int(u) - 4:int(u) + 4].any()
    env.close()
