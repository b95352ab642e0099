"""`surgrl demo`: the whole path on this machine, with the commands a user would type, and one report of it."""

import argparse
import json
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import charts
from .evaluate import BundlePolicy, score_of
from .page import Page
from .policy.bundle import PolicyBundle
from .policy.errors import UserError
from .policy.image import prepare
from .policy.runtime import PolicyRuntime
from .policy.spec import Array
from .records import read_groups
from .run import Run
from .world import FIRST_UNSEEN_SEED, camera_world

CONFIG = "reach-demo"
RECORDED = range(FIRST_UNSEEN_SEED + 5000, FIRST_UNSEEN_SEED + 5008)     # episodes of the video that is replayed
SERVED_SEED = FIRST_UNSEEN_SEED + 9000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl demo`."""
    parser.add_argument("--out", default="runs/demo", help="folder for all that the demo makes (default: runs/demo)")
    parser.add_argument("--episodes", type=int, default=50, help="unseen seeds to evaluate on (default: 50)")
    parser.add_argument("overrides", nargs="*", metavar="key=value",
                        help="change the training, e.g. demos.updates=200 for a quick look")


def run(args: argparse.Namespace) -> None:
    """Train, evaluate, export, check, serve, replay, report; what is trained already is not trained again."""
    if args.episodes < 1:
        raise UserError(f"--episodes is {args.episodes}; it must be at least 1")
    began, out = time.monotonic(), Path(args.out)
    folder, bundle, recording = out / CONFIG, out / "bundle", out / "recording.mp4"
    commands: list[str] = []
    if (folder / "config.yaml").is_file():
        step(commands, "train", "--resume", folder)
    else:
        step(commands, "train", CONFIG, *args.overrides, "--runs", out)      # overrides stand behind the config
    step(commands, "eval", folder, "--episodes", args.episodes, "--json", out / "scores.json")
    step(commands, "export", folder, bundle)
    step(commands, "check", bundle)
    step(commands, "serve", bundle, "--episodes", 10, "--seed", SERVED_SEED, "--results", out / "serve.json")
    print(f"\nrecording {len(RECORDED)} episodes of the scripted expert as a video to replay")
    record(PolicyBundle.load(bundle), recording)
    step(commands, "replay", bundle, recording, "--out", out / "replay")
    page = report(out, folder, bundle, commands, args.episodes)
    print(f"\ndone in {(time.monotonic() - began) / 60:.1f} minutes; the report:\n{page.resolve()}")


def step(commands: list[str], *words: object) -> None:
    """Show and run one surgrl command, in this process."""
    from .cli import main
    argv = [str(word) for word in words]
    commands.append(shlex.join(["surgrl", *argv]))
    print(f"\n$ {commands[-1]}", flush=True)
    code = main(argv)
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise UserError(f"the demo stopped at `{commands[-1]}`; mend what it says and run the demo again: "
                        "it goes on from there")


def record(bundle: PolicyBundle, path: Path) -> None:
    """Some episodes of the expert at the camera's full size, as a surgical video."""
    from .video_writer import write_video
    world = camera_world(bundle, height=bundle.image.height)

    def frames() -> list[Array]:
        shown = []
        for seed in RECORDED:
            moment = world.reset(seed=seed)
            shown.append(moment.frame)
            while not (moment.terminated or moment.truncated):
                moment = world.step(world.expert())
                shown.append(moment.frame)
        return shown

    write_video(path, frames(), bundle.image.rate)
    world.close()


def report(out: Path, folder: Path, bundle_folder: Path, commands: Sequence[str], episodes: int) -> Path:
    """Put pictures and figures on one page; its path."""
    bundle = PolicyBundle.load(bundle_folder)
    scores = json.loads((out / "scores.json").read_text())
    served = json.loads((out / "serve.json").read_text())
    latencies = [value for episode in served["episodes"] for value in episode["latency_ms"]]
    ros = score_of([e["success"] for e in served["episodes"]], [e["steps"] for e in served["episodes"]],
                   [e["distance"] for e in served["episodes"]])
    p50, p99 = np.percentile(latencies, [50, 99])
    config, progress = Run(folder).config(), Run(folder).progress()
    minutes = bundle.origin["training_seconds"] / 60
    page = Page("surgrl: an instrument reaches its target, from endoscope images alone",
                "A policy was learnt in simulation, exported, and driven through ROS 2 nodes on this machine.")
    page.figures([(f"{scores['policy']['success']:.0%}", f"of {episodes} unseen episodes reached within 5 mm"),
                  (f"{ros.success:.0%}", f"of {ros.episodes} episodes through the ROS 2 nodes"),
                  (f"{p50:.1f} ms", "from image to command over ROS 2 (median)"),
                  (f"{minutes:.1f} min", f"of training on {os.cpu_count()} CPU cores")])
    _episode(page, bundle)
    page.heading("Success on seeds that no training saw")
    names = {"policy": "learnt policy", "random": "random policy", "expert": "scripted expert"}
    rows = {**{names[key]: value for key, value in scores.items()}, "through ROS 2": ros.row()}
    page.chart(charts.success_bars(list(rows), *([row[key] for row in rows.values()]
                                                 for key in ("success", "low", "high"))))
    page.table(["", "success", "95 % interval", "episodes", "mean steps"],
               [[name, f"{row['success']:.0%}", f"{row['low']:.0%}-{row['high']:.0%}", str(row["episodes"]),
                 f"{row['steps']:.0f}"] for name, row in rows.items()])
    page.heading("How it learnt")
    page.text(f"{config.demos.episodes} scripted demonstrations, then {progress.steps} steps of its own; every step "
              f"carries the expert's label. {progress.updates} learning steps, seed {config.seed}.")
    learnt = read_groups([folder])
    page.chart(charts.success_curves(learnt, legend=False))
    page.chart(charts.metric_curves(learnt, ["imitation/error", "dear/mask_iou"], [
        "squared error to the expert's action", "instrument mask read from the latent (IoU)"], axis="seconds"))
    page.heading("Over ROS 2")
    page.text(f"sim_node, policy_node and gate_node in processes of their own: {served['frames_answered']} of "
              f"{served['frames_sent']} images were answered by a command; median {p50:.1f} ms, p99 {p99:.1f} ms.")
    page.chart(charts.latency_histogram(latencies))
    page.heading("On a recorded video")
    page.text("The same bundle, replayed over a recording of the scripted expert: the arrow is the commanded tip "
              "velocity in the image, the bar its depth; below, what the gate says.")
    page.video(out / "replay" / "replay.mp4")
    page.heading("The commands")
    page.code("\n".join(commands))
    path = out / "report.html"
    page.write(path)
    return path


def _episode(page: Page, bundle: PolicyBundle) -> None:
    """One unseen episode of the bundle: the endoscope's view, and what the policy makes of it."""
    world = camera_world(bundle, height=bundle.image.height // 2)
    policy = BundlePolicy(PolicyRuntime(bundle))
    moments = [world.reset(seed=FIRST_UNSEEN_SEED)]
    while not (moments[-1].terminated or moments[-1].truncated):
        moments.append(world.step(policy.act(moments[-1], world)))
    world.close()
    page.heading("One episode")
    chosen = [moments[k] for k in np.linspace(0, len(moments) - 1, 4).astype(int)]
    page.pictures([(moment.frame, f"{moment.info['distance'] * 1e3:.0f} mm from the marker") for moment in chosen])
    page.text(f"What the network sees of it: {bundle.image.size[0]}x{bundle.image.size[1]} px. The mask, which only "
              "training sees, teaches half of the latent to be the instrument.")
    mask = np.repeat((moments[0].info["mask"] * np.uint8(255))[:, :, None], 3, axis=2)
    page.pictures([(prepare(moments[0].frame, bundle.image), "the policy's input"),
                   (prepare(mask, bundle.image), "the instrument's mask (training only)")], pixels=True)
