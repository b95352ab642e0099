"""Colons by seed, and a scope that stays inside them whatever it is told."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.anatomy import (
    APART,
    CAECUM_RADIUS,
    CAP,
    CURVATURE,
    LENGTH,
    NEIGHBOURS,
    RADIUS,
    SIDES,
    STATIONS,
    THROAT,
)
from envs.colon import Colon
from envs.geometry import closest_on_triangles
from envs.scope import BEND_LIMIT, BEND_TOTAL, ENTRY, FORCE_MAX, SHAFT, SLACK, STIFFNESS, TIP, Scope

SEEDS = range(40)
DT = 1 / 15


@pytest.fixture(scope="module")
def colons():
    return [Colon(seed) for seed in SEEDS]


@pytest.fixture
def scope(colons):
    return Scope(colons[0])


@cache
def colon_of(seed):
    return Colon(seed)


def brute_distance(colon, point):
    """To every triangle, by dense barycentric search then refinement: independent of Colon.wall."""
    a, b, c = (colon.surface()[0][colon.surface()[3].reshape(-1, 3)[:, k]] for k in range(3))
    best = np.inf
    nearest = np.argsort(np.minimum.reduce([np.linalg.norm(v - point, axis=1) for v in (a, b, c)]))[:100]
    for k in nearest:
        lo, hi = np.zeros(2), np.ones(2)
        for _ in range(7):
            u, v = np.meshgrid(np.linspace(lo[0], hi[0], 9), np.linspace(lo[1], hi[1], 9))
            u, v = np.clip(u.ravel(), 0, 1), np.clip(v.ravel(), 0, 1)
            inside = u + v <= 1 + 1e-12
            points = a[k] + u[inside, None] * (b[k] - a[k]) + v[inside, None] * (c[k] - a[k])
            gaps = np.linalg.norm(points - point, axis=1)
            at = np.array([u[inside][gaps.argmin()], v[inside][gaps.argmin()]])
            width = (hi - lo) / 5
            lo, hi = at - width, at + width
        best = min(best, gaps.min())
    return best


def inner_points(colon, seed, count):
    """Points inside the lumen, anywhere between centre line and wall."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        k, side = int(rng.integers(2, STATIONS - 2)), int(rng.integers(SIDES))
        yield colon.centre[k] + rng.uniform(0, 0.95) * (colon.vertices[k, side] - colon.centre[k])


def free_of_polyps(colon, point, margin):
    return all(lesion.flat or np.linalg.norm(lesion.pose[:3, 3] - point) - lesion.size.max() > margin
               for lesion in colon.lesions)


def test_sizes_stay_within_what_the_module_states(colons):
    for colon in colons:
        tube = colon.radius[:STATIONS - CAP]
        assert tube.min() >= THROAT and tube.max() <= 1.05 * CAECUM_RADIUS + 1e-9
        between_folds = np.array([tube[k:k + 8].max() for k in range(len(tube) - 16)])     # a pitch of folds; no caecum
        assert RADIUS[0] <= between_folds.min() and between_folds.max() <= 1.05 * CAECUM_RADIUS
        assert RADIUS[0] < tube.mean() < RADIUS[1]
        assert LENGTH[0] < colon.arc[STATIONS - CAP - 1] < LENGTH[1]
        end = STATIONS - CAP - 1
        assert colon.length == pytest.approx(colon.arc[end] + colon.radius[end, 0])


def test_the_centre_line_bends_no_more_than_stated_and_its_frames_are_rotations(colons):
    for colon in colons:
        heading = colon.frames[:STATIONS - CAP, :, 2]
        turn = np.arccos(np.clip((heading[1:] * heading[:-1]).sum(axis=1), -1, 1))
        assert (turn <= CURVATURE * colon.step + 1e-7).all()
        identity = np.einsum("nij,nik->njk", colon.frames, colon.frames)
        assert np.allclose(identity, np.eye(3), atol=1e-12)
        # A radius below that of the bend: the tube does not fold onto itself on the inside of a bend.
        assert colon.radius.max() * CURVATURE < 1


