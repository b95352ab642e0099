"""A bundle, running: frames in, SI commands out. Needs numpy, cv2, onnxruntime, yaml; never torch."""

from collections import deque
from collections.abc import Sequence

import numpy as np
import onnxruntime  # type: ignore[import-untyped]

from .bundle import PolicyBundle
from .errors import UserError
from .image import prepare, stacked
from .spec import Array

GOLDEN_TOLERANCE = 1e-4     # of the action's [-1, 1]; float32 on two CPUs differs by about 1e-6
CPU = ("CPUExecutionProvider",)


class PolicyRuntime:
    """The policy as the robot runs it. Refuses to exist when its golden actions do not come out."""

    def __init__(self, bundle: PolicyBundle, providers: Sequence[str] = CPU,
                 tolerance: float = GOLDEN_TOLERANCE):
        """Load the network and run its golden frames once (which is also the warm-up)."""
        self.bundle = bundle
        missing = [name for name in providers if name not in onnxruntime.get_available_providers()]
        if missing:
            raise UserError(f"onnxruntime here has no {missing[0]}; it has "
                            f"{', '.join(onnxruntime.get_available_providers())}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1    # a second one gains little and costs a long tail on shared cores
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(bundle.onnx), options, providers=list(providers))
        self._frames: deque[Array] = deque(maxlen=bundle.image.stack)
        self._state = np.zeros((1, bundle.state), np.float32)
        self.golden_error = self._prove_golden(tolerance)

    def reset(self) -> None:
        """Forget the frames of the last episode, and what a recurrent policy remembers."""
        self._frames.clear()
        self._state = np.zeros_like(self._state)

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
        outputs = self.session.run(None, inputs)
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
