"""The sheet of tissue: it neither stretches nor bursts, meets what it touches, and weighs what it weighs."""

import numpy as np
import pytest

from envs.contact import Capsule
from envs.tissue import GRAVITY, Material, Sheet

LENGTH, WIDTH = 0.042, 0.046        # m


def lying(rows=20, columns=20):
    """A flat rest shape: row 0 at y = 0, the others towards -y."""
    y, x = np.meshgrid(np.linspace(0, -LENGTH, rows), np.linspace(-WIDTH / 2, WIDTH / 2, columns), indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.zeros(rows * columns)], -1)


def plane(x, y):
    return np.full_like(x, -0.001)


def sheet(**options):
    made = Sheet(**options)
    made.reset(lying(made.rows, made.columns))
    return made


def bite(tissue, point, radius=0.0035):
    """Hold what is around a point; the held vertices' offsets from it."""
    point = np.array(point)
    tissue.grasp(np.flatnonzero(np.linalg.norm(tissue.vertices - point, axis=1) < radius))
    return tissue.vertices[tissue.held] - point


def folded_over(tissue, speed, seconds=2.5):
    """Lift the free side in an arc about the anchored one at `speed` m/s; yields after each step."""
    tip, radius = np.array([0.0, -LENGTH + 0.003, 0.0]), 0.036
    offsets = bite(tissue, tip)
    for k in range(int(seconds / tissue.dt)):
        angle, blend = min(k * tissue.dt * speed / radius, 1.75), min(1.0, k / 10)
        arc = radius * np.array([0.0, -np.cos(angle), np.sin(angle)])
        tissue.step(plane, (), blend * arc + (1 - blend) * (tip + [0, 0, k * tissue.dt * speed]) + offsets)
        yield


def test_it_is_inextensible_to_one_percent_while_it_is_folded_over():
    tissue = sheet()
    strains = np.array([(np.abs(tissue.stretch).mean(), tissue.stretch.max()) for _ in folded_over(tissue, 0.05)])
    assert strains[:, 0].max() < 0.01       # mean over the springs, at the worst time
    assert strains[:, 1].max() < 0.10       # the most strained spring, beside the jaws
    assert strains[-15:, 1].max() < 0.03    # and once it hangs still


def test_it_has_at_least_400_vertices():
    assert len(Sheet().vertices) >= 400


@pytest.mark.parametrize("seed", range(4))
def test_no_drag_however_hostile_makes_it_burst(seed):
    rng, tissue = np.random.default_rng(seed), sheet()
    rod = Capsule(np.array([0.0, -0.02, 0.004]), np.array([0.05, 0.02, 0.05]), 0.005)
    offsets = None
    for _ in range(150):
        if rng.random() < 0.1:
            offsets = bite(tissue, tissue.vertices[rng.integers(400)], rng.uniform(0.001, 0.01))
        if rng.random() < 0.05:
            tissue.release()
        target = rng.uniform(-0.1, 0.1, 3) if rng.random() < 0.9 else rng.choice([-10.0, 10.0], 3)
        tissue.step(plane, (rod,), target + offsets if tissue.held.size else None)
        assert np.isfinite(tissue.vertices).all() and np.isfinite(tissue.reaction).all()
        assert np.abs(tissue.vertices).max() < 20
    tissue.release()
    for _ in range(240):
        tissue.step(plane)
    # Drawn 10 m away it crumpled, and may lie so; but it lies still, in one piece.
    assert np.abs(tissue.vertices).max() < 0.1 and np.abs(tissue.stretch).mean() < 0.15
    before = tissue.vertices
    tissue.step(plane)
    assert np.linalg.norm(tissue.vertices - before, axis=1).max() < 0.001


