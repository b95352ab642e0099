"""A bundle, running: frames in, SI commands out. Needs numpy, cv2, onnxruntime, yaml; never torch."""

import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bundle import PolicyBundle
from .errors import UserError
from .image import prepare, stacked
from .spec import Array

try:
    import onnxruntime  # type: ignore[import-untyped]
except ModuleNotFoundError:     # no node may end with a trace before it can say so
    onnxruntime = None

GOLDEN_TOLERANCE = 1e-4     # of the action's [-1, 1]; float32 on two CPUs differs by about 1e-6
CPU = ("CPUExecutionProvider",)
ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
# Of a tensor that is told to be in another file: the protobuf bytes of TensorProto.external_data's key "location".
ELSEWHERE = b"\x0a\x08location\x12"
OPTIONS = {"CUDAExecutionProvider": {"enable_cuda_graph": "1"},
           "TensorrtExecutionProvider": {"trt_cuda_graph_enable": "1"}}


class PolicyRuntime:
    """The policy as the robot runs it. Refuses to exist when its golden actions do not come out."""

    def __init__(self, bundle: PolicyBundle, providers: Sequence[str] = CPU,
                 tolerance: float = GOLDEN_TOLERANCE, *, allow_fallback: bool = False):
        """Load the network and run its golden frames twice, which is also the warm-up.

        providers: of onnxruntime, first choice first. UserError unless the first one is what runs; allow_fallback:
        then the next will do.
        """
        self.bundle = bundle
        self.session = _session(bundle, list(providers), allow_fallback)
        self.provider = str(self.session.get_providers()[0])
        self._network = Network(self.session, "cuda" if self.provider in ON_GPU else "cpu")
        self._frames: deque[Array] = deque(maxlen=bundle.image.stack)
        self._state = np.zeros((1, bundle.state), np.float32)
        self.inputs: dict[str, Array] = {}      # of the network, that the last action came of
        # Twice: a GPU's first run captures a graph, the second one replays it; both must be right.
        self.golden_error = max(self._prove_golden(tolerance) for _ in range(2))

    def reset(self) -> None:
        """Forget the frames of the last episode, and what a recurrent policy remembers."""
        self._frames.clear()
        self._state = np.zeros_like(self._state)

    def memory(self) -> dict[str, Array]:
        """All that it remembers from frame to frame: `frames` (n, h, w, 3) uint8 and `state` (1, S)."""
        frames = np.stack(self._frames) if self._frames else np.zeros((0, *self.bundle.image.size, 3), np.uint8)
        return {"frames": frames, "state": self._state.copy()}

    def recall(self, memory: Mapping[str, Array]) -> None:
        """Go on where a runtime of the same bundle, in another process, stood when it gave its memory."""
        self.reset()
        self._frames.extend(memory["frames"])
        self._state = np.array(memory["state"], np.float32)

    def act(self, frame: Array, proprio: Array | None = None) -> Array:
        """(H, W, 3) uint8 RGB [, (P,)] -> (A,) float64 in the units of bundle.action."""
        return self.bundle.action.to_si(self.act_normalised(frame, proprio))

    def act_normalised(self, frame: Array, proprio: Array | None = None) -> Array:
        """(H, W, 3) uint8 RGB [, (P,)] -> (A,) float32 in [-1, 1]."""
        self._frames.append(prepare(frame, self.bundle.image))
        while len(self._frames) < self.bundle.image.stack:      # an episode's first frame repeats
            self._frames.append(self._frames[-1])
        inputs: dict[str, Array] = {"images": stacked(self._frames)[None]}
        wanted = len(self.bundle.proprio.names)
        if wanted:
            if proprio is None or np.shape(proprio) != (wanted,):
                raise UserError(f"this policy reads proprio {self.bundle.proprio.names}; "
                                f"got {None if proprio is None else np.shape(proprio)}")
            inputs["proprio"] = np.asarray(proprio, np.float32)[None]
        if self.bundle.state:
            inputs["state"] = self._state
        outputs, self.inputs = self._network(inputs), inputs
        if self.bundle.state:
            # A state that is not finite would spoil all that follows; the action that came of it is NaN too: hold.
            self._state = outputs[1] if np.isfinite(outputs[1]).all() else np.zeros_like(self._state)
        actions: Array = np.asarray(outputs[0])[0]                              # (A,)
        return actions

    def _prove_golden(self, tolerance: float) -> float:
        """Run the exported frames; the largest error of their actions, UserError when above tolerance."""
        golden = self.bundle.golden()
        inputs = zip(golden["frames"], golden["proprio"], strict=True)
        actions = [self.act_normalised(frame, proprio) for frame, proprio in inputs]
        self.reset()
        error = float(np.abs(np.stack(actions) - golden["actions"]).max())
        if not error <= tolerance:
            raise UserError(f"{self.bundle.folder}: a golden action is off by {error:.2g}, allowed "
                            f"{tolerance:.2g}; this machine does not run the policy that was exported: "
                            "do not use it here")
        return error


