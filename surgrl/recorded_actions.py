"""What was done in a recording, as a policy speaks of it: by name, in its units, -1..1 over its range."""

from collections.abc import Sequence

import numpy as np

from .config import RecordingsConfig
from .decoded import TIMESTAMP
from .footage import Film, view_of
from .policy.errors import UserError
from .policy.spec import ActionSpec, Array
from .recordings import Source, Track, open_recording


def action_range(sources: Sequence[Source], told: RecordingsConfig, who: str) -> ActionSpec:
    """All actions that the first recording names, with the range that they take in all of them.

    who: needs them. UserError where a recording tells none, or not the same.
    """
    tracks = []
    for source in sources:
        with open_recording(source, told.topic or None, view_of(told)) as video:
            tracks.append(_track(source, video.action, who))
    first = tracks[0]
    spec = ActionSpec(first.names, _units(first, told), (-1.0,) * len(first.names), (1.0,) * len(first.names), "")
    values = np.concatenate([_chosen(source, track, spec, told)
                             for source, track in zip(sources, tracks, strict=True)])
    low, high = values.min(0), values.max(0)
    still = high - low < 1e-9       # what never changes has no range: any will do
    return ActionSpec(spec.names, spec.units, tuple(np.where(still, low - 1, low).tolist()),
                      tuple(np.where(still, high + 1, high).tolist()), "")


def actions_of(film: Film, spec: ActionSpec, told: RecordingsConfig, who: str) -> Array:
    """(T, A): what was done at each moment, -1..1 over the spec's range and beyond where it was more.

    UserError where the recording lacks a channel of the spec, or has it in another unit.
    """
    track = _track(film.source, film.action, who)
    values = at(track._replace(values=_chosen(film.source, track, spec, told)), film.time, film.image.rate)
    low, high = np.array(spec.low), np.array(spec.high)
    return np.asarray(2 * (values - low) / (high - low) - 1)


def at(track: Track, time: Array, rate: float) -> Array:
    """(T, A): what was told in the step of 1 / rate s that begins at each moment, on average; else what was last."""
    begins = np.searchsorted(track.time, time - TIMESTAMP)
    ends = np.searchsorted(track.time, time + 1 / rate - TIMESTAMP)
    sums = np.concatenate([np.zeros((1, track.values.shape[1])), np.cumsum(track.values, axis=0)])
    held = track.values[np.maximum(begins - 1, 0)]
    count = (ends - begins)[:, None]
    return np.where(count > 0, (sums[ends] - sums[begins]) / np.maximum(count, 1), held)


def _track(source: Source, track: Track | None, who: str) -> Track:
    if track is None or not len(track.time):
        raise UserError(f"{source.path}: tells no actions, and {who} needs them; take recordings of a robot (a dataset "
                        "or a bag with commands), or another method")
    return track


def _chosen(source: Source, track: Track, spec: ActionSpec, told: RecordingsConfig) -> Array:
    """(N, A): the track's values of the spec's channels, in their order."""
    units, columns = _units(track, told), []
    for name, unit in zip(spec.names, spec.units, strict=True):
        if name not in track.names:
            raise UserError(f"{source.path}: tells the actions {', '.join(track.names)}; {name!r} [{unit}] is not "
                            "among them: take other recordings, or a config whose actions are these")
        column = track.names.index(name)
        if units[column] != unit:
            said = f"in {units[column]}" if units[column] else "without a unit"
            raise UserError(f"{source.path}: tells the action {name!r} {said}, {unit or 'no unit'} is wanted; "
                            + ("take recordings in that unit" if units[column] else
                               f"if it is that, say so: recordings.units={{{name}: {unit}}}"))
        columns.append(column)
    values = np.asarray(track.values[:, columns], float)
    if not np.isfinite(values).all():
        raise UserError(f"{source.path}: its actions are not all finite numbers; leave the recording out")
    return values


def _units(track: Track, told: RecordingsConfig) -> tuple[str, ...]:
    """As the recording says, or where it does not, as the config does."""
    return tuple(unit or told.units.get(name, "") for name, unit in zip(track.names, track.units, strict=True))
