"""`surgrl train CONFIG --seeds 1 2 3 --grid key=a,b`: every combination as a run of its own, side by side."""

import argparse
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from math import isnan
from pathlib import Path
from typing import IO

import yaml
from tqdm import tqdm

from .board import Board
from .config import Config
from .config_file import load_config, plain
from .policy.errors import UserError
from .records import flat, standing, success_told
from .run import Run

POLL_SECONDS = 1.0          # s between looks at the runs
STOP_SECONDS = 120.0        # s that a run gets to save


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """What `surgrl train` takes to train more than one run."""
    group = parser.add_argument_group("several runs", "each a process of its own, in RUNS/<name>-<key><value>-s<seed>; "
                                      "the same command again goes on and leaves out what is finished")
    group.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="train once with each of these seeds")
    group.add_argument("--grid", nargs="+", metavar="key=a,b", default=[],
                       help="train with each of these values, and with all combinations of several keys")
    group.add_argument("--jobs", type=int, metavar="N",
                       help="runs at the same time (default: this machine's cores over the config's threads)")


def sweep(args: argparse.Namespace) -> int:
    """Train all that `surgrl train`'s arguments ask for; 1 when a run failed."""
    if args.config is None:
        raise UserError("--seeds, --grid and --jobs train a CONFIG; give one, e.g. surgrl train reach --seeds 1 2 3")
    configs = variants(args.config, args.overrides, args.seeds, args.grid)
    threads = max(config.threads for config in configs)
    jobs = max(1, len(os.sched_getaffinity(0)) // threads) if args.jobs is None else args.jobs
    if not jobs >= 1:
        raise UserError(f"--jobs is {jobs}; it must be at least 1")
    runs = Path(args.runs)
    waiting = [config for config in configs if not _finished(runs / config.name, config)]
    skipped = len(configs) - len(waiting)
    print(f"{len(configs)} runs in {runs}, {skipped} of them finished before; {jobs} at the same time", flush=True)
    failed = train_all(waiting, runs, jobs)
    done = " ".join(str(runs / config.name) for config in configs if config.name not in failed)
    print(f"{len(configs) - len(failed)} of {len(configs)} runs are finished"
          + (f"; compare them: surgrl report {done}" if done else ""))
    return 1 if failed else 0


def variants(source: str, overrides: Sequence[str], seeds: Sequence[int] | None, grid: Sequence[str]) -> list[Config]:
    """The product of grid and seeds, every config checked and named after what is varied."""
    axes = [_axis(text) for text in grid]
    keys = [key for key, _ in axes]
    short = [key.rsplit(".", 1)[-1] for key in keys]
    labels = [last if short.count(last) == 1 else key for key, last in zip(keys, short, strict=True)]
    base = load_config(source, overrides)
    found: dict[str, Config] = {}
    for values in product(*(values for _, values in axes)):
        changes = [f"{key}={value}" for key, value in zip(keys, values, strict=True)]
        parts = [label + _slug(value) for label, value in zip(labels, values, strict=True)]
        for seed in [base.seed] if seeds is None else seeds:
            name = "-".join([base.name, *parts, f"s{seed}"])
            if name in found:
                raise UserError(f"two runs would be named {name}: give every seed and every value once, "
                                "and values of lists or keys in sweeps of their own")
            found[name] = load_config(source, [*overrides, *changes, f"seed={seed}", f"name={json.dumps(name)}"])
    return list(found.values())


def train_all(configs: Sequence[Config], runs: Path, jobs: int) -> set[str]:
    """Train, at most `jobs` at once; the names of those that failed. Interrupted, every run saves first."""
    waiting, running, failed = list(configs), list[Job](), set[str]()
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)    # ended from outside: as at Ctrl-C
    try:
        with tempfile.TemporaryDirectory() as scratch, Board(len(waiting), jobs) as board:
            while waiting or running:
                while waiting and len(running) < jobs:
                    config = waiting.pop(0)
                    try:
                        running.append(Job(config, runs, Path(scratch)))
                    except UserError as error:
                        failed.add(config.name)
                        board.tell(f"FAILED  {config.name}: {error}")
                time.sleep(POLL_SECONDS)
                for job in [job for job in running if job.process.poll() is not None]:
                    running.remove(job)
                    if job.process.returncode:
                        failed.add(job.config.name)
                    board.tell(job.verdict())
                board.show([(job.config.name, job.state) for job in running])
    finally:
        if running:
            print(f"stopping {len(running)} runs; each saves first", file=sys.stderr, flush=True)
            _stop(running)
            print("all are saved; the same command goes on", file=sys.stderr)
        signal.signal(signal.SIGTERM, previous)
    return failed


