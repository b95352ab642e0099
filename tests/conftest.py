"""Fixtures that more than one folder of tests uses."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.spec import ActionSpec, ImageSpec, ProprioSpec

CAMERA = "endoscope_left"
# A shell's background job ignores Ctrl-C, and so would the commands that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def build_bundle(folder: Path, action: Sequence[float] | str = (0.5, 0.0, 0.0), *, stack: int = 1,
                 task: str = "surgrl/Reach-v0", proprio: Sequence[str] = (), frame: str = CAMERA,
                 names: Sequence[str] = ("v_x", "v_y", "v_z"), units: Sequence[str] | None = None,
                 scale: float = 0.05, rate: float = 30.0) -> PolicyBundle:
    """A valid bundle in `folder`, whose network gives always the same action (A,) in [-1, 1].

    action "nan": the network takes the square root of minus the image's mean, so that a black image (as the
    golden ones are) gives 0 and any other NaN. Every channel means -scale..scale. Camera 160x120 px.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper
    folder.mkdir(parents=True, exist_ok=True)
    size, count = 64, len(names)
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", 3 * stack, size, size])
    inputs = [images]
    node = helper.make_node
    nodes = [node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
             node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),      # (B,)
             node("Unsqueeze", ["mean", "one"], ["column"])]                            # (B, 1)
    if action == "nan":
        values = np.zeros(count)
        nodes += [node("Neg", ["column"], ["minus"]), node("Sqrt", ["minus"], ["root"]),
                  node("Add", ["root", "constant"], ["action"])]
    else:
        values = np.asarray(action, dtype=float)
        nodes += [node("Mul", ["column", "zero"], ["nothing"]),
                  node("Add", ["nothing", "constant"], ["action"])]
    if proprio:     # an input that no node reads would be dropped: add it times zero
        inputs.append(helper.make_tensor_value_info("proprio", TensorProto.FLOAT, ["B", len(proprio)]))
        nodes = [node("ReduceMean", ["proprio"], ["told"], axes=[1], keepdims=1),
                 node("Mul", ["told", "zero"], ["silenced"]), *nodes[:-1],
                 node("Add", [nodes[-1].input[0], "constant"], ["spoken"]),
                 node("Add", ["spoken", "silenced"], ["action"])]
    constants = [numpy_helper.from_array(np.asarray(values, np.float32)[None], "constant"),
                 numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
                 numpy_helper.from_array(np.array([1], np.int64), "one")]
    outputs = [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["B", count])]
    graph = helper.make_graph(nodes, "constant", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "policy.onnx")
    bundle = PolicyBundle(
        folder, task, ImageSpec(CAMERA, 160, 120, (0, 20, 120, 120), (size, size), stack, rate),
        ProprioSpec(tuple(proprio), CAMERA if proprio else ""),
        ActionSpec(tuple(names), tuple(units or (["m/s"] * 3 + ["rad"])[:count]), (-scale,) * count,
                   (scale,) * count, frame), {"agent": "constant"})
    bundle.write(np.zeros((3, 120, 160, 3), np.uint8), np.zeros((3, len(proprio)), np.float32),
                 np.tile(np.asarray(values, np.float32), (3, 1)))
    return PolicyBundle.load(folder)


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., PolicyBundle]:
    """build_bundle, as a fixture: tests/ is no package to import from."""
    return build_bundle
