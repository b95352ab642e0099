"""Recordings as episodes to learn from: pictures at a fixed rate, prepared as a policy sees them, and what was done."""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from glob import escape
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from models.episodes import TooSmallError
from models.memory import EpisodeMemory

from .config import RecordingsConfig
from .policy.errors import UserError
from .policy.image import prepare
from .policy.spec import Array, ImageSpec
from .recordings import Recording, Source, Track, find_recordings, is_glob, open_recording
from .ticks import Place, sample
from .view import View

CAMERA = "endoscope_left"       # tf frame of a camera whose recording names none


class Film(NamedTuple):
    """One recording as an episode of T moments."""

    source: Source
    image: ImageSpec        # how its pictures were prepared
    frames: Array           # (T, h, w, 3) uint8, prepared
    time: Array             # (T,) s, of each moment
    right: Array | None     # (T, h, w, 3) uint8, what a second eye saw; None: nobody asked
    state: Track | None     # of the robot, as recorded
    action: Track | None


def choose(told: RecordingsConfig, seed: int) -> tuple[list[Source], list[Source]]:
    """The recordings to learn from, and those left aside: drawn by the seed, none where there is only one."""
    found = find_recordings(told.sources)
    found = found[:told.most] if told.most else found
    aside = 0 if told.held_out == 0 else max(1, round(told.held_out * len(found)))
    aside = min(aside, len(found) - 1)
    apart = set(np.random.default_rng(seed).permutation(len(found))[:aside].tolist())
    return ([source for k, source in enumerate(found) if k not in apart],
            [source for k, source in enumerate(found) if k in apart])


def watch(sources: Sequence[Source], told: RecordingsConfig, size: int, stack: int = 1, *, two: bool = False,
          progress: str = "", most: int = 10 ** 9) -> Iterator[Film]:
    """Each recording as a Film, its pictures size x size px. two: of both eyes. progress: text before a bar, if any.

    most: pictures of one, beyond which no more are read: whoever asks cannot hold them.
    """
    first = None
    for source in tqdm(sources, desc=progress, disable=not progress, leave=False, unit="recording", dynamic_ncols=True,
                       mininterval=0.5 if sys.stderr.isatty() else 20):
        with open_recording(source, told.topic or None, view_of(told)) as video:
            image = _seen(video, told, size, stack)
            frames, time = _frames(video, image, most + 1)
            film = Film(source, image, frames, time, None, video.state, video.action)
        if two:
            film = _with_right(film, told)
        first = first or film
        if image.width * first.image.height != image.height * first.image.width:
            raise UserError(f"{source.path}: {image.width}x{image.height} px, another shape than the "
                            f"{first.image.width}x{first.image.height} of {first.source.path}; take recordings of one "
                            "camera, or give recordings.view a crop")
        yield film


def view_of(told: RecordingsConfig) -> View:
    """What of the pictures is seen; UserError for a key that a view has not."""
    known = [entry.name for entry in fields(View)]
    unknown = next((key for key in told.view if key not in known), None)
    if unknown:
        raise UserError(f"config: unknown key recordings.view.{unknown}; allowed here: {', '.join(known)}")
    values: dict[str, Any] = {key: Path(value) if key == "mask" else value for key, value in told.view.items()}
    return View(**values)


