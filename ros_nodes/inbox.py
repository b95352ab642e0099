"""What came in last, how old it is, and what was thrown away."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from surgrl.policy.safety import FUTURE


class _Sample(NamedTuple):
    value: Any
    stamp: int          # ns, from the message
    received: float     # s, on this machine's monotonic clock


class Inbox:
    """The newest value of each input by its name."""

    def __init__(self, now: Callable[[], int]):
        """now: the node's clock in ns, the one that stamps are compared with."""
        self._now = now
        self._samples: dict[str, _Sample] = {}
        self._dropped: dict[str, str] = {}

    def put(self, name: str, value: Any, stamp: int) -> None:
        """Keep a sound input. stamp: ns."""
        self._samples[name] = _Sample(value, stamp, time.monotonic())
        self._dropped.pop(name, None)

    def drop(self, name: str, reason: str) -> None:
        """Remember why an input was thrown away; the one before it stays and grows old."""
        self._dropped[name] = reason

    def get(self, name: str) -> Any:
        """The newest value, or None."""
        return self._samples[name].value if name in self._samples else None

    def forget(self, name: str) -> None:
        """As if it had never come."""
        self._samples.pop(name, None)

    def age(self, name: str) -> float:
        """Age in s: by its stamp or since it was received, whichever is more; NaN when there is none.

        The stamp alone would trust a clock that stands still, the reception alone a queue that is full of old
        frames. A stamp from the future is told as it is: negative.
        """
        if name not in self._samples:
            return float(np.nan)
        sample = self._samples[name]
        by_stamp = (self._now() - sample.stamp) * 1e-9
        return by_stamp if by_stamp < -FUTURE else max(by_stamp, time.monotonic() - sample.received)

    def ages(self) -> dict[str, float]:
        """Age of every input that has come, s."""
        return {name: self.age(name) for name in self._samples}

    def explain(self, reason: str) -> str:
        """Adds to `reason`, which begins with an input's name, why the last such input was thrown away."""
        for name, why in self._dropped.items():
            if reason.startswith(f"{name} "):
                return f"{reason}; the last one was dropped: {why}"
        return reason
