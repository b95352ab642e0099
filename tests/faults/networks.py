"""Policies with every fault that a network can have: a grey corner of the picture tells which one to show."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from pictures import IMAGE, STEP, film, marked, sensed  # noqa: E402

from surgrl.policy.bundle import PolicyBundle  # noqa: E402
from surgrl.policy.image import prepare, stacked  # noqa: E402
from surgrl.policy.profile import FrameProfile  # noqa: E402
from surgrl.policy.spec import ActionSpec, ProprioSpec  # noqa: E402

NAN, INF = float("nan"), float("inf")
# code -> what it stands for, and the action in [-1, 1]
SOUND, NAN_CHANNEL, PLUS_INF, MINUS_INF, WILD, LEFT, RIGHT, STILL, NAN_PIXEL, SLOW, STUCK, NEARER = range(12)
ACTIONS = {SOUND: (0.5, 0, 0), NAN_CHANNEL: (0.5, NAN, 0), PLUS_INF: (INF, 0, 0), MINUS_INF: (0.5, 0, -INF),
           WILD: (5.0, 0, 0), LEFT: (-0.95, 0, 0), RIGHT: (0.95, 0, 0), STILL: (0.0, 0, 0), NAN_PIXEL: (0.5, 0, 0),
           SLOW: (0.5, 0, 0), STUCK: (0.5, 0, 0), NEARER: (0.3, 0, -0.9)}
SECONDS = {SLOW: 0.08, STUCK: 1.0}      # s, that these take to infer, on a quiet machine
SIDE = 192                              # of the matrices that burn the time
SEEN = 1e-4             # of the action, for each grey of the picture's mean: another crop gives other actions


def build(folder: Path, *, names: Sequence[str] = ("v_x", "v_y", "v_z"), profiled: bool = True) -> PolicyBundle:
    """A bundle in `folder`; names: its channels, "jaw" stays at 0.3 rad. Every v means -50..50 mm/s."""
    folder.mkdir(parents=True)
    rounds = [round(SECONDS.get(code, 0.0) / _seconds_of_a_round(folder)) for code in ACTIONS]
    table = np.array([[*ACTIONS[code], 0.3][:len(names)] for code in ACTIONS], np.float32)
    onnx.save(_network(table, rounds), folder / "policy.onnx")
    if profiled:
        _profile().save(folder / "frames.npz")
    bundle = PolicyBundle(
        folder, "surgrl/Reach-v0", IMAGE, ProprioSpec(()),
        ActionSpec(tuple(names), (*["m/s"] * 3, "rad")[:len(names)], (-0.05,) * 3 + (-1.0,) * (len(names) - 3),
                   (0.05,) * 3 + (1.0,) * (len(names) - 3), IMAGE.camera), {"agent": "drawn by the fault suite"})
    frames = np.stack([marked(picture, SOUND) for picture in film(5, 3)])
    session = onnxruntime.InferenceSession(str(folder / "policy.onnx"))
    actions = np.concatenate([session.run(None, {"images": stacked([prepare(frame, IMAGE)])[None]})[0]
                              for frame in frames])
    bundle.write(frames, np.zeros((3, 0), np.float32), actions)
    return PolicyBundle.load(folder)


def spoilt(bundle: PolicyBundle, folder: Path, how: str) -> Path:
    """A copy of a bundle in `folder` that no robot may run."""
    shutil.copytree(bundle.folder, folder)
    network = folder / "policy.onnx"
    if how == "bit":
        content = bytearray(network.read_bytes())
        content[len(content) // 2] ^= 1
        network.write_bytes(content)
    elif how == "crop":         # whoever writes the manifest anew, with all hashes right, has not the golden actions
        manifest = PolicyBundle.load(folder)
        other = PolicyBundle(folder, manifest.task, IMAGE.__class__(
            IMAGE.camera, IMAGE.width, IMAGE.height, (0, 0, 120, 120), IMAGE.size, IMAGE.stack, IMAGE.rate),
            manifest.proprio, manifest.action, manifest.origin)
        other.write(*manifest.golden().values())
    else:
        _move_out(folder, how)
    return folder


def _move_out(folder: Path, how: str) -> None:
    """Weights in another file, with all hashes right; then what `how` tells."""
    manifest = PolicyBundle.load(folder)
    place = "../elsewhere.data" if how == "escaping" else "policy.data"
    model = onnx.load(folder / "policy.onnx")
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= 100:
            (folder / place).write_bytes(tensor.raw_data)
            onnx.external_data_helper.set_external_data(tensor, place)
            tensor.ClearField("raw_data")
    (folder / "policy.onnx").write_bytes(model.SerializeToString())
    content = (folder / place).read_bytes()
    if how == "missing":
        (folder / place).unlink()
    elif how == "truncated":
        (folder / place).write_bytes(content[:20])
    elif how == "swapped":
        (folder / place).write_bytes(content[::-1])
    manifest.write(*manifest.golden().values())


def _profile() -> FrameProfile:
    rng = np.random.default_rng(0)
    shown = [(sensed(marked(picture, int(rng.integers(len(ACTIONS)))), rng), episode)
             for episode in range(1, 25) for picture in film(episode, 6, variety=0.7)]
    frames, episodes = zip(*shown, strict=True)
    return FrameProfile.fit(frames, episodes, IMAGE)


def _network(table: np.ndarray, rounds: Sequence[int]) -> onnx.ModelProto:
    """images -> the row of `table` (codes, A) that the picture's corner tells, after as many `rounds` of work."""
    node, floats = helper.make_node, TensorProto.FLOAT
    size, height, width = IMAGE.size[0], *IMAGE.size
    constants = {
        "table": table, "rounds": np.array(rounds, np.int64), "step": np.float32(STEP), "seen": np.float32(SEEN),
        "from": np.array([0, 1, 1], np.int64), "to": np.array([3, 3, 3], np.int64),
        "axes": np.array([1, 2, 3], np.int64),
        "one": np.array([1], np.int64), "bad": np.array(NAN_PIXEL, np.int64), "nan": np.float32(NAN),
        "zero": np.float32(0), "flat": np.array([0, -1], np.int64), "square": np.zeros((SIDE, SIDE), np.float32),
        "on": np.array(True), "last": np.array(len(table) - 1, np.int64)}
    body = helper.make_graph(
        [node("MatMul", ["work", "square"], ["worked"]), node("Identity", ["go"], ["goes"])], "round",
        [helper.make_tensor_value_info("k", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("work", floats, [SIDE, SIDE])],
        [helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
         helper.make_tensor_value_info("worked", floats, [SIDE, SIDE])])
    nodes = [
        node("Cast", ["images"], ["pixels"], to=floats),
        node("Slice", ["pixels", "from", "to", "axes"], ["corner"]),
        node("ReduceMean", ["corner"], ["grey"], axes=[1, 2, 3], keepdims=0),                  # (B,)
        node("Div", ["grey", "step"], ["steps"]), node("Floor", ["steps"], ["floor"]),
        node("Cast", ["floor"], ["told"], to=TensorProto.INT64), node("Min", ["told", "last"], ["code"]),
        node("Gather", ["table", "code"], ["wanted"]),                                          # (B, A)
        # One pixel that is not a number, among all others.
        node("Equal", ["code", "bad"], ["is_bad"]), node("Where", ["is_bad", "nan", "zero"], ["pixel"]),
        node("Unsqueeze", ["pixel", "one"], ["column"]), node("Reshape", ["pixels", "flat"], ["row"]),
        node("Concat", ["row", "column"], ["all"], axis=1),
        node("ReduceMean", ["all"], ["mean"], axes=[1], keepdims=1), node("Mul", ["mean", "seen"], ["sight"]),
        node("Gather", ["rounds", "code"], ["each"]), node("ReduceMax", ["each"], ["count"], keepdims=0),
        node("Loop", ["count", "on", "square"], ["burnt"], body=body),
        node("ReduceMean", ["burnt"], ["nothing"], keepdims=0),
        node("Add", ["wanted", "sight"], ["answer"]), node("Add", ["answer", "nothing"], ["action"])]
    graph = helper.make_graph(
        nodes, "faults", [helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", 3, height, width])],
        [helper.make_tensor_value_info("action", floats, ["B", table.shape[1]])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    assert size == height
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _seconds_of_a_round(folder: Path) -> float:
    """s, of one matrix product of the network above; the best of some, as the machine may be busy."""
    trial = folder / "trial.onnx"
    onnx.save(_network(np.zeros((1, 3), np.float32), [100]), trial)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(trial), options)
    trial.unlink()
    images, best = np.zeros((1, 3, *IMAGE.size), np.uint8), np.inf
    for _ in range(4):
        began = time.perf_counter()
        session.run(None, {"images": images})
        best = min(best, time.perf_counter() - began)
    return best / 100
