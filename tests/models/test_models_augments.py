"""Every augmentation in models.make.AUGMENTS meets the same tests; then each its own: what it does and how often."""

import math

import pytest
import torch
from torch.nn.functional import conv2d

from models.augments.chain import Chain, encoded
from models.augments.texture import clouds
from models.make import AUGMENTS, make_augments

SIDE = 24
every = pytest.mark.parametrize("name", AUGMENTS)
KEEPING = ("flip", "rotate", "grayscale")       # may leave a picture as it is: here they never do
SURE = {name: {"name": name, "p": 1.0} for name in KEEPING}


def made(entry, seed=0):
    augment, = make_augments([SURE.get(entry, entry) if isinstance(entry, str) else entry],
                             torch.Generator().manual_seed(seed))
    return augment


def images(count=6, stack=3, seed=0, side=SIDE):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, side, side, 3 * stack), generator=random, dtype=torch.uint8).permute(0, 3, 1, 2)


@every
def test_params_repeat_it_and_give_uint8_in_the_encoders_own_layout(name):
    augment, batch = made(name), images()
    before = batch.clone()
    first, params = augment(batch)
    again, same = augment(batch, params)
    assert torch.equal(first, again) and same is params
    assert first.dtype == torch.uint8 and first.shape == (6, 9, *augment.left((SIDE, SIDE)))
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, before) and first.data_ptr() != batch.data_ptr()
    assert not torch.equal(first, batch) or first.shape != batch.shape


@every
def test_frames_of_a_stack_are_treated_alike(name):
    still = images(stack=1).repeat(1, 3, 1, 1).contiguous(memory_format=torch.channels_last)
    first, second, third = made(name)(still)[0].chunk(3, dim=1)
    assert torch.equal(first, second) and torch.equal(first, third)


