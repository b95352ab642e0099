"""Encoder, heads and the scale of proprio: sizes, ranges, initial weights."""

import pytest
import torch

from models.encoder import Encoder
from models.heads import Actor, Critic, Standardise


def test_flat_encoder_has_the_papers_size():
    assert Encoder(9, (84, 84)).latent_dim == 32 * 35 * 35             # 39200


@pytest.mark.parametrize("size, options, latent", [((84, 84), {}, 39200),
                                                   ((64, 48), {"width": 8}, 8 * 25 * 17),
                                                   ((84, 84), {"pool": 4, "latent_dim": 64}, 64),
                                                   ((36, 36), {"pool": 4}, 32 * 2 * 2)])
def test_latent_has_the_size_that_is_told(size, options, latent):
    encoder = Encoder(3, size, **options)
    z = encoder(torch.zeros(2, 3, *size, dtype=torch.uint8))
    assert encoder.latent_dim == latent and z.shape == (2, latent) and z.dtype == torch.float32


def test_pixels_enter_between_minus_and_plus_a_half():
    encoder = Encoder(3, (16, 16), width=4)
    seen = []
    encoder.convolutions.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for value in (0, 255):
        encoder(torch.full((1, 3, 16, 16), value, dtype=torch.uint8))
    assert seen[0].unique().tolist() == [-0.5] and seen[1].unique().tolist() == pytest.approx([0.5])


def test_memory_layout_of_the_images_does_not_matter():
    encoder = Encoder(3, (16, 16), width=4)
    images = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8)
    other = images.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(encoder(images), encoder(other), atol=1e-6)


def test_initial_weights_are_orthogonal_and_biases_zero():
    critic = Critic(40, 0, 2, features=8, hidden=16)
    weight = critic.trunk[0].weight
    assert torch.allclose(weight @ weight.T, torch.eye(8), atol=1e-5)
    assert all((bias == 0).all() for name, bias in critic.named_parameters() if name.endswith("0.bias"))
    first = Encoder(3, (16, 16)).convolutions[0].weight.flatten(1)
    gram = first.T @ first                                              # 27 inputs, 32 outputs; gain sqrt(2)
    assert torch.allclose(gram, 2 * torch.eye(27), atol=1e-5)


def test_actor_stays_in_range_and_critics_are_independent():
    z, proprio, action = 100 * torch.randn(5, 40), torch.randn(5, 3), torch.randn(5, 2)
    mean = Actor(40, 3, 2, features=8, hidden=16)(z, proprio)
    first, second = Critic(40, 3, 2, features=8, hidden=16)(z, proprio, action)
    assert mean.shape == (5, 2) and mean.abs().max() <= 1
    assert first.shape == second.shape == (5, 1) and not torch.equal(first, second)


@pytest.mark.parametrize("size, options", [((12, 12), {}), ((16, 16), {"pool": 4})])
def test_images_too_small_are_refused(size, options):
    with pytest.raises(ValueError, match="px"):
        Encoder(3, size, **options)


def test_standardise_finds_mean_and_spread_of_all_it_saw():
    values = torch.tensor([0.05, 3.0, 0.2]) + torch.tensor([0.004, 2.0, 0.0]) * torch.randn(900, 3)
    scale = Standardise(3)
    for part in values.split([1, 99, 300, 500]):
        scale.observe(part)
    assert torch.allclose(scale.mean, values.mean(0), rtol=1e-4)
    assert torch.allclose(scale.variance, values.var(0, correction=0), rtol=1e-3, atol=1e-9)
    out = scale(values)
    assert torch.allclose(out[:, :2].std(0), torch.ones(2), atol=0.03)
    assert out[:, 2].abs().max() < 0.01                                 # never moved: not blown up
    assert scale(torch.full((1, 3), 1e6)).tolist() == [[5.0, 5.0, 5.0]]


def test_standardise_of_nothing_is_nothing():
    scale = Standardise(0)
    scale.observe(torch.zeros(4, 0))
    assert scale(torch.zeros(4, 0)).shape == (4, 0)
