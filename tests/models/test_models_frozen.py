"""Frozen encoders: whose weights they take, that nothing changes them, and features that a memory keeps."""

import hashlib

import numpy as np
import pytest
import torch
import yaml

from models.encoder import Encoder
from models.encoders.convolutions import Convolutions
from models.encoders.frozen import Frozen
from models.encoders.resnet import FixedNorm, ResNet
from models.encoders.surgical import FOLDER, surgical
from models.make import OBJECTIVES, _resolve, make_agent
from models.memory import EpisodeMemory
from models.objective import Objective

SIDE, ACTIONS, LICENCE = 32, 2, "Apache-2.0"


def saved(state, folder, name="weights.pt"):
    """A file of weights, and the options that name it rightly."""
    path = folder / name
    torch.save(state, path)
    return {"weights": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "licence": LICENCE}


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(3)
    return saved(Convolutions(8).state_dict(), tmp_path)


def frozen(options, *, channels=9, **more):
    return Frozen(channels, (SIDE, SIDE), **{"network": "drqv2", **options, **more})


def make(options, agent="drqv2", *, objectives=(), **more):
    settings = {"batch_size": 6, "hidden_dim": 16, "feature_dim": 8, "explore_steps": 0, **more}
    if agent == "bc":
        settings.pop("explore_steps")
    return make_agent(agent, settings, objectives=objectives, encoder={"name": "frozen", "network": "drqv2", **options},
                      image_shape=(9, SIDE, SIDE), action_dim=ACTIONS)


def remembered(embed=None, seed=0):
    rng = np.random.default_rng(seed)
    memory = EpisodeMemory(40, frame_shape=(SIDE, SIDE, 3), action_dim=ACTIONS, extras=("mask", "expert"), embed=embed)

    def moment():
        return {"frame": rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), "expert": rng.uniform(-1, 1, ACTIONS),
                "mask": rng.random((SIDE, SIDE)) < 0.3}

    for _ in range(6):                                  # more than the capacity holds: the oldest are dropped
        memory.begin(**moment())
        for step in range(8):
            memory.add(rng.uniform(-1, 1, ACTIONS), float(rng.normal()), step == 7, **moment())
    return memory


# Whose weights

@pytest.mark.parametrize("changes, words", [
    ({"weights": ""}, "needs weights"), ({"weights": "nowhere.pt"}, "no such file"),
    ({"licence": ""}, "name the licence"), ({"licence": "  "}, "name the licence"),
    ({"sha256": ""}, "the config names no sha256"), ({"sha256": "0" * 64}, f"the config says sha256 {'0' * 64}"),
    ({"network": "vgg"}, "there are: resnet18, resnet34, resnet50, drqv2"),
    ({"network": "resnet18"}, "are of no resnet18: conv1.weight is missing"),
    ({"layers": "5"}, "drqv2's 1, 2, 3, 4"), ({"layers": ""}, "each once"), ({"layers": "44"}, "each once"),
    ({"normalise": "none"}, "allowed: imagenet, centred"), ({"pool": 30}, "larger than the 9x9 map of layer 4"),
    ({"side": 8}, "at least 16 px")])
def test_mistakes_are_told_with_what_would_be_right(weights, changes, words):
    with pytest.raises(ValueError) as error:
        frozen(weights | changes)
    assert words in str(error.value)


def test_a_file_that_was_changed_is_not_read(weights):
    with open(weights["weights"], "r+b") as file:
        file.seek(-30, 2)
        file.write(b"\x01")
    with pytest.raises(ValueError, match="their sha256 is"):
        frozen(weights)


@pytest.mark.parametrize("told, words", [({"licence": "MIT"}, "weights.yaml says MIT"),
                                         ({"sha256": "1" * 64}, f"weights.yaml says {'1' * 64}")])
def test_the_card_beside_the_weights_must_agree(weights, tmp_path, told, words):
    (tmp_path / "weights.yaml").write_text(yaml.safe_dump({"licence": LICENCE, "sha256": weights["sha256"]}))
    frozen(weights)
    (tmp_path / "weights.yaml").write_text(yaml.safe_dump(told))
    with pytest.raises(ValueError, match=words):
        frozen(weights)


@pytest.mark.parametrize("state, words", [
    (lambda: Convolutions(8), "cannot read them as tensors alone"), (lambda: {}, "no plain state_dict"),
    (lambda: {"state_dict": Convolutions(8).state_dict()}, "no plain state_dict"),
    (lambda: {**Convolutions(8).state_dict(), "head.weight": torch.ones(1)}, "it has no head.weight"),
    (lambda: Encoder(9, (SIDE, SIDE), width=8).state_dict(), r"\(8, 9, 3, 3\), not \(8, 3, 3, 3\)")])
