"""A recording as rows of one rate: a picture, and the state and action that were known then."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .decoded import Picture
from .policy.errors import UserError
from .policy.spec import Array
from .recordings import Recording, Track

NEAR = 5e-4         # s, within which two times are the same: stamps are rounded


class Row(NamedTuple):
    """One moment."""

    time: float             # s since the recording's first picture; ascending
    rgb: Array              # (H, W, 3) uint8
    state: Array | None     # of the recording's names
    action: Array | None


class Rows:
    """Iterate once; then `told` says what of the recording is not in the rows."""

    def __init__(self, recording: Recording, rate: float):
        """rate: Hz of the rows."""
        self._recording, self._rate = recording, rate
        self.dropped = self.repeated = self.unknown = 0         # pictures

    def __iter__(self) -> Iterator[Row]:
        """Rows from the first picture of which state and action are known to the last action's."""
        state, action = self._recording.state, self._recording.action
        tracks = [track for track in (state, action) if track is not None]
        begin = max((track.time[0] for track in tracks), default=-np.inf) - NEAR
        # What is known holds until the next is; after the last action nobody knows.
        end = min((track.time[-1] + (0 if track is action else 1.5 / self._rate) for track in tracks),
                  default=np.inf) + NEAR
        count = 0
        for time, picture in self._regular():
            if not begin <= time <= end:
                self.unknown += 1
                continue
            yield Row(time, picture, *(None if track is None else track.values[_newest(track, time)]
                                       for track in (state, action)))
            count += 1
        if not count:
            raise UserError(f"{self._recording.path}: its state and action are not of the time of its pictures; "
                            "no picture has both")

    def told(self) -> str:
        """What is not as it was recorded; empty where all is."""
        words = [f"{count} {what}" for count, what in (
            (self.unknown, "left out (no state or action)"), (self.dropped, "left out (faster than the rate)"),
            (self.repeated, "repeated (none at that time)")) if count]
        words = [f"pictures: {', '.join(words)}"] if words else []
        for name, track in (("state", self._recording.state), ("action", self._recording.action)):
            if track is not None and len(track.time) > 1:
                rate = (len(track.time) - 1) / max(track.time[-1] - track.time[0], 1e-9)
                if rate > 1.1 * self._rate:
                    words.append(f"{name} of {rate:.0f} Hz kept at {self._rate:g} Hz; mcap keeps all")
        return ", ".join(words)

    def _regular(self) -> Iterator[tuple[float, Array]]:
        """One picture for each 1 / rate s: the one of about that time, else the one before it once more."""
        due, shown, first = 0, np.zeros(0), 0.0
        for picture in self._recording.pictures():
            first = picture.time if not due else first
            slot = _slot(picture, first, self._rate)
            if slot < due:
                self.dropped += 1
                continue
            while due < slot:
                self.repeated, due = self.repeated + 1, due + 1
                yield first + (due - 1) / self._rate, shown
            shown, due = picture.rgb(), due + 1
            yield picture.time, shown


def _slot(picture: Picture, first: float, rate: float) -> int:
    return int(np.floor((picture.time - first) * rate + 0.5))


def _newest(track: Track, time: float) -> int:
    """The place of the newest value by a time."""
    return max(0, int(np.searchsorted(track.time, time + NEAR, side="right")) - 1)
