"""Runs the official mlagents-envs against a player, in an interpreter of its own, and writes what it was told.

    PEER/bin/python tests/unity_official.py --steps 200 --out told.npz -- PLAYER WORDS

PEER is a virtual environment with `mlagents-envs==0.28.0` and `protobuf<3.21`; nothing of ours is imported here.
"""

import argparse
import json
import socket
import subprocess
import sys
import time

import numpy as np
from mlagents_envs.base_env import ActionTuple
from mlagents_envs.environment import UnityEnvironment
from mlagents_envs.side_channel.environment_parameters_channel import EnvironmentParametersChannel


def main():
    """One agent, actions drawn from seed 0; every observation, reward and end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=0, help="steps that are not timed")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", help="npz")
    parser.add_argument("player", nargs="+")
    args = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    player = subprocess.Popen([*args.player, "--mlagents-port", str(port)], stdout=subprocess.DEVNULL)
    parameters = EnvironmentParametersChannel()
    parameters.set_float_parameter("stiffness", 2.5)
    env = UnityEnvironment(None, base_port=port, seed=args.seed, timeout_wait=60, side_channels=[parameters])
    env.reset()
    name = next(iter(env.behavior_specs))
    spec, rng = env.behavior_specs[name].action_spec, np.random.default_rng(0)
    observed = [[] for _ in env.behavior_specs[name].observation_specs]
    rewards, ends = [], []
    keep, spent, began = bool(args.out), 0.0, 0.0

    def told(steps):
        for kept, values in zip(observed, steps.obs):  # noqa: B905 - runs on Python 3.8 too
            if keep:
                kept.append(np.array(values[0]))

    decisions, _ = env.get_steps(name)
    told(decisions)
    for k in range(args.steps + args.warm_up):
        if k == args.warm_up:
            spent, began = time.process_time(), time.perf_counter()
        numbers = rng.uniform(-1, 1, spec.continuous_size).astype(np.float32)
        choices = [rng.integers(size) for size in spec.discrete_branches]
        for branch, forbidden in enumerate(decisions.action_mask or ()):
            if forbidden[0][choices[branch]]:
                choices[branch] = np.flatnonzero(~forbidden[0])[0]
        env.set_actions(name, ActionTuple(numbers[None], np.array([choices], np.int32)))
        env.step()
        decisions, endings = env.get_steps(name)
        told(endings if len(endings) else decisions)
        rewards.append(float(endings.reward[0] if len(endings) else decisions.reward[0]))
        ends.append(0 if not len(endings) else 2 if endings.interrupted[0] else 1)
        if len(endings):
            while not len(decisions):
                env.step()
                decisions, _ = env.get_steps(name)
            told(decisions)
    spent, passed = time.process_time() - spent, time.perf_counter() - began
    env.close()
    player.wait(20)
    if args.out:
        np.savez(args.out, rewards=np.float32(rewards), ends=ends,
                 **{f"obs_{k}": np.stack(kept) for k, kept in enumerate(observed)})
    print(json.dumps({"steps": args.steps, "cpu_s": spent, "wall_s": passed}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
