"""Random shift: what it does to a pixel, that it repeats, and that both ways to compute it agree."""

import pytest
import torch
from torch.nn.functional import pad as padded

from models.augment import RandomShift, _gathered, shift


def images(count=5, channels=9, height=13, width=17, seed=0):
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, channels, height, width), generator=random, dtype=torch.uint8)
    return images.contiguous(memory_format=torch.channels_last)


def cropped(images, params, pad):
    """The paper's words: pad by repeating the edge, then crop."""
    height, width = images.shape[2:]
    large = padded(images.float(), (pad,) * 4, "replicate").to(images.dtype)
    return torch.stack([image[:, y:y + height, x:x + width]
                        for image, (y, x) in zip(large, params.tolist(), strict=True)])


@pytest.mark.parametrize("way", [shift, _gathered])
def test_all_81_shifts_equal_pad_and_crop(way):
    params = torch.cartesian_prod(torch.arange(9), torch.arange(9))
    batch = images(count=81)
    shifted = way(batch, params, 4)
    assert torch.equal(shifted, cropped(batch, params, 4))
    assert len({image.numpy().tobytes() for image in way(batch[:1].expand(81, -1, -1, -1), params, 4)}) == 81


@pytest.mark.parametrize("way", [shift, _gathered])
def test_middle_offset_is_the_identity(way):
    batch = images()
    assert torch.equal(way(batch, torch.full((5, 2), 4), 4), batch)


def test_result_is_channels_last_and_the_input_is_untouched():
    batch = images()
    before = batch.clone()
    shifted, _ = RandomShift(torch.Generator().manual_seed(0))(batch)
    assert shifted.is_contiguous(memory_format=torch.channels_last) and torch.equal(batch, before)


def test_offsets_are_uniform_and_differ_between_images():
    _, params = RandomShift(torch.Generator().manual_seed(0))(torch.zeros(40_000, 1, 5, 5))
    counts = torch.bincount(params[:, 0] * 9 + params[:, 1], minlength=81)
    assert (counts / (40_000 / 81) - 1).abs().max() < 0.2               # 4.5 sigma


def test_replay_moves_a_mask_with_its_image():
    move = RandomShift(torch.Generator().manual_seed(0))
    batch = images(channels=3)
    mask = (batch[:, :1] > 128).to(torch.uint8).contiguous()
    shifted, params = move(batch)
    assert torch.equal(move(mask, params)[0], (shifted[:, :1] > 128).to(torch.uint8))


def test_same_seed_same_shifts():
    one, two = (RandomShift(torch.Generator().manual_seed(7))(images()) for _ in range(2))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same_pixels():
    batch, params = images(), torch.tensor([[0, 8], [4, 4], [8, 0], [1, 2], [7, 3]])
    assert torch.equal(shift(batch.cuda(), params, 4).cpu(), shift(batch, params, 4))