def test_parts_that_are_not_neighbours_stay_apart(colons):
    for colon in colons:
        gaps = np.linalg.norm(colon.centre[:, None] - colon.centre[None], axis=2)
        far = np.abs(np.subtract.outer(colon.arc, colon.arc)) > NEIGHBOURS
        assert gaps[far].min() >= APART - 1e-9


def test_the_mesh_is_closed_but_for_the_entry(colons):
    vertices, normals, uvs, indices = colons[0].surface()
    assert len(vertices) == len(normals) == len(uvs) and len(indices) // 3 < 6000
    _, merged = np.unique(np.round(vertices, 9), axis=0, return_inverse=True)
    faces = merged.ravel()[indices].reshape(-1, 3)
    assert all(len(set(face)) == 3 for face in faces)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {tuple(edge) for edge in edges.tolist()}
    assert len(directed) == len(edges)          # each edge once in each direction: one side everywhere
    open_edges = [edge for edge in directed if edge[::-1] not in directed]
    entry = set(merged.ravel()[:SIDES].tolist())
    assert len(open_edges) == SIDES and all(set(edge) <= entry for edge in open_edges)


def test_normals_point_into_the_lumen(colons):
    for colon in colons[:10]:
        vertices, normals, _, indices = colon.surface()
        a, b, c = (vertices[indices.reshape(-1, 3)[:, k]] for k in range(3))
        assert (np.linalg.norm(normals, axis=1) == pytest.approx(1)) and np.isfinite(normals).all()
        facing = np.cross(b - a, c - a)
        smooth = normals[indices.reshape(-1, 3)[:, 0]]
        assert ((facing * smooth).sum(axis=1) > 0).mean() > 0.97       # crests of folds are sharper than their shading


def test_distance_to_the_wall_is_that_of_the_drawn_mesh(colons):
    near = 0
    for colon in colons[:8]:
        for point in inner_points(colon, colon.seed, 12):
            true = brute_distance(colon, point)
            if not free_of_polyps(colon, point, true):
                continue
            wall = colon.wall(point, colon.nearest(point, colon.station(point))[1])
            near += true < 0.008
            # The local search may miss a farther fold that is slightly nearer than the wall beside the point.
            assert wall.distance == pytest.approx(true, abs=2e-5 if true < 0.008 else 1e-3)
            assert np.linalg.norm(wall.normal) == pytest.approx(1)
            foot = point - wall.distance * wall.normal
            assert abs(colon.wall(foot, colon.station(foot)).distance) < 1e-9
    assert near > 15


def test_distance_is_negative_outside_and_the_normal_still_points_in(colons):
    for colon in colons[:8]:
        rng = np.random.default_rng(colon.seed)
        for _ in range(20):
            k, side = int(rng.integers(4, STATIONS - CAP - 4)), int(rng.integers(SIDES))
            outwards = colon.vertices[k, side] - colon.centre[k]
            point = colon.vertices[k, side] + 0.004 * outwards / np.linalg.norm(outwards)
            if not free_of_polyps(colon, point, 0.02):
                continue
            wall = colon.wall(point, k)
            assert wall.distance < 0 and wall.normal @ outwards < 0


def test_a_polyp_is_part_of_the_wall(colons):
    colon, lesion = next((c, lesion) for c in colons for lesion in c.lesions if not lesion.flat)
    above = lesion.pose[:3, 3] + (lesion.size.max() + 0.002) * lesion.pose[:3, 2]
    wall = colon.wall(above, colon.station(above))
    assert wall.distance == pytest.approx(0.002) and np.allclose(wall.normal, lesion.pose[:3, 2])


def test_a_local_search_finds_the_nearest_arc_length_of_all(colons):
    for colon in colons[:10]:
        fine = np.linspace(0, colon.length, 5000)
        line = np.column_stack([np.interp(fine, colon.arc, axis) for axis in colon.centre.T])
        for point in inner_points(colon, colon.seed + 1, 20):
            arc, station = colon.nearest(point, colon.station(point))
            gaps = np.linalg.norm(line - point, axis=1)
            near = np.flatnonzero(gaps < gaps.min() + 2e-5)         # inside a bend, a stretch of it is equally near
            assert fine[near].min() - 3e-4 <= arc <= fine[near].max() + 3e-4
            assert abs(colon.arc[station] - arc) <= colon.step