class Footage:
    """A memory filled with films. Its state is where its random numbers stand: the pictures stay in the recordings."""

    def __init__(self, memory: EpisodeMemory):
        """memory: empty."""
        self.memory, self._hash = memory, hashlib.blake2b(digest_size=16)

    def add(self, film: Film, actions: Array | None = None) -> None:
        """One more episode. actions: (T, A) in about [-1, 1], what was done at each moment; None: unknown, stored as 0.

        UserError where the memory is full, or the film too short.
        """
        if len(film.frames) < 2:
            raise UserError(f"{film.source.path}: shows {len(film.frames)} picture at {film.image.rate:g} Hz; a "
                            "recording must show two or more: leave it out, or raise recordings.rate")
        done = np.zeros((len(film.frames), 1), np.float32) if actions is None else np.asarray(actions, np.float32)
        own: dict[str, Any] = {"right": film.right} if "right" in self.memory.extras else {}
        if "expert" in self.memory.extras:
            own["expert"] = done
        try:
            for t, frame in enumerate(film.frames):
                signals = {name: values[t] for name, values in own.items()}
                if t == 0:
                    self.memory.begin(frame, demo=True, **signals)      # a demonstration: none is dropped unseen
                else:
                    self.memory.add(done[t - 1], 0.0, False, frame, **signals)
        except TooSmallError as error:
            raise UserError(f"{film.source.path}: with it the recordings show more than the {self.memory.capacity} "
                            "pictures that the memory holds; raise its capacity, lower recordings.rate, or take fewer "
                            "with recordings.most") from error
        self.memory.end()
        for values in (film.frames, done, film.right):
            self._hash.update(b"" if values is None else np.ascontiguousarray(values).data)

    def state_dict(self) -> dict[str, Array]:
        """Random numbers, and what the films must be when training goes on."""
        return {"rng": np.array(json.dumps(self.memory.rng.bit_generator.state)),
                "films": np.array(self._hash.hexdigest())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on; ValueError where the films are others."""
        if str(state["films"]) != self._hash.hexdigest():
            raise ValueError("its recordings are no longer what it began with")
        self.memory.rng.bit_generator.state = json.loads(str(state["rng"]))


def _with_right(film: Film, told: RecordingsConfig) -> Film:
    """The film with what a second eye saw; UserError where no second is named, or its pictures are of other times."""
    view, topic = view_of(told), told.right_topic or told.topic or None
    if not told.right_topic:
        if view.eye is None:
            raise UserError("config: an objective compares two eyes (tcn with views: 2): name the second, "
                            "recordings.view={eye: left} where both are in each picture, or recordings.right_topic; or "
                            "set views to 1")
        view = replace(view, eye="right" if view.eye == "left" else "left")
    with open_recording(film.source, topic, view) as video:
        right, time = _frames(video, _seen(video, told, film.image.size[0], film.image.stack), len(film.time) + 2)
    if abs(len(time) - len(film.time)) > 1:
        raise UserError(f"{film.source.path}: its second eye shows {len(time)} pictures at {told.rate:g} Hz, the first "
                        f"{len(film.time)}; both must be of the same time")
    whole = min(len(time), len(film.time))
    return film._replace(frames=film.frames[:whole], time=film.time[:whole], right=right[:whole])


def _seen(video: Recording, told: RecordingsConfig, size: int, stack: int) -> ImageSpec:
    """How the pictures of a recording are prepared: the middle square of what the view leaves, made size x size px."""
    side = min(video.width, video.height)
    crop = (video.height - side) // 2, (video.width - side) // 2, side, side
    return ImageSpec(CAMERA, video.width, video.height, crop, (size, size), stack, told.rate)


def _frames(video: Recording, image: ImageSpec, most: int) -> tuple[Array, Array]:
    """The first pictures at the spec's rate, prepared (T, h, w, 3), and their times (T,) s."""
    ticks = [(prepare(tick.rgb, image), tick.time)
             for tick in islice(sample(video.pictures(0.0), image.rate, Place(0.0, 0), np.inf, None), most)]
    if not ticks:
        raise UserError(f"{video.path}: shows no picture")
    return np.stack([frame for frame, _ in ticks]), np.array([time for _, time in ticks])


def absolute(words: Sequence[str]) -> list[str]:
    """Words that name recordings, so that they still do from another folder."""
    here = str(Path.cwd())
    # The folder's own brackets are no part of a glob.
    return [str(Path(escape(here) if is_glob(word) else here) / word) for word in words]