def test_woodbury_is_the_direct_solution():
    tissue = sheet(rows=8, columns=8)
    offsets = bite(tissue, tissue.vertices[43], 0.009)
    targets = tissue.vertices[43] + offsets + [0.001, 0.002, 0.003]
    assert tissue.held.size > 4
    x = tissue.positions + np.random.default_rng(0).normal(0, 1e-3, tissue.positions.shape)
    inertia = np.random.default_rng(1).normal(0, 1e-4, x.shape)
    system = np.linalg.inv(tissue._solve_t.T)
    force = tissue._projected(x) + inertia
    force[:, :8] = tissue._anchor
    system[tissue.held, tissue.held] += tissue.material.grip
    force[:, tissue.held] += tissue.material.grip * targets.T
    direct = np.linalg.solve(system, force.T).T
    assert np.abs(tissue._image(x, inertia, targets) - direct).max() < 2e-8      # m: single precision
    pull = tissue.material.grip * (targets.T - direct[:, tissue.held])
    assert tissue.reaction == pytest.approx(-pull.sum(axis=1), abs=1e-5)


def test_what_hangs_from_the_jaws_pulls_with_its_weight():
    tissue = sheet(anchored=False)
    targets = bite(tissue, [0.0, -LENGTH / 2, 0.0]) + [0.0, -LENGTH / 2, 0.0]
    for _ in range(240):
        tissue.step(None, (), targets)
    weight = tissue.material.mass * GRAVITY
    assert tissue.reaction == pytest.approx([0, 0, -weight], abs=0.005 * weight)


def test_pulling_a_taut_sheet_pulls_back_the_harder_the_farther():
    tissue = sheet()
    tip, forces = np.array([0.0, -LENGTH + 0.003, 0.0]), []
    offsets = bite(tissue, tip)
    for k in range(30):
        tissue.step(plane, (), tip + [0, -1e-4 * k, 0] + offsets)
        forces.append(tissue.reaction)
    forces = np.array(forces)
    assert (np.diff(forces[3:, 1]) > 0).all() and forces[-1, 1] > 1.0       # N, towards the anchor
    assert np.abs(forces[:, 0]).max() < 0.05 * forces[-1, 1]


@pytest.mark.parametrize("vertex", [0, 19, 45, 210, 399])
def test_it_can_be_held_anywhere_and_let_go(vertex):
    tissue = sheet()
    point = tissue.vertices[vertex]
    offsets = bite(tissue, point)
    assert (tissue.held >= 20).all() and tissue.held.size       # row 0 stays with the anchor
    for k in range(15):
        tissue.step(plane, (), point + [0, 0, 2e-4 * k] + offsets)
    assert np.linalg.norm(tissue.vertices[tissue.held] - (point + [0, 0, 2.8e-3] + offsets), axis=1).max() < 0.001
    tissue.release()
    assert not tissue.held.size and not tissue.reaction.any()
    for _ in range(120):
        tissue.step(plane)
    assert tissue.vertices[:, 2].max() < 0.002 and np.abs(tissue.stretch).max() < 0.02


def test_nothing_enters_floor_or_shaft():
    def folds(x, y):
        return 0.003 * np.sin(150 * x) * np.cos(120 * y) - 0.004
    tissue, deepest, contacts = sheet(), 0.0, 0
    offsets = bite(tissue, tissue.vertices[390])
    for k in range(150):
        shift = 0.02 * np.sin(k / 20)
        rod = Capsule(np.array([shift, -0.05, 0.006]), np.array([shift - 0.02, 0.03, 0.02]), 0.005)
        goal = np.array([0.02 * np.sin(k / 15), -0.03 + 0.01 * np.cos(k / 9), 0.012 + 0.01 * np.sin(k / 7)])
        tissue.step(folds, (rod,), goal + offsets)
        x = tissue.positions
        assert (x[2] >= folds(x[0], x[1]) - 1e-4).all()
        offset = np.linalg.norm(rod.offset(x), axis=0)
        offset[tissue.held] = np.inf        # the jaws hold on to what they have
        deepest, contacts = max(deepest, 0.005 - offset.min()), contacts + (offset < 0.0052).any()
    assert contacts > 30 and deepest < 2e-4


