"""Each fault of a camera is found in its number of frames and by its own name; sound frames pass."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import gymnasium
import numpy as np
import pytest

from surgrl.frames import fit_profile
from surgrl.policy.bundle import PROFILE, PolicyBundle
from surgrl.policy.errors import UserError
from surgrl.policy.image_gate import ImageGate, ImageLimits, ImageVerdict
from surgrl.policy.profile import STATISTICS, FrameProfile
from surgrl.policy.spec import Array, ImageSpec

RATE = 30.0
SIZE = 120, 160     # px, height and width of the camera
IMAGE = ImageSpec("camera", SIZE[1], SIZE[0], (0, 20, 120, 120), (64, 64), 1, RATE)
REACH, RETRACT, COLON = "surgrl/Reach-v0", "surgrl/Retract-v0", "surgrl/ColonNavigate-v0"
UNSEEN = 10 ** 9 + 70


@cache
def profile(task: str) -> FrameProfile:
    return fit_profile(task, IMAGE, {})


def episode(task: str, seed: int, *, level: str = "none", size: tuple[int, int] = SIZE) -> Iterator[Array]:
    """Every frame of an expert's episode."""
    env = gymnasium.make(f"envs:{task}", image_size=size, randomise=level)
    obs, _ = env.reset(seed=seed)
    over = False
    while not over:
        yield obs["image"]
        obs, _, terminated, truncated, _ = env.step(env.unwrapped.expert())
        over = terminated or truncated
    yield obs["image"]
    env.close()


@cache
def film(task: str) -> tuple[Array, ...]:
    """Some frames of one unseen episode, without noise."""
    return tuple(list(episode(task, UNSEEN))[::2][:12])


def camera(task: str) -> Iterator[Array]:
    """Frames for ever, before the sensor's noise: the film forth and back."""
    shown = film(task)
    while True:
        yield from shown
        yield from shown[::-1]


def sensed(frame: Array, rng: np.random.Generator) -> Array:
    return np.clip(frame + rng.normal(0, 1.5, frame.shape), 0, 255).astype(np.uint8)


def begun(task: str = REACH, *, trained: bool = True, **limits: float) -> tuple[ImageGate, Callable[..., ImageVerdict]]:
    """A gate that has come to `ok`, and a function that shows it one more frame, changed by what it is given."""
    gate = ImageGate(IMAGE, ImageLimits(**limits), profile(task) if trained else None)
    rng, time = np.random.default_rng(0), iter(np.arange(100_000) / RATE)
    frames = camera(task)

    def show(optics: Callable[[Array], Array] = lambda frame: frame,
             wire: Callable[[Array], Array] = lambda frame: frame, encoding: str = "rgb8") -> ImageVerdict:
        return gate.look(wire(sensed(optics(next(frames)), rng)), float(next(time)), encoding)

    for _ in range(10):
        verdict = show()
    assert verdict.state == "ok" and verdict.reason == "", verdict
    return gate, show


def blended(frame: Array, colour: tuple[int, int, int], share: Array | float) -> Array:
    return (frame + (np.array(colour) - frame) * share).clip(0, 255).astype(np.uint8)


def defocused(frame: Array) -> Array:
    return cv2.GaussianBlur(frame, (0, 0), 0.03 * frame.shape[0])


def smoke(frame: Array) -> Array:
    field = np.random.default_rng(1).random((6, 8)).astype(np.float32)
    veil = 0.7 * (0.35 + 0.65 * cv2.resize(field, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR))
    return blended(frame, (196, 190, 188), veil[..., None])


def blood(frame: Array) -> Array:
    drop = cv2.circle(np.zeros(frame.shape[:2], np.float32), (75, 50), 34, 0.9, -1)
    return blended(frame, (96, 10, 14), cv2.GaussianBlur(drop, (0, 0), 3)[..., None])


def times(*factors: float) -> Callable[[Array], Array]:
    return lambda frame: (frame * np.array(factors)).clip(0, 255).astype(np.uint8)


def swapped(frame: Array) -> Array:
    return np.ascontiguousarray(frame[:, :, ::-1])


def theatre(frame: Array) -> Array:
    """A grey room, a table, a lamp."""
    room = np.full_like(frame, 150)
    cv2.rectangle(room, (0, 70), (160, 120), (60, 110, 120), -1)
    cv2.rectangle(room, (35, 25), (60, 95), (40, 45, 50), -1)
    cv2.circle(room, (110, 25), 15, (255, 255, 250), -1)
    return room