def test_what_is_in_sight_has_no_wall_before_it(colons):
    for colon in colons[:5]:
        station = 40
        for k in colon.in_sight(colon.centre[station], station):
            for share in np.linspace(0.1, 0.9, 9):
                point = colon.centre[station] + share * (colon.centre[k] - colon.centre[station])
                assert colon.wall(point, colon.station(point)).distance > -0.003
    assert len(colons[0].in_sight(colons[0].centre[-1], STATIONS - 1)) == 0


def test_a_seed_is_one_colon_in_every_process():
    code = ("import hashlib\nfrom envs.colon import Colon\nh = hashlib.sha256()\n"
            "for seed in (3, 4):\n    h.update(Colon(seed).vertices.tobytes())\nprint('HASH', h.hexdigest())\n")
    hashes = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
              .stdout.split("HASH ")[1] for _ in range(2)}
    assert len(hashes) == 1
    assert not np.allclose(Colon(3).vertices, Colon(4).vertices)


def test_closest_point_on_a_triangle_without_area_is_on_its_edges():
    a, b = np.zeros(3), np.array([1.0, 0, 0])
    ab, ac = (b - a)[None], (b - a)[None]
    dots = np.array([(ab * ab).sum(1), (ab * ac).sum(1), (ac * ac).sum(1)])
    squared, v, w = closest_on_triangles(np.array([[0.3, 0.4, 0]]), ab, ac, dots)
    assert squared[0] == pytest.approx(0.16) and v[0] + w[0] == pytest.approx(0.3)


# The scope.

def test_nothing_is_felt_in_the_middle_of_the_lumen(scope):
    scope.enter(scope.colon, depth=0.1, bend=np.zeros(2))
    assert scope.force == 0
    for _ in range(3):
        scope.move(np.zeros(2), 0.01, 0.0, DT)
        assert scope.force == 0


def test_force_grows_with_the_push_and_is_the_spring_s(colons):
    for colon in colons[:6]:
        scope = Scope(colon)
        scope.enter(colon, depth=0.1, bend=np.array([np.radians(90), 0]))
        forces = []
        for _ in range(40):
            before = scope.force
            scope.move(np.zeros(2), 0.02, 0.0, DT)
            forces.append(scope.force)
            assert scope.force <= before + STIFFNESS * 0.02 * DT + 1e-9     # no more than was pushed
        assert max(forces) > 0.5 and max(forces) <= FORCE_MAX + 1e-9
        for _ in range(40):
            scope.move(np.zeros(2), -0.02, 0.0, DT)
        assert scope.force == 0


def test_what_is_pushed_straight_in_comes_straight_out_again(scope):
    scope.enter(scope.colon, depth=0.06, bend=np.array([0.4, -0.2]))
    start = scope.get_state()
    for speed in (0.02, -0.02):
        for _ in range(6):
            scope.move(np.zeros(2), speed, 0.0, DT)
            assert scope.force == 0
    assert np.allclose(scope.position, start["position"], atol=2e-4)
    assert scope.inserted == pytest.approx(start["inserted"])


def test_bending_turns_the_view_to_the_image_s_right_and_bottom(scope):
    for plane, axis in enumerate((0, 1)):
        scope.enter(scope.colon, depth=0.1, bend=np.zeros(2))
        before, rates = scope.rotation.copy(), np.zeros(2)
        rates[plane] = 0.5
        scope.move(rates, 0.0, 0.0, 0.1)
        assert (before.T @ scope.rotation[:, 2])[axis] == pytest.approx(np.sin(0.05))


