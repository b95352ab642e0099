"""A sheet of tissue by projective dynamics (Bouaziz et al. 2014, ACM TOG 33(4), doi 10.1145/2601097.2601116).

One implicit Euler step for each control step: springs along, across and diagonal to a grid are projected to their
rest lengths one by one (local), then one linear system, factored once, takes all of them together (global). Bending is
the squared second difference along the grid's lines (after Bergou et al. 2006): linear, so part of the system. What
the jaws hold is a change of low rank of that system, taken in by Woodbury's identity instead of a new factorisation.

Differs from the paper: contact is projected after every global step, not a constraint of the system, and the start
of the iterations, the inertial prediction, is brought out of contact first. No step can diverge: every local
projection is bounded by the rest lengths, and the global matrix is positive definite. The iterations are accelerated
(see `Anderson`): without it eight of them leave about one and a half times the strain.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from .anderson import Anderson
from .contact import Capsule
from .geometry import Array

GRAVITY = 9.81              # m/s^2
NEAR = 0.008                # m: what comes to a rod from farther within one step is stopped at the step's end only
RESIDUAL = 1e-6             # m, root mean square: iterations that move the sheet less are not worth making
Floor = Callable[[Array, Array], Array]     # heights z (N,) m under x, y (N,) m


class Material(NamedTuple):
    """What the sheet is made of. A spring's stiffness does not depend on its length: it stands for a strip."""

    mass: float = 0.020             # kg, of the whole sheet: 5 cm x 4 cm of fat, 1 cm thick, 0.92 g/cm^3 (ICRU 44)
    stretch: float = 1500.0         # N/m, springs along the grid's lines
    shear: float = 450.0            # N/m, springs along its diagonals
    bend: float = 0.5               # N/m, on second differences
    grip: float = 5000.0            # N/m, between a held vertex and the jaws
    decay: float = 0.15             # s, in which a free motion falls to 1/e: wet tissue swings little
    friction: float = 0.5           # share of its speed that a vertex loses in a step of contact


