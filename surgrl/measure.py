"""Fills in the measurements that runs lack: each is a surgrl command that leaves a JSON file in the run's folder."""

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from .demo_file import episode_seed
from .records import Record
from .world import training_seed

HELD_OUT = "test-full"      # level of randomisation that no training may see


def fill(records: Sequence[Record], episodes: int, jobs: int, only: Collection[str] | None = None) -> list[str]:
    """Measure what is missing or older than its checkpoint, `jobs` at once; a line for each that failed.

    only: names of measurements, as in `commands`; None: all.
    """
    first = {record.config.env.id: record for record in reversed(records)}      # tells of the task's two baselines
    wanted = [(record, name, words) for record in records if record.progress.updates
              for name, words in commands(record, episodes, first[record.config.env.id] is record).items()
              if not _fresh(record, name) and (only is None or name in only)]
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_run, words, record): f"{record.folder}, {name}" for record, name, words in wanted}
        try:
            for done in tqdm(as_completed(running), total=len(running), desc="measuring", dynamic_ncols=True):
                if done.result():
                    failed.append(f"{running[done]}: {done.result()}")
                    tqdm.write(f"FAILED  {failed[-1]}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def commands(record: Record, episodes: int, baselines: bool) -> dict[str, list[str]]:
    """Name of the JSON file -> the command's words that write it. baselines: also random policy and expert."""
    config, folder = record.config, record.folder
    plain = [] if config.env.options.get("randomise", "none") == "none" else ["--randomise", "none"]
    lived, few = record.progress.episodes, config.env.seeds
    own = training_seed(config, 0), min(lived, few) if few else lived
    # Demonstrations, if there are any: all of them were learnt from. Not those in files, which may be of any seeds, nor
    # where the agent's own seeds are few on purpose: then these are what the gap is asked of.
    if config.demos.episodes and not config.demos.folder and not (few and lived):
        own = episode_seed(config.seed, 0), config.demos.episodes

    def evaluation(name: str, *words: str, count: int = episodes, alone: bool = True) -> list[str]:
        return ["eval", str(folder), "--episodes", str(count), "--json", str(folder / f"{name}.json"), *words,
                *(["--no-baselines"] if alone else [])]

    found = {"eval-clean": evaluation("eval-clean", *plain, alone=not baselines),
             "eval-test-full": evaluation("eval-test-full", "--randomise", HELD_OUT)}
    if own[1]:
        found["eval-train-seeds"] = evaluation("eval-train-seeds", "--seed", str(own[0]), *plain,
                                               count=min(episodes, own[1]))
    found["attack"] = ["attack", str(folder), "--episodes", str(episodes), "--out", str(folder),
                       *plain]
    if any(objective.get("name") == "dear" for objective in config.objectives):     # others have no halves to compare
        found["disentangle"] = ["disentangle", str(folder), "--out", str(folder)]
    return found


def _fresh(record: Record, name: str) -> bool:
    path, checkpoint = record.folder / f"{name}.json", record.folder / "checkpoint.pt"
    return path.is_file() and path.stat().st_mtime >= checkpoint.stat().st_mtime


def _run(words: Sequence[str], record: Record) -> str:
    """Empty when all went well, else the last line that the command said."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(record.config.threads), "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, "-m", "surgrl", *words], env=environment, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return "" if done.returncode == 0 else lines[-1] if lines else f"exit code {done.returncode}"