@every
def test_each_picture_has_a_draw_of_its_own_and_minds_no_other(name):
    augment = made(name)
    same = images(1).expand(40, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    seen, _ = augment(same)
    distinct = {image.numpy().tobytes() for image in seen}
    assert len(distinct) >= {"flip": 1, "grayscale": 1, "rotate": 3}.get(name, 8)
    batch = images()
    whole, params = augment(batch)
    assert torch.equal(augment(batch[2:4], params[2:4])[0], whole[2:4])


@every
def test_the_seed_decides(name):
    one, two, other = (made(name, seed)(images())[0] for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert name in ("flip", "grayscale") or not torch.equal(one, other)


@every
def test_a_mask_moves_with_its_image_exactly_or_not_at_all(name):
    augment, batch = made(name), images()
    masks = (batch[:, ::3] > 127).to(torch.uint8)                       # of each frame, read off its image
    seen, params = augment(batch)
    if augment.moves:
        assert torch.equal(augment.mask(masks, params), (seen[:, ::3] > 127).to(torch.uint8))
        assert not torch.equal(augment.mask(masks, params), masks)
    else:
        assert augment.mask(masks, params) is masks


@every
def test_the_callers_own_randomness_is_left_alone(name):
    before = torch.random.get_rng_state()
    made(name)(images())
    assert torch.equal(before, torch.random.get_rng_state())


@every
def test_whether_it_moves_pixels_is_told_rightly(name):
    """Another pixel at one place shows at that place and its neighbours, or elsewhere."""
    augment = made({"name": name, "reach": 0.2} if name == "translate" else name)      # 1 px is no neighbour's news
    one = images(40)
    other = one.clone()
    other[:, :, 9, 13] = 255 - other[:, :, 9, 13]
    first, params = augment(one)
    changed = (augment(other, params)[0].int() - first.int()).abs().amax(1) > 2         # jitter's mean moves by less
    changed[:, 8:11, 12:15] = False
    assert changed.any() == augment.moves


def test_crop_is_a_window_of_the_picture_anywhere_in_it():
    batch = images(2000, stack=1, side=12)
    crop = made("crop")
    seen, params = crop(batch)
    assert seen.shape[2:] == (10, 10) == crop.left((12, 12))
    corners = (params * 3).long()
    for image, window, (top, left) in zip(batch[:50], seen, corners.tolist(), strict=False):
        assert torch.equal(window, image[:, top:top + 10, left:left + 10])
    counts = torch.bincount(corners[:, 0] * 3 + corners[:, 1], minlength=9)
    assert (counts / (2000 / 9) - 1).abs().max() < 0.3                  # 4.7 sigma


def test_crop_leaves_the_papers_84_of_100_px():
    assert made("crop").left((100, 100)) == (84, 84)


def test_translate_moves_on_black_ground_and_reaches_every_place():
    batch = images(3000, stack=1, side=25).clamp(min=1)
    seen, params = made({"name": "translate", "reach": 0.04})(batch)    # 1 px of 25
    moves = (params * 3).long() - 1
    for image, moved, (down, right) in zip(batch[:40], seen, moves.tolist(), strict=False):
        rolled = image.roll((down, right), (1, 2))
        if down:
            rolled[:, 0 if down > 0 else -1] = 0
        if right:
            rolled[:, :, 0 if right > 0 else -1] = 0
        assert torch.equal(moved, rolled)
    counts = torch.bincount((moves[:, 0] + 1) * 3 + moves[:, 1] + 1, minlength=9)
    assert (counts / (3000 / 9) - 1).abs().max() < 0.25


def rectangle(hidden):
    """(H, W) bool -> top, left, rows, columns of the rectangle that it is; None for any other shape."""
    rows, columns = hidden.any(1).nonzero().flatten(), hidden.any(0).nonzero().flatten()
    top, left, height, width = rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    return (int(top), int(left), int(height), int(width)) if hidden.sum() == height * width else None


def test_window_hides_all_but_a_window():
    batch = images(200, stack=2).clamp(min=1)
    seen, _ = made("window")(batch)
    found = [rectangle(image.bool().any(0)) for image in seen]
    assert {box[2:] for box in found} == {(20, 20)} and {box[0] for box in found} == set(range(5))
    assert torch.equal(seen[seen > 0], batch[seen > 0])


@pytest.mark.parametrize("name", ["cutout", "cutout_colour"])
def test_cutout_hides_a_rectangle_whose_size_and_place_are_drawn_apart(name):
    batch = torch.full((1500, 3, 50, 50), 7, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    seen, params = made(name)(batch)
    hidden = (seen != 7).any(1)
    found = torch.tensor([rectangle(image) for image in hidden])
    assert found[:, 2:].min() == 5 and found[:, 2:].max() == 15         # 10 to 30 % of the side
    assert found[:, :2].min() == 0 and (found[:, :2] + found[:, 2:]).max() == 50
    table = torch.corrcoef(params[:, :4].T) - torch.eye(4)
    assert table.abs().max() < 0.11
    small = found[(found[:, 2] < 7)]
    assert small[:, 0].min() == 0 and small[:, 0].max() > 40            # the trap in RAD's code: small ones lie at 0
    colours = seen[hidden[:, None].expand_as(seen)]
    assert (colours == 0).all() if name == "cutout" else len(colours.unique()) > 200
    one = seen[0][:, hidden[0]]
    assert (one == one[:, :1]).all()                                    # one colour in a rectangle


def test_grayscale_is_brightness_to_half_a_level_and_done_twice_the_same():
    batch = images()
    grey, params = made("grayscale")(batch)
    luma = (batch.unflatten(1, (3, 3)).float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(2)
    assert (grey.unflatten(1, (3, 3)).float() - luma[:, :, None]).abs().max() < 1.1
    assert torch.equal(made("grayscale")(grey, params)[0], grey)


@pytest.mark.parametrize("name, share", [("grayscale", 0.3), ("flip", 0.2), ("rotate", 0.3)])
def test_some_happen_to_a_share_of_the_pictures_as_in_the_paper(name, share):
    params = made({"name": name}).draw(20_000)
    assert (params > 0).float().mean().item() == pytest.approx(share, abs=0.015)        # 4.6 sigma
    if name == "rotate":
        counts = torch.bincount(params, minlength=4)[1:]
        assert (counts / counts.float().mean() - 1).abs().max() < 0.08


def test_flip_twice_and_four_quarters_are_nothing():
    batch, flip, rotate = images(), made("flip"), made("rotate")
    once, params = flip(batch)
    assert torch.equal(once, batch.flip(3)) and torch.equal(flip(once, params)[0], batch)
    quarters, turned = torch.ones(6, dtype=torch.long), batch
    for _ in range(4):
        turned, _ = rotate(turned, quarters)
    assert torch.equal(turned, batch)
    assert torch.equal(rotate(batch, quarters)[0], batch.rot90(1, (2, 3)))
    assert torch.equal(rotate(batch, quarters * 3)[0], batch.rot90(3, (2, 3)))


def test_convolution_is_xaviers_and_its_result_squashed():
    conv, batch = made("conv"), images()
    assert conv.draw(2000).std().item() == pytest.approx((2 / 54) ** 0.5, rel=0.02)
    seen, params = conv(batch)
    wanted = 255 * torch.sigmoid(conv2d(batch[4, 3:6].float() / 255, params[4], padding=1))
    assert (seen[4, 3:6].float() - wanted).abs().max() < 0.51
    assert 90 < seen.float().mean() < 165


def test_jitter_of_no_size_is_nothing_and_each_number_does_what_it_says():
    jitter, batch = made("jitter"), images().clamp(max=150)
    nothing = torch.tensor([1.0, 1.0, 1.0, 0.0]).repeat(6, 1)
    assert torch.equal(jitter(batch, nothing)[0], batch)

    def only(place, value):
        params = nothing.clone()
        params[:, place] = value
        return jitter(batch, params)[0].float()

    colours = batch.unflatten(1, (3, 3)).float()                        # (B, stack, 3, H, W)
    luma = (colours * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(2, keepdim=True)
    mean = luma.mean((1, 2, 3, 4), keepdim=True)
    wanted = {0: 1.3 * colours, 1: mean + 1.3 * (colours - mean), 2: luma + 1.3 * (colours - luma)}
    for place, full in wanted.items():
        assert (only(place, 1.3) - full.flatten(1, 2).clamp(0, 255)).abs().max() < 0.6, place
    whole_turn = only(3, 1.0)
    assert (whole_turn - batch.float()).abs().max() < 1.1
    red = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    red[:, 0] = 150
    turned = jitter(red.contiguous(memory_format=torch.channels_last), torch.tensor([[1.0, 1.0, 1.0, 1 / 3]]))[0]
    assert turned[0, :, 0, 0].argmax() != 0                             # a third of a turn: no longer red
    grey = batch[:, :1].expand(-1, 9, -1, -1).contiguous(memory_format=torch.channels_last)
    hued = jitter(grey, torch.tensor([[1.0, 1.0, 0.7, 0.37]]).repeat(6, 1))[0]
    assert (hued.float() - grey.float()).abs().max() < 1.1              # grey has neither hue nor saturation


def test_jitter_draws_within_its_reach_evenly():
    params = made("jitter").draw(5000)
    assert (params[:, :3].amin(0) < 0.61).all() and (params[:, :3].amax(0) > 1.39).all()
    assert params[:, :3].min() >= 0.6 and params[:, :3].max() <= 1.4 and params[:, 3].abs().max() <= 0.5
    assert (params.mean(0) - torch.tensor([1.0, 1.0, 1.0, 0.0])).abs().max() < 0.02


def test_overlay_is_the_mean_with_one_of_many_pictures():
    batch, overlay = images(500), made("overlay")
    seen, params = overlay(batch)
    pictures = clouds(SIDE, SIDE)
    wanted = (batch[7, 3:6].float() + pictures[params[7]].float()) / 2
    assert (seen[7, 3:6].float() - wanted).abs().max() <= 1
    assert len(params.unique()) == len(pictures) == len({picture.numpy().tobytes() for picture in pictures})
    assert pictures.flatten(2).amin(2).max() == 0 and pictures.flatten(2).amax(2).min() >= 254


def test_a_chain_repeats_itself_and_its_mask_follows_all_that_moves():
    names = ["shift", "cutout", "crop", SURE["grayscale"], "translate"]
    chain = Chain(make_augments(names, torch.Generator().manual_seed(0)))
    batch = images(side=32)
    masks = (torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.5).to(torch.uint8)
    seen, params = chain(batch)
    again, _ = chain(batch, params)
    assert torch.equal(seen, again) and seen.shape[2:] == (27, 27)
    moving = Chain([link for link in chain.links if link.moves])
    moves = [own for link, own in zip(chain.links, params, strict=True) if link.moves]
    assert torch.equal(chain.mask(masks, params), moving(masks, moves)[0])


def test_images_of_a_clip_are_treated_alike_and_those_of_a_batch_are_not():
    augment = Chain(make_augments(["shift", "jitter"], torch.Generator().manual_seed(0)))
    still = images(1).expand(5, -1, -1, -1)
    clips = still[None].expand(2, -1, -1, -1, -1)                       # (B, T, C, H, W), one picture in all
    seen = encoded(clips, augment, lambda looked: looked.flatten(1).float())
    assert seen.shape == (2, 5, 9 * SIDE * SIDE) and (seen[0] == seen[0, :1]).all() and not torch.equal(*seen)
    alone = encoded(still, augment, lambda looked: looked.flatten(1).float())
    assert not (alone == alone[:1]).all()


def test_no_augmentation_is_a_chain_too():
    batch = images()
    assert Chain([])(batch) == (batch, []) and make_augments([], torch.Generator()) == []


@pytest.mark.parametrize("entries, words", [
    (["blur"], "augmentation 'blur' is unknown; there are: shift, crop"), ([["shift"]], "unknown; there are"),
    ([{"share": 0.5}], "augmentation 'None' is unknown"),
    ([{"name": "crop", "size": 3}], "augmentation crop has no option 'size'; it has: share=0.84"),
    ([{"name": "crop", "share": 0.0}], "crop share is 0.0"), ([{"name": "window", "share": 2}], "window share is 2.0"),
    ([{"name": "translate", "reach": 0.5}], "translate reach is 0.5"),
    ([{"name": "cutout", "least": 0.5}], "least is 0.5 and most 0.3"), ([{"name": "flip", "p": -1}], "flip p is -1.0"),
    ([{"name": "grayscale", "p": math.nan}], "grayscale p is nan"), ([{"name": "jitter", "hue": 0.6}], "hue 0.6"),
    ([{"name": "cutout_colour", "most": 1.5}], "cutout_colour least"), ([{"name": "shift", "pad": 3}], "no option")])
def test_mistakes_are_told_with_what_would_be_right(entries, words):
    with pytest.raises(ValueError) as error:
        make_augments(entries, torch.Generator())
    assert words in str(error.value)
