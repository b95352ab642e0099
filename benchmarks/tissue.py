"""Cost of a control step of the sheet of tissue against Bullet's own soft body of the same size, in one run.

    python benchmarks/tissue.py [--side 20] [--seconds 4]

Both are pinned along one side and led through the same motion by what is held at the other: up and over, at 3 cm/s.
Bullet's mass-spring sheet takes 8 substeps of 1/240 s for a control step of 1/30 s; more stiffness, and gravity
to scale, would take more.
Times are of the CPU (process time), the two interleaved: other load changes their ratio little.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pybullet
from env import cpu_ms

from envs.tissue import Sheet

SCALE = 10.0            # Bullet units in a metre, as the scenes have them
LENGTH = 0.042          # m, of the square sheet
STIFFNESS = 40.0        # of Bullet's springs: ten times as much jitters


def lying(side: int) -> np.ndarray:
    """Rest shape (side^2, 3) m, row 0 at y = 0, a centimetre above the floor."""
    line = np.linspace(0, LENGTH, side)
    y, x = np.meshgrid(-line, line, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.full(side * side, 0.01)], -1)


def led() -> Callable[[], np.ndarray]:
    """A function that tells by how much (3,) m the held vertices have been led, one control step further each time."""
    steps = iter(range(10 ** 9))

    def shift() -> np.ndarray:
        angle = np.pi / 2 * (1 - np.cos(next(steps) * 0.03 / 30 / 0.036))       # there and back again
        return 0.036 * np.array([0, 1 - np.cos(angle), np.sin(angle)])
    return shift


def ours(side: int) -> Callable[[], None]:
    """One control step of the project's sheet, over a floor."""
    sheet, shift = Sheet(side, side), led()
    sheet.reset(lying(side))
    held = np.arange(side * side - side // 2 - 2, side * side - side // 2 + 2)
    sheet.grasp(held)
    start = sheet.vertices[sheet.held]
    return lambda: sheet.step(lambda x, y: np.zeros_like(x), (), start + shift())


def bullets(side: int, client: int) -> Callable[[], None]:
    """One control step of Bullet's, over a floor, its held vertices anchored to a body that is moved."""
    options = {"physicsClientId": client}
    pybullet.resetSimulation(pybullet.RESET_USE_DEFORMABLE_WORLD, **options)
    pybullet.setGravity(0, 0, -9.81, **options)        # a tenth of what the scale asks for: kinder to it
    pybullet.createMultiBody(0, pybullet.createCollisionShape(pybullet.GEOM_PLANE, **options), **options)
    rest, number = lying(side) * SCALE, np.arange(side * side).reshape(side, side)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    faces = np.stack([a, b, c, a, c, d], -1).reshape(-1, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.obj"
        path.write_text("".join("v {} {} {}\n".format(*vertex) for vertex in rest)
                        + "".join("f {} {} {}\n".format(*(face + 1)) for face in faces))
        body = pybullet.loadSoftBody(
            str(path), mass=0.02, useMassSpring=1, springElasticStiffness=STIFFNESS, springDampingStiffness=0.1,
            useBendingSprings=1, springBendingStiffness=0.1, collisionMargin=0.01, **options)
    jaws = pybullet.createMultiBody(0, pybullet.createCollisionShape(pybullet.GEOM_SPHERE, radius=0.02, **options),
                                    basePosition=rest[side * side - side // 2], **options)
    start, shift = rest[side * side - side // 2], led()
    for vertex in number[0]:
        pybullet.createSoftBodyAnchor(body, int(vertex), -1, -1, **options)
    for vertex in range(side * side - side // 2 - 2, side * side - side // 2 + 2):
        pybullet.createSoftBodyAnchor(body, vertex, jaws, -1, list(rest[vertex] - start), **options)

    def step() -> None:
        pybullet.resetBasePositionAndOrientation(jaws, start + SCALE * shift(), (0, 0, 0, 1), **options)
        for _ in range(8):
            pybullet.stepSimulation(**options)
    return step


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20, help="vertices along each side")
    parser.add_argument("--seconds", type=float, default=4.0, help="of the measurement")
    args = parser.parse_args()
    client = pybullet.connect(pybullet.DIRECT)
    own, theirs = cpu_ms((None, ours(args.side)), (None, bullets(args.side, client)), seconds=args.seconds)
    pybullet.disconnect(client)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {args.side} x {args.side} vertices, 1/30 s")
    print(f"{'':28s}{'CPU ms':>9s}{'ratio':>8s}")
    print(f"{'projective dynamics':28s}{own:9.3f}{1.0:8.1f}")
    print(f"{'Bullet, mass and springs':28s}{theirs:9.3f}{theirs / own:8.1f}")


if __name__ == "__main__":
    main()
