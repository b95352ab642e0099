"""The tip of a flexible colonoscope: it bends in two planes, follows its own nose, and slides along the wall.

Kinematics. The bending section is an arc of constant curvature: the tip is turned by the rotation vector
(-bend_y, bend_x, 0) against the shaft behind it. Driven forward, the shaft takes the section's place, so that the tip
describes that very arc: d(shaft direction) / d(path) = bend / BENDING_SECTION. The stiff last part swings about its
neck when the tip bends. The shaft further back leaves no trace: it is neither drawn nor felt.

Contact. The tip is a ball that stays in the lumen while the point it is sent to may lie behind the wall: a god-object
(Zilles & Salisbury 1995). Between the two acts a spring, and its force is the contact force. Mucus makes the wall
frictionless. What presses sideways gives way in RELAXATION, since a shaft is slack across; what presses along does not.
"""

import numpy as np

from .colon import Colon
from .geometry import Array, rotation_by

TIP = 0.0064                        # m, radius: an adult colonoscope's distal end is 12-13 mm wide
NECK = 0.020                        # m, stiff length that swings when the tip bends
BENDING_SECTION = 0.080             # m
BEND_LIMIT = (np.radians(160), np.radians(180))     # left-right, up-down, as colonoscopes' data sheets say
BEND_TOTAL = np.radians(180)        # both planes together: a bend is one rotation of half a turn at most
SHAFT = 1.68                        # m, working length
ENTRY = 0.015                       # m, along the centre line: the tip is not drawn out further than this
# Johnson et al. 2019 (J. Mech. Behav. Biomed. Mater. 91:139) pressed a straight colonoscope head against porcine colon:
# 0.8 N/mm, perforation at 14.1 N. Their samples were clamped; by assumption, mesentery and shaft give as much again.
STIFFNESS = 400.0                   # N/m, of the tip against the wall
FORCE_MAX = 14.1                    # N: the spring grows no longer; the wall would be through
RELAXATION = 0.1                    # s, assumed
STRIDE = 0.003                      # m, of a contact search; shorter than TIP, so that no step passes through a wall
SLACK = 1e-5                        # m, that the ball may lie in the wall


