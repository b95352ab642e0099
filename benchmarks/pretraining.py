"""What films are worth: a reward learnt from them, and behaviour cloning with an encoder that was pretrained on them.

python benchmarks/pretraining.py OUT [--films 100] [--updates 300] [--demos 40] [--clone 300] [--episodes 50]

Writes into OUT: films of the simulator's expert (both eyes side by side, mp4, no other data), a pretraining on them by
TCN, and runs of `bc` on Reach. What is there already is kept, so that the same command goes on.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import gymnasium
import numpy as np

from models.learnt import FILE
from surgrl.cli import main as surgrl
from surgrl.config import LikenessConfig
from surgrl.demos import disturbed
from surgrl.files import atomic_file
from surgrl.likeness import Likeness, points_of
from surgrl.policy.image import prepare, stacked
from surgrl.policy.spec import Array, ImageSpec
from surgrl.pretrain import learnt_by, make_observer
from surgrl.records import columns
from surgrl.run import Progress, Run
from surgrl.video_writer import write_video
from surgrl.world import FIRST_UNSEEN_SEED, make_env

TASK, RATE, SIDE = "surgrl/Reach-v0", 30, 120
LOOKS = {"plain": "none", "varied": "full"}     # films -> how their looks are randomised
NEAREST = (1, 10, 100)          # demonstrations of which the nearest counts
EPISODES, STEPS, HELD = 15, 25, 5       # unseen ones of each kind; of a random one: its steps, and those of one action
CLONES = {"from scratch": {}, "pretrained, fine-tuned": {"init": True}, "pretrained, frozen": {"init": True,
          "freeze": True}, "untrained, frozen": {"freeze": True}}
ENCODER = {"pool": 4, "latent_dim": 64}


def main(words: Sequence[str] | None = None) -> None:
    """Make what is missing, measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--films", type=int, default=100)
    parser.add_argument("--updates", type=int, default=300, help="of each pretraining")
    parser.add_argument("--demos", type=int, default=40, help="demonstrations that are cloned")
    parser.add_argument("--clone", type=int, default=300, help="updates of cloning")
    parser.add_argument("--episodes", type=int, default=50, help="unseen ones, of each clone")
    parser.add_argument("--looks", choices=list(LOOKS), default="varied", help="of films and of Reach, for the clones")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", nargs="+", choices=["reward", "clones"], default=["reward", "clones"])
    args = parser.parse_args(words)
    if "reward" in args.only:
        run = pretrained(args, "plain")
        print("| embedding | demonstrations | expert | random, over time | random, with true progress |")
        print("|---|---|---|---|---|")
        for row in reward_rows(args.out / "films-plain", run):
            print(row, flush=True)
    if "clones" in args.only:
        run = pretrained(args, args.looks)
        print("| encoder | success on unseen seeds, mean distance at the end |\n|---|---|")
        for name, told in CLONES.items():
            print(f"| {name} | {', '.join(clone(args, name, told, run, seed) for seed in args.seeds)} |", flush=True)


def pretrained(args: argparse.Namespace, looks: str) -> Path:
    """The run that learnt from films with these looks."""
    films, run = args.out / f"films-{looks}", args.out / f"tcn-{looks}"
    for k in range(args.films):
        if not (films / f"film-{k:04d}.mp4").exists():
            write_video(films / f"film-{k:04d}.mp4", film(k, LOOKS[looks]), RATE)
    if not (run / "config.yaml").exists():
        check(surgrl(["pretrain", "pretrain-tcn", str(films), f"name={run.name}", f"updates={args.updates}",
                      "recordings.view={eye: left}", f"encoder={json.dumps(ENCODER)}",
                      "objectives=[{name: tcn, views: 2, share: 1}]", "agent.batch_size=32", "threads=1",
                      "--runs", str(args.out)]))
    elif not (run / FILE).exists():
        check(surgrl(["pretrain", "--resume", str(run)]))
    return run


def film(k: int, looks: str) -> list[Array]:
    """The expert's k-th episode as a stereo endoscope records it, (H, 2 W, 3) each; every other one is disturbed."""
    env = make_env(TASK, image_size=(SIDE, SIDE), randomise=looks, eyes=("right",))
    rng, over = np.random.default_rng(k), False
    obs, _ = env.reset(seed=2_000_000 + k)
    frames = [np.hstack([obs["image"], obs["image_right"]])]
    while not over:
        obs, _, terminated, truncated, _ = env.step(disturbed(env.unwrapped.expert(), 0.2 * (k % 2), rng))
        frames.append(np.hstack([obs["image"], obs["image_right"]]))
        over = terminated or truncated
    env.close()
    return frames


