"""PLATO: slots in any order, perception frozen, films that are possible told from those that are not."""

import numpy as np
import pytest
import torch

from models.plato.dynamics import Dynamics
from models.plato.learn import learn_dynamics, learn_perception
from models.plato.model import Plato
from models.plato.monitor import WARM_UP, Monitor, calibrate
from models.plato.perception import CODE, SIDE

FRAMES = 12
SCREENS = (0.38, 0.62)      # middles of two screens on a line from 0 to 1
HALF = 0.09                 # of a screen's width


def toy(ball, rng):
    """Codes (T, 3, CODE) of a ball that rolls behind two screens at a drawn pace, or of the screens alone, and the
    frames in which it cannot be seen. A hidden ball has the code of nothing: zeros."""
    codes = torch.zeros(FRAMES, 3, CODE)
    place = 0.02 + rng.uniform(0.07, 0.085) * np.arange(FRAMES)
    hidden = np.array([any(abs(x - screen) < HALF for screen in SCREENS) for x in place])
    codes[:, 1:, 0] = 1.0
    codes[:, 1:, 1] = torch.tensor(SCREENS)
    if ball:
        codes[~hidden, 0, 2] = 1.0
        codes[~hidden, 0, 3] = torch.as_tensor(2 * place[~hidden], dtype=torch.float32)
    return codes, hidden


def toy_quadruplet(rng):
    """Possible and impossible pair (2, T, 3, CODE): the ball is exchanged for none behind the first screen."""
    first, hidden = toy(True, rng)
    second = torch.cat([torch.zeros(FRAMES, 1, CODE), first[:, 1:]], dim=1)
    cut = int(np.flatnonzero(hidden)[0]) + 1
    assert torch.equal(first[cut - 1], second[cut - 1])
    spliced = [torch.cat([a[:cut], b[cut:]]) for a, b in ((first, second), (second, first))]
    return torch.stack([first, second]), torch.stack(spliced)


@pytest.fixture(scope="module")
def toy_trained():
    """Trained on films of the toy that are whole, and untrained."""
    rng = np.random.default_rng(0)
    films = torch.stack([toy(k % 2 == 0, rng)[0] for k in range(300)])
    trained, untrained = (Plato((1, 2, 3), seed=seed) for seed in (0, 1))
    learn_dynamics(trained, films, steps=300, seed=0)
    return trained, untrained


def films(count, seed=0, size=20):
    """Pictures and labels (N, T, H, W): a bright square, label 2, moves straight on before a dark ground, label 1."""
    rng, room = np.random.default_rng(seed), SIDE - size
    images = np.full((count, FRAMES, SIDE, SIDE, 3), 40, np.uint8)
    labels = np.ones(images.shape[:-1], np.uint8)
    for image, label in zip(images, labels, strict=True):
        start, pace = rng.uniform(0, room, 2), rng.uniform(-2, 2, 2)
        for t in range(FRAMES):
            y, x = np.rint(np.abs((start + pace * t + room) % (2 * room) - room)).astype(int)       # off the edge again
            image[t, y:y + size, x:x + size], label[t, y:y + size, x:x + size] = (200, 60, 60), 2
    return images, labels


def frames(count, seed=0):
    """Pictures and labels (N, H, W) of as many squares."""
    return tuple(part[:, 0] for part in films(count, seed))


@pytest.fixture(scope="module")
def square_trained():
    """Perception and dynamics of moving squares."""
    plato, seen = Plato((1, 2)), films(100)
    learn_perception(plato, *(part.reshape(-1, *part.shape[2:]) for part in seen), steps=350, batch=16)
    codes = torch.stack([plato.encode(*film) for film in zip(*seen, strict=True)])
    learn_dynamics(plato, codes, steps=250, batch=16)
    return plato