def test_files_that_are_something_else_are_refused(tmp_path, state, words):
    with pytest.raises(ValueError, match=words):
        frozen(saved(state(), tmp_path))


def test_the_encoder_of_a_run_becomes_a_frozen_one_that_sees_the_same(tmp_path):
    torch.manual_seed(0)
    learnt = Encoder(3, (SIDE, SIDE), width=8, latent_dim=16)
    encoder = frozen(saved(learnt.state_dict(), tmp_path), channels=3, pool=1, numbers=10 ** 6)
    images = torch.randint(256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    with torch.no_grad():
        floats = images.float() / 255 - 0.5
        assert torch.allclose(encoder(images), learnt.convolutions(floats).flatten(1), atol=1e-6)


@pytest.mark.parametrize("card", sorted(FOLDER.parent.glob("*/weights.yaml")), ids=lambda card: card.parent.name)
def test_weights_that_come_with_surgrl_are_small_and_tell_how_they_came_to_be(card):
    told, weights = yaml.safe_load(card.read_text()), card.with_suffix(".pt")
    assert weights.stat().st_size <= 2_000_000 and told["licence"] == "Apache-2.0" and told["config"]["objectives"]
    assert told["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    page = (card.parent / "CARD.md").read_text()
    assert told["sha256"] in page and "Linear probe" in page
    tips = [row for row in told["probe"] if row["place"].startswith("tip")]
    assert tips and all(row["error"] < row["error_random"] for row in tips)


def test_surgical_sees_with_the_weights_that_came_with_it():
    encoder = surgical(3, (48, 48))
    state = torch.load(FOLDER / "weights.pt", weights_only=True)
    assert all(torch.equal(value, state[name]) for name, value in encoder.network.state_dict().items())
    assert encoder.resized == (64, 64) and encoder.latent_dim == 32 * 6 * 6
    assert not any(weight.requires_grad for weight in encoder.parameters())


# The networks

@pytest.mark.parametrize("depth, count, last", [(18, 11_176_512, 512), (34, 21_284_672, 512), (50, 23_508_032, 2048)])
def test_resnets_have_the_sizes_and_names_of_torchvisions_files(depth, count, last):
    net = ResNet(depth)
    learnt = [name for name in net.state_dict() if "running" not in name]
    assert sum(net.state_dict()[name].numel() for name in learnt) == count     # torchvision's, less the classifier's
    names = {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer4.1.bn2.bias",
             "layer2.0.downsample.0.weight", "layer2.0.downsample.1.running_mean"}
    assert names <= net.state_dict().keys() and ("layer1.0.downsample.0.weight" in net.state_dict()) == (depth == 50)
    with torch.no_grad():
        maps = net(torch.zeros(1, 3, 64, 64), "345")
    assert [tuple(maps[name].shape[1:]) for name in "345"] == [(last // 4, 8, 8), (last // 2, 4, 4), (last, 2, 2)]


def test_a_fixed_norm_is_batch_normalisation_at_rest():
    torch.manual_seed(0)
    norm, fixed = torch.nn.BatchNorm2d(5), FixedNorm(5)
    for _ in range(3):
        norm(3 + 2 * torch.randn(8, 5, 4, 4))
    torch.nn.init.normal_(norm.weight)
    fixed.load_state_dict({name: value for name, value in norm.state_dict().items() if "num" not in name})
    planes = torch.randn(2, 5, 4, 4)
    assert torch.allclose(fixed.train()(planes), norm.eval()(planes), atol=1e-6)


def test_a_standard_file_of_a_resnet_fits_with_its_classifier_left_out(tmp_path):
    torch.manual_seed(1)
    state = ResNet(18).state_dict() | {"fc.weight": torch.ones(1000, 512), "fc.bias": torch.ones(1000),
                                       "bn1.num_batches_tracked": torch.tensor(7)}
    options = saved(state, tmp_path)
    encoder = Frozen(3, (SIDE, SIDE), network="resnet18", side=64, layers="345", **options)
    assert torch.equal(encoder.network.layer3[1].conv2.weight, state["layer3.1.conv2.weight"])
    # Of 64 px: 4x4 cells of 128 planes, 2x2 of 256, and 512 averaged.
    assert encoder.latent_dim == 128 * 16 + 256 * 4 + 512
    with pytest.raises(ValueError, match="are of no resnet34: layer1.2.conv1.weight is missing"):
        Frozen(3, (SIDE, SIDE), network="resnet34", **options)


def test_a_resnet_as_onnx_resizes_and_sees_the_same(exported):
    torch.manual_seed(0)
    encoder = Frozen(6, (SIDE, SIDE), network="resnet18", side=80, layers="45", weights="random")
    images = torch.randint(256, (3, 6, SIDE, SIDE), dtype=torch.uint8)
    with torch.no_grad():
        wanted = encoder(images).numpy()
    assert np.abs(exported(encoder, images[:2])(images) - wanted).max() <= 1e-5 < wanted.std()


def test_features_of_the_papers_size_are_as_long_as_the_papers():
    encoder = Frozen(3, (SIDE, SIDE), network="resnet50", layers="345", weights="random")
    assert encoder.resized == (224, 224) and encoder.latent_dim == 11 * 14 * 14 + 42 * 7 * 7 + 2048


def test_a_flat_early_map_tells_where_things_are_and_an_averaged_late_one_does_not():
    torch.manual_seed(0)
    where = torch.randint(24, (240, 2))
    images = torch.zeros(240, 3, SIDE, SIDE, dtype=torch.uint8)
    for image, (row, column) in zip(images, where.tolist(), strict=True):
        image[:, row:row + 8, column:column + 8] = 255
    found = {}
    for layers in ("3", "5"):
        encoder = Frozen(3, (SIDE, SIDE), network="resnet18", side=64, layers=layers, weights="random")
        with torch.no_grad():
            codes = encoder(images)
        codes = torch.cat([codes / codes.std(), torch.ones(240, 1)], 1)
        held = torch.arange(240) % 4 == 3
        kernel = codes @ codes[~held].T
        weights = torch.linalg.solve(kernel[~held] + torch.eye(180), where[~held].float())      # ridge regression
        found[layers] = (kernel[held] @ weights - where[held]).square().mean().sqrt().item()
    assert found["3"] < 0.5 and found["5"] > 4 * found["3"]      # px; what the late one tells leaks in from the edges


def test_frames_of_a_stack_are_seen_one_by_one(weights):
    encoder, alone = frozen(weights), frozen(weights, channels=3)
    images = torch.randint(256, (2, 9, SIDE, SIDE), dtype=torch.uint8)
    with torch.no_grad():
        apart = torch.cat([alone(frame) for frame in images.split(3, dim=1)], 1)
        assert torch.allclose(encoder(images), apart, atol=1e-6)
        assert not torch.equal(encoder(images), encoder(images.flip(1)))


def test_layers_stand_side_by_side_and_pixels_are_normalised_as_asked(weights):
    images = torch.randint(256, (2, 9, SIDE, SIDE), dtype=torch.uint8)
    with torch.no_grad():
        two, early, late = (frozen(weights, layers=layers, channels=3)(images[:, :3]) for layers in ("24", "2", "4"))
        assert torch.equal(two, torch.cat([early, late], 1))
    seen = []
    for normalise in ("centred", "imagenet"):
        encoder = frozen(weights, normalise=normalise)
        encoder.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, :, 0, 0].tolist()))
        encoder(torch.full((1, 9, SIDE, SIDE), 255, dtype=torch.uint8))
    assert seen[0] == [0.5] * 3 and seen[1] == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224,
                                                              (1 - 0.406) / 0.225])


