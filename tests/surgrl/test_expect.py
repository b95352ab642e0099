"""`surgrl expect`: films obey physics, quadruplets share their frames, the monitor flags what cannot be."""

import json

import numpy as np
import pytest
import torch

from models.plato.model import Plato
from models.plato.monitor import Monitor
from surgrl.cli import main
from surgrl.films import CLEARANCE, FRAMES, SOLID, SPEED, Studio
from surgrl.paths import beside, stand, sweep, wander
from surgrl.pretrained import pretrained_folder
from surgrl.quadruplets import CONCEPTS, CONTROL, free_films, quadruplets, shown
from surgrl.surprise import encode, figures, pair_surprise, unchanged

COUNT = 3


@pytest.fixture(scope="module")
def studio():
    """Both scenes."""
    made = Studio()
    yield made
    made.close()


@pytest.fixture(scope="module")
def made(studio):
    """concept -> quadruplets, all from equal generators."""
    return {concept: quadruplets(studio, concept, COUNT, np.random.default_rng(0)) for concept in (*CONCEPTS, CONTROL)}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The folder that the shortest run of the command leaves, and its figures."""
    out = tmp_path_factory.mktemp("expect")
    assert main(["expect", "--out", str(out), "--films", "20", "--steps", "20", "10", "--quadruplets", "3"]) == 0
    return out, json.loads((out / "expect.json").read_text())


@pytest.fixture(scope="module")
def monitor():
    """The one that comes with surgrl."""
    return Monitor.load(pretrained_folder() / "plato" / "plato.pt")


def test_no_path_is_faster_than_the_arm_or_below_the_tissue(studio):
    rng = np.random.default_rng(0)
    swept = [found[0] for found in (sweep(studio, rng, rng.uniform(-0.02, 0.02, 2)) for _ in range(20)) if found]
    assert swept
    for path in [wander(studio, rng) for _ in range(20)] + swept:
        assert path.shape == (FRAMES, 3)
        assert np.abs(np.diff(path, axis=0)).max(0)[:2].max() <= SPEED * studio.step + 1e-9
        assert all(tip[2] >= studio.ground(*tip[:2]) + CLEARANCE - 1e-9 for tip in path)


def test_beside_a_flap_the_tip_stays_on_its_side_and_where_none_stands_it_does_not(studio):
    rng, crossed = np.random.default_rng(0), 0
    for k in range(30):
        wall, side = stand(rng), (-1, 1)[k % 2]
        for obeys in (True, False):
            path = beside(studio, rng, wall, side, obeys=obeys)
            above = path[:, 2] - [studio.ground(*tip[:2]) for tip in path]
            gap = side * (path[:, 0] - wall.middle(path[:, 1], above))
            if obeys:
                assert gap.min() >= SOLID - 1e-3 * wall.lean - 1e-9     # 1 mm: the clearance may lift the tip
            else:
                crossed += gap.min() < 0
    assert crossed >= 10


@pytest.mark.parametrize("concept", [*CONCEPTS, CONTROL])
def test_both_pairs_of_a_quadruplet_hold_the_same_frames(made, concept):
    for quadruplet in made[concept]:
        frames = [sorted(image.tobytes() for film in pair for image in film.images)
                  for pair in (quadruplet.possible, quadruplet.impossible)]
        assert frames[0] == frames[1]
        assert not np.array_equal(quadruplet.possible[0].images, quadruplet.impossible[0].images)


def test_behind_the_shaft_the_marker_is_exchanged_unseen(made):
    for quadruplet in made["permanence"]:
        a, b = quadruplet.possible
        for frame in (quadruplet.cut - 1, quadruplet.cut):
            assert np.array_equal(a.labels[frame], b.labels[frame])
            assert np.abs(a.images[frame].astype(int) - b.images[frame]).max() <= 1     # the renderer's own rounding
        gone, _ = quadruplet.impossible
        assert shown(a)[[0, -1]].min() > 0 == shown(b).max()
        assert shown(gone)[0] > 0 == shown(gone)[-1]


def test_solidity_and_its_control_differ_by_the_flap_alone(made):
    for with_flap, without in zip(made["solidity"], made[CONTROL], strict=True):
        assert with_flap.cut == without.cut
        for first, second in zip(with_flap.possible, without.possible, strict=True):
            assert (first.labels == 4).any((1, 2)).all() and not (second.labels == 4).any()
            bare = (first.labels != 4) & (second.labels != 3) & (first.labels != 3)
            assert (first.labels == second.labels)[bare].mean() > 0.999


def test_who_expects_that_nothing_changes_cannot_tell_permanence(made, monitor):
    plato = monitor.plato
    for quadruplet in made["permanence"]:
        codes = encode(plato, quadruplet)
        possible, impossible = (pair_surprise(unchanged(pair)) for pair in codes)
        assert impossible == pytest.approx(possible, rel=1e-3)
        assert torch.equal(codes.possible.flatten(0, 1).sort(0).values, codes.impossible.flatten(0, 1).sort(0).values)


def test_figures_follow_their_definitions():
    found = figures([1.0, 2.0, 3.0, 1.0], [3.0, 2.0, 1.0, 3.0])
    assert found["accuracy"] == 0.5 and found["ties"] == 0.25
    assert found["relative"] == pytest.approx((0.5 + 0.0 - 0.5 + 0.5) / 4)
    assert found["accuracy_95"][0] < 0.5 < found["accuracy_95"][1]
    assert pair_surprise(torch.tensor([0.1, 0.2, 0.3])) == pair_surprise(torch.tensor([0.3, 0.1, 0.2]))


def test_the_command_writes_figures_of_every_concept_a_picture_and_a_model(expected):
    out, found = expected
    assert (out / "expect.png").read_bytes().startswith(b"\x89PNG")
    assert set(found["concepts"]) == {*CONCEPTS, CONTROL}
    for row in found["concepts"].values():
        assert set(row) == {"trained", "untrained", "unchanged"}
        assert all(0 <= row[name]["accuracy"] <= 1 and abs(row[name]["relative"]) <= 1 for name in row)
    assert set(found["monitor"]) == {"thresholds", "allowed", "possible", *CONCEPTS}
    assert Monitor.load(out / "plato.pt").thresholds.tolist() == list(found["monitor"]["thresholds"].values())


@pytest.mark.parametrize("concept", CONCEPTS)
def test_the_network_that_comes_with_surgrl_is_about_as_surprised_as_it_says(studio, monitor, concept):
    made = quadruplets(studio, concept, 6, np.random.default_rng(100))
    stated = json.loads((pretrained_folder() / "plato" / "expect.json").read_text())["concepts"][concept]["trained"]
    relative = []
    for plato in (monitor.plato, Plato(monitor.plato.labels, seed=1)):
        sums = [[pair_surprise(plato.surprise(pair)) for pair in encode(plato, quadruplet)] for quadruplet in made]
        relative.append(figures(*zip(*sums, strict=True))["relative"])
    print(concept, relative)
    assert relative[0] >= 0.4 * stated["relative"] > 10 * abs(relative[1])


def test_the_monitor_flags_what_is_spliced_in_and_is_quiet_before_it_and_on_what_is_possible(studio, monitor):
    told: dict[str, list[bool]] = {"possible": [], "before": [], "at the cut": []}
    for quadruplet in quadruplets(studio, "continuity", 9, np.random.default_rng(7)):
        for film in (*quadruplet.possible, *quadruplet.impossible):
            monitor.reset()
            flags = [bool(monitor.look(*frame).flagged) for frame in zip(*film, strict=True)]
            if film is quadruplet.possible[0] or film is quadruplet.possible[1]:
                told["possible"].append(any(flags))
            else:
                told["before"].append(any(flags[:quadruplet.cut]))
                told["at the cut"].append(flags[quadruplet.cut])
    shares = {name: float(np.mean(flagged)) for name, flagged in told.items()}
    print(shares)
    assert shares["at the cut"] >= 0.9 and shares["possible"] <= 0.25 and shares["before"] <= 0.25


def test_a_seed_makes_the_same_films(studio):
    first, again, other = (free_films(studio, 2, np.random.default_rng(seed)) for seed in (3, 3, 4))
    for one, two, three in zip(first, again, other, strict=True):
        assert np.array_equal(one.labels, two.labels) and not np.array_equal(one.labels, three.labels)
        assert np.abs(one.images.astype(int) - two.images).max() <= 1       # the renderer's own rounding


@pytest.mark.parametrize(("words", "told"), [
    (["--films", "3"], "--films is 3"), (["--steps", "5", "50"], "--steps is 5"),
    (["--quadruplets", "1"], "3 or more"), (["--seed", "-1"], "0 or more")])
def test_a_mistake_is_told_before_anything_is_filmed(surgrl, words, told):
    done = surgrl("expect", *words)
    assert done.returncode == 1 and told in done.stderr and "Traceback" not in done.stderr