class Scope:
    """State of the tip. The camera sits in the ball's centre, so it never comes nearer to a wall than TIP - SLACK."""

    def __init__(self, colon: Colon, stiffness: float = STIFFNESS):
        """At the colon's entry, straight, in the middle. stiffness: N/m, of the wall against the tip."""
        self.stiffness = stiffness
        self.enter(colon, depth=ENTRY, bend=np.zeros(2))

    def enter(self, colon: Colon, *, depth: float, bend: Array) -> None:
        """Put the tip on the centre line, `depth` m from the entry, its section bent by bend (2,) rad."""
        self.colon = colon
        self.station = int(np.abs(colon.arc - depth).argmin())
        self.position = colon.centre[self.station].copy()           # (3,) m, world
        self.shaft = colon.frames[self.station].copy()              # (3, 3) optical frame of the unbent tip, to world
        self.bend = np.asarray(bend, dtype=float).copy()            # (2,) rad, towards the image's right and bottom
        self.lead = np.zeros(3)                                     # m, from the ball to where it is sent
        self.inserted = self.roll = 0.0                             # m of shaft; rad, within half a turn
        self._locate()
        self.inserted = self.arc

    @property
    def force(self) -> float:
        """Contact force, N: 0 wherever the tip touches nothing."""
        return float(self.stiffness * np.sqrt(self.lead @ self.lead))

    def move(self, bend: Array, insertion: float, roll: float, dt: float) -> None:
        """Let dt s pass at bending rates (2,) rad/s, insertion m/s and roll rad/s. Limits clip."""
        before = self.rotation[:, 2]
        pushed = min(max(insertion * dt, -self.inserted), SHAFT - self.inserted)
        self.bend = _within(self.bend + bend * dt)
        if roll:
            self.shaft = self.shaft @ rotation_by(np.array([0, 0, roll * dt]))
            self.roll = (self.roll + roll * dt + np.pi) % (2 * np.pi) - np.pi
        self.inserted += pushed
        self._turn()
        heading = self.rotation[:, 2]
        lead = self.lead + NECK * (heading - before)
        along = (lead @ heading) * heading
        lead = along + (lead - along) * np.exp(-dt / RELAXATION) + pushed * heading
        lead += max(0.0, ENTRY - self._depth(self.position + lead)) * self.colon.frames[0, :, 2]
        moved = self._slide(lead)
        lead = lead - moved
        room = FORCE_MAX / self.stiffness / max(float(np.sqrt(lead @ lead)), 1e-12)
        # Free, the ball is where it was sent; what rounding leaves is no force.
        self.lead = lead * min(1.0, room) if lead @ lead > 1e-14 else np.zeros(3)
        advance = min(max(float(moved @ heading), -abs(pushed)), abs(pushed))
        if advance and self.bend.any():
            self.shaft = self.shaft @ _bent(self.bend * (advance / BENDING_SECTION))
            self._turn()

    def get_state(self) -> dict[str, Array | float]:
        """All that sets this tip apart from a new one in the same colon."""
        return {"position": self.position.copy(), "shaft": self.shaft.copy(), "bend": self.bend.copy(),
                "lead": self.lead.copy(), "inserted": self.inserted, "roll": self.roll, "station": self.station}

    def set_state(self, state: dict[str, Array | float]) -> None:
        """Be as `get_state` said, in the colon that it was said in."""
        for name in ("position", "shaft", "bend", "lead"):
            setattr(self, name, np.array(state[name], dtype=float))
        self.inserted, self.roll = float(state["inserted"]), float(state["roll"])
        self.station = int(state["station"])
        self._locate()

    def _locate(self) -> None:
        self.arc, self.station = self.colon.nearest(self.position, self.station)     # m, along the centre line
        self.wall = self.colon.wall(self.position, self.station)
        self._turn()

    def _turn(self) -> None:
        self.rotation = self.shaft @ _bent(self.bend)       # (3, 3) from the camera's optical frame to the world

    def _depth(self, point: Array) -> float:
        """How far (m) a point near the tip lies inside the entry's plane; far along the colon: far."""
        if self.arc > 4 * ENTRY:        # further on the colon may well turn back behind that plane
            return self.arc
        return float((point - self.colon.centre[0]) @ self.colon.frames[0, :, 2])

    def _slide(self, lead: Array) -> Array:
        """Bring the ball towards position + lead as far as the wall lets it; (3,) m that it moved."""
        start, left = self.position, lead
        for _ in range(4):
            length = float(np.sqrt(left @ left))
            if length < 1e-7:
                break
            free = self.wall.distance - TIP
            if free < length:
                if free < 1e-4:         # at the wall: only what points along it, or away from it
                    left = left - min(0.0, float(left @ self.wall.normal)) * self.wall.normal
                    length = float(np.sqrt(left @ left))
                    if length < 1e-5:
                        break
                left = left * min(1.0, max(free, STRIDE) / length)
            if not self._place(self.position + left, goal=start + lead):
                break
            left = start + lead - self.position
        return self.position - start

    def _place(self, point: Array, *, goal: Array) -> bool:
        """Put the ball at the point, or beside it where the wall is. False, and nothing done, where it has no room or
        would be farther from its goal than it is: the spring is not drawn by a wall that stands still."""
        for _ in range(4):
            arc, station = self.colon.nearest(point, self.station)
            wall = self.colon.wall(point, station)
            if wall.distance >= TIP - SLACK:
                farther = np.linalg.norm(goal - point) > np.linalg.norm(goal - self.position)
                if farther or self._depth(point) < ENTRY - SLACK:
                    return False
                self.position, self.arc, self.station, self.wall = point, arc, station, wall
                return True
            point = point + (TIP - wall.distance) * wall.normal
        return False


def _bent(bend: Array) -> Array:
    """(3, 3) from the tip's frame to the unbent one's."""
    return rotation_by(np.array([-bend[1], bend[0], 0.0]))


def _within(bend: Array) -> Array:
    """The nearest bend (2,) rad that the section can take: in each plane, then in both together."""
    bend = np.clip(bend, [-limit for limit in BEND_LIMIT], BEND_LIMIT)
    return bend * min(1.0, BEND_TOTAL / max(float(np.hypot(*bend)), 1e-12))