def _session(bundle: PolicyBundle, providers: list[str], allow_fallback: bool) -> Any:
    """The network in onnxruntime, on the first provider; UserError where that is not to be had."""
    if onnxruntime is None:
        raise UserError(f"onnxruntime is not installed for {sys.executable}, and policies run on it: pip install "
                        "onnxruntime there; beside a ROS 2 installation as docs/ros.md says")
    there = onnxruntime.get_available_providers()
    chosen = [name for name in providers if name in there]
    if not chosen or (chosen[0] != providers[0] and not allow_fallback):
        wanted = providers[0] if providers else "provider to run on: none is named"
        raise UserError(f"onnxruntime here has no {wanted}; it has {', '.join(there)}; install the onnxruntime "
                        "that has the other, or allow a fallback")
    network = bundle.onnx.read_bytes()
    if ELSEWHERE in network:
        raise UserError(f"{bundle.folder}: policy.onnx keeps numbers in another file, which no hash of the bundle "
                        "covers; export it with all of them inside")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1    # a second one gains little and costs a long tail on shared cores
    options.log_severity_level = 3
    if chosen[0] not in CPU and not allow_fallback:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")    # all of it, or not at all
        chosen = [name for name in chosen if name not in CPU]
    try:
        session = onnxruntime.InferenceSession(
            network, options, providers=[(name, OPTIONS.get(name, {})) for name in chosen])
    except Exception as error:      # onnxruntime has a class of its own for each, none of them public
        raise UserError(f"{bundle.folder}: onnxruntime cannot run this policy on {chosen[0]}: {error}") from error
    running = session.get_providers()[0]
    if running != chosen[0] and not allow_fallback:
        raise UserError(f"{chosen[0]} was asked for, but onnxruntime runs the policy on {running}; is the GPU's driver "
                        "there, and the onnxruntime that fits it?")
    return session


class Network:
    """A session with its inputs and outputs bound to memory that never moves, as a captured CUDA graph needs."""

    def __init__(self, session: Any, device: str):
        """device: "cpu" or "cuda", where that memory is."""
        self._session, self._device = session, device
        self._binding: Any = None
        self._inputs: dict[str, Any] = {}
        self._outputs: list[Any] = []           # kept: the binding does not keep them

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        """One row in, every output as (1, ...); their shapes are the same at each call."""
        if self._binding is None:
            self._bind(inputs)
        for name, value in inputs.items():
            self._inputs[name].update_inplace(np.ascontiguousarray(value))
        self._session.run_with_iobinding(self._binding)
        return [np.array(output.numpy()) for output in self._outputs]

    def _bind(self, inputs: Mapping[str, Array]) -> None:
        self._binding = self._session.io_binding()
        for name, value in inputs.items():
            self._inputs[name] = onnxruntime.OrtValue.ortvalue_from_numpy(
                np.array(value, order="C"), self._device, 0)
            self._binding.bind_ortvalue_input(name, self._inputs[name])
        for output in self._session.get_outputs():      # their first axis is the batch, one row here
            value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                [1, *output.shape[1:]], np.float32, self._device, 0)
            self._outputs.append(value)
            self._binding.bind_ortvalue_output(output.name, value)
