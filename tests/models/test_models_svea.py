"""DrQ's averages over views, and SVEA's strong copies: the loss by hand, a target without them, what they give."""

import copy

import numpy as np
import pytest
import torch

from models.make import make_agent
from models.memory import EpisodeMemory

valued = pytest.mark.parametrize("name", ["drqv2", "sac"])
STRONG = {"strong_augment": ["conv"]}
UPDATES = 150


def prepared(agent, memory):
    batch, images = agent._augment(memory.sample(8))
    return batch, images, agent.encoder(images)


@valued
def test_target_and_loss_are_means_over_three_views_as_in_drqs_eq_1_and_3(make_small, make_memory, monkeypatch, name):
    agent = make_small(name=name, views=3)
    seen, encode = [], agent._encode
    monkeypatch.setattr(agent, "_encode", lambda images: seen.append(encode(images)) or seen[-1])
    values, next_value = [], agent._next_value
    monkeypatch.setattr(agent, "_next_value", lambda z, proprio: values.append(next_value(z, proprio)) or values[-1])
    batch, images, z = prepared(agent, make_memory())
    loss, _ = agent._critic_loss(batch, z, z[:8])
    assert len(seen) == 3 and not torch.equal(seen[0], seen[1])         # K views of the target's image, an action each
    target = batch.reward + batch.discount * (values[0][:8] + values[0][8:16] + values[0][16:]) / 3
    wanted = 0.0
    for view in images.chunk(3):                                        # M views of the critic's, one and the same y
        for q in agent.critic(agent.encoder(view), batch.proprio, batch.action):
            wanted = wanted + (q - target).square().mean() / 3
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert not torch.equal(images[:8], images[8:16])


@valued
@pytest.mark.parametrize("views", [1, 2])
def test_loss_is_half_of_clean_views_and_half_of_their_strong_copies(make_small, make_memory, name, views):
    agent = make_small(name=name, views=views, **STRONG)
    batch, images, z = prepared(agent, make_memory())
    state = agent.random.get_state()
    both, metrics = agent._critic_loss(batch, z, z[:8])
    parts = []
    for half in z.chunk(2):
        agent.random.set_state(state)
        loss, found = agent._critic_loss(batch, half, z[:8])
        parts.append(loss.item())
        assert found["critic/target"] == metrics["critic/target"]       # held to one target, of clean pictures
    assert both.item() == pytest.approx(0.5 * parts[0] + 0.5 * parts[1], rel=1e-5)
    clean, strong = images.chunk(2)
    assert torch.equal(clean[:8], batch.obs) and not torch.equal(clean, strong)
    bare = make_small(name=name, views=views)
    assert torch.equal(prepared(bare, make_memory())[1], clean)         # as they would be without


@valued
def test_strong_copies_leave_the_target_bit_equal_and_in_every_view_they_would_not(make_small, make_memory, name):
    def target(**options):
        agent, found = make_small(name=name, shift=0, **options), []
        batch, _, z = prepared(agent, make_memory())
        for seed in range(12):
            agent.random.manual_seed(seed)
            found.append(agent._critic_loss(batch, z, z[:8])[1]["critic/target"].item())
        return found

    plain, naive = target(), target(augment=["shift", "conv"])
    assert target(**STRONG) == plain
    assert np.std(naive) > 1.5 * np.std(plain) or np.abs(np.subtract(naive, plain)).max() > 1e-3


@valued
def test_actor_and_objectives_see_clean_pictures(make_small, make_memory, monkeypatch, name):
    agent, twin = make_small({"name": "curl"}, name=name, **STRONG), make_small({"name": "curl"}, name=name)
    before, asked = copy.deepcopy(agent.encoder), []
    for owner, method in ((agent, "_actor_losses"), (agent.objectives["curl"], "loss")):
        real = getattr(owner, method)
        monkeypatch.setattr(owner, method, lambda *args, real=real: asked.append(args[:2]) or real(*args))
    agent.update(make_memory())
    clean, _ = twin._augment(make_memory().sample(8, ("original",)))
    assert len(asked) == 2
    for batch, z in asked:
        assert torch.equal(batch.obs, clean.obs) and torch.allclose(z, before(clean.obs), atol=1e-5)


@pytest.mark.parametrize("name, options, words", [
    ("drqv2", {"strong_augment": ["shift"]}, "moves pixels by randomshift"), ("sac", {"strong_augment": []}, "nothing"),
    ("drqv2", {"strong_augment": ["conv"], "imitation": 1.0, "q_weight": 0.0}, "strong_augment is the critic's"),
    ("drqv2", {"strong_augment": ["fog"]}, "'fog' is unknown"), ("bc", {"strong_augment": ["conv"]}, "no option")])
def test_strong_augmentations_that_cannot_be_are_refused(make_small, name, options, words):
    with pytest.raises(ValueError, match=words):
        make_small(name=name, **options)


def pictures(places, dye):
    """A white square at (x, y) in 0..14 px on black; dyed, the same in other light."""
    images = torch.zeros(len(places), 20, 20, 3)
    for image, (x, y) in zip(images, places.tolist(), strict=True):
        image[y:y + 6, x:x + 6] = 255
    if dye:
        images = 60 + 0.5 * images + torch.tensor([30.0, -40.0, 50.0])
    return images.to(torch.uint8).numpy()


def errors_of_the_value(**options):
    """Of a critic that learns what a square's place is worth: mean squared error over variance, as shown and dyed."""
    places = torch.randint(15, (600, 2), generator=torch.Generator().manual_seed(0))
    memory = EpisodeMemory(1200, frame_shape=(20, 20, 3), action_dim=2, stack=1, nstep=1, extras=())
    for (x, _), frame in zip(places.tolist(), pictures(places, False), strict=True):
        memory.begin(frame)
        memory.add(np.zeros(2), (x - 7) / 4, True, frame)
    agent = make_agent("drqv2", {"batch_size": 32, "hidden_dim": 64, "feature_dim": 16, "lr": 2e-3, "shift": 1,
                                 **options}, image_shape=(3, 20, 20), action_dim=2, encoder={"width": 8})
    for _ in range(UPDATES):
        agent.update(memory)
    unseen = torch.cartesian_prod(torch.arange(15), torch.arange(15))
    worth, found = (unseen[:, :1] - 7) / 4, []
    for dye in (False, True):
        with torch.no_grad():
            z = agent.encoder(torch.from_numpy(pictures(unseen, dye)).permute(0, 3, 1, 2))
            q, _ = agent.critic(z, z[:, :0], torch.zeros(len(z), 2))
        found.append(((q - worth).square().mean() / worth.var()).item())
    return found


def test_with_strong_copies_the_value_holds_in_unseen_colours_and_without_it_does_not():
    plain, strong = errors_of_the_value(), errors_of_the_value(strong_augment=["overlay"])
    assert max(plain[0], strong[0]) < 0.2           # both have learnt what they were shown
    assert strong[1] < 0.3 and plain[1] > 0.8, (plain, strong)


def test_a_make_agent_call_without_the_options_is_the_same_agent(make_memory):
    def learnt(**options):
        agent = make_agent("drqv2", {"batch_size": 8, "hidden_dim": 16, **options}, image_shape=(9, 20, 20),
                           action_dim=2, proprio_dim=3, encoder={"width": 4})
        memory = make_memory()
        return [agent.update(memory) for _ in range(3)][-1]
    assert learnt() == learnt(augment=["shift"], strong_augment=None) != learnt(augment=["translate"])
