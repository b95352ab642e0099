"""Small agents and memories for the tests of models."""

import warnings

import numpy as np
import pytest
import torch

from models.make import make_agent
from models.memory import EpisodeMemory

SIDE, ACTIONS, PROPRIO = 20, 2, 3
PROJECTED = {"width": 4, "pool": 2, "latent_dim": 24}       # serves every objective
SMALL = {"batch_size": 8, "feature_dim": 8, "hidden_dim": 16, "lr": 1e-3}
OWN = {"drqv2": {"explore_steps": 0}, "sac": {"explore_steps": 0, "views": 1}, "bc": {}}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def make_small():
    """make_agent with small sizes; keyword options go to the agent."""
    def make(*objectives, name="drqv2", seed=0, proprio_dim=PROPRIO, encoder=PROJECTED, **options):
        return make_agent(name, {**SMALL, **OWN[name], **options}, objectives=objectives, image_shape=(9, SIDE, SIDE),
                          action_dim=ACTIONS, proprio_dim=proprio_dim, encoder=encoder, seed=seed)
    return make


@pytest.fixture
def exported(tmp_path):
    """How a network on images answers once it is ONNX: (B, C, H, W) uint8 -> array, for any B."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    def export(network, images):
        batch = torch.export.Dim("batch", min=1, max=256)
        with warnings.catch_warnings():     # torch's exporter warns of its own internals
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (images,), dynamo=True, opset_version=20, input_names=["images"], verbose=False,
                              dynamic_shapes=({0: batch},)).save(tmp_path / "network.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
        return lambda given: session.run(None, {"images": given.numpy()})[0]
    return export


@pytest.fixture
def make_memory():
    """Random episodes with masks and expert labels; every second one a demonstration."""
    def make(seed=0, episodes=6, length=7, proprio_dim=PROPRIO, **options):
        rng = np.random.default_rng(seed)
        memory = EpisodeMemory(500, frame_shape=(SIDE, SIDE, 3), action_dim=ACTIONS, proprio_dim=proprio_dim,
                               seed=seed, extras=("mask", "expert"), **options)

        def moment():
            frame = rng.integers(0, 160, (SIDE, SIDE, 3), dtype=np.uint8)
            mask = np.zeros((SIDE, SIDE), np.uint8)
            y, x = rng.integers(0, SIDE - 6, 2)
            frame[y:y + 6, x:x + 6], mask[y:y + 6, x:x + 6] = 255, 1    # an instrument before a noisy world
            return {"frame": frame, "proprio": rng.normal(size=proprio_dim), "mask": mask,
                    "expert": rng.uniform(-1, 1, ACTIONS)}

        for episode in range(episodes):
            memory.begin(**moment(), demo=episode % 2 == 1)
            for step in range(length):
                memory.add(rng.uniform(-1, 1, ACTIONS), float(rng.normal()), step == length - 1, **moment())
        return memory
    return make