def test_driven_bent_the_tip_describes_an_arc_of_the_section_s_curvature(scope):
    from envs.scope import BENDING_SECTION
    bend = np.array([0.2, 0.0])
    scope.enter(scope.colon, depth=0.05, bend=bend)
    before = scope.rotation[:, 2].copy()
    path = 0.0
    for _ in range(100):
        scope.move(np.zeros(2), 0.002, 0.0, 0.1)
        path += 0.0002
    assert scope.force == 0
    assert np.arccos(before @ scope.rotation[:, 2]) == pytest.approx(0.2 * path / BENDING_SECTION, rel=1e-3)


def test_roll_turns_a_bent_tip_about_the_shaft(scope):
    scope.enter(scope.colon, depth=0.1, bend=np.array([0.3, 0.0]))
    along = scope.shaft[:, 2].copy()
    for _ in range(10):
        scope.move(np.zeros(2), 0.0, np.pi / 20, 1.0)
    assert scope.roll == pytest.approx(np.pi / 2) and np.allclose(scope.shaft[:, 2], along)
    assert along @ scope.rotation[:, 2] == pytest.approx(np.cos(0.3))


def test_limits_of_bending_shaft_and_entry_hold(scope):
    for signs in np.array(np.meshgrid([-1, 1], [-1, 1])).reshape(2, -1).T:
        scope.enter(scope.colon, depth=0.1, bend=np.zeros(2))
        for _ in range(120):
            scope.move(signs * 1.0, 0.0, 0.0, DT)
            assert (np.abs(scope.bend) <= np.array(BEND_LIMIT) + 1e-9).all()
            assert np.hypot(*scope.bend) <= BEND_TOTAL + 1e-9
    scope.enter(scope.colon, depth=0.1, bend=np.zeros(2))
    for speed in (-0.04, 0.04):
        for _ in range(800):
            scope.move(np.zeros(2), speed, 0.0, DT)
            assert 0 <= scope.inserted <= SHAFT and scope.arc > 0.5 * ENTRY
    assert scope.inserted == pytest.approx(SHAFT)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2 ** 31), mode=st.sampled_from(["random", "corner", "dither"]))
def test_the_ball_never_leaves_the_lumen(seed, mode):
    hostile(seed, mode, steps=120)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=10_000, deadline=None)
@given(seed=st.integers(0, 2 ** 40), mode=st.sampled_from(["random", "corner", "dither"]))
def test_the_ball_never_leaves_the_lumen_in_ten_thousand_episodes(seed, mode):
    hostile(seed, mode, steps=60)


def hostile(seed, mode, steps):
    """Actions at and beyond the task's speeds; after each the ball lies in the lumen, by the drawn mesh."""
    rng = np.random.default_rng(seed)
    colon = colon_of(seed % 12)
    scope = Scope(colon)
    scope.enter(colon, depth=rng.uniform(0.02, colon.length - 0.05), bend=rng.uniform(-1, 1, 2))
    action = rng.choice([-1.0, 1.0], 4)
    for k in range(steps):
        if mode == "random":
            action = rng.uniform(-1, 1, 4)
        elif mode == "dither":
            action = -action if k % 2 else rng.choice([-1.0, 1.0], 4)
        scope.move(action[:2] * 1.6, float(action[2]) * 0.08, float(action[3]) * 1.6, DT)
        state = scope.get_state()
        assert all(np.isfinite(value).all() for value in state.values())
        everywhere = colon.wall(scope.position, colon.station(scope.position))
        assert everywhere.distance >= TIP - SLACK - 1e-9 and 0 <= scope.force <= FORCE_MAX + 1e-9
        assert np.allclose(scope.rotation.T @ scope.rotation, np.eye(3), atol=1e-9)


def test_state_is_a_value(colons):
    rng = np.random.default_rng(5)
    actions = rng.uniform(-1, 1, (60, 4))
    scope = Scope(colons[2])

    def drive(part):
        for a in part:
            scope.move(a[:2], a[2] * 0.05, a[3], DT)
        return scope.get_state()

    half = drive(actions[:30])
    first = drive(actions[30:])
    scope.set_state(half)
    second = drive(actions[30:])
    assert all(np.array_equal(first[name], second[name]) for name in first)
