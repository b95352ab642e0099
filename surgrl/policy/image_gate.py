"""Looks at every camera frame before the policy does: is it a picture that may be acted on?

What holds, what latches, and after how long: ImageLimits. What it finds: a camera that is frozen, unplugged, out of
focus, behind smoke or blood, out of the body, or that calls blue red. Whether the policy is right it cannot know.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from .errors import UserError
from .image_limits import GRID, ImageLimits
from .profile import SIDE, FrameProfile, layout, reduced, region, statistics
from .spec import Array, ImageSpec

DARKEST, BLACK = (0, 0, 0), (24, 24, 24)                        # decoders that take video's black for 0 give 16
WHITE, BRIGHTEST = (240, 240, 240), (255, 255, 255)
COVERED = 0.95                  # share of pixels that make a frame black or white: a lit tool tip may glint in the dark
ALIKE, FLAT = 4, 0.6            # of 255; share of pixels no further than that from the commonest colour: a screen's
BARS = 90                       # of 255, by which each colour changes along a row of colour bars
FAR = 2.0                       # unlikeness beyond which no fault of lens or light explains a frame
CAST = 0.45                     # log of a ratio of colours, beyond the profile's: more than a wrong white balance
MEMORY = ("latch", "hold", "good", "bad", "repeats", "spoilt", "unlike", "last", "kind", "pixels")


class ImageVerdict(NamedTuple):
    """What the gate says of one frame."""

    state: Literal["ok", "hold", "latch"]
    reason: str                     # empty when ok
    measures: dict[str, float]      # the frame's statistics, for logs and diagnostics; empty once latched


class _Fault(NamedTuple):
    """What is wrong with one frame."""

    kind: Literal["frozen", "blank", "spoilt", "unlike"]
    reason: str


class ImageGate:
    """One camera's frames, judged in their order. Starts held: good_frames must come before the first `ok`.

    Frozen means that the pixels of the region are the same, tile by tile, as in the frame before. A real sensor's noise
    makes that impossible, a simulator's picture of a still arm does not: give the scene noise, or set frozen_frames 0.
    """

    def __init__(self, image: ImageSpec, limits: ImageLimits, profile: FrameProfile | None):
        """image: of the policy, whose crop is judged. profile: None leaves frozen, blank and changed frames to find."""
        self.image, self.limits, self.profile = image, limits, profile
        self.reset()

    def reset(self) -> None:
        """Forget all frames and any latch: at activation, or when an operator has looked."""
        self._latch = ""
        self._hold = "the start"
        self._good = self._bad = self._repeats = 0
        self._spoilt = self._unlike = 0.0               # s of such frames since the last `ok`
        self._last: float | None = None                 # s, of the last frame
        self._kind: tuple[int, int, str] | None = None  # height, width, encoding of the first frame
        self._pixels: Array | None = None               # (SIDE, SIDE, 3) of the last frame

    def memory(self) -> dict[str, Any]:
        """All that it remembers: plain numbers and text, and `pixels`, an array or None."""
        return {name: getattr(self, f"_{name}") for name in MEMORY}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Go on where a gate of the same camera, in another process, stood when it gave its memory."""
        for name in MEMORY:
            setattr(self, f"_{name}", memory[name])

    def look(self, frame: Array, seconds: float, encoding: str = "") -> ImageVerdict:
        """(H, W, 3) uint8 RGB, taken at `seconds`; encoding: as the camera's message calls it, before conversion."""
        if not self._latch:
            self._latch = self._changed(frame, encoding)
        if self._latch:
            return ImageVerdict("latch", self._latch, {})
        elapsed = 0.0 if self._last is None else max(seconds - self._last, 0.0)
        self._last = seconds
        view = region(frame, self.image)
        small = reduced(view)
        measures = statistics(small) | {"changed_tiles": self._count_changes(view)}
        if self.profile is not None:
            measures["unlikeness"] = self.profile.unlikeness(layout(small)) / self.limits.tolerance
            measures["oddness"] = self.profile.oddness(measures) / self.limits.tolerance
        fault = self._fault(small, measures)
        self._count(fault, elapsed)
        if self._latch:
            return ImageVerdict("latch", self._latch, measures)
        if self._hold and fault is None:
            waiting = f"waiting for good frames, {self._good} of {self.limits.good_frames}, after: {self._hold}"
            return ImageVerdict("hold", waiting, measures)
        return ImageVerdict("hold" if self._hold else "ok", self._hold, measures)

    def _count(self, fault: _Fault | None, elapsed: float) -> None:
        """Good and bad frames in a row, seconds of each fault, and what follows from them."""
        if fault is None:
            # A repeated frame proves nothing of a camera that was frozen; a stream that stutters stays held.
            self._good += not (self._hold and self._repeats and self.limits.frozen_frames)
            self._bad = 0
            if self._good >= self.limits.good_frames or not self._hold:
                self._hold, self._spoilt, self._unlike = "", 0.0, 0.0
            return
        # The first bad frame's own time counts from it: what was before it was good.
        since = elapsed if self._bad else 0.0
        self._good, self._bad = 0, self._bad + 1
        patience = {"frozen": 1, "blank": self.limits.blank_frames}.get(fault.kind, self.limits.strange_frames)
        if self._bad >= patience or self._hold:
            self._hold = fault.reason
        if fault.kind in ("spoilt", "unlike"):
            self._spoilt += since
        if fault.kind == "unlike":
            self._unlike += since
        for spent, limit in ((self._unlike, self.limits.unlike_latch), (self._spoilt, self.limits.strange_latch)):
            if self._hold and spent >= limit:
                self._latch = f"{fault.reason}, for {spent:.1f} s"
                return

    def _changed(self, frame: Array, encoding: str) -> str:
        """Why this cannot be a frame of the camera that the first frame came from; empty when it can."""
        if frame.dtype != np.uint8 or frame.shape[2:] != (3,):
            return f"a frame is {frame.dtype} of shape {frame.shape}; it must be uint8 (height, width, 3)"
        height, width = frame.shape[:2]
        if self._kind is None:
            try:
                region(frame, self.image)
            except UserError as error:
                return str(error)
            self._kind = height, width, encoding
        before = self._kind
        if tuple(before[:2]) != (height, width):
            return f"the camera's frames changed from {before[1]}x{before[0]} to {width}x{height} px"
        if before[2] != encoding:
            return f"the camera's encoding changed from {before[2]} to {encoding}"
        return ""

    def _count_changes(self, view: Array) -> float:
        """Tiles (of 64) in which any of the sampled pixels differs from the last frame's."""
        pixels, before = np.asarray(cv2.resize(view, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)), self._pixels
        self._pixels = pixels
        if before is None:
            return float(GRID * GRID)
        tile = SIDE // GRID
        changed = cv2.absdiff(pixels, before).reshape(GRID, tile, GRID, tile * 3).any(axis=(1, 3))
        return float(changed.sum())

    def _fault(self, small: Array, measures: dict[str, float]) -> _Fault | None:
        """The most certain thing that is wrong with a frame, if any."""
        same = measures["changed_tiles"] <= self.limits.overlay_tiles
        self._repeats = self._repeats + 1 if same else 0
        blank = _blank(small) if self.limits.blank_frames else ""
        if blank:
            return _Fault("blank", blank)
        if self.limits.frozen_frames and self._repeats >= self.limits.frozen_frames:
            return _Fault("frozen", f"the picture is frozen: {self._repeats} frames show nothing new")
        if self.profile is not None and self.limits.strange_frames:
            return _strange(small, measures, self.profile, self.limits.tolerance)
        return None


