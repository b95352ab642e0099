"""The figures of a report, on motions and pictures whose figures are known."""

import numpy as np
import pytest

from surgrl.agreement import Agreement
from surgrl.album import MOST, Album
from surgrl.compared import velocity_of
from surgrl.latency import EDGES, Histogram
from surgrl.looks import Looks
from surgrl.policy.runtime import PolicyRuntime
from surgrl.recordings import Track
from surgrl.saliency import occlusion
from surgrl.segments import pack, unpack
from surgrl.smoothness import Smoothness, spectral_arc_length


def bell(rate: float, lasts: float) -> np.ndarray:
    """Speed of a reach of least jerk (Flash and Hogan 1985)."""
    share = np.linspace(0, 1, round(rate * lasts))
    return 30 * share ** 2 * (1 - share) ** 2


def test_a_reach_of_least_jerk_has_the_arc_length_that_its_authors_tell():
    assert spectral_arc_length(bell(100, 1.0), 100) == pytest.approx(-1.41, abs=0.02)


def test_arc_length_tells_a_reach_from_the_same_reach_with_a_tremor_and_forgets_its_size():
    smooth = bell(30, 3.0)
    shaking = smooth + 0.2 * np.sin(2 * np.pi * 6 * np.arange(len(smooth)) / 30)
    assert spectral_arc_length(shaking, 30) < spectral_arc_length(smooth, 30) - 0.3
    assert spectral_arc_length(5 * smooth, 30) == pytest.approx(spectral_arc_length(smooth, 30))


def test_jerk_of_a_parabola_is_its_own_and_stillness_is_no_motion():
    smoothness, time = Smoothness(30, 1.0), np.arange(90) / 30
    smoothness.add(np.stack([0.5 * time ** 2, 0 * time, 0 * time], axis=1))         # m/s: a jerk of 1 m/s3
    assert smoothness.jerk == pytest.approx(1.0)
    assert len(smoothness.lengths) == 1
    smoothness.add(np.zeros((90, 3)))
    smoothness.add(np.full((90, 3), np.nan))
    assert len(smoothness.lengths) == 1


def test_agreement_of_motions_at_60_degrees_is_a_half_and_unrelated_ones_have_none():
    rng, agreement = np.random.default_rng(0), Agreement(30, (1.0, 1.0))
    one = rng.normal(size=(600, 3))
    across = np.cross(one, rng.normal(size=(600, 3)))
    across *= np.linalg.norm(one, axis=1, keepdims=True) / np.linalg.norm(across, axis=1, keepdims=True)
    agreement.add(one, one * np.cos(np.pi / 3) + across * np.sin(np.pi / 3))
    told = agreement.told()
    assert told is not None and told.mean == pytest.approx(0.5) and told.share == 1 and told.blocks == 10
    unrelated = Agreement(30, (1.0, 1.0))
    unrelated.add(one, rng.normal(size=(600, 3)))
    told = unrelated.told()
    assert told is not None and told.low < 0 < told.high and told.high - told.low < 0.3


def test_what_stands_still_has_no_direction():
    agreement = Agreement(30, (1.0, 1.0))
    agreement.add(np.ones((60, 3)), np.full((60, 3), 0.001))
    agreement.add(np.ones((60, 3)), np.full((60, 3), np.nan))
    assert agreement.told() is None


def test_a_recorded_place_is_told_as_its_velocity_and_nothing_outside_its_time():
    time = np.linspace(0, 2, 41)
    place = np.stack([0.1 * time, 0 * time, -0.2 * time, time], axis=1)
    velocity = velocity_of(Track(("x", "y", "z", "jaw"), ("m", "m", "m", "rad"), time, place))
    assert velocity is not None
    assert velocity(np.array([1.0])) == pytest.approx(np.array([[0.1, 0, -0.2]]))
    assert np.isnan(velocity(np.array([2.5]))).all()
    assert velocity_of(Track(("jaw",), ("rad",), time, place[:, 3:])) is None


def test_an_album_of_any_length_holds_a_dozen_moments_or_two_evenly_spread():
    album, view = Album(), np.zeros((60, 80, 3), np.uint8)
    for number in range(1000):
        album.add(number, view, {"images": np.full((1, 3, 8, 8), number % 250, np.uint8)})
    numbers = [moment.number for moment in album.moments]
    assert MOST / 2 <= len(numbers) <= MOST and set(np.diff(numbers)) == {album.every} and numbers[0] == 0
    again = Album()
    again.recall(unpack(pack(album.memory())))
    assert [moment.number for moment in again.moments] == numbers
    assert (again.moments[3].inputs["images"] == numbers[3] % 250).all()


