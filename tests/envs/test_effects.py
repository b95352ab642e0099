"""Image effects: each does what its name says, none does nothing, and a seed repeats them."""

from dataclasses import fields

import numpy as np
import pytest

from envs.effects import EffectChain, Effects
from envs.textures import tissue

NAMES = [field.name for field in fields(Effects)]


@pytest.fixture(scope="module")
def image():
    return tissue(np.random.default_rng(0), size=120)


def applied(image, seed=0, frames=1, **strengths):
    return EffectChain(Effects(**strengths), seed)(image, frames).astype(float)


def detail(image):
    """Mean difference of neighbouring pixels."""
    return np.abs(np.diff(image, axis=0)).mean()


def test_strength_0_leaves_every_pixel_as_it_is(image):
    assert np.array_equal(applied(image), image)


@pytest.mark.parametrize("name", NAMES)
def test_each_effect_changes_the_picture_more_when_stronger_and_leaves_the_given_one_alone(image, name):
    before = image.copy()
    mild, strong = (np.abs(applied(image, **{name: strength}) - image).mean() for strength in (0.2, 0.6))
    assert 0 < mild < strong and np.array_equal(image, before)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_frames_and_sizes_are_kept(image, name):
    wide = np.ascontiguousarray(np.repeat(image, 2, axis=1)[:90])
    first, again = (applied(wide, seed=5, frames=3, **{name: 0.5}) for _ in range(2))
    assert first.shape == wide.shape and np.array_equal(first, again)


def test_smoke_drifts_blood_stays_and_noise_is_new_in_each_frame(image):
    changes = {name: np.abs(applied(image, frames=1, **{name: 0.5}) - applied(image, frames=9, **{name: 0.5})).mean()
               for name in ("smoke", "blood", "noise")}
    assert changes["smoke"] > 0.2 and changes["noise"] > 5 and changes["blood"] == 0


def test_smoke_fades_blood_reddens_glare_brightens_blur_smooths_noise_roughens(image):
    assert applied(image, smoke=0.8).std() < 0.6 * image.std()
    assert applied(image, blood=0.5)[..., 1].mean() < 0.85 * image[..., 1].mean()
    assert applied(image, glare=0.8).mean() > image.mean() + 2
    assert detail(applied(image, blur=0.8)) < 0.5 * detail(image.astype(float)) < detail(applied(image, noise=0.8))


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_blood_covers_about_the_share_of_the_lens_that_was_asked_for(image, share):
    covered = (np.abs(applied(image, blood=share) - image).max(axis=2) > 12).mean()
    assert share * 0.7 < covered < share + 0.25


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_a_strength_outside_0_to_1_is_refused_by_name(value):
    with pytest.raises(ValueError, match="effect smoke"):
        Effects(smoke=value)
