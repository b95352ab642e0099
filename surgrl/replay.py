"""`surgrl replay BUNDLE SOURCE`: what a policy would command on a recording. Needs no torch, no robot."""

import argparse
import csv
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import cv2
import numpy as np
from tqdm import tqdm

from .annotate import BASE, Annotator
from .files import atomic_file
from .playback import RAMP, Playback, find_region, sample
from .policy.bundle import PolicyBundle
from .policy.errors import UserError
from .pretrained import find_bundle
from .recordings import open_recording
from .video import VideoReader, VideoWriter, ahead

if TYPE_CHECKING:
    from .bags import BagReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl replay`."""
    add = parser.add_argument
    add("bundle", help="folder of the bundle, or the name of a pretrained one")
    add("video", type=Path, metavar="SOURCE", help="recording: mp4, avi, mkv; or a rosbag2 folder, mcap, db3, bag")
    add("--topic", help="of a bag with several topics of pictures: the one to replay")
    add("--out", type=Path, help="folder for replay.mp4 and actions.csv; default: SOURCE-replay, here")
    add("--start", type=float, default=0.0, help="s into the video at which to begin")
    add("--duration", type=float, default=np.inf, help="s to replay; default: to the end")
    add("--crop", help="top,left,height,width in px: the part of the video that is the camera's picture")
    add("--rate", type=float, help="Hz at which the policy is asked; default: as it was trained")
    add("--speed", type=float, help="m/s, limit of the gate; default: the fastest that the policy can ask for")
    add("--acceleration", type=float, help=f"m/s2, limit of the gate; default: speed / {RAMP} s")
    add("--no-video", action="store_true", help="write actions.csv only")


def run(args: argparse.Namespace) -> None:
    """Replay and write; UserError, and nothing half-written, when the video cannot be read whole."""
    if not (0 <= args.start < np.inf and args.duration > 0):
        raise UserError(f"--start {args.start:g} s, --duration {args.duration:g} s; start must be 0 or more, "
                        "duration above 0")
    bundle = PolicyBundle.load(find_bundle(args.bundle))
    if bundle.proprio.names:
        raise UserError(f"{bundle.folder}: this policy reads the state of the robot too "
                        f"({', '.join(bundle.proprio.names)}), which no video holds; take another")
    rate = bundle.image.rate if args.rate is None else args.rate
    if not 0 < rate <= 1000:
        raise UserError(f"--rate {rate:g} Hz; it must be above 0 and at most 1000")
    out = args.out or Path(f"{args.video.stem}-replay")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder")
    playback = Playback(bundle, rate=rate, speed=args.speed, acceleration=args.acceleration)
    cv2.setNumThreads(1)        # decoder and encoder run beside it; more threads would get in their way
    with open_recording(args.video, args.topic) as video:
        playback.region = find_region(video.height, video.width, bundle.image, args.crop)
        fresh = not out.exists()
        try:
            _write(playback, video, out, args)
        except BaseException:
            if fresh:
                with suppress(OSError):         # never made, or holds what another program put there
                    out.rmdir()
            raise


def _write(playback: Playback, video: "VideoReader | BagReader", out: Path, args: argparse.Namespace) -> None:
    """Write actions.csv, and replay.mp4 unless told not to; then say what was done."""
    size = None if args.no_video else _picture_size(video.width, video.height)
    began, counts = perf_counter(), {"sent": 0, "limited": 0, "held": 0}
    with ExitStack() as stack:
        scratch = stack.enter_context(atomic_file(out / "actions.csv"))
        table = csv.writer(stack.enter_context(scratch.open("w", newline="")))
        table.writerow(playback.header())
        if size:
            scratch = stack.enter_context(atomic_file(out / "replay.mp4"))
            writer = stack.enter_context(VideoWriter(scratch, size, rate=playback.rate, colour=video.colour))
            annotator = Annotator(playback.bundle.action, size, view=playback.view(size[0] / video.width),
                                  arrow=playback.drawable)
        ticks = sample(video.pictures(args.start), playback.rate, args.start, args.duration, size)
        total = _expected(video, playback.rate, args)
        running = stack.enter_context(closing(ahead(ticks)))        # its thread ends before the file closes
        for tick in tqdm(running, total=total, unit=" frames", disable=None):
            note = playback.step(tick)
            table.writerow(playback.row(note))
            if tick.yuv is not None:
                annotator.draw(tick.yuv, note)
                writer.write(tick.yuv)
            counts["held" if note.hold else "limited" if note.reasons else "sent"] += 1
        if not sum(counts.values()):
            lasts = "" if video.duration is None else f"; it lasts {video.duration:.2f} s"
            raise UserError(f"{video.path}: shows no picture at --start {args.start:g} s{lasts}")
    took, number = perf_counter() - began, sum(counts.values())
    print(f"{number} frames, {number / playback.rate:.1f} s at {playback.rate:g} Hz, in {took:.1f} s "
          f"({number / took:.0f} frames/s): {', '.join(f'{count} {word}' for word, count in counts.items())}")
    print(f"  gate    {playback.told()}")
    print(f"  wrote   {out / 'actions.csv'}{', ' + str(out / 'replay.mp4') if size else ''}")


def _expected(video: "VideoReader | BagReader", rate: float, args: argparse.Namespace) -> int | None:
    """Frames to come, for the progress bar; None when the file does not say how long it is."""
    if video.duration is None:
        return None if args.duration == np.inf else round(args.duration * rate)
    return max(1, int(min(args.duration, video.duration - args.start) * rate))


def _picture_size(width: int, height: int) -> tuple[int, int]:
    """Width, height px of the annotated video: even, and large enough to read what is written on it."""
    scale = max(1.0, min(BASE[0] / width, BASE[1] / height))
    return round(width * scale / 2) * 2, round(height * scale / 2) * 2
