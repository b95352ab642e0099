"""The policy as ONNX gives the same actions as in torch, for any batch size, with proprio and without."""

import warnings

import numpy as np
import pytest
import torch

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.mark.parametrize("name, proprio_dim", [("drqv2", 0), ("drqv2", 3), ("sac", 0), ("sac", 3), ("bc", 3)])
def test_onnx_policy_equals_torch_policy(make_small, make_memory, name, proprio_dim, tmp_path):
    agent = make_small(name=name, proprio_dim=proprio_dim)
    agent.update(make_memory(proprio_dim=proprio_dim))
    policy = agent.policy().eval()
    names = ("images", "proprio")[:1 + (proprio_dim > 0)]
    batch = torch.export.Dim("batch", min=1, max=256)

    def inputs(count):
        random = torch.Generator().manual_seed(count)
        images = torch.randint(256, (count, 9, 20, 20), generator=random, dtype=torch.uint8)
        return (images, torch.randn(count, proprio_dim, generator=random))[:len(names)]

    with warnings.catch_warnings():     # torch's exporter warns of its own internals
        warnings.simplefilter("ignore")
        program = torch.onnx.export(policy, inputs(2), dynamo=True, opset_version=20, input_names=list(names),
                                    output_names=["action"], verbose=False,
                                    dynamic_shapes=tuple({0: batch} for _ in names))
        program.save(tmp_path / "policy.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == list(names)
    for count in (1, 2, 7):
        given = inputs(count)
        feed = {name: value.numpy() for name, value in zip(names, given, strict=True)}
        with torch.no_grad():
            wanted = policy(*given).numpy()
        assert np.abs(session.run(None, feed)[0] - wanted).max() <= 1e-5
