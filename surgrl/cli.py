"""The `surgrl` command: picks a subcommand, imports no more than that needs, and tells errors in one line."""

import argparse
import errno
import importlib
import os
import re
import sys
from collections.abc import Sequence

from .policy.errors import UserError

# name -> (module, what it does). A module has add_arguments(parser) and run(args).
COMMANDS = {
    "train": ("train", "train an agent as a YAML config says, or go on with an interrupted run"),
    "pretrain": ("pretrain", "learn an encoder from recordings alone: videos, bags, datasets; no simulator is needed"),
    "demos": ("demos", "record episodes of a task's scripted expert as files that training reads"),
    "eval": ("evaluate", "success of a run or a bundle on unseen seeds"),
    "report": ("report", "compare runs on one HTML page: curves with intervals, tables, losses, videos"),
    "disentangle": ("disentangle", "whether one half of a run's latent tells the instrument, the other the rest"),
    "attack": ("attack", "success of a run while its pictures are disturbed on purpose, by a few brightness steps"),
    "expect": ("expect", "teach PLATO what instrument, marker and flap do, and measure what it finds impossible"),
    "freeze": ("freeze", "keep a run's convolutions as weights of a frozen encoder, with a card and a linear probe"),
    "export": ("export", "write a run's policy as a bundle that runs without torch"),
    "check": ("check", "prove that a bundle is whole and acts as exported (no torch needed)"),
    "replay": ("replay", "run a bundle over a recorded video or ROS bag (no torch needed)"),
    "convert": ("convert", "recordings as a LeRobot dataset, MCAP, demonstrations or videos; read back and compared"),
    "audit": ("audit", "prove that a gate's audit logs are as they were written, and tell what is in them"),
    "play": ("play", "move a task's instrument by the keyboard, or record its expert where there is no window"),
    "serve": ("serve", "the simulated robot and the policy as ROS 2 nodes, from one command"),
    "monitor": ("monitor", "rates, latency, states and reasons of a running ROS 2 graph, in the terminal"),
    "list": ("listing", "tasks, agents, objectives, encoders, configs and bundles that are here"),
    "demo": ("demo", "the whole path: train, evaluate, export, serve over ROS 2, replay, report"),
}
# command -> where its key=value words go, which may stand anywhere behind its first word
ASSIGNED = {"train": "overrides", "pretrain": "sources", "demos": "options", "play": "options", "demo": "overrides"}
ASSIGNMENT = re.compile(r"\w[\w.]*=", re.ASCII)
# why a path cannot be used -> in words
UNUSABLE = {errno.EEXIST: "is a file, where a folder is needed", errno.ENOTDIR: "would lie within a file",
            errno.EISDIR: "is a folder, where a file is needed", errno.ENOENT: "is not there, or cannot be made",
            errno.EPERM: "takes no files", errno.ENAMETOOLONG: "is too long a name"}
# package -> the extra that brings it
EXTRAS = {"av": "video", "mcap": "video", "rosbags": "video", "pyarrow": "video", "gymnasium": "sim",
          "pybullet": "sim", "threadpoolctl": "sim", "torch": "learn", "onnx": "learn", "onnxscript": "learn",
          "matplotlib": "learn", "sklearn": "learn", "rclpy": "ros", "rich": "monitor", "grpc": "unity",
          "google": "unity", "google.protobuf": "unity"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `surgrl ARGV`; the exit code: 0 done, 1 refused, 2 usage, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="surgrl", description="Policies for surgical robots on images: simulate, learn, export, serve.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, (_, text) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == chosen:
            try:
                module = importlib.import_module(f".{COMMANDS[name][0]}", __package__)
            except ModuleNotFoundError as error:
                return _refuse(_missing(name, error))
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    args, left = parser.parse_known_args(argv)      # argparse takes what is optional together, before the next option
    if args.command in ASSIGNED:
        getattr(args, ASSIGNED[args.command]).extend(word for word in left if ASSIGNMENT.match(word))
        left = [word for word in left if not ASSIGNMENT.match(word)]
    if left:
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    try:
        return int(args.run(args) or 0)
    except UserError as error:
        return _refuse(str(error))
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return _refuse(_missing(args.command, error))
    except KeyboardInterrupt:
        print("\nsurgrl: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:         # `surgrl list | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if isinstance(error, ConnectionError) and error.errno is None:     # a scene of another process; it says which
            return _refuse(str(error))
        place = error.filename2 or error.filename       # of two, what a scratch file was to become
        if error.errno in UNUSABLE and place:
            return _refuse(f"{os.fsdecode(place)}: {UNUSABLE[error.errno]}; name another place")
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        where = f" ({error.filename})" if error.filename else ""
        return _refuse(f"{error.strerror}{where}; what was there before is left as it was: "
                       "make room or choose another folder")


def _missing(command: str, error: ModuleNotFoundError) -> str:
    return (f"`surgrl {command}` needs the package {error.name!r}, which is not installed: "
            f"pip install '.[{EXTRAS.get(str(error.name), 'all')}]' in surgrl's folder")


def _refuse(text: str) -> int:
    print(f"surgrl: error: {' '.join(text.split())}", file=sys.stderr)
    return 1