def reward_rows(films: Path, run: Path, counts: Sequence[int] = NEAREST) -> Iterator[str]:
    """Mean Spearman correlations over unseen episodes, of the pretrained embedding and of the one that it began as."""
    config = Run(run).pretraining()
    begun = run / "untrained.pt"
    with atomic_file(begun) as path:
        path.write_bytes(learnt_by(make_observer(config, None), config, Progress(), {}).packed())
    env = make_env(TASK, image_size=(SIDE, SIDE))
    image = ImageSpec("endoscope_left", SIDE, SIDE, (0, 0, SIDE, SIDE), (SIDE, SIDE), 1, RATE)
    experts, randoms = ([episode(env, k, acts) for k in range(EPISODES)] for acts in ("expert", "random"))
    for name, encoder in (("untrained", begun), ("TCN", run / FILE)):
        for count in counts:
            sources = [str(path) for path in sorted(films.glob("*.mp4"))[:count]]
            judge = Likeness(env, LikenessConfig(str(encoder), sources, {"eye": "left"}), image)
            cells = []
            for lived, against in ((experts, None), (randoms, None), (randoms, "distance")):
                found = [spearman(likenesses(judge, frames), np.arange(len(frames)) if against is None else -distance)
                         for frames, distance in lived]
                cells.append(f"{np.mean(found):.2f}")
            yield f"| {name} | {count} | {' | '.join(cells)} |"
    env.close()


def episode(env: gymnasium.Env, k: int, acts: str) -> tuple[list[Array], Array]:
    """Pictures of an unseen episode, and the true distance (T,) m at each."""
    rng, (obs, info) = np.random.default_rng(k), env.reset(seed=FIRST_UNSEEN_SEED + k)
    frames, distance, over, action = [obs["image"]], [info["distance"]], False, np.zeros(3)
    while not over and (acts == "expert" or len(frames) < STEPS):
        if acts == "expert":
            action = env.unwrapped.expert()
        elif len(frames) % HELD == 1:
            action = rng.uniform(-1, 1, 3)
        obs, _, terminated, truncated, info = env.step(action)
        frames.append(obs["image"])
        distance.append(info["distance"])
        over = terminated or truncated
    return frames, np.array(distance)


def likenesses(judge: Likeness, frames: list[Array]) -> Array:
    """The reward's term (T,) at each picture."""
    points = points_of(judge.embedding, [stacked([prepare(frame, judge.image)]) for frame in frames])
    return np.array([judge.likeness(point, step) for step, point in enumerate(points)])


def spearman(one: Array, other: Array) -> float:
    """Rank correlation; no two values of either are alike."""
    ranks = (np.argsort(np.argsort(values)) for values in (one, other))
    return float(np.corrcoef(*ranks)[0, 1])


def clone(args: argparse.Namespace, name: str, told: dict[str, bool], run: Path, seed: int) -> str:
    """Success of one clone of a few demonstrations, as a table says it."""
    label = f"{name.replace(', ', '-').replace(' ', '-')}-{args.looks}-s{seed}"
    folder = args.out / label
    encoder = {"init": str(run)} if told.get("init") else dict(ENCODER)
    encoder |= {"freeze": True} if told.get("freeze") else {}
    words = ["reach-bc", f"name={label}", f"seed={seed}", "steps=0", f"demos.episodes={args.demos}",
             f"demos.updates={args.clone}", "objectives=[]", f"encoder={json.dumps(encoder)}",
             f"eval.episodes={args.episodes}", f"image.render={SIDE}", "agent.batch_size=64", "threads=1",
             f"env.options={{randomise: {LOOKS[args.looks]}}}"]
    if not (folder / "config.yaml").exists():
        check(surgrl(["train", *words, "--runs", str(args.out)]))
    elif not Run(folder).finished():
        check(surgrl(["train", "--resume", str(folder)]))
    scores = columns(folder / "eval.csv")
    return (f"{scores['success'][-1]:.0%} ({scores['low'][-1]:.0%}-{scores['high'][-1]:.0%}), "
            f"{1000 * scores['distance'][-1]:.1f} mm")


def check(code: int) -> None:
    """End where a command failed, which told why itself."""
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
