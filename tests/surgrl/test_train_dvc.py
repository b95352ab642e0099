"""On-policy training as a user runs it: workers, checkpoints, export of a policy with a memory."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from surgrl.config_file import config_names, load_config, plain
from surgrl.export import export
from surgrl.policy.bundle import PolicyBundle
from surgrl.policy.errors import UserError
from surgrl.policy.runtime import PolicyRuntime
from surgrl.run import Run
from surgrl.train import make_parts
from surgrl.vector import WorldEnv, make_vector
from surgrl.world import FIRST_UNSEEN_SEED, camera_world, training_seed

TINY = ["image.render=40", "image.size=40", "env.workers=2", "agent.horizon=32", "agent.batch_size=32",
        "eval.episodes=1", "env.options.randomise=none", "agent.hidden_dim=16", "encoder.width=2"]
ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A recurrent policy with proprio, demonstrations and a stack of two, after two rollouts."""
    runs = tmp_path_factory.mktemp("runs")
    words = ["train", "colon", "name=tiny", *TINY, "steps=128", "env.id=surgrl/Reach-v0", "image.proprio=true",
             "image.stack=2", "agent.recurrent=8", "agent.sequence=16", "agent.actions=gaussian",
             "agent.imitation=1", "demos.episodes=1", "demos.updates=2", "--runs", str(runs)]
    done = subprocess.run([sys.executable, "-m", "surgrl", *words], capture_output=True, text=True, env=ENV,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    return runs / "tiny"


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """Its bundle, scored on one episode."""
    return export(trained, tmp_path_factory.mktemp("exported") / "bundle", episodes=1)


def test_steps_of_all_environments_are_counted_and_every_rollout_is_logged(trained):
    found = rows(trained / "metrics.csv")
    assert [int(row["step"]) for row in found[-2:]] == [64, 128] and Run(trained).finished()
    assert {"policy/loss", "value/loss", "imitation/loss", "rollout/reward"} <= set(found[-1])


def test_a_recurrent_policy_runs_statefully_from_its_bundle(surgrl, trained, exported):
    bundle = exported
    assert bundle.state == 8 and surgrl("check", bundle.folder).returncode == 0
    world = camera_world(bundle)
    _, agent, _ = make_parts(Run(trained).config())
    Run(trained).restore(agent)
    from surgrl.evaluate import AgentPolicy
    from surgrl.policy.image import prepare
    runtime, policy = PolicyRuntime(bundle), AgentPolicy(agent, bundle.image.stack)
    for _ in range(2):                  # the second time shows that reset forgets
        runtime.reset()
        policy.reset()
        moment, fresh = world.reset(seed=FIRST_UNSEEN_SEED), None
        for _ in range(8):
            mine = runtime.act_normalised(moment.frame, moment.proprio)
            seen = moment._replace(frame=prepare(moment.frame, bundle.image))
            assert np.abs(mine - policy.act(seen, world)).max() <= 1e-5
            fresh = PolicyRuntime(bundle).act_normalised(moment.frame, moment.proprio)
            moment = world.step(mine)
        assert np.abs(mine - fresh).max() > 1e-7        # what was seen before tells
    world.close()


def test_a_policy_of_choices_without_a_memory_is_exported_and_can_be_attacked(surgrl, tmp_path):
    done = surgrl("train", "colon-safe", "name=choosy", *TINY, "env.workers=1", "env.options.max_episode_steps=40",
                  "steps=64", "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    bundle = export(tmp_path / "choosy", tmp_path / "bundle")
    action = PolicyRuntime(bundle).act_normalised(np.zeros((480, 640, 3), np.uint8))
    assert bundle.state == 0 and action[2] == pytest.approx(0.7)
    said = surgrl("attack", tmp_path / "choosy", "--episodes", 1, "--budgets", 8)
    assert said.returncode == 0, said.stderr


def test_objectives_and_drac_learn_from_the_workers_rollouts_across_ends_of_episodes(surgrl, tmp_path):
    done = surgrl("train", "colon", "name=beside", *TINY, "steps=128", "env.id=surgrl/Reach-v0", "image.stack=2",
                  "env.options.max_episode_steps=12", "encoder={width: 4, pool: 2, latent_dim: 16}",
                  "objectives=[{name: dear}, {name: curl}]", "agent.drac=[shift, flip, cutout]",
                  "agent.actions=gaussian", "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "beside" / "metrics.csv")[-1]
    assert float(found["drac/arm"]) == 1 and float(found["drac/value"]) > 0
    assert float(found["dear/mask_loss"]) > 0 and float(found["curl/loss"]) > 0
    refused = surgrl("train", "colon", "name=maskless", *TINY, "encoder={width: 4, pool: 2, latent_dim: 16}",
                     "objectives=[{name: dear}]", "--runs", tmp_path)
    assert refused.returncode == 1 and "shows no instrument" in refused.stderr and "Traceback" not in refused.stderr


def test_an_older_reader_refuses_a_bundle_with_a_memory(exported):
    text = (exported.folder / "manifest.yaml").read_text()
    assert text.startswith("format: 2\n") and PolicyBundle.load(exported.folder).state == 8


def test_a_run_that_is_ended_from_outside_saves_and_goes_on(tmp_path):
    command = [sys.executable, "-m", "surgrl", "train", "colon", "name=ended", *TINY, "steps=100000", "--runs",
               str(tmp_path)]
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder, deadline = tmp_path / "ended", time.monotonic() + 120
    while time.monotonic() < deadline and not (folder / "metrics.csv").exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    _, agent, memory = make_parts(Run(folder).config())
    progress = Run(folder).restore(agent, memory)
    assert progress.steps == 64 * progress.updates > 0 and agent.steps == progress.steps
    assert not subprocess.run(["pgrep", "-f", str(folder)], capture_output=True).stdout


def test_demonstrations_without_imitation_are_refused(surgrl, tmp_path):
    said = surgrl("train", "colon", "name=none", *TINY, "demos.episodes=1", "demos.updates=1", "--runs", tmp_path)
    assert said.returncode == 1 and "agent.imitation" in said.stderr and "Traceback" not in said.stderr


def test_a_limit_on_costs_where_none_are_told_is_refused(surgrl, tmp_path):
    said = surgrl("train", "colon", "name=none", *TINY, "env.id=surgrl/Reach-v0", "agent.cost_limit=0", "steps=64",
                  "--runs", tmp_path)
    assert said.returncode == 1 and "tells no cost" in said.stderr and "Traceback" not in said.stderr


def test_workers_play_episodes_of_their_own_and_tell_the_last_picture():
    config = load_config("colon", ["name=x", *TINY, "env.id=surgrl/Reach-v0"])
    envs = make_vector(config, begun=0, labels=("expert",))
    obs, _ = envs.reset()
    assert not np.array_equal(obs["frame"][0], obs["frame"][1])
    lone = WorldEnv(plain(config), 1, 2, ("expert",))
    assert np.array_equal(lone.reset()[0]["frame"], obs["frame"][1])
    over, action = False, np.float32([[0, 0, 1], [0, 0, 1]])
    while not over:
        obs, _, terminated, truncated, info = envs.step(action)
        mine, *_ = lone.step(action[1])
        over = terminated[1] or truncated[1]
    assert np.array_equal(info["final_obs"][1]["frame"], mine["frame"])
    assert np.array_equal(lone.reset()[0]["frame"], obs["frame"][1])
    envs.close()
    lone.close()


def test_so_many_training_seeds_take_turns_and_stay_apart_from_evaluation():
    config = load_config("colon", ["name=x", "env.seeds=3", "seed=7"])
    seeds = [training_seed(config, k) for k in range(7)]
    assert seeds[:3] == seeds[3:6] and len(set(seeds)) == 3 and max(seeds) < FIRST_UNSEEN_SEED


def test_terms_of_the_reward_can_be_weighed_and_an_unknown_one_is_named():
    plain_config = load_config("colon", ["name=x", *TINY])
    weighed = load_config("colon", ["name=x", *TINY, "env.reward={centring: 0}"])
    rewards = []
    for config in (plain_config, weighed):
        world, *_ = make_parts(config)
        world.reset(seed=1)
        moment = world.step(np.zeros(3))
        rewards.append(moment.reward)
        terms = moment.info["reward_terms"]
    assert rewards[0] - rewards[1] == pytest.approx(terms["centring"]) and terms["centring"] < 0
    with pytest.raises(UserError, match="'speed'; the terms .* progress"):
        make_parts(load_config("colon", ["name=x", *TINY, "env.reward={speed: 1}"]))


@pytest.mark.parametrize("name", [name for name in config_names() if name.startswith("colon")])
def test_configs_that_come_with_surgrl_make_agents(name):
    world, agent, _ = make_parts(load_config(name, ["name=x"]))
    action = agent.act(np.zeros((3, *world.image.size), np.uint8), True)
    assert action.shape == (3,) and np.abs(action).max() <= 1
    world.close()