class Sheet:
    """rows x columns vertices, N in all, row by row; row 0 is anchored where it lies at rest."""

    def __init__(self, rows: int = 20, columns: int = 20, *, dt: float = 1 / 30, material: Material | None = None,
                 iterations: int = 8, anchored: bool = True):
        """dt: s, one step. iterations: local and global steps in each. anchored: whether row 0 is held for ever."""
        self.rows, self.columns, self.dt, self.iterations = rows, columns, dt, iterations
        self.material = material or Material()
        self._build(anchored)
        self._anderson = Anderson(3 * rows * columns)
        line = np.linspace(0, 0.04, max(rows, columns))
        y, x = np.meshgrid(line[:rows], line[:columns], indexing="ij")
        self.reset(np.stack([x.ravel(), y.ravel(), np.zeros(rows * columns)], -1))

    def reset(self, rest: Array) -> None:
        """Lie at rest (N, 3) m, without strain, nothing held."""
        self._x = np.ascontiguousarray(np.asarray(rest, dtype=float).T)         # (3, N), as all that follows
        self._v = np.zeros_like(self._x)
        self._anchor = self._x[:, :self._anchored].copy()
        self._rest_at(self._edge_lengths(self._x))
        self.release()

    @property
    def vertices(self) -> Array:
        """(N, 3) m: a copy."""
        return self._x.T.copy()

    @property
    def positions(self) -> Array:
        """(3, N) m: the sheet's own, not to be written to."""
        return self._x

    @property
    def held(self) -> Array:
        """Indices of the vertices between the jaws, empty where there are none."""
        return self._held

    @property
    def reaction(self) -> Array:
        """(3,) N: what the tissue does to the jaws that hold it."""
        return -self._pull.sum(axis=1)

    @property
    def stretch(self) -> Array:
        """Strain of each spring along the grid's lines but those between two held vertices: (S,)."""
        if self._stretch is None:
            self._stretch = (self._edge_lengths(self._x) / self._lengths)[self._loose] - 1
        return self._stretch

    def grasp(self, vertices: Array) -> None:
        """Hold these vertices, by index; those of the anchored row stay with the anchor."""
        self._stretch: Array | None = None
        self._held = np.unique(vertices)
        self._held = self._held[self._held >= self._anchored]
        self._pull = np.zeros((3, len(self._held)))
        held = np.zeros(self.rows * self.columns, bool)
        held[self._held] = True
        self._free = ~held
        self._loose = self._real
        if self._held.size:
            self._loose = self._real[~(held[self._a[self._real]] & held[self._b[self._real]])]
        self._reach = np.ascontiguousarray(self._solve_t[self._held])           # (K, N): answer to a unit pull
        compliance = self._reach[:, self._held] + np.eye(len(self._held)) / self.material.grip
        self._grip = np.linalg.inv(compliance)                                  # (K, K) N/m

    def release(self) -> None:
        """Hold nothing."""
        self.grasp(np.zeros(0, int))

    def step(self, floor: Floor | None = None, capsules: tuple[Capsule, ...] = (),
             targets: Array | None = None) -> None:
        """Let dt pass. targets: (K, 3) m, where the jaws take the held vertices."""
        h, material = self.dt, self.material
        close = self._close(self._x, capsules, NEAR)
        x = self._x + (h * np.exp(-h / material.decay)) * self._v
        heights = None if floor is None else floor(x[0], x[1])
        self._out_of_contact(x, close, heights)
        # The iterations start where inertia leads; gravity joins the system only. So at rest they start at their end.
        inertia = x.copy()
        inertia[2] -= GRAVITY * h * h
        touched = self._out_of_contact(inertia, close, heights)
        inertia *= self._inertia
        self._anderson.restart()
        for left in reversed(range(self.iterations)):
            image = self._image(x, inertia, targets)
            for capsule, index in close:
                capsule.push_out(image, index)
            if heights is not None:
                np.maximum(image[2], heights, out=image[2])
            guess, residual = self._anderson.propose(x, image)
            if left == 0 or residual < RESIDUAL ** 2 * x.shape[1]:
                break
            x = guess
        x = image       # not the guess: what the projections bound, and what the pull belongs to
        inside = self._close(x, capsules, 0.0)
        touched |= self._out_of_contact(x, inside, None if floor is None else floor(x[0], x[1]))
        self._v = (x - self._x) / h
        self._v[:, touched] *= 1 - material.friction
        self._x, self._stretch = x, None

    def get_state(self) -> dict[str, Array]:
        """All that the next step depends on, but for what was given at construction."""
        return {"x": self._x.copy(), "v": self._v.copy(), "anchor": self._anchor.copy(),
                "lengths": self._lengths.copy(), "held": self._held.copy(), "pull": self._pull.copy()}

    def set_state(self, state: dict[str, Array]) -> None:
        """Go on from there, exactly."""
        self._x, self._v, self._anchor = (np.array(state[name]) for name in ("x", "v", "anchor"))
        self._rest_at(np.array(state["lengths"]))
        self.grasp(state["held"])
        self._pull = np.array(state["pull"])

    def _build(self, anchored: bool) -> None:
        rows, columns, material = self.rows, self.columns, self.material
        number = np.arange(rows * columns).reshape(rows, columns)
        # Springs down, along, and along both diagonals, each kind as a shift of the flat list of vertices: several
        # times faster than by index. A shift also pairs ends of rows with starts; those springs have no stiffness.
        shifts = (columns, 1, columns + 1, columns - 1)
        self._a = np.concatenate([np.arange(shift, rows * columns) for shift in shifts])
        self._b = np.concatenate([np.arange(rows * columns - shift) for shift in shifts])
        self._lines = 2 * rows * columns - columns - 1
        self._stiffness = np.full(len(self._a), material.shear)
        self._stiffness[:self._lines] = material.stretch
        self._stiffness[np.abs(self._a % columns - self._b % columns) > 1] = 0
        self._real = np.flatnonzero(self._stiffness[:self._lines])
        self._edges = np.empty((3, len(self._a)))
        ends = np.cumsum([0] + [rows * columns - shift for shift in shifts])
        self._parts = [(shift, self._edges[:, start:end]) for shift, start, end in
                       zip(shifts, ends, ends[1:], strict=False)]
        size = rows * columns
        system = np.zeros((size, size))
        for a, b, k in zip(self._a, self._b, self._stiffness, strict=True):
            system[np.ix_([a, b], [a, b])] += k * np.array([[1, -1], [-1, 1]])
        for line in [*number, *number.T]:
            for three in zip(line, line[1:], line[2:], strict=False):
                system[np.ix_(three, three)] += material.bend * np.outer([1, -2, 1], [1, -2, 1])
        self._inertia = material.mass / size / self.dt ** 2                     # N/m
        system[np.diag_indices(size)] += self._inertia
        self._anchored = columns if anchored else 0     # the first so many vertices
        # Anchored vertices become rows of the identity: the right-hand side then holds where they are.
        system[:self._anchored] = 0
        system[range(self._anchored), range(self._anchored)] = 1
        # With several threads BLAS rounds otherwise: a seed would be another episode in a worker than beside it.
        with threadpool_limits(1, user_api="blas"):
            inverse = np.linalg.inv(system)
        self._solve_t = np.ascontiguousarray(inverse.T)                         # (N, N)
        # What every iteration multiplies by: in single precision it takes half the time, and adds 1e-8 m of noise.
        self._solve_fast = self._solve_t.astype(np.float32)

    def _image(self, x: Array, inertia: Array, targets: Array | None) -> Array:
        """One local and one global step from (3, N) m."""
        force = self._projected(x)
        force += inertia
        force[:, :self._anchored] = self._anchor    # their rows say where, not with what force
        image = (force.astype(np.float32) @ self._solve_fast).astype(float)
        if self._held.size:
            self._pull = (targets.T - image[:, self._held]) @ self._grip        # (3, K) N, by the jaws
            image += self._pull @ self._reach
        return image

    def _rest_at(self, lengths: Array) -> None:
        self._lengths, self._weights = lengths, lengths * self._stiffness       # m, N

    def _close(self, x: Array, capsules: tuple[Capsule, ...], margin: float) -> list[tuple[Capsule, Array]]:
        """Each capsule with the vertices within `margin` m of it; not those that jaws hold: they pass by the wrist."""
        if not capsules:
            return []
        low, high = x.min(axis=1), x.max(axis=1)
        near = [(capsule, capsule.near(x, margin)) for capsule in capsules
                if capsule.meets(low - margin, high + margin)]
        return [(capsule, index[self._free[index]]) for capsule, index in near if index.size]

    def _out_of_contact(self, x: Array, close: list[tuple[Capsule, Array]], heights: Array | None) -> Array:
        """Project (3, N) m in place; which vertices that moved, (N,) bool. The floor has the last word."""
        touched = np.zeros(x.shape[1], bool)
        for capsule, index in close:
            touched[capsule.push_out(x, index)] = True
        if heights is not None:
            low = x[2] < heights
            touched |= low
            np.copyto(x[2], heights, where=low)
        return touched

    def _span(self, x: Array) -> Array:
        """Springs as vectors, (3, E) m; the buffer is reused."""
        for shift, part in self._parts:
            np.subtract(x[:, shift:], x[:, :-shift], out=part)
        return self._edges

    def _edge_lengths(self, x: Array) -> Array:
        span = self._span(x)
        return np.sqrt(np.einsum("ij,ij->j", span, span))

    def _projected(self, x: Array) -> Array:
        """Local step: what springs at their rest lengths, turned as they are now, pull at each vertex: (3, N) N."""
        span = self._span(x)
        length = np.sqrt(np.einsum("ij,ij->j", span, span))
        span *= self._weights / np.maximum(length, 1e-12)
        pull = np.zeros_like(x)
        for shift, part in self._parts:
            pull[:, shift:] += part
            pull[:, :-shift] -= part
        return pull