def test_the_same_steps_give_the_same_bits():
    first, second = sheet(), sheet()
    for _ in zip(folded_over(first, 0.05, 1.0), folded_over(second, 0.05, 1.0), strict=True):
        assert np.array_equal(first.vertices, second.vertices) and np.array_equal(first.reaction, second.reaction)


def test_a_restored_state_goes_on_exactly():
    tissue = sheet()
    for _ in folded_over(tissue, 0.05, 0.7):
        pass
    state = tissue.get_state()
    targets = tissue.vertices[tissue.held] + [0, 0, 0.001]

    def onwards(some):
        for _ in range(5):
            some.step(plane, (), targets)
        return np.concatenate([some.vertices.ravel(), some.reaction, some.stretch])
    reference = onwards(tissue)
    tissue.set_state(state)
    other = sheet()
    other.set_state(state)
    assert np.array_equal(onwards(tissue), reference) and np.array_equal(onwards(other), reference)


def test_at_rest_it_stays_at_rest():
    tissue = sheet()
    for _ in range(60):
        tissue.step(lambda x, y: np.zeros_like(x))
    assert np.abs(tissue.vertices - lying()).max() < 1e-6


@pytest.mark.slow
def test_bullets_own_soft_body_takes_the_same_shape(tmp_path):
    """A 10 x 10 sheet held at two sides, 0.8 of its length apart, let go from a crooked fold: both find the catenary.

    Stated error: 4 % of the sheet's length, at any vertex.
    """
    import pybullet

    rows, scale = 10, 10.0
    t, q = np.meshgrid(np.linspace(0, 1, rows), np.linspace(-0.5, 0.5, rows), indexing="ij")
    # A fold at 0.3 of the length: two straight legs that together are as long as the sheet.
    span, kink = 0.8, 0.3
    corner = np.array([(kink ** 2 - (1 - kink) ** 2 + span ** 2) / (2 * span), 0.0])
    corner[1] = -np.sqrt(kink ** 2 - corner[0] ** 2)
    leg = np.where(t < kink, t / kink, (1 - t) / (1 - kink))
    y = np.where(t < kink, corner[0] * leg, span + (corner[0] - span) * leg)
    start = 0.05 * np.stack([q, -y, corner[1] * leg], -1).reshape(-1, 3)
    both_sides = np.r_[0:rows, rows * (rows - 1):rows * rows]

    ours = Sheet(rows, rows, material=Material(bend=0.0005, decay=0.5))
    ours.reset(start)
    ours.grasp(both_sides)
    for _ in range(300):
        ours.step(None, (), start[ours.held])

    client = pybullet.connect(pybullet.DIRECT)
    try:
        pybullet.resetSimulation(pybullet.RESET_USE_DEFORMABLE_WORLD, physicsClientId=client)
        pybullet.setGravity(0, 0, -GRAVITY, physicsClientId=client)
        number = np.arange(rows * rows).reshape(rows, rows)
        a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
        faces = np.stack([a, b, c, a, c, d], -1).reshape(-1, 3)
        path = tmp_path / "sheet.obj"
        path.write_text("".join("v {} {} {}\n".format(*vertex) for vertex in start * scale)
                        + "".join("f {} {} {}\n".format(*(face + 1)) for face in faces))
        body = pybullet.loadSoftBody(str(path), mass=0.1, useMassSpring=1, springElasticStiffness=40,
                                     springDampingStiffness=0.5, springBendingStiffness=0, useBendingSprings=0,
                                     physicsClientId=client)
        for vertex in both_sides:
            pybullet.createSoftBodyAnchor(body, int(vertex), -1, -1, physicsClientId=client)
        for _ in range(240 * 6):
            pybullet.stepSimulation(physicsClientId=client)
        theirs = np.array(pybullet.getMeshData(body, -1, flags=pybullet.MESH_DATA_SIMULATION_MESH,
                                               physicsClientId=client)[1]) / scale
    finally:
        pybullet.disconnect(client)
    assert np.linalg.norm(start - theirs, axis=1).max() > 0.05 * 0.05       # it did move
    assert np.linalg.norm(ours.vertices - theirs, axis=1).max() < 0.04 * 0.05