class Job:
    """One run being trained by a process of its own, which writes to <run>/log.txt."""

    def __init__(self, config: Config, runs: Path, scratch: Path):
        """Begin it, or go on with it."""
        self.config, self.folder = config, runs / config.name
        if (self.folder / "config.yaml").is_file():
            words = ["--resume", str(self.folder)]
        else:       # a file of its own: whoever edits CONFIG now does not change the runs that still wait
            path = scratch / f"{config.name}.yaml"
            path.write_text(yaml.safe_dump(plain(config), sort_keys=False))
            words = [str(path), "--runs", str(runs)]
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "OMP_NUM_THREADS": str(config.threads), "PYTHONPATH": os.pathsep.join(paths)}
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "log.txt") as log:
            # A session of its own: Ctrl-C reaches us alone, and we tell every run once.
            self.process = subprocess.Popen([sys.executable, "-m", "surgrl", "train", *words], stdout=log,
                                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
                                            start_new_session=True)

    def verdict(self) -> str:
        """How it ended, in a line."""
        code, log = self.process.returncode, self.folder / "log.txt"
        if code:
            ended = f"ended by signal {-code}; " if code < 0 else ""        # 9: often for want of memory
            return f"FAILED  {self.config.name}: {ended}{last_line(log)} (all of it: {log})"
        return f"done    {self.config.name}: {success_told(self.folder)}"

    def state(self) -> tuple[float, str]:
        """Share of its work that is done; time left and newest success as text."""
        share, left = standing(self.folder, self.config)
        time_left = "" if isnan(left) else f"{tqdm.format_interval(left)} left"
        return share, ", ".join(filter(None, [time_left, success_told(self.folder)])) or "starting"


@contextmanager
def locked(path: Path) -> Iterator[IO[bytes]]:
    """The log, open to append. The lock is the open file's: it holds until the process that writes to it ends."""
    with path.open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{path.parent}: another process trains this run now; wait for it, or end it") from error
        yield log


def last_line(path: Path) -> str:
    """The last line of a log that says something; progress bars rewrite theirs with carriage returns."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", path.read_text(errors="replace")) if line.strip()]
    return lines[-1].removeprefix("surgrl: error: ") if lines else "it said nothing"


def _axis(text: str) -> tuple[str, list[str]]:
    """`key=a,b` -> key and its values, each as text that YAML reads as that value."""
    key, sign, values = text.partition("=")
    if not sign or not key or not values:
        raise UserError(f"--grid {text!r} is not of the form key=a,b, e.g. agent.lr=1e-4,3e-4")
    if key in ("seed", "name"):
        raise UserError(f"--grid {text!r}: " + ("give seeds as --seeds 1 2 3" if key == "seed" else
                        "runs are named after what is varied; give the name that all begin with as name=..."))
    try:
        return key, [json.dumps(value) for value in yaml.safe_load(f"[{values}]")]
    except (yaml.YAMLError, TypeError) as error:
        raise UserError(f"--grid {text!r}: the values are not readable as YAML, with commas between") from error


def _slug(value: str) -> str:
    """A value as a part of a folder's name."""
    return re.sub(r"[^\w.+-]+", "-", value).strip("-") or "none"


def _finished(folder: Path, config: Config) -> bool:
    """Whether nothing is left to do there; UserError when the folder holds a run of another config."""
    if not (folder / "config.yaml").is_file():
        return False
    there, wanted = (flat(plain(one)) for one in (Run(folder).config(), config))
    for key in {**there, **wanted}:
        if there.get(key) != wanted.get(key):
            raise UserError(f"{folder} was begun with {key} {there.get(key, 'left out')}, now it is "
                            f"{wanted.get(key, 'left out')}; take another name=... or --runs, or remove the folder")
    with suppress(UserError):       # a damaged checkpoint is told by the run itself
        return Run(folder).finished()
    return False


def _stop(running: Sequence[Job]) -> None:
    """Ask all to save and end; insist when they take too long, or when we are interrupted again."""
    for job in running:
        with suppress(ProcessLookupError):
            job.process.terminate()
    try:
        for job in running:
            job.process.wait(STOP_SECONDS)
    finally:
        for job in running:
            if job.process.poll() is None:
                job.process.kill()
                job.process.wait()
