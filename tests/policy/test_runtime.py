"""The policy as the robot runs it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.errors import UserError
from surgrl.policy.image import prepare, stacked
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
    with pytest.raises(UserError, match="no NoSuchProvider"):
        PolicyRuntime(make_bundle(tmp_path / "bundle"), providers=("NoSuchProvider", "CPUExecutionProvider"))


def test_a_network_with_numbers_in_another_file_is_refused(make_bundle, tmp_path):
    onnx = pytest.importorskip("onnx")
    bundle = make_bundle(tmp_path)
    model = onnx.load(bundle.onnx)
    onnx.save_model(model, bundle.onnx, save_as_external_data=True, location="weights.data", size_threshold=0)
    bundle.write(*bundle.golden().values())     # whoever does this also has the hashes right
    with pytest.raises(UserError, match="in another file"):
        PolicyRuntime(PolicyBundle.load(tmp_path))


def test_with_a_fallback_allowed_the_next_provider_runs_and_is_told(tmp_path, make_bundle):
    bundle = make_bundle(tmp_path / "bundle")
    runtime = PolicyRuntime(bundle, ("NoSuchProvider", "CPUExecutionProvider"), allow_fallback=True)
    assert runtime.provider == "CPUExecutionProvider"
    assert runtime.act_normalised(np.zeros((120, 160, 3), np.uint8)) == pytest.approx([0.5, 0, 0])
    with pytest.raises(UserError, match="no NoSuchProvider"):       # nothing to fall back to
        PolicyRuntime(bundle, ("NoSuchProvider",), allow_fallback=True)


@pytest.mark.parametrize("allow_fallback", [False, True])
def test_no_provider_at_all_is_refused(tmp_path, make_bundle, allow_fallback):
    with pytest.raises(UserError, match="none is named; it has .*CPUExecutionProvider"):
        PolicyRuntime(make_bundle(tmp_path / "bundle"), (), allow_fallback=allow_fallback)


@pytest.mark.skipif("AzureExecutionProvider" not in onnxruntime.get_available_providers(), reason="another onnxruntime")
def test_a_provider_that_would_leave_the_work_to_the_cpu_is_refused(tmp_path, make_bundle):
    """Azure's takes no nodes: all would run on the CPU, under its name."""
    with pytest.raises(UserError, match="cannot run this policy on AzureExecutionProvider"):
        PolicyRuntime(make_bundle(tmp_path / "bundle"), ("AzureExecutionProvider", "CPUExecutionProvider"))


