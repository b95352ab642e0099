"""From a run to a frozen encoder: weights, card and probe, and what is refused."""

import hashlib
import json

import numpy as np
import pytest
import torch
import yaml

from models.encoder import Encoder
from models.encoders.convolutions import Convolutions
from models.encoders.frozen import Frozen
from models.make import make_agent
from surgrl.config_file import load_config
from surgrl.probe import probe
from surgrl.run import Run
from surgrl.train import make_parts

SEE = ["env.id=surgrl/Reach-v0", "env.options={}", "image.render=32", "image.size=32", "memory.capacity=2000",
       "demos.episodes=1", "demos.updates=3", "agent.batch_size=8", "encoder={latent_dim: 16, width: 4}"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A run of `see`, as short as can be."""
    from surgrl.cli import main
    runs = tmp_path_factory.mktemp("runs")
    assert main(["train", "see", "name=tiny", *SEE, "--runs", str(runs)]) == 0
    return runs / "tiny"


def test_a_run_becomes_weights_that_the_frozen_encoder_takes_as_it_is_told(seen, surgrl, tmp_path):
    out = tmp_path / "mine"
    done = surgrl("freeze", seen, out, "--licence", "Apache-2.0", "--pictures", 40)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"weights.pt", "weights.yaml", "CARD.md"}
    told = yaml.safe_load((out / "weights.yaml").read_text())
    assert told["sha256"] == hashlib.sha256((out / "weights.pt").read_bytes()).hexdigest()
    places = [row["place"] for row in told["probe"]]
    assert {"tip x", "tip y", "tip z"} < set(places) and all(row["error"] > 0 for row in told["probe"])
    card = (out / "CARD.md").read_text()
    assert all(word in card for word in (told["sha256"], "Apache-2.0", "| place | R2 |", "3 updates", "name: observer"))

    entry = yaml.safe_load(next(line for line in done.stdout.splitlines() if line.startswith("encoder:")))["encoder"]
    agent = make_agent("bc", {}, encoder=entry, image_shape=(9, 32, 32), action_dim=3)
    learnt = torch.load(seen / "checkpoint.pt", weights_only=True)["agent"]["encoder"]
    kept = agent.encoder.network.state_dict()
    assert len(kept) == 8 and all(torch.equal(value, learnt[name]) for name, value in kept.items())
    again = surgrl("freeze", seen, out, "--licence", "MIT", "--pictures", 40)
    assert again.returncode == 0 and yaml.safe_load((out / "weights.yaml").read_text())["licence"] == "MIT"


def test_training_with_a_frozen_encoder_remembers_features_and_tells_what_is_amiss(surgrl, tmp_path):
    torch.save(Convolutions(4).state_dict(), tmp_path / "weights.pt")
    told = hashlib.sha256((tmp_path / "weights.pt").read_bytes()).hexdigest()
    entry = {"name": "frozen", "network": "drqv2", "weights": str(tmp_path / "weights.pt"), "sha256": told,
             "licence": "MIT", "cached": True}
    words = ["train", "--runs", tmp_path, "reach-bc", *SEE[:6], "objectives=[]", "name=seeing", "agent.batch_size=8",
             "agent.hidden_dim=8", "demos.updates=2", "steps=20", "eval.episodes=1"]
    for changes, said in (({"licence": ""}, "name the licence"), ({"sha256": "0"}, "the config says sha256 0"),
                          ({}, "set agent.shift to 0")):
        done = surgrl(*words, f"encoder={json.dumps(entry | changes)}")
        assert done.returncode == 1 and said in done.stderr and not (tmp_path / "seeing").exists()
    done = surgrl(*words, "agent.shift=0", f"encoder={json.dumps(entry)}")
    assert done.returncode == 0, done.stderr
    config = Run(tmp_path / "seeing").config()
    world, agent, memory = make_parts(config)
    world.close()
    assert memory.embed == agent.embed and memory.embed(np.zeros((32, 32, 3), np.uint8)).shape == (4 * 4 * 4,)


def test_what_cannot_be_frozen_is_refused(seen, surgrl, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    impala = "encoder={name: impala, latent_dim: 16}"
    for name, more in (("fresh", []), ("deep", [impala]), ("three", ["image.stack=3"])):
        Run(tmp_path / name).begin(load_config("see", [*SEE, *more]))
    for words, told in (([seen, tmp_path / "full"], "holds no frozen weights"),
                        ([seen, tmp_path / "new", "--pictures", 3], "at least 40"),
                        ([tmp_path / "fresh", tmp_path / "new"], "nothing is learnt yet"),
                        ([tmp_path / "deep", tmp_path / "new"], "not drqv2's convolutions"),
                        ([tmp_path / "three", tmp_path / "new"], "on single frames")):
        done = surgrl("freeze", *words, "--licence", "MIT")
        assert done.returncode == 1 and told in done.stderr
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine" and not (tmp_path / "new").exists()


def test_a_probe_reads_a_place_that_the_features_hold_and_none_that_they_do_not():
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 24, (400, 2))
    images = np.zeros((400, 3, 32, 32), np.uint8)
    for image, (row, column) in zip(images, corner, strict=True):
        image[:, row:row + 8, column:column + 8] = 255
    places = np.concatenate([corner / 1000, rng.normal(size=(400, 1)) / 1000], 1)      # m; the last is nowhere
    encoder = Frozen(3, (32, 32), network="drqv2", weights="random", pool=3)
    r2, error = probe(encoder, images, places)
    assert (r2[:2] > 0.9).all() and r2[2] < 0.2 and (error[:2] < 0.002).all() and error[2] > 0.0008


def test_the_convolutions_of_the_two_files_are_one_and_the_same():
    own = {name: tuple(value.shape) for name, value in Encoder(3, (32, 32)).state_dict().items()}
    assert {name: tuple(value.shape) for name, value in Convolutions().state_dict().items()} == own


def test_the_run_that_was_frozen_is_a_finished_one(seen):
    assert Run(seen).finished() and Run(seen).progress().updates == 3