def test_quantiles_of_a_histogram_are_right_to_its_bins():
    histogram = Histogram()
    for seconds in np.random.default_rng(0).lognormal(-6, 0.5, 5000):
        histogram.add(seconds)
    told = histogram.told()
    assert told["p50_ms"] == pytest.approx(np.exp(-6) * 1e3, rel=0.12) and sum(told["counts"]) == 5000
    assert told["p99_ms"] == pytest.approx(np.exp(-6 + 2.326 * 0.5) * 1e3, rel=0.2)
    histogram.add(100.0)                                                # far beyond the last bin
    assert histogram.told()["longest_ms"] == 1e5 > EDGES[-1]


def test_memory_of_looks_goes_on_where_it_stood(make_bundle, tmp_path):
    bundle, rng = make_bundle(tmp_path / "bundle"), np.random.default_rng(0)
    views = rng.integers(0, 255, (40, 120, 160, 3), dtype=np.uint8)
    views[10:20] = 0                                                    # black for 10 ticks
    whole, first = Looks(bundle, 30), Looks(bundle, 30)
    told = [whole.look(number, view, number / 30) for number, view in enumerate(views)]
    for number in range(14):
        first.look(number, views[number], number / 30)
    second = Looks(bundle, 30)
    second.recall(unpack(pack(first.memory())))
    assert repr([second.look(number, views[number], number / 30) for number in range(14, 40)]) == repr(told[14:])
    assert any("black" in look.reason for look in told)


def test_covering_what_the_policy_reads_changes_its_action_and_nothing_else_does(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    from surgrl.policy.bundle import PolicyBundle
    from surgrl.policy.spec import ActionSpec, ImageSpec, ProprioSpec
    node, value = helper.make_node, helper.make_tensor_value_info
    weights = np.zeros((1, 3 * 64 * 64), np.float32)
    weights.reshape(3, 64, 64)[:, 40:46, 20:26] = 1 / (255 * 3 * 36)    # it reads a square, and nothing else
    graph = helper.make_graph(
        [node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT), node("Flatten", ["pixels"], ["flat"]),
         node("Gemm", ["flat", "weights"], ["action"], transB=1)], "square",
        [value("images", TensorProto.UINT8, ["B", 3, 64, 64])], [value("action", TensorProto.FLOAT, ["B", 1])],
        [numpy_helper.from_array(weights, "weights")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
              tmp_path / "policy.onnx")
    bundle = PolicyBundle(tmp_path, "none", ImageSpec("camera", 64, 64, (0, 0, 64, 64), (64, 64), 1, 30.0),
                          ProprioSpec(), ActionSpec(("v_x",), ("m/s",), (-1.0,), (1.0,), "camera"), {})
    bundle.write(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 0)), np.zeros((1, 1), np.float32))
    picture = np.zeros((1, 3, 64, 64), np.uint8)
    picture[:, :, 40:46, 20:26] = 255
    heat = occlusion(PolicyRuntime(bundle), {"images": picture})
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 36 <= row <= 50 and 16 <= column <= 30
    assert heat[:28].max() == 0 and heat[:, 42:].max() == 0
    assert heat.max() == pytest.approx(0.5, abs=0.1)                    # the action falls from 1 to the mean's, of 2


def test_what_the_robot_tells_goes_into_the_policy_as_it_was_at_that_time(tmp_path, make_bundle):
    import av

    from surgrl.decoded import Picture
    from surgrl.playback import Playback
    from surgrl.policy.errors import UserError
    from surgrl.ticks import Tick
    playback = Playback(make_bundle(tmp_path / "bundle", proprio=("x", "jaw")), rate=30.0)
    playback.hear_robot(Track(("jaw", "x", "y"), ("rad", "m", "m"), np.array([0.0, 0.1, 0.2]),
                              np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9.0]])))
    pixels = np.zeros((120, 160, 3), np.uint8)
    picture = Picture(0, 0.15, 0.2, av.VideoFrame.from_ndarray(pixels, format="rgb24"))
    playback.ask(Tick(0.15, picture, pixels, None))
    assert playback.runtime.inputs["proprio"].tolist() == [[5, 4]]
    with pytest.raises(UserError, match="does not tell x"):
        playback.hear_robot(Track(("jaw",), ("rad",), np.zeros(1), np.zeros((1, 1))))
