"""EpisodeMemory against a slow reference, and the promises that learning rests on."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.memory import EpisodeMemory

SHAPE = (4, 5, 3)
STEPS = 4
ALL = ("mask", "expert", "right", "original", "successor", "step_reward", "same_episode", f"sequence:{STEPS}",
       "near:1", "near:3", "far:2", "far:8")
RIGHT = 10_000      # between the number that a frame tells and the one that the right eye's tells


def frame_of(number):
    """A frame that tells its number."""
    frame = np.zeros(SHAPE, np.uint8)
    frame[...] = (number // 256 ** np.arange(3)) % 256
    return frame


def mask_of(number):
    return (np.arange(20).reshape(4, 5) + number) % 3 == 0


def numbers(images):
    """(B, 3k, h, w) -> (B, k) frame numbers, oldest first; every pixel must tell the same."""
    planes = images.numpy().astype(int)
    assert (planes == planes[:, :, :1, :1]).all()
    return (planes[:, :, 0, 0].reshape(len(planes), -1, 3) * 256 ** np.arange(3)).sum(-1)


class Reference:
    """Lives the same episodes with plain lists, and answers what a transition must be."""

    def __init__(self, memory):
        self.memory, self.episodes, self.next = memory, [], 1

    def live(self, length, terminated, demo):
        frames = list(range(self.next, self.next + length + 1))
        self.next += length + 1
        episode = {"frames": frames, "terminated": terminated, "demo": demo}
        self.episodes.append(episode)
        for t, number in enumerate(frames):
            while sum(len(e["frames"]) for e in self.episodes[:-1]) + t + 1 > self.memory.capacity:
                self.episodes.remove(next(e for e in self.episodes if not e["demo"]))
            moment = {"frame": frame_of(number), "proprio": [number], "mask": mask_of(number),
                      "expert": [number / 1e4, 0.5]}
            if "right" in self.memory.extras:
                moment["right"] = frame_of(number + RIGHT)
            if t == 0:
                self.memory.begin(demo=demo, **moment)
            else:
                last = number - 1
                self.memory.add([last / 1e4, -1], last % 7, terminated and t == length, **moment)

    def check(self, batch):
        memory, found = self.memory, numbers(batch.obs)
        after, successor = numbers(batch.next_obs), numbers(batch.extra["successor"])
        elsewhere = {name: numbers(batch.extra[name]) for name in ("same_episode", *ALL[-4:])}
        followed = numbers(batch.extra["sequence/obs"].flatten(0, 1)).reshape(len(found), STEPS, -1)
        assert (numbers(batch.extra["original"]) == found).all()
        assert (numbers(batch.extra["right"]) == found + RIGHT).all()
        for i, number in enumerate(found[:, -1]):
            episode = next(e for e in self.episodes if number in e["frames"][:-1])
            frames, t = episode["frames"], number - episode["frames"][0]

            def stack(t, frames=frames):
                return [frames[max(0, t - k)] for k in reversed(range(memory.stack))]

            end = min(t + memory.nstep, len(frames) - 1)
            over = episode["terminated"] and end == len(frames) - 1
            assert list(found[i]) == stack(t) and list(after[i]) == stack(end)
            assert list(successor[i]) == stack(t + 1)
            reward = sum(memory.gamma ** k * (frames[t + k] % 7) for k in range(end - t))
            assert batch.reward[i].item() == pytest.approx(reward, rel=1e-6)
            discount = 0.0 if over else memory.gamma ** (end - t)
            assert batch.discount[i].item() == pytest.approx(discount, rel=1e-6)
            assert batch.action[i].tolist() == pytest.approx([number / 1e4, -1])
            assert batch.proprio[i].item() == number and batch.next_proprio[i].item() == frames[end]
            assert batch.extra["expert"][i].tolist() == pytest.approx([number / 1e4, 0.5])
            assert batch.extra["step_reward"][i].item() == number % 7
            for mask, shown in zip(batch.extra["mask"][i], stack(t), strict=True):
                assert (mask.numpy() == mask_of(shown)).all()
            for k in range(STEPS):
                step = {name: batch.extra[f"sequence/{name}"][i, k].tolist()
                        for name in ("action", "reward", "alive", "terminal")}
                number, alive = frames[min(t + k, len(frames) - 1)], t + k < len(frames) - 1
                assert list(followed[i, k]) == stack(min(t + k + 1, len(frames) - 1))
                assert step["action"] == (pytest.approx([number / 1e4, -1]) if alive else [0, 0])
                assert step["reward"] == [number % 7 * alive] and step["alive"] == [alive]
                assert step["terminal"] == [episode["terminated"] and t + k == len(frames) - 2]
            for name, shown in elsewhere.items():
                assert list(shown[i]) == stack(shown[i, -1] - frames[0])
                away, steps = abs(shown[i, -1] - found[i, -1]), int(name[-1]) if "near" in name else 0
                least = {"same_episode": 1, "far:2": 2, "far:8": 8}.get(name, 0)
                assert (0 < away <= steps) if steps else (away > least or away == max(t, len(frames) - 1 - t))


def new_memory(capacity=40, **options):
    return EpisodeMemory(capacity, frame_shape=SHAPE, action_dim=2,
                         **{"proprio_dim": 1, "extras": ("mask", "expert"), **options})


@settings(max_examples=60, deadline=None, derandomize=True)
@given(stack=st.integers(1, 3), nstep=st.integers(1, 4), capacity=st.integers(30, 60),
       lives=st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 5)), min_size=1,
                      max_size=20))
def test_every_batch_is_what_the_slow_reference_says(stack, nstep, capacity, lives):
    memory = new_memory(capacity, stack=stack, nstep=nstep, gamma=0.9, extras=("mask", "expert", "right"))
    reference, demos = Reference(memory), 0
    for length, terminated, kind in lives:
        demo = kind == 0 and demos + length + 1 <= capacity - 15        # room is left for one own episode
        demos += (length + 1) * demo
        reference.live(length, terminated, demo)
        demo_steps, own_steps = (sum(len(e["frames"]) - 1 for e in reference.episodes if e["demo"] == kind)
                                 for kind in (True, False))
        assert len(memory) == demo_steps + own_steps and memory.demo_steps == demo_steps
        if len(memory):
            reference.check(memory.sample(16, ALL))
            if memory.demo_steps:
                reference.check(memory.sample(8, ALL, demo_share=0.5))


def test_sampling_is_uniform_over_steps():
    memory = new_memory(400)
    reference = Reference(memory)
    for length in (1, 9, 30):
        reference.live(length, True, length == 9)
    counts = np.bincount(numbers(memory.sample(40_000).obs)[:, -1])
    counts = counts[counts > 0]
    assert len(counts) == 40 and abs(counts / 1000 - 1).max() < 0.15     # 5 sigma


def test_first_frame_repeats_in_the_stack():
    memory = new_memory(stack=3)
    Reference(memory).live(1, True, False)
    assert numbers(memory.sample(1).obs).tolist() == [[1, 1, 1]]


def test_terminal_stops_the_bootstrap_and_a_time_limit_does_not():
    for terminated, discount in ((True, 0.0), (False, 0.9 ** 2)):
        memory = new_memory(nstep=2, gamma=0.9)
        Reference(memory).live(2, terminated, False)
        memory.end()
        batch = memory.sample(64)
        first = batch.proprio[:, 0] == 1
        assert batch.discount[first].unique().tolist() == pytest.approx([discount])


def test_demo_share_is_exact_and_demonstrations_are_never_dropped():
    memory = new_memory(30)
    reference = Reference(memory)
    reference.live(5, True, True)
    for _ in range(10):
        reference.live(6, True, False)
    batch = memory.sample(20, demo_share=0.25)
    assert (numbers(batch.obs)[:, -1] <= 6).sum() == 5 and memory.demo_steps == 5


def test_before_the_first_own_step_a_batch_is_all_demonstrations():
    memory = new_memory()
    Reference(memory).live(5, True, True)
    assert len(memory.sample(6, demo_share=0.5).obs) == 6


def test_memory_full_of_demonstrations_says_so():
    memory = new_memory(10)
    reference = Reference(memory)
    reference.live(8, True, True)
    with pytest.raises(ValueError, match="9 frames of demonstrations"):
        memory.begin(frame_of(1), [0], mask=mask_of(1))
        memory.add([0, 0], 0, False, frame_of(2), [0], mask=mask_of(1))


def test_unlabelled_frames_have_nan_experts():
    memory = new_memory()
    memory.begin(frame_of(1), [0], mask=mask_of(1))
    memory.add([0, 0], 0, True, frame_of(2), [0], mask=mask_of(1))
    assert memory.sample(1, ("expert",)).extra["expert"].isnan().all()


def test_images_are_channels_last_in_memory():
    memory = new_memory()
    Reference(memory).live(5, True, False)
    batch = memory.sample(4)
    assert batch.obs.shape == (4, 9, 4, 5) and batch.obs.dtype == torch.uint8
    assert batch.obs.is_contiguous(memory_format=torch.channels_last)
    images = memory.sample(4, ("sequence:3",)).extra["sequence/obs"]
    assert images.shape == (4, 3, 9, 4, 5) and images.dtype == torch.uint8
    assert images.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_of_several_sequences_the_longest_is_given_and_begins_as_the_shorter():
    batches = []
    for needs in (("sequence:2",), ("sequence:2", "sequence:5", "sequence:3")):
        memory = new_memory()
        Reference(memory).live(9, True, False)
        batches.append(memory.sample(6, needs).extra)
    short, long = batches
    assert short.keys() == long.keys() and all(value.shape[1] == 5 for value in long.values())
    assert all(torch.equal(value, long[name][:, :2]) for name, value in short.items())


def test_asking_for_a_sequence_changes_no_draw():
    batches = []
    for needs in ((), ("sequence:3",)):
        memory = new_memory()
        Reference(memory).live(9, True, False)
        batches.append([numbers(memory.sample(6, needs).obs).tolist() for _ in range(2)])
    assert batches[0] == batches[1]


@pytest.mark.parametrize("steps", ["0", "-1", "", "2.5", "two", "40", " 3", "\u00b2"])
@pytest.mark.parametrize("need", ["sequence", "near", "far"])
def test_what_is_no_whole_number_of_steps_is_refused(need, steps):
    memory = new_memory()
    Reference(memory).live(3, True, False)
    with pytest.raises(ValueError, match=rf"'{need}:.*'; the steps .* whole number in 1\.\.39"):
        memory.sample(4, (f"{need}:{steps}",))


def test_near_and_far_moments_are_drawn_evenly():
    memory = new_memory(400)
    Reference(memory).live(20, True, False)
    batch = memory.sample(30_000, ("near:2", "far:3"))
    middle = numbers(batch.obs)[:, -1] == 11
    for name, count in (("near:2", 4), ("far:3", 14)):
        found = np.bincount(numbers(batch.extra[name])[middle, -1], minlength=22)
        found = found[found > 0] / middle.sum() * count
        assert len(found) == count and abs(found - 1).max() < 0.5       # about 1500 draws


def test_frames_are_stored_once():
    memory = EpisodeMemory(1000, frame_shape=(64, 64, 3), action_dim=4, proprio_dim=8,
                           extras=("mask", "expert"))
    index = [value for value in vars(memory._pool).values() if isinstance(value, np.ndarray)]
    stored = sum(field.nbytes for field in (*memory._fields.values(), *index))
    assert stored <= 1.1 * 1000 * 64 * 64 * 3


def test_reload_from_npz_goes_on_bit_for_bit():
    memory, again = (new_memory(40, seed=seed, extras=("mask", "expert", "right")) for seed in (3, 9))
    reference, twin = Reference(memory), Reference(again)
    for i in range(9):
        reference.live(6, i % 2 == 0, i == 2)
    memory.sample(5)
    file = io.BytesIO()
    np.savez(file, **memory.state_dict())
    file.seek(0)
    with np.load(file, allow_pickle=False) as state:
        again.load_state_dict(dict(state))
    twin.episodes, twin.next = list(reference.episodes), reference.next
    assert len(again) == len(memory)
    for _ in range(4):
        one, two = memory.sample(16, ALL), again.sample(16, ALL)
        twin.check(two)
        one, two = ((*batch[:-1], *batch.extra.values()) for batch in (one, two))
        assert all(torch.equal(left, right) for left, right in zip(one, two, strict=True))
        reference.live(4, True, False)
        twin.live(4, True, False)


def test_an_empty_memory_can_be_saved_and_loaded():
    memory = new_memory()
    memory.load_state_dict(new_memory().state_dict())
    assert len(memory) == 0


def test_a_saved_memory_of_other_shapes_is_refused():
    memory = new_memory(40)
    Reference(memory).live(30, True, False)
    for other in (new_memory(20), new_memory(40, extras=("expert", "mask"), proprio_dim=2)):
        with pytest.raises(ValueError, match="does not fit"):
            other.load_state_dict(memory.state_dict())


def test_unfinished_episode_is_left_out_of_a_saved_memory():
    memory, again = new_memory(40), new_memory(40)
    reference = Reference(memory)
    reference.live(6, True, False)
    reference.live(5, False, False)
    again.load_state_dict(memory.state_dict())
    assert len(memory) == 11 and len(again) == 6
    for _ in range(8):                                                  # its slots are free again
        Reference(again).live(9, True, False)


@pytest.mark.parametrize("broken", [
    lambda m: m.add([0, 0], 0, False, frame_of(1), [0], mask=mask_of(1)),
    lambda m: m.begin(frame_of(1)[:2], [0], mask=mask_of(1)),
    lambda m: m.begin(frame_of(1).astype(np.float32), [0], mask=mask_of(1)),
    lambda m: m.begin(frame_of(1), [0, 1], mask=mask_of(1)),
    lambda m: m.begin(frame_of(1), [np.nan], mask=mask_of(1)),
    lambda m: m.begin(frame_of(1), [0], mask=mask_of(1), expert=[0, 0, 0]),
    lambda m: m.begin(frame_of(1), [0]),
    lambda m: m.begin(frame_of(1), [0], mask=mask_of(1), right=frame_of(1)),
    lambda m: m.begin(frame_of(1), [0], mask=mask_of(1), depth=1),
    lambda m: m.sample(4)])
def test_wrong_input_is_refused_and_leaves_the_memory_empty(broken):
    memory = new_memory()
    with pytest.raises(ValueError):
        broken(memory)
    assert len(memory) == 0
    Reference(memory).live(3, True, False)
    assert len(memory.sample(4).obs) == 4


@pytest.mark.parametrize("right", [{}, {"right": frame_of(1)[1:]}, {"right": frame_of(1) / 255}])
def test_a_memory_of_two_eyes_wants_both_with_every_frame(right):
    memory = new_memory(extras=("right",))
    with pytest.raises(ValueError, match=r"right is .*; every frame needs one, uint8 \(4, 5, 3\)"):
        memory.begin(frame_of(1), [0], **right)


@pytest.mark.parametrize("action, reward", [([0, np.nan], 0), ([0], 0), ([0, 0], np.inf)])
def test_actions_and_rewards_must_be_finite_and_fit(action, reward):
    memory = new_memory()
    memory.begin(frame_of(1), [0], mask=mask_of(1))
    with pytest.raises(ValueError):
        memory.add(action, reward, False, frame_of(2), [0], mask=mask_of(1))


def test_unknown_need_lists_the_valid_ones():
    memory = new_memory(extras=("expert",))
    memory.begin(frame_of(1), [0])
    memory.add([0, 0], 0, True, frame_of(2), [0])
    with pytest.raises(ValueError, match="'mask'.*expert, original, successor.*extras="):
        memory.sample(1, ("mask",))
    with pytest.raises(ValueError, match="'depth'"):
        memory.sample(1, ("depth",))
    with pytest.raises(ValueError, match="no demonstrations"):
        memory.sample(1, demo_share=0.5)


def test_where_features_are_kept_the_right_eye_is_kept_as_features_too():
    memory = EpisodeMemory(20, frame_shape=SHAPE, action_dim=1, stack=2, extras=("right",),
                           embed=lambda frame: frame.reshape(-1)[:7].astype(np.float32))
    memory.begin(frame_of(1), right=frame_of(2))
    for k in range(3, 7):
        memory.add([0.0], 0.0, False, frame_of(k), right=frame_of(k + 10))
    batch = memory.sample(4, ("right",))
    assert batch.extra["right"].shape == batch.obs.shape == (4, 14, 1, 1)
    assert batch.extra["right"].dtype == batch.obs.dtype == torch.float32
