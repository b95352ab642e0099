"""`surgrl replay` against the floor of decoding alone, same clip, same run: frames/s and CPU ms per frame.

python benchmarks/replay.py [--bundle NAME | --side 84 --stack 3] [--frames 900] [--times 4] [--size 640x480]
Without --bundle: a network of DrQ-v2's shape (Yarats et al. 2021), of random weights. A replay's frames/s are those
that the command tells: reading, policy, gate, tables and videos. Its whole column has the start and the report, too.
"""

import argparse
import contextlib
import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from surgrl.cli import main as surgrl
from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.image import prepare
from surgrl.policy.runtime import PolicyRuntime
from surgrl.policy.spec import ActionSpec, ImageSpec, ProprioSpec
from surgrl.pretrained import find_bundle
from surgrl.segments import join_videos
from surgrl.ticks import find_region
from surgrl.video import VideoReader

RATE = 30.0             # Hz, of clip and policy


def make_clip(path: Path, width: int, height: int, count: int) -> None:
    """A camera that wanders over a blurred texture with grain, and a shaft: 2.5 Mb/s."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (height + 400, width + 400, 3), dtype=np.uint8), (0, 0), 6)
    ground = np.asarray(cv2.normalize(ground, None, 30, 225, cv2.NORM_MINMAX))
    grain = rng.integers(-6, 7, (8, height, width, 1)).astype(np.int16)

    def frame(number: int) -> np.ndarray:
        x, y = int(200 + 150 * np.sin(number / 40)), int(200 + 150 * np.cos(number / 55))
        view = np.clip(ground[y:y + height, x:x + width] + grain[number % 8], 0, 255).astype(np.uint8)
        tip = int(width / 2 + width / 6 * np.sin(number / 15)), height // 2
        return cv2.line(view, (0, height), tip, (200, 200, 210), height // 26, cv2.LINE_AA)

    with av.open(str(path), "w") as file:       # as recorders encode, not as replay does: CABAC, B-frames
        stream = file.add_stream("libx264", rate=round(RATE), options={"preset": "fast"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 2_500_000
        for number in range(count):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame(number), format="rgb24")))
        file.mux(stream.encode())


def make_network(path: Path, stack: int, side: int, entries: int) -> None:
    """DrQ-v2's encoder and actor as ONNX; random weights cost as much time as learnt ones."""
    rng, weights = np.random.default_rng(0), []
    nodes = [helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT)]

    def layer(kind: str, shape: tuple[int, ...], after: str, **attributes: object) -> None:
        name, scale = f"layer{len(weights)}", (2 / np.prod(shape[1:])) ** 0.5
        values = (rng.standard_normal(shape) * scale).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        inputs = [nodes[-1].output[0], name]
        nodes.append(helper.make_node(kind, inputs, [f"{name}_sum"], **attributes))
        nodes.append(helper.make_node(after, [f"{name}_sum"], [f"{name}_out"]))

    for inputs, stride in ((3 * stack, 2), (32, 1), (32, 1), (32, 1)):
        layer("Conv", (32, inputs, 3, 3), "Relu", strides=[stride, stride])
    nodes.append(helper.make_node("Flatten", [nodes[-1].output[0]], ["flat"]))
    left = (side - 3) // 2 + 1 - 6      # px of a side after the four convolutions
    for inputs, outputs, after in ((32 * left ** 2, 50, "Tanh"), (50, 1024, "Relu"), (1024, 1024, "Relu"),
                                   (1024, entries, "Tanh")):
        layer("Gemm", (outputs, inputs), after, transB=1)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "drqv2", [value("images", TensorProto.UINT8, ["B", 3 * stack, side, side])],
        [value(nodes[-1].output[0], TensorProto.FLOAT, ["B", entries])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def make_bundle(folder: Path, width: int, height: int, *, side: int, stack: int) -> Path:
    """A bundle of that network for the largest square of a width x height camera."""
    edge = min(width, height)
    image = ImageSpec("camera", width, height, ((height - edge) // 2, (width - edge) // 2, edge, edge),
                      (side, side), stack, RATE)
    action = ActionSpec(("v_x", "v_y", "v_z", "jaw"), ("m/s", "m/s", "m/s", "rad"),
                        (-0.05, -0.05, -0.05, 0.0), (0.05, 0.05, 0.05, 1.0), "camera")
    folder.mkdir()
    make_network(folder / "policy.onnx", stack, side, len(action.names))
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    planes = np.concatenate([prepare(frame, image)] * stack, axis=2).transpose(2, 0, 1)
    golden = onnxruntime.InferenceSession(folder / "policy.onnx").run(None, {"images": planes[None]})[0]
    bundle = PolicyBundle(folder, "none", image, ProprioSpec(), action, {})
    bundle.write(frame[None], np.zeros((1, 0)), golden)
    return folder


def decode(path: Path, rgb: bool) -> int:
    """The floor: read every picture, convert it to RGB or not."""
    count = 0
    with VideoReader(path) as video:
        for picture in video.pictures():
            if rgb:
                picture.rgb()
            count += 1
    return count


def act(path: Path, bundle: Path) -> int:
    """The policy alone on one picture in memory: prepare, stack, network."""
    runtime = PolicyRuntime(PolicyBundle.load(bundle))
    with VideoReader(path) as video, contextlib.redirect_stderr(io.StringIO()):
        top, left, height, width = find_region(video.height, video.width, runtime.bundle.image)
        frame = next(video.pictures()).rgb()[top:top + height, left:left + width]
    for _ in range(300):
        runtime.act(frame)
    return 300


def replay(path: Path, bundle: Path, out: Path, *options: str) -> tuple[int, float]:
    """The command itself, as a user runs it; frames, and s of the work without start and report."""
    shutil.rmtree(out, ignore_errors=True)      # or it would be done before
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = surgrl(["replay", str(bundle), str(path), "--out", str(out), *options])
    if code:
        raise SystemExit(code)
    told = re.search(r"^(\d+) frames, .* in [\d.]+ s \((\d+) frames/s\)", said.getvalue(), re.MULTILINE)
    assert told is not None, said.getvalue()
    return int(told[1]), int(told[1]) / int(told[2])


def main() -> None:
    """Run every case `repeats` times, in turn, so that a change of load meets all of them; print the best."""
    parser = argparse.ArgumentParser(description="surgrl replay against decoding alone")
    parser.add_argument("--bundle", help="folder, or name of a pretrained bundle; default: DrQ-v2's shape")
    parser.add_argument("--side", type=int, default=84, help="px, of the square that such a network reads")
    parser.add_argument("--stack", type=int, default=3, help="frames that it reads")
    parser.add_argument("--frames", type=int, default=900, help="length of the clip")
    parser.add_argument("--times", type=int, default=4, help="that the clip is shown, one after the other")
    parser.add_argument("--size", default="640x480", help="of the clip, px")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    width, height = (int(edge) for edge in args.size.split("x"))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder, clip = Path(scratch), Path(scratch) / "clip.mp4"
        make_clip(clip, width, height, args.frames)
        bundle = find_bundle(args.bundle) if args.bundle else make_bundle(
            folder / "bundle", width, height, side=args.side, stack=args.stack)
        if args.times > 1:
            join_videos([clip] * args.times, folder / "long.mp4")
            clip = folder / "long.mp4"
        cases: dict[str, Callable[[], int | tuple[int, float]]] = {
            "decode to RGB (the floor)": lambda: decode(clip, rgb=True),
            "decode, no conversion": lambda: decode(clip, rgb=False),
            "policy alone": lambda: act(clip, bundle),
            "replay --no-video": lambda: replay(clip, bundle, folder / "out", "--no-video"),
            "replay": lambda: replay(clip, bundle, folder / "out")}
        best = dict.fromkeys(cases, (0.0, 0.0, np.inf))
        shares = dict.fromkeys(cases, 0.0)
        loads = [os.getloadavg()[0]]
        for _ in range(args.repeats):
            floor = 0.0
            for name, case in cases.items():
                wall, cpu = time.perf_counter(), time.process_time()
                told = case()
                whole = time.perf_counter() - wall
                count, seconds = told if isinstance(told, tuple) else (told, whole)
                rate, cost = count / seconds, (time.process_time() - cpu) / count * 1e3
                floor = floor or rate
                best[name] = max(best[name][0], rate), max(best[name][1], count / whole), min(best[name][2], cost)
                shares[name] = max(shares[name], rate / floor)
            loads.append(os.getloadavg()[0])
        frames = args.frames * args.times
        size = clip.stat().st_size * 8 / frames * RATE / 1e6
        print(f"{frames} frames {width}x{height}, H.264 {size:.1f} Mb/s; best of {args.repeats}; "
              f"{os.cpu_count()} CPUs, load before and after: {', '.join(f'{load:.1f}' for load in loads)}")
        floor = best["decode to RGB (the floor)"][0]
        print("| case | frames/s | whole command | CPU ms/frame | best over best floor | best in one round |")
        print("|---|---|---|---|---|---|")
        for name, (rate, whole, cost) in best.items():
            print(f"| {name} | {rate:.0f} | {whole:.0f} | {cost:.2f} | {rate / floor:.0%} | {shares[name]:.0%} |")


if __name__ == "__main__":
    main()