def test_slots_in_another_order_give_the_same_predictions_in_that_order():
    torch.manual_seed(0)
    dynamics, codes, order = Dynamics(CODE), torch.randn(2, 6, 8, CODE), torch.randperm(8)
    with torch.no_grad():
        plain, turned = dynamics(codes)[0], dynamics(codes[:, :, order])[0]
    assert float((plain[:, :, order] - turned).abs().max()) < 1e-6
    assert float((plain - turned).abs().max()) > 1e-3       # else the check could not fail


def test_a_slot_hears_of_the_others_and_never_of_the_future():
    torch.manual_seed(0)
    dynamics, codes = Dynamics(CODE), torch.randn(1, 5, 3, CODE)
    other = codes.clone()
    other[0, 2, 1] += 1.0
    with torch.no_grad():
        change = (dynamics(codes)[0] - dynamics(other)[0]).abs().amax((0, 3))       # (T, K)
    assert torch.equal(change[:2], torch.zeros(2, 3))       # nothing is known before it happens
    assert (change[2:, 0] > 0).all()


def relative_surprise(model, pairs):
    """(S_i - S_p) / (S_i + S_p) of each (possible, impossible), (B, T, 3, CODE) each."""
    sums = np.array([[float(model.surprise(codes).sum()) for codes in pair] for pair in pairs])
    return (sums[:, 1] - sums[:, 0]) / sums.sum(1)


def test_it_is_surprised_by_what_never_comes_out_from_behind_a_screen(toy_trained):
    rng = np.random.default_rng(1)
    pairs = [toy_quadruplet(rng) for _ in range(40)]
    trained, untrained = (relative_surprise(model, pairs) for model in toy_trained)
    print((trained > 0).mean(), trained.mean(), (untrained > 0).mean(), untrained.mean())
    assert (trained > 0).mean() >= 0.95 and trained.mean() > 0.1
    assert (untrained > 0).mean() <= 0.75 and abs(untrained.mean()) < 1e-3


def test_films_that_are_not_spliced_are_told_wrongly_by_a_network_that_learnt_nothing(toy_trained):
    """A ball that is gone leaves frames with less in them, and those are foretold well by all that says nothing."""
    rng = np.random.default_rng(2)
    pairs = [[pair[:1] for pair in toy_quadruplet(rng)] for _ in range(40)]     # it comes out; it does not
    trained, untrained = (relative_surprise(model, pairs) for model in toy_trained)
    print((trained > 0).mean(), (untrained > 0).mean(), untrained.mean())
    assert (trained > 0).mean() >= 0.95 and (untrained > 0).mean() <= 0.1 and untrained.mean() < -0.1


def test_perception_learns_where_an_object_is(square_trained):
    images, labels = (part[:, 0] for part in films(20, seed=1))
    true, iou = torch.as_tensor(labels == 2)[:, ::2, ::2], []
    for plato in (square_trained, Plato((1, 2))):
        with torch.no_grad():
            drawn = plato.perception.decode(plato.encode(images, labels)[:, 1])[:, 3] > 0.5
        iou.append(float(((drawn & true).sum((1, 2)) / (drawn | true).sum((1, 2))).mean()))
    print(iou)
    assert iou[0] > 0.5 > 0.2 > iou[1]


def test_the_monitor_flags_a_square_that_jumps_and_none_that_moves_on(square_trained):
    held_out = torch.stack([square_trained.encode(*film) for film in zip(*films(60, seed=2), strict=True)])
    monitor = Monitor(square_trained, calibrate(square_trained, held_out, 0.1))
    images, labels = films(40, seed=3)
    possible, jumped, cut = [], [], FRAMES // 2
    for k in range(20):
        for told, other in ((possible, k), (jumped, k + 20)):       # from `cut` on, another square's way
            monitor.reset()
            flags = [monitor.look(images[k if t < cut else other, t], labels[k if t < cut else other, t]).flagged
                     for t in range(cut + 1)]
            told.append((any(flags[:-1]), 2 in flags[-1]))
    print(np.mean(possible, 0), np.mean(jumped, 0))
    assert np.mean(possible) <= 0.1                     # neither earlier nor then
    assert np.mean(jumped, 0)[1] >= 0.9 and np.mean(jumped, 0)[0] == np.mean(possible, 0)[0]