def _blank(small: Array) -> str:
    """What a frame without a picture shows; empty for a picture."""
    pixels = SIDE * SIDE
    if cv2.countNonZero(cv2.inRange(small, DARKEST, BLACK)) >= COVERED * pixels:
        return "the picture is black: is the light on, the camera plugged in?"
    if cv2.countNonZero(cv2.inRange(small, WHITE, BRIGHTEST)) >= COVERED * pixels:
        return "the picture is white: the sensor is saturated"
    some = small[::4, ::4].reshape(-1, 3)       # as good as all, and ten times faster
    middle = np.partition(some, len(some) // 2, axis=0)[len(some) // 2].astype(float)
    if cv2.countNonZero(cv2.inRange(small, middle - ALIKE, middle + ALIKE)) >= FLAT * pixels:
        return "the picture is of one colour: no signal, or the lens is covered"
    # Of colour bars only the upper part: SMPTE's (ECR 1-1978) lower third holds other patches.
    bars = small[:SIDE * 6 // 10]
    if np.ptp(bars[0], axis=0).min() >= BARS and np.median(bars.std(axis=0)) <= 3:
        return "the picture is colour bars: no signal"
    return ""


def _strange(small: Array, measures: dict[str, float], profile: FrameProfile, tolerance: float) -> _Fault | None:
    """What tells a frame from those of training, by the name of its likely cause; None when nothing does."""
    off = profile.outside(measures, tolerance)
    unlike = max(measures["unlikeness"], measures["oddness"])
    if not off and unlike <= 1:
        return None

    def told(name: str) -> str:
        low, high = profile.bounds(name)
        return f"{name} {measures[name]:.2f}, in training {low:.2f} to {high:.2f}"

    def is_off(name: str, sign: int) -> bool:
        return off.get(name, 0.0) * sign > 0

    if is_off("warmth", -1) and _fits_swapped(small, profile):
        return _Fault("spoilt", "red and blue are probably swapped (bgr8 called rgb8?): the picture is like "
                      f"training's only with them exchanged ({told('warmth')})")
    hue = max(abs(off.get(name, 0.0)) for name in ("warmth", "tint"))
    if is_off("brightness", -1) and hue <= CAST and _fits_lit(small, profile):
        return _Fault("spoilt", f"too dark: {told('brightness')}")
    reddish = measures["warmth"] > 0.1      # tissue, even through smoke or overexposed; a grey room is not
    if is_off("glare", 1) and reddish:
        return _Fault("spoilt", f"too bright: {told('glare')}; {told('brightness')}")
    if measures["unlikeness"] <= FAR:
        # From the cause that leaves the clearest trace to the one that leaves the faintest.
        if is_off("red", 1):
            return _Fault("spoilt", f"blood on the lens, or bleeding: {told('red')}")
        if is_off("sharpness", -1) and measures["unlikeness"] <= 1:
            return _Fault("spoilt", f"out of focus, or the lens is fogged: {told('sharpness')}")
        # Smoke bleaches and lifts all colours; a wrong white balance lifts one.
        if is_off("saturation", -1) and is_off("veil", 1) and reddish and off.get("tint", 0.0) < 0.2:
            return _Fault("spoilt", f"smoke before the lens: {told('saturation')}; {told('veil')}")
        if 0 < hue <= CAST and not is_off("sharpness", 1):
            name = max(("warmth", "tint"), key=lambda name: abs(off.get(name, 0.0)))
            return _Fault("spoilt", f"a cast of colour, is the white balance set? {told(name)}")
        if off and not hue and measures["unlikeness"] <= 1:
            return _Fault("spoilt", f"light or lens are not as in training: {'; '.join(map(told, off))}")
    strays = "".join(f"; {told(name)}" for name in off)
    return _Fault("unlike", f"unlike any picture of training, {unlike:.1f} times the limit{strays}: out of the body?")


def _fits_swapped(small: Array, profile: FrameProfile) -> bool:
    """Whether the frame would be like training's, were red and blue exchanged."""
    swapped = np.ascontiguousarray(small[:, :, ::-1])
    return "warmth" not in profile.outside(statistics(swapped)) and profile.unlikeness(layout(swapped)) <= FAR


def _fits_lit(small: Array, profile: FrameProfile) -> bool:
    """Whether a dark frame would be like training's, were it as bright as those."""
    gain = profile.mean.mean() / max(float(small.mean()), 1.0)
    return profile.unlikeness(layout(small) * gain) <= 1