def test_the_random_compression_is_the_same_for_every_run(weights):
    one, other = (make({**weights, "numbers": 20, "pool": 3}).encoder.squeeze["4"].weight for _ in range(2))
    torch.manual_seed(9)
    third = frozen(weights, numbers=20, pool=3).squeeze["4"].weight
    assert torch.equal(one, other) and torch.equal(one, third) and len(one) == 3        # 20 numbers on 3x3 cells


# That nothing changes it

@pytest.mark.parametrize("agent", ["drqv2", "sac", "bc", "dvc"])
@pytest.mark.parametrize("network", ["drqv2", "resnet18"])
def test_training_leaves_weights_and_buffers_bit_equal_and_out_of_every_optimiser(agent, network, monkeypatch):
    options = {"network": network, "weights": "random", "side": SIDE}
    if agent == "dvc":
        learner = make_agent("dvc", {"imitation": 1.0, "hidden_dim": 8}, encoder={"name": "frozen", **options},
                             image_shape=(9, SIDE, SIDE), action_dim=ACTIONS)
        encoder, optimisers, whole = learner.net.encoder, [learner.optimiser], learner.net
    else:
        learner = make(options, agent)
        encoder, optimisers = learner.encoder, [learner.optimiser, learner.actor_optimiser]
        whole = encoder
    whole.train()                                       # what an unwitting caller does
    before, memory = {name: value.clone() for name, value in encoder.state_dict().items()}, remembered()
    for _ in range(2):
        learner.update(memory)
    assert before and all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(weight.grad is None for weight in encoder.parameters())
    stepped = {id(weight) for optimiser in optimisers for group in optimiser.param_groups for weight in group["params"]}
    assert not stepped & {id(weight) for weight in encoder.parameters()}