def network(folder: Path, *, proprio: int = 0, state: int = 0) -> PolicyBundle:
    """A bundle with a convolution over two frames of 16x16, and, where asked for, proprio and a memory."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper
    rng, node, told = np.random.default_rng(0), helper.make_node, helper.make_tensor_value_info
    weights = {"kernel": rng.normal(size=(4, 6, 3, 3)) * 0.02, "dense": rng.normal(size=(196, 8)) * 0.02,
               "from_proprio": rng.normal(size=(max(proprio, 1), 8)), "from_state": rng.normal(size=(max(state, 1), 8)),
               "to_action": rng.normal(size=(8, 3)), "to_state": rng.normal(size=(8, max(state, 1)))}
    nodes = [node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
             node("Conv", ["pixels", "kernel"], ["seen"], kernel_shape=[3, 3], strides=[2, 2]),
             node("Flatten", ["seen"], ["flat"]), node("MatMul", ["flat", "dense"], ["hidden"])]
    inputs = [told("images", TensorProto.UINT8, ["B", 6, 16, 16])]
    outputs, hidden = [told("action", TensorProto.FLOAT, ["B", 3])], "hidden"
    for name, size in (("proprio", proprio), ("state", state)):
        if size:
            inputs.append(told(name, TensorProto.FLOAT, ["B", size]))
            nodes += [node("MatMul", [name, f"from_{name}"], [f"of_{name}"]),
                      node("Add", [hidden, f"of_{name}"], [f"with_{name}"])]
            hidden = f"with_{name}"
    nodes += [node("Tanh", [hidden], ["features"]), node("MatMul", ["features", "to_action"], ["raw"]),
              node("Tanh", ["raw"], ["action"])]
    if state:
        nodes.append(node("MatMul", ["features", "to_state"], ["next_state"]))
        outputs.append(told("next_state", TensorProto.FLOAT, ["B", state]))
    used = {name for made in nodes for name in made.input}
    graph = helper.make_graph(nodes, "network", inputs, outputs, [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items() if name in used])
    folder.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
              folder / "policy.onnx")
    bundle = PolicyBundle(
        folder, "none", ImageSpec("camera", 16, 16, (0, 0, 16, 16), (16, 16), 2, 30.0),
        ProprioSpec(("x", "y", "z")[:proprio], "camera" if proprio else ""),
        ActionSpec(("a", "b", "c"), ("m/s",) * 3, (-1.0,) * 3, (1.0,) * 3, "camera"), {}, state)
    frames, robot = np.zeros((1, 16, 16, 3), np.uint8), np.zeros((1, proprio), np.float32)
    bundle.write(frames, robot, plain_actions(bundle, frames, robot))
    return PolicyBundle.load(folder)


def plain_actions(bundle: PolicyBundle, frames: np.ndarray, robot: np.ndarray) -> np.ndarray:
    """(n, A), by onnxruntime's `run`: no memory is bound, the state goes through the caller's hands."""
    session = onnxruntime.InferenceSession(str(bundle.onnx), providers=["CPUExecutionProvider"])
    seen = [prepare(frame, bundle.image) for frame in frames]
    actions, state = [], np.zeros((1, bundle.state), np.float32)
    for number, proprio in enumerate(robot):
        inputs = {"images": stacked([seen[max(number - 1, 0)], seen[number]])[None]}
        inputs |= {"proprio": proprio[None]} if len(proprio) else {}
        inputs |= {"state": state} if bundle.state else {}
        action, *rest = session.run(None, inputs)
        actions.append(action[0])
        state = rest[0] if rest else state
    return np.stack(actions)


@pytest.mark.parametrize("kind", [{}, {"proprio": 3}, {"state": 5}, {"proprio": 2, "state": 5}], ids=str)
def test_bound_memory_gives_the_actions_of_a_plain_run_bit_for_bit(tmp_path, kind):
    runtime = PolicyRuntime(network(tmp_path / "bundle", **kind))
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (20, 16, 16, 3), np.uint8)
    robot = rng.normal(size=(20, kind.get("proprio", 0))).astype(np.float32)
    expected = plain_actions(runtime.bundle, frames, robot)
    for _ in range(2):      # the second episode as the first: nothing of it stays in the bound memory
        runtime.reset()
        actions = [runtime.act_normalised(frame, proprio) for frame, proprio in zip(frames, robot, strict=True)]
        # None was written over by the calls after it.
        assert np.array_equal(np.stack(actions), expected)
    assert len(np.unique(expected, axis=0)) == 20


def test_what_a_policy_remembers_changes_what_it_does(tmp_path):
    runtime = PolicyRuntime(network(tmp_path / "bundle", state=5))
    frame = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    first = runtime.act_normalised(frame)
    assert not np.array_equal(runtime.act_normalised(frame), first)
    runtime.reset()
    assert np.array_equal(runtime.act_normalised(frame), first)


def test_where_onnxruntime_is_missing_a_line_says_so(tmp_path, make_bundle):
    make_bundle(tmp_path / "bundle", (0.0, 0.0, 0.0))
    code = ("import sys; sys.modules['onnxruntime'] = None\n"
            "import surgrl.policy.runtime as runtime\n"
            "from surgrl.policy.bundle import PolicyBundle\n"
            "try: runtime.PolicyRuntime(PolicyBundle.load(sys.argv[1]))\n"
            "except runtime.UserError as error: print(error)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "bundle")], capture_output=True, text=True,
                          timeout=60)
    assert done.stdout.startswith("onnxruntime is not installed for"), done.stderr