def drape(frame: Array) -> Array:
    rows, columns = np.mgrid[0:1:120j, 0:1:160j]
    return ((0.7 + 0.3 * np.sin(12 * columns + 3 * rows))[..., None] * (40, 110, 130)).astype(np.uint8)


def snow(frame: Array) -> Array:
    return np.random.default_rng(int(frame.sum())).integers(0, 256, frame.shape, dtype=np.uint8)


def flat(*colour: int) -> Callable[[Array], Array]:
    return lambda frame: np.broadcast_to(np.uint8(colour), frame.shape).copy()


def no_signal(frame: Array) -> Array:
    return cv2.putText(flat(0, 0, 190)(frame), "NO SIGNAL", (40, 65), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,) * 3)


def bars(frame: Array) -> Array:
    """SMPTE's seven bars of 75 %, and patches below them."""
    colours = 191 * np.uint8([(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)])
    picture = np.broadcast_to(colours[np.arange(160) * 7 // 160], frame.shape).copy()
    picture[85:] = colours[::-1][np.arange(160) * 7 // 160] // 2
    return picture


# optics: what happens before the sensor, whose noise comes on top. Hold within so many frames; latch after so many s.
OPTICS = {"black": (flat(0, 0, 0), 2, "is black", None), "16 for 0": (flat(16, 16, 16), 2, "is black", None),
          "white": (flat(255, 255, 255), 2, "is white", None), "bars": (bars, 2, "colour bars: no signal", None),
          "covered": (flat(120, 60, 50), 2, "of one colour: no signal", None),
          "defocus": (defocused, 5, "out of focus", 2.0), "smoke": (smoke, 5, "smoke before the lens", 2.0),
          "blood": (blood, 5, "blood on the lens", 2.0), "dim": (times(0.35, 0.35, 0.35), 5, "too dark", 2.0),
          "glare": (times(2.1, 2.1, 2.1), 5, "too bright", 2.0),
          "cast": (times(0.8, 1.12, 1), 5, "cast of colour", 2.0),
          "theatre": (theatre, 5, "unlike any picture", 1.0), "drape": (drape, 5, "unlike any picture", 1.0),
          "snow": (snow, 5, "unlike any picture", 1.0)}
# wire: what happens after the sensor
WIRE = {"unplugged": (flat(0, 0, 0), 2, "is black", None), "no signal": (no_signal, 2, "no signal", None),
        "test picture": (bars, 2, "colour bars: no signal", None),
        "bgr8 called rgb8": (swapped, 5, "red and blue are probably swapped", 2.0)}
FAULTS = {**{name: ("optics", *fault) for name, fault in OPTICS.items()},
          **{name: ("wire", *fault) for name, fault in WIRE.items()}}


@pytest.mark.parametrize("task", [REACH, COLON])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_holds_within_its_frames_by_its_own_name_and_latches_in_its_time(task, name):
    where, fault, within, words, seconds = FAULTS[name]
    _, show = begun(task)
    said = [show(**{where: fault}) for _ in range(90)]
    first = next(k for k, verdict in enumerate(said) if verdict.state != "ok")
    assert 1 <= first < within and all(verdict.reason == "" for verdict in said[:first])
    reasons = [verdict.reason for verdict in said[first:]]
    assert all(words in reason for reason in reasons), next(reason for reason in reasons if words not in reason)
    latched = [verdict.state for verdict in said].index("latch") / RATE if seconds else np.inf
    assert all(verdict.state != "latch" for verdict in said) if seconds is None else abs(latched - seconds) < 1.5 / RATE


@pytest.mark.parametrize("clock", [False, True])
def test_a_frozen_picture_holds_even_where_a_clock_runs_on_it(clock):
    _, show = begun()
    kept: list[Array] = []

    def freeze(frame: Array) -> Array:
        kept.append(frame)
        shown = kept[0].copy()
        if clock:
            shown[:14, 20:60] = np.random.default_rng(len(kept)).integers(0, 256, (14, 40, 3))
        return shown

    said = [show(wire=freeze) for _ in range(40)]
    assert [verdict.state for verdict in said[:6]] == ["ok"] * 5 + ["hold"]     # the first of them was new
    assert all(verdict.state == "hold" and "frozen" in verdict.reason for verdict in said[5:])
    assert [show().state for _ in range(5)] == ["hold"] * 4 + ["ok"]


def test_a_stream_that_stutters_does_not_go_on_between_its_stills():
    _, show = begun()
    kept: list[Array] = []

    def stutter(frame: Array) -> Array:
        kept.append(frame if len(kept) % 8 == 0 else kept[-1])
        return kept[-1]

    assert [show(wire=stutter).state for _ in range(30)][6:] == ["hold"] * 24


def test_a_still_scene_with_a_sensors_noise_is_not_frozen_and_without_noise_only_if_asked():
    still = film(REACH)[0]
    rng = np.random.default_rng(0)
    gate = ImageGate(IMAGE, ImageLimits(), profile(REACH))
    assert [gate.look(np.clip(still + rng.normal(0, 0.5, still.shape), 0, 255).round().astype(np.uint8), k / RATE).state
            for k in range(40)][4:] == ["ok"] * 36
    gate = ImageGate(IMAGE, ImageLimits(frozen_frames=0), profile(REACH))
    assert [gate.look(still, k / RATE).state for k in range(40)][4:] == ["ok"] * 36


@pytest.mark.parametrize("task", [REACH, RETRACT, COLON])
def test_no_false_alarm_in_the_experts_mildly_varied_episodes_on_unseen_seeds(task):
    held, seen, reasons = 0, 0, []
    for seed in range(UNSEEN, UNSEEN + {REACH: 10, RETRACT: 3, COLON: 3}[task]):
        gate = ImageGate(IMAGE, ImageLimits(good_frames=1), profile(task))
        verdicts = [gate.look(frame, k / RATE) for k, frame in enumerate(episode(task, seed, level="mild"))]
        held, seen = held + sum(verdict.state != "ok" for verdict in verdicts), seen + len(verdicts)
        reasons += [verdict.reason for verdict in verdicts if verdict.reason]
    assert seen >= 150 and held <= 0.005 * seen, (held, seen, reasons)


@pytest.mark.parametrize("task", [REACH, COLON])
def test_frames_of_the_cameras_full_resolution_pass_a_profile_of_small_ones(task):
    gate = ImageGate(IMAGE, ImageLimits(good_frames=1, frozen_frames=0), profile(task))
    frames = [frame for frame, _ in zip(episode(task, UNSEEN + 1, size=(480, 640)), range(12), strict=False)]
    assert [gate.look(frame, k / RATE).state for k, frame in enumerate(frames)] == ["ok"] * len(frames)


def test_an_organ_that_the_policy_was_not_trained_in_holds_and_latches():
    gate = ImageGate(IMAGE, ImageLimits(), profile(REACH))
    frames = film(COLON)
    said = [gate.look(sensed(frames[k % 12], np.random.default_rng(k)), k / RATE).state for k in range(90)]
    assert "ok" not in said and said[-1] == "latch"


def test_motion_begins_only_after_good_frames_in_a_row():
    gate, show = begun()
    gate.reset()
    said = [show() for _ in range(3)] + [show(optics=snow)] + [show() for _ in range(5)]
    assert [verdict.state for verdict in said] == ["hold"] * 8 + ["ok"]
    assert "3 of 5" in said[2].reason and "1 of 5" in said[4].reason


def test_one_bad_frame_among_good_ones_does_not_stop_the_arm_but_keeps_a_stopped_one_still():
    _, show = begun()
    assert [show(optics=smoke if k % 4 < 3 else lambda frame: frame).state for k in range(40)] == ["ok"] * 40
    assert [show(optics=smoke).state for _ in range(4)][-1] == "hold"
    assert [show(optics=smoke if k % 4 == 3 else lambda frame: frame).state for k in range(40)] == ["hold"] * 40


def test_smoke_that_clears_before_its_time_does_not_latch():
    _, show = begun()
    for _ in range(3):
        assert {show(optics=smoke).state for _ in range(54)} == {"ok", "hold"}      # 1.8 s
        assert [show().state for _ in range(5)] == ["hold"] * 4 + ["ok"]


@pytest.mark.parametrize(("change", "words"), [
    ({"wire": lambda frame: cv2.resize(frame, (320, 240))}, "changed from 160x120 to 320x240 px"),
    ({"wire": lambda frame: frame[:100]}, "changed from 160x120 to 160x100 px"),
    ({"wire": lambda frame: frame[:, :, 0]}, r"uint8 of shape \(120, 160\)"),
    ({"wire": lambda frame: frame.astype(np.float32)}, "a frame is float32"),
    ({"encoding": "bgr8"}, "encoding changed from rgb8 to bgr8")])
def test_a_camera_that_becomes_another_latches_at_once_until_reset(change, words):
    gate, show = begun()
    said = show(**change)
    assert said.state == "latch" and said.measures == {}
    assert np.all([show().reason == said.reason for _ in range(20)])
    assert re.search(words, said.reason)
    gate.reset()
    assert [show().state for _ in range(5)] == ["hold"] * 4 + ["ok"]


def test_a_camera_of_another_shape_than_the_policys_latches_at_its_first_frame():
    said = ImageGate(IMAGE, ImageLimits(), None).look(np.zeros((100, 160, 3), np.uint8), 0.0)
    assert said.state == "latch" and "160x100 frame has another shape than the 160x120" in said.reason


def test_without_a_profile_a_missing_picture_is_found_and_a_strange_one_passes():
    _, show = begun(trained=False)
    assert {show(optics=theatre).state for _ in range(20)} == {"ok"}
    assert [show(optics=flat(0, 0, 0)).state for _ in range(2)] == ["ok", "hold"]


def test_a_wider_tolerance_lets_pass_what_the_default_holds():
    for tolerance, state in ((1.0, "hold"), (4.0, "ok")):
        _, show = begun(tolerance=tolerance)
        assert [show(optics=times(0.8, 1.1, 1)).state for _ in range(10)][-1] == state


def test_what_is_measured_is_told():
    _, show = begun()
    assert set(show().measures) == {*STATISTICS, "changed_tiles", "unlikeness", "oddness"}
    assert show(optics=theatre).measures["unlikeness"] > 1 > show().measures["unlikeness"]


@pytest.mark.parametrize(("limits", "words"), [
    ({"good_frames": 0}, "good_frames is 0; it must be at least 1"), ({"frozen_frames": -1}, "frozen_frames is -1"),
    ({"overlay_tiles": 64}, "below 64"), ({"strange_latch": np.nan}, "strange_latch is nan"),
    ({"unlike_latch": np.inf}, "positive and finite"), ({"tolerance": 0.0}, "tolerance is 0.0")])
def test_limits_that_could_never_act_are_refused(limits, words):
    with pytest.raises(UserError, match=words):
        ImageLimits(**limits)


def test_a_profile_of_too_little_is_refused():
    frames = [film(REACH)[0]] * 50
    for count, episodes in ((30, range(30)), (50, [1, 2, 3, 4] * 12 + [1, 2])):
        with pytest.raises(UserError, match=f"profile of {count} frames.*at least 40 frames of 5 episodes"):
            FrameProfile.fit(frames[:count], list(episodes), IMAGE)


def test_frames_that_are_all_alike_make_a_profile_that_knows_them():
    frame = film(REACH)[0]
    made = FrameProfile.fit([frame] * 50, list(range(50)), IMAGE)
    gate = ImageGate(IMAGE, ImageLimits(frozen_frames=0), made)
    assert [gate.look(frame, k / RATE).state for k in range(9)][4:] == ["ok"] * 5


@pytest.fixture
def bundle(tmp_path: Path, make_bundle: Callable[..., PolicyBundle]) -> PolicyBundle:
    """A bundle with a profile."""
    plain = make_bundle(tmp_path / "bundle")
    profile(REACH).save(plain.folder / PROFILE)
    golden = plain.golden()
    plain.write(golden["frames"], golden["proprio"], golden["actions"])
    return PolicyBundle.load(plain.folder)


def test_a_bundles_profile_is_the_one_that_was_written_and_small(bundle):
    read = bundle.profile()
    assert read is not None and (bundle.folder / PROFILE).stat().st_size < 50_000
    for name, values in vars(profile(REACH)).items():
        assert np.array_equal(getattr(read, name), values)


def test_a_bundle_of_before_has_no_profile(tmp_path, make_bundle):
    assert make_bundle(tmp_path / "bundle").profile() is None


@pytest.mark.parametrize("at", [0, 5000, -1])
def test_a_profile_changed_by_one_byte_is_refused(bundle, at):
    path = bundle.folder / PROFILE
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"frames.npz is not the file.*sha256 differs"):
        PolicyBundle.load(bundle.folder)


def test_a_profile_that_is_missing_is_refused(bundle):
    (bundle.folder / PROFILE).unlink()
    with pytest.raises(UserError, match=r"frames.npz is missing, which the manifest names"):
        PolicyBundle.load(bundle.folder)


def test_a_profile_that_was_put_there_later_is_refused(tmp_path, make_bundle):
    folder = make_bundle(tmp_path / "bundle").folder
    profile(REACH).save(folder / PROFILE)
    with pytest.raises(UserError, match=r"frames.npz is not the file that the manifest describes"):
        PolicyBundle.load(folder)


def test_a_profile_of_another_format_is_refused(tmp_path):
    path = tmp_path / PROFILE
    profile(REACH).save(path)
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "format": np.array(9)})
    with pytest.raises(UserError, match="profile format 9, this surgrl reads 1"):
        FrameProfile.load(path)