class Curious(Objective):
    """Gives a bonus, and asks nothing of the encoder."""

    def loss(self, batch, z, encode):
        return z.new_zeros(()), {}

    def bonus(self, batch, z, encode):
        return 1.0


def test_an_objective_that_could_shape_nothing_is_refused(weights, monkeypatch):
    with pytest.raises(ValueError, match="'curl' shapes the encoder, but in this one nothing learns"):
        make(weights, objectives=[{"name": "curl"}])
    make(weights, objectives=[{"name": "curl", "weight": 0}])
    assert make({**weights, "latent_dim": 16}, objectives=[{"name": "curl"}]).objectives["curl"]
    monkeypatch.setattr("models.objectives.curl.Curl", Curious)
    assert np.isfinite(make(weights, objectives=[{"name": "curl"}]).update(remembered())["critic/loss"])


# Features in the memory

@pytest.mark.parametrize("options", [{}, {"latent_dim": 16}])
def test_features_from_the_memory_are_those_of_the_images(weights, options):
    encoder = frozen(weights, **options)
    needs = ("original", "successor", "same_episode", "mask")
    images, features = (remembered(embed).sample(16, needs) for embed in (None, encoder.embed))
    assert features.obs.shape == (16, encoder.feature_dim, 1, 1) and features.obs.dtype == torch.float32
    with torch.no_grad():
        for one, other in ((images.obs, features.obs), (images.next_obs, features.next_obs),
                           *((images.extra[name], features.extra[name]) for name in needs[:3])):
            assert torch.allclose(encoder(one), encoder(other), atol=1e-5)
            assert encoder(one).std() > 0.01
    assert torch.equal(images.action, features.action) and torch.equal(images.extra["mask"], features.extra["mask"])


def test_every_frame_is_embedded_once(weights):
    encoder, asked = frozen(weights), []
    memory = remembered(lambda frame: asked.append(1) or encoder.embed(frame))
    assert len(asked) == 6 * 9 + 1                      # and once to learn how long features are
    memory.sample(16, ("successor",))
    assert len(asked) == 6 * 9 + 1


@pytest.mark.parametrize("agent", ["drqv2", "sac", "bc"])
def test_learning_from_features_is_learning_from_images(weights, agent):
    found = []
    for cached in (False, True):
        learner = make({**weights, "latent_dim": 16, "cached": cached}, agent, shift=0)
        memory = remembered(learner.embed)
        found.append([learner.update(memory) for _ in range(3)][-1])
        assert (learner.embed is None) == (not cached)
    images, features = found
    assert features == pytest.approx(images, rel=1e-3, abs=1e-4)


def test_dear_reads_masks_beside_features(weights):
    learner = make({**weights, "latent_dim": 16, "cached": True}, shift=0, objectives=[{"name": "dear"}])
    assert np.isfinite(learner.update(remembered(learner.embed))["dear/total"])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_beside_features_an_objective_learns_or_is_refused_as_it_reads_pictures(weights, name):
    options = {**weights, "latent_dim": 16, "cached": True}
    if _resolve(OBJECTIVES, "objective", name).reads_images:
        with pytest.raises(ValueError, match=f"objective '{name}' reads pictures.*set encoder.cached to false"):
            make(options, shift=0, objectives=[{"name": name}])
        return
    learner = make(options, shift=0, objectives=[{"name": name}])
    assert all(np.isfinite(value) for value in learner.update(remembered(learner.embed)).values())


@pytest.mark.parametrize("agent, more, words", [
    ("drqv2", {}, "set agent.shift to 0"), ("sac", {"shift": 2}, "shift is 2 px"),
    ("bc", {"shift": 1}, "bc shift is 1")])
def test_features_and_shifts_exclude_each_other(weights, agent, more, words):
    with pytest.raises(ValueError, match=words):
        make({**weights, "cached": True}, agent, **more)


def test_dvc_keeps_images(weights):
    with pytest.raises(ValueError, match="set encoder.cached to false"):
        make_agent("dvc", {}, image_shape=(9, SIDE, SIDE), action_dim=ACTIONS,
                   encoder={"name": "frozen", "network": "drqv2", **weights, "cached": True})


def test_a_memory_of_features_is_saved_and_refuses_one_of_images(weights):
    encoder = frozen(weights)
    memory, again = remembered(encoder.embed), remembered(encoder.embed, seed=5)
    again.load_state_dict(memory.state_dict())
    assert torch.equal(memory.sample(4).obs, again.sample(4).obs)
    with pytest.raises(ValueError, match="does not fit"):
        remembered().load_state_dict(memory.state_dict())
