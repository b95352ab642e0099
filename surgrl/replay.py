"""`surgrl replay BUNDLE SOURCE...`: what a policy would command on recordings. Needs no torch, no robot."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from tqdm import tqdm

from .lane import Lane
from .playback import RAMP, Playback
from .policy.bundle import PolicyBundle
from .policy.errors import UserError
from .pretrained import find_bundle
from .recordings import Source, find_recordings, open_recording
from .replay_files import INDEX, REPORT, RESULTS, TITLE
from .replay_index import Index
from .replaying import Replay, Span
from .results import describe, done_before, guard, publish
from .segments import Segments
from .ticks import find_region
from .view import View, add_view_arguments, view_of

FOLDER = "replays"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl replay`."""
    add = parser.add_argument
    add("bundle", help="folder of the bundle, or the name of a pretrained one")
    add("sources", nargs="+", metavar="SOURCE",
        help="recordings, folders of them, or globs: mp4, avi, mkv; bags of ROS; LeRobot datasets; folders of pictures")
    add("--topic", help="of a bag or dataset with several cameras: the one to replay")
    add("--against", metavar="BUNDLE2", help="a second policy, over the same pictures, to compare with the first")
    add("--out", type=Path, help=f"folder for the results; default: SOURCE-replay, or {FOLDER} for more than one, "
        "here, or beside SOURCE where this is a folder of it")
    add("--start", type=float, default=0.0, help="s into the video at which to begin")
    add("--duration", type=float, default=np.inf, help="s to replay; default: to the end")
    add("--rate", type=float, help="Hz at which the policy is asked; default: as it was trained")
    add("--speed", type=float, help="m/s, limit of the gate; default: the fastest that the policy can ask for")
    add("--acceleration", type=float, help=f"m/s2, limit of the gate; default: speed / {RAMP} s")
    add("--no-video", action="store_true", help="no annotated video")
    add("--parquet", action="store_true", help="the actions as Parquet, too (needs pyarrow)")
    add_view_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Replay all; 1 when some could not be. A single one that cannot be is a UserError, and nothing half-written."""
    if not (0 <= args.start < np.inf and args.duration > 0):
        raise UserError(f"--start {args.start:g} s, --duration {args.duration:g} s; start must be 0 or more, "
                        "duration above 0")
    view = view_of(args)
    bundles = [PolicyBundle.load(find_bundle(name)) for name in (args.bundle, args.against) if name]
    rate = _rate(bundles, args.rate)
    sources = find_recordings(args.sources)
    alone = len(args.sources) == 1 and sources == [Source(Path(args.sources[0]))]
    out = args.out or _outside(sources, Path(f"{sources[0].name}-replay" if alone else FOLDER))
    folders = [out] if alone else [out / name for name in folder_names(sources)]
    _spare(sources, [out, *folders])
    index = out / INDEX
    if not alone and index.exists() and f"<title>{TITLE}</title>".encode() not in index.read_bytes():
        raise UserError(f"{index}: would be replaced, and is no index of replays; name another --out, or move it away")
    if args.parquet:
        import pyarrow  # noqa: F401  before hours of work, not after
    cv2.setNumThreads(1)        # decoder and encoder run beside it; more threads would get in their way
    span = Span(args.start, args.duration, rate, not args.no_video)
    if alone:
        _replay(sources[0], out, bundles, span, view, args)
        return 0
    return _replay_all(sources, folders, bundles, span, view, args)


def _outside(sources: Sequence[Source], folder: Path) -> Path:
    """The folder; or one of its name beside the recording, where it would lie in one that is a folder itself."""
    place = folder.resolve()
    around = [path for path in {source.path.resolve() for source in sources} if path in place.parents and path.is_dir()]
    return min(around, key=lambda path: len(path.parts)).parent / folder.name if around else folder


def _spare(sources: Sequence[Source], folders: Sequence[Path]) -> None:
    """UserError where results in the folders would replace or get into a recording, or a file is in their way."""
    places = {source.path.resolve(): source.path for source in sources}
    kept = {place for place in places if place.is_dir()}
    for folder in folders:
        blocked = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
        if blocked:
            raise UserError(f"--out {blocked} is a file; name a folder")
        place = folder.resolve()
        around = next((path for path in (place, *place.parents) if path in kept), None)
        if around:
            raise UserError(f"--out {folder} lies in the recording {places[around]}, which results would become a part "
                            "of; name a folder outside of it")
        hit = next((path for path in map(Path.resolve, map(folder.joinpath, RESULTS)) if path in places), None)
        if hit:
            raise UserError(f"--out {folder}: its {hit.name} would replace the recording {places[hit]}; "
                            "name another folder")


def _replay_all(sources: Sequence[Source], folders: Sequence[Path], bundles: Sequence[PolicyBundle], span: Span,
                view: View, args: argparse.Namespace) -> int:
    """Each into a folder of its own, and an index of them."""
    out, failed, began, last = folders[0].parent, 0, perf_counter(), len(sources)
    index = Index(out, last)
    for at, (source, folder) in enumerate(zip(sources, folders, strict=True), 1):
        print(f"[{at}/{last}] {source.path}", flush=True)
        fault = ""
        try:
            _replay(source, folder, bundles, span, view, args)
        except UserError as error:
            failed, fault = failed + 1, " ".join(str(error).split())
            print(f"surgrl: error: {fault}", file=sys.stderr)
        index.add(source, folder.name, fault)
        if at < last:
            minutes = (perf_counter() - began) / at * (last - at) / 60
            print(f"  about {minutes:.1f} minutes for the {last - at} that are left, if they are as long")
    print(f"wrote {out / INDEX}: {len(sources) - failed} of {len(sources)} recordings")
    if failed:
        print(f"surgrl: {failed} of {len(sources)} recordings could not be replayed; the index says why",
              file=sys.stderr)
    return int(failed > 0)


def _replay(source: Source, out: Path, bundles: Sequence[PolicyBundle], span: Span, view: View,
            args: argparse.Namespace) -> None:
    """One recording into the folder `out`; goes on where an earlier run was killed."""
    guard(out, source)
    with open_recording(source, args.topic, view) as video:
        key = describe(source, bundles, span, view, vars(args))
        if done_before(out, key):
            print(f"  done before, as asked for now: {out / REPORT}; remove the folder to do it anew")
            return
        lanes = []
        for bundle, name, suffix in zip(bundles, _names(bundles), ("", "-against"), strict=False):
            playback = Playback(bundle, rate=span.rate, speed=args.speed, acceleration=args.acceleration)
            playback.region = find_region(video.height, video.width, bundle.image)
            playback.hear_robot(video.state)
            lanes.append(Lane(playback, name, suffix))
        with Segments(out, key) as segments:
            try:
                replay = Replay(lanes, span, segments)
                before, total = replay.place.number, _expected(video.duration, span)
                if before:
                    print(f"  goes on after {before / span.rate:.0f} s that are done")
                with tqdm(total=total, initial=before, unit=" frames", disable=None) as bar:
                    replay.run(video, bar.update)
                publish(source, video, replay, key, parquet=args.parquet)
            except UserError:
                segments.remove()
                raise
    _tell(replay, out, before)


def _tell(replay: Replay, out: Path, before: int) -> None:
    """What was done."""
    lane, number, took = replay.lanes[0], replay.place.number, replay.seconds
    print(f"{number} frames, {number / replay.span.rate:.1f} s at {replay.span.rate:g} Hz, in {took:.1f} s "
          f"({number / took:.0f} frames/s): {', '.join(f'{count} {word}' for word, count in lane.counts.items())}")
    print(f"  gate    {lane.playback.told()}")
    print(f"  wrote   {out / REPORT}")


def _rate(bundles: Sequence[PolicyBundle], asked: float | None) -> float:
    """Hz; UserError where no rate is right for all."""
    rates = sorted({bundle.image.rate for bundle in bundles})
    if asked is None and len(rates) > 1:
        raise UserError(f"the policies were trained at {rates[0]:g} and {rates[1]:g} Hz; --rate picks one for both")
    rate = rates[0] if asked is None else asked
    if not 0 < rate <= 1000:
        raise UserError(f"--rate {rate:g} Hz; it must be above 0 and at most 1000")
    return rate


def _names(bundles: Sequence[PolicyBundle]) -> list[str]:
    """What to call each: its folder's name, with its fingerprint where two have the same."""
    names = [bundle.folder.absolute().name for bundle in bundles]
    return names if len(set(names)) == len(names) else [
        f"{name} {bundle.fingerprint}" for name, bundle in zip(names, bundles, strict=True)]


def folder_names(sources: Sequence[Source]) -> list[str]:
    """A name for each that no other has: its own, with its folder's before it or a number after it where need be."""
    names = [source.name for source in sources]
    often = Counter(names)
    names = [name if often[name] == 1 else f"{source.path.absolute().parent.name}-{name}"
             for name, source in zip(names, sources, strict=True)]
    often, taken = Counter(names), set(names)
    for at, name in enumerate(names):
        if often[name] > 1:
            names[at] = next(numbered for numbered in (f"{name}-{k}" for k in count(1)) if numbered not in taken)
            taken.add(names[at])
    return names


def _expected(duration: float | None, span: Span) -> int | None:
    """Frames to come, for the progress bar; None when the file does not say how long it is."""
    if duration is None:
        return None if span.duration == np.inf else round(span.duration * span.rate)
    return max(1, int(min(span.duration, duration - span.start) * span.rate))
