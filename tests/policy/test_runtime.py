"""The policy as the robot runs it."""

from pathlib import Path

import numpy as np
import pytest

from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.errors import UserError
from surgrl.policy.runtime import PolicyRuntime
from surgrl.policy.spec import ActionSpec, ImageSpec, ProprioSpec


@pytest.fixture(scope="module")
def newest_first(tmp_path_factory: pytest.TempPathFactory) -> PolicyRuntime:
    """A policy of three frames whose three actions are their mean levels / 255, oldest first."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper
    folder: Path = tmp_path_factory.mktemp("stacked")
    nodes = [helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
             helper.make_node("Reshape", ["pixels", "shape"], ["frames"]),
             helper.make_node("ReduceMean", ["frames"], ["mean"], axes=[2], keepdims=0),
             helper.make_node("Div", ["mean", "white"], ["action"])]
    graph = helper.make_graph(
        nodes, "means", [helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", 9, 16, 16])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["B", 3])],
        [numpy_helper.from_array(np.array([-1, 3, 3 * 16 * 16]), "shape"),
         numpy_helper.from_array(np.array([255], np.float32), "white")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
              folder / "policy.onnx")
    action = ActionSpec(("a", "b", "c"), ("m/s",) * 3, (-1.0,) * 3, (1.0,) * 3, "camera")
    bundle = PolicyBundle(folder, "none", ImageSpec("camera", 16, 16, (0, 0, 16, 16), (16, 16), 3, 30.0),
                          ProprioSpec(), action, {})
    bundle.write(np.zeros((1, 16, 16, 3), np.uint8), np.zeros((1, 0)), np.zeros((1, 3)))
    return PolicyRuntime(PolicyBundle.load(folder))


def grey(level: int) -> np.ndarray:
    return np.full((16, 16, 3), level, np.uint8)


def test_the_first_frame_of_an_episode_repeats_and_the_newest_stands_last(newest_first):
    newest_first.reset()
    assert newest_first.act_normalised(grey(51)) == pytest.approx([0.2, 0.2, 0.2])
    assert newest_first.act_normalised(grey(102)) == pytest.approx([0.2, 0.2, 0.4])
    newest_first.act_normalised(grey(153))
    assert newest_first.act_normalised(grey(204)) == pytest.approx([0.4, 0.6, 0.8])


def test_reset_forgets_the_frames_of_the_last_episode(newest_first):
    newest_first.act_normalised(grey(255))
    newest_first.reset()
    assert newest_first.act_normalised(grey(51)) == pytest.approx([0.2, 0.2, 0.2])


def test_the_golden_frames_leave_no_trace_in_the_first_episode(newest_first):
    fresh = PolicyRuntime(newest_first.bundle)
    assert fresh.act_normalised(grey(51)) == pytest.approx([0.2, 0.2, 0.2])


def test_a_frame_that_the_caller_overwrites_later_stays_as_it_was_seen(newest_first):
    newest_first.reset()
    frame = grey(51)
    newest_first.act_normalised(frame)
    frame[:] = 255
    assert newest_first.act_normalised(grey(102)) == pytest.approx([0.2, 0.2, 0.4])


def test_an_action_comes_out_in_si_units(tmp_path, make_bundle):
    runtime = PolicyRuntime(make_bundle(tmp_path / "bundle", (0.5, -1.0, 0.0)))
    action = runtime.act(np.zeros((120, 160, 3), np.uint8))
    assert action.dtype == np.float64 and action == pytest.approx([0.025, -0.05, 0.0])


def test_minus_one_zero_and_one_stand_for_low_middle_and_high():
    spec = ActionSpec(("jaw",), ("rad",), (-0.5,), (1.5,), "tool")
    assert [spec.to_si([value])[0] for value in (-1, 0, 1)] == [-0.5, 0.5, 1.5]


def test_beyond_one_is_cut_to_the_range():
    spec = ActionSpec(("v_x", "v_y"), ("m/s",) * 2, (-0.05,) * 2, (0.05,) * 2, "camera")
    assert spec.to_si([7.0, -np.inf]) == pytest.approx([0.05, -0.05])


def test_nan_goes_through_so_that_the_gate_sees_it(tmp_path, make_bundle):
    runtime = PolicyRuntime(make_bundle(tmp_path / "bundle", "nan"))
    assert np.isnan(runtime.act(np.full((120, 160, 3), 9, np.uint8))).all()


def test_a_policy_that_reads_the_robot_refuses_to_guess_its_state(tmp_path, make_bundle):
    runtime = PolicyRuntime(make_bundle(tmp_path / "bundle", proprio=("x", "y")))
    frame = np.zeros((120, 160, 3), np.uint8)
    assert runtime.act(frame, np.zeros(2)) == pytest.approx([0.025, 0, 0])
    for wrong in (None, np.zeros(3)):
        with pytest.raises(UserError, match=r"reads proprio \('x', 'y'\)"):
            runtime.act(frame, wrong)


def test_a_provider_that_is_not_here_is_refused_and_never_silently_replaced(tmp_path, make_bundle):
    with pytest.raises(UserError, match="no NoSuchProvider; it has .*CPUExecutionProvider"):
        PolicyRuntime(make_bundle(tmp_path / "bundle"), providers=("NoSuchProvider",))