def test_dynamics_leaves_perception_as_it_is():
    plato, codes = Plato((1, 2, 3)), torch.randn(8, 5, 3, CODE)
    before = {name: weight.clone() for name, weight in plato.state_dict().items()}
    learn_dynamics(plato, codes, steps=10, batch=4)
    changed = [name for name, weight in plato.state_dict().items() if not torch.equal(weight, before[name])]
    assert changed and all(name.startswith("dynamics.") for name in changed)


def test_same_seed_same_weights_bit_for_bit_and_another_seed_others():
    def learnt(seed):
        plato, (images, labels) = Plato((1, 2), seed=seed), frames(20)
        learn_perception(plato, images, labels, steps=10, batch=4, seed=seed)
        learn_dynamics(plato, plato.encode(images, labels).unflatten(0, (4, 5)), steps=10, batch=4, seed=seed)
        return torch.cat([weight.flatten() for weight in plato.parameters()])
    first, again, other = learnt(0), learnt(0), learnt(1)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_saved_model_and_its_monitor_come_back_exactly(tmp_path):
    plato, (images, labels) = Plato((1, 2), seed=3), frames(6)
    thresholds = torch.tensor([0.25, 0.5])
    plato.save(tmp_path / "plato.pt", thresholds=thresholds)
    monitors = Monitor(plato, thresholds), Monitor.load(tmp_path / "plato.pt")
    for image, marked in zip(images, labels, strict=True):
        told = [monitor.look(image, marked) for monitor in monitors]
        assert torch.equal(told[0].surprise, told[1].surprise) and told[0].flagged == told[1].flagged


def test_the_monitor_tells_frame_by_frame_what_the_film_tells_at_once():
    plato, (images, labels) = Plato((1, 2)), frames(6)
    monitor = Monitor(plato, torch.ones(2))
    for _ in range(2):
        found = torch.stack([monitor.look(*frame).surprise for frame in zip(images, labels, strict=True)])
        expected = plato.surprise(plato.encode(images, labels)[None])[0]
        assert torch.equal(found[0], torch.zeros(2)) and torch.allclose(found[1:], expected, atol=1e-5)
        monitor.reset()


def test_thresholds_leave_as_many_possible_films_unflagged_as_they_promise(toy_trained):
    plato, rng = toy_trained[0], np.random.default_rng(5)
    films = torch.stack([toy(k % 2 == 0, rng)[0] for k in range(200)])
    thresholds = calibrate(plato, films[:100], 0.1)
    flagged = [(plato.surprise(part)[:, WARM_UP - 1:] > thresholds).flatten(1).any(1).float().mean()
               for part in (films[:100], films[100:])]
    assert flagged[0] <= 0.1 and flagged[1] <= 0.25


def test_what_cannot_be_is_told(tmp_path):
    plato, (images, labels) = Plato((1, 2)), frames(2)
    with pytest.raises(ValueError, match="1 to 8 different"):
        Plato(range(9))
    with pytest.raises(ValueError, match="render or scale them to 64 px"):
        plato.encode(images[:, :32, :32], labels[:, :32, :32])
    with pytest.raises(ValueError, match="2 numbers above 0"):
        Monitor(plato, torch.ones(3))
    with pytest.raises(ValueError, match="films must be allowed"):
        calibrate(plato, torch.zeros(5, 4, 2, CODE), 0.1)
    with pytest.raises(ValueError, match="at least 10"):
        learn_dynamics(plato, torch.zeros(5, 4, 2, CODE), steps=1)
    (tmp_path / "broken.pt").write_bytes(b"PK not a model")
    with pytest.raises(ValueError, match="surgrl expect"):
        Plato.load(tmp_path / "broken.pt")
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="no PLATO model"):
        Plato.load(tmp_path / "other.pt")
    plato.save(tmp_path / "bare.pt")
    with pytest.raises(ValueError, match="no thresholds"):
        Monitor.load(tmp_path / "bare.pt")
