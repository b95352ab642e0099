"""`surgrl convert SOURCE... DEST`: recordings as LeRobot dataset, MCAP, demonstrations or clean videos."""

import argparse
import json
import sys
from collections.abc import Iterator
from math import isclose
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from .demo_file import read_demo, write_demo
from .files import atomic_folder
from .policy.errors import UserError
from .policy.spec import Array
from .recordings import Recording, Source, Track, find_recordings, is_dataset, open_recording
from .rows import Row, Rows
from .video_writer import VideoWriter, yuv_of
from .view import View, add_view_arguments, view_of

KINDS = ("lerobot", "mcap", "demos", "video")
BEGAN = 10**18          # ns since 1970, of every stripped bag: 9 September 2001, when nobody was operated on
TELLING = ("recorded at (ns since 1970)",)      # tags that a bag's stamps are
DEMO_FEATURES = ("next.reward", "next.done", "next.success")    # of a dataset's rows, where they are a demonstration's
CLOSE = 1e-6            # s, that times may differ after writing: ns, and counts of frames
COLOUR = 6.0            # of 255, that a picture's mean colour may differ after compression


class Written(NamedTuple):
    """What an episode must be when it is read back."""

    time: Array             # (N,) s of its pictures
    colour: Array           # (N, 3) mean R, G, B of each
    state: Track | None
    action: Track | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl convert`."""
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="videos, bags, LeRobot datasets, folders of demonstrations or of "
        "numbered pictures; folders of them, globs")
    add("dest", metavar="DEST", type=Path, help="folder to make; it must not be there yet")
    add("--to", required=True, choices=KINDS, help="lerobot: a LeRobot dataset, v3.0; mcap: a rosbag2 folder for each "
        "recording, as record_node writes them; demos: episodes that `surgrl train` reads, of what was made from such; "
        "video: an H.264 mp4 for each")
    add("--topic", help="of bags and datasets with several cameras: the one to take")
    add("--rate", type=float, metavar="HZ", help="of a dataset's or video's rows; default: the first recording's")
    add("--task", help="what is done in the recordings, in words, for a dataset; default: as they tell themselves")
    add("--lossless", action="store_true", help="keep every pixel: pictures as png, in mcap and dataset")
    add("--strip", action=argparse.BooleanOptionalAction, default=True, help="leave out file names, titles, comments, "
        "dates and whatever else can name a patient (default); --no-strip keeps them in sources.json")
    add("--skip-damaged", action="store_true", help="leave out recordings that cannot be read whole, and name them; "
        "default: write nothing")
    add_view_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Convert, read back, compare; the folder appears when all that holds. UserError otherwise."""
    dest, view = args.dest, view_of(args)
    if dest.exists():
        raise UserError(f"{dest} exists already; name a new folder")
    if args.rate is not None and not 0 < args.rate <= 1000:
        raise UserError(f"--rate {args.rate:g} Hz; it must be above 0 and at most 1000")
    if args.to == "demos" and view.edits:
        raise UserError("demonstrations have masks for whole pictures; leave --crop, --mask, --eye and "
                        "--blank-outside away")
    if args.rate is not None and args.to in ("mcap", "demos"):
        raise UserError(f"--rate is of the rows of lerobot and video; {args.to} keeps every picture at its own time")
    if args.task is not None and args.to != "lerobot":
        raise UserError(f"--task is for lerobot; {args.to} has no place for it")
    if args.lossless and args.to == "video":
        raise UserError("--lossless is for lerobot and mcap; a video that everything plays is compressed")
    sources, skipped = find_recordings(args.sources), list[str]()
    with atomic_folder(dest) as scratch:
        exchange = _Exchange(scratch, args, view)
        for source in tqdm(sources, unit=" recordings", disable=None if len(sources) > 1 else True):
            try:
                exchange.add(source)
            except UserError as error:
                # What a dataset's writer has begun cannot be taken back; so nothing of it was begun: see `add`.
                if not args.skip_damaged:
                    raise
                skipped.append(str(error))
        if not exchange.written:
            raise UserError(f"{dest}: nothing could be converted: {'; '.join(skipped)}")
        exchange.close()
        exchange.compare()
    for text in skipped:
        print(f"left out: {' '.join(text.split())}", file=sys.stderr)
    for text in exchange.remarks:
        print(f"  {text}")
    pictures = sum(len(written.time) for written in exchange.written)
    print(f"{dest}: {len(exchange.written)} recordings, {pictures} pictures, as {args.to}; read back and compared")
    return 1 if skipped else 0


class _Exchange:
    """Writes recordings into a folder, one after the other."""

    def __init__(self, folder: Path, args: argparse.Namespace, view: View):
        self._folder, self._args, self._view = folder, args, view
        self._rate = args.rate
        self._dataset: Any = None       # made with the first recording
        self._sources: list[dict[str, Any]] = []
        self._left_out: set[str] = set()
        self.written: list[Written] = []
        self.remarks: list[str] = []

    def add(self, source: Source) -> None:
        """Convert one. UserError where it is damaged or does not fit; then nothing of it stays."""
        if self._args.skip_damaged:     # a first reading: a writer that has begun cannot forget
            with open_recording(source, self._args.topic, self._view) as recording:
                for _ in recording.pictures():
                    pass
        with open_recording(source, self._args.topic, self._view) as recording:
            if self._rate is None:
                self._rate = recording.rate or 30.0
            if self._args.to != "video":
                self._remark_others(recording)
            written = getattr(self, f"_to_{self._args.to}")(recording, len(self.written))
            self._left_out |= {"its name", *recording.tags}
            self._sources.append({"source": source.name, **recording.tags})
        self.written.append(written)

    def close(self) -> None:
        """Finish what belongs to all of them."""
        if self._dataset is not None:
            self._dataset.close()
        if self._args.strip:
            self.remarks.append(f"left out: {', '.join(sorted(self._left_out))}")
        else:
            text = json.dumps(self._sources, indent=2, ensure_ascii=False) + "\n"
            (self._folder / "sources.json").write_text(text, encoding="utf-8")

    def compare(self) -> None:
        """Read all that was written. UserError where anything is not as it was given."""
        for number, written in enumerate(self.written):
            source = (Source(self._folder, number) if self._args.to == "lerobot"
                      else Source(self._folder / _name(number, self._args.to)))
            rate = self._rate if self._args.to == "demos" else None
            with open_recording(source, view=View(rate=rate)) as recording:
                _compare(recording, written, f"recording {number}")

    def _to_lerobot(self, recording: Recording, number: int) -> Written:
        from .lerobot import DEMO_PART
        from .lerobot_writer import DatasetWriter
        if self._dataset is None:
            self._dataset = DatasetWriter(self._folder, self._rate, lossless=self._args.lossless)
        rows, more = Rows(recording, self._rate), {}
        if recording.demo is not None:
            demo = read_demo(recording.demo, partial=True)
            _fit(recording, len(demo.actions), self._rate)
            last = np.arange(len(demo.actions)) == len(demo.actions) - 1
            more = dict(zip(DEMO_FEATURES, (demo.rewards, last, last & demo.success), strict=True))
            path = self._folder / DEMO_PART.format(number)
            write_demo(path, demo._replace(frames=demo.frames[-1:]))
        kept = self._dataset.write(recording, rows, self._task(recording), more)
        self._remark(rows)
        return _written(recording, kept)

    def _to_video(self, recording: Recording, number: int) -> Written:
        size, rows = (recording.width // 2 * 2, recording.height // 2 * 2), Rows(recording, self._rate)
        kept = []
        with VideoWriter(self._folder / _name(number, "video"), size, rate=self._rate, quality=20) as writer:
            for row in rows:
                kept.append(row._replace(rgb=row.rgb.mean(axis=(0, 1))))
                writer.write(yuv_of(row.rgb[:size[1], :size[0]]))
        self._remark(rows)
        written = _written(recording, kept)
        return written._replace(time=np.arange(len(kept)) / self._rate, state=None, action=None)

    def _to_mcap(self, recording: Recording, number: int) -> Written:
        from .bag_exchange import write_bag
        from .bags import DEMO_PART
        folder = self._folder / _name(number, "mcap")
        began = BEGAN if self._args.strip else int(recording.tags.get(TELLING[0], BEGAN))
        seen = write_bag(recording, folder, began=began, lossless=self._args.lossless)
        if recording.demo is not None:
            demo = read_demo(recording.demo, partial=True)
            write_demo(folder / DEMO_PART, demo._replace(frames=demo.frames[-1:]))
        times = np.array([time for time, _ in seen])
        return Written(times - times[0], np.array([colour for _, colour in seen]),
                       *(None if track is None else track._replace(time=track.time - times[0])
                         for track in (recording.state, recording.action)))

    def _to_demos(self, recording: Recording, number: int) -> Written:
        if recording.demo is None:
            raise UserError(f"{recording.path}: has no masks, rewards and expert's actions, which demonstrations need; "
                            "only what was converted from demonstrations has them")
        demo = read_demo(recording.demo, partial=True)
        frames = np.stack([picture.rgb() for picture in recording.pictures()])
        if len(frames) == len(demo.actions):            # a dataset's rows end with the last action
            frames = np.concatenate([frames, demo.frames[-1:]])
        if len(frames) != len(demo.actions) + 1 or frames.shape[1:3] != demo.masks.shape[1:]:
            raise UserError(f"{recording.path}: {len(frames)} pictures of {frames.shape[2]}x{frames.shape[1]} px do "
                            f"not fit the {len(demo.actions)} actions of its demonstration; convert it anew")
        write_demo(self._folder / _name(number, "demos"), demo._replace(frames=frames))
        times = np.arange(len(frames)) / self._rate
        return Written(times, frames.mean(axis=(1, 2)), None, None)

    def _task(self, recording: Recording) -> str:
        return self._args.task if self._args.task is not None else recording.task or "recorded surgery"

    def _remark(self, rows: Rows) -> None:
        told = rows.told()
        if told:
            self.remarks.append(f"recording {len(self.written)}: {told}")


    def _remark_others(self, recording: Recording) -> None:
        """Tell, once for a dataset, what of it no recording has a place for."""
        if not is_dataset(recording.path):
            return
        from .lerobot import other_features
        carried = DEMO_FEATURES if recording.demo is not None else ()
        names = [name for name in other_features(recording.path) if name not in carried]
        text = f"left out of the dataset, of which pictures, state and action are kept: {', '.join(names)}"
        if names and text not in self.remarks:
            self.remarks.append(text)


def _name(number: int, kind: str) -> str:
    return f"episode-{number:06d}" + {"demos": ".npz", "video": ".mp4"}.get(kind, "")


def _fit(recording: Recording, steps: int, rate: float) -> None:
    """UserError unless each row of `rate` (Hz) is one of a demonstration's steps, whose reward it takes."""
    times = np.zeros(0) if recording.action is None else recording.action.time
    if len(times) != steps:
        raise UserError(f"{recording.path}: {len(times)} actions do not fit the {steps} of its demonstration; "
                        "convert it anew")
    # Not recording.rate: of a bag it is rounded.
    own = float((steps - 1) / (times[-1] - times[0])) if steps > 1 else recording.rate
    if not isclose(own, rate, rel_tol=1e-4):
        raise UserError(f"{recording.path}: a demonstration of {own:.6g} Hz, whose rewards are those of its steps: "
                        f"rows of {rate:g} Hz would have wrong ones; give --rate {own:.6g}, and what has another rate "
                        "a dataset of its own")


def _written(recording: Recording, kept: list[Row]) -> Written:
    times = np.array([row.time for row in kept])
    times -= times[0]
    tracks = [None if track is None else track._replace(time=times, values=np.array(values))
              for track, values in ((recording.state, [row.state for row in kept]),
                                    (recording.action, [row.action for row in kept]))]
    return Written(times, np.array([row.rgb for row in kept]), *tracks)


def _compare(recording: Recording, written: Written, name: str) -> None:
    """UserError where a recording is not what was written."""
    apart = [*_apart(written.state, recording.state, "state"), *_apart(written.action, recording.action, "action")]
    seen = [(picture.time, picture.rgb().mean(axis=(0, 1))) for picture in recording.pictures()]
    times, colours = np.array([time for time, _ in seen]), np.array([colour for _, colour in seen])
    if len(times) != len(written.time):
        apart.append(f"{len(times)} pictures instead of {len(written.time)}")
    elif not np.abs(times - written.time).max() <= CLOSE + (1e-3 if written.state is None else 0):
        apart.append("times of pictures")
    elif not np.abs(colours - written.colour).max() <= COLOUR:
        apart.append(f"colours of pictures, by {np.abs(colours - written.colour).max():.0f}")
    if apart:
        raise UserError(f"{name}: read back, it is not what was written: {', '.join(apart)}; nothing was kept. This "
                        "is a fault of surgrl or of the disk")


def _apart(given: Track | None, got: Track | None, name: str) -> Iterator[str]:
    if given is None:
        return
    if got is None or given.values.shape != got.values.shape or given.names != got.names:
        yield f"{name}'s shape"
    elif not np.array_equal(given.values, got.values, equal_nan=True):
        yield f"{name}'s values"
    elif not np.abs(given.time - got.time).max() <= CLOSE:
        yield f"{name}'s times"
    elif given.arm and got.arm not in ("", given.arm):      # a dataset has no place for it
        yield f"{name}'s arm"
