"""Fixtures of a ROS graph: domains, robot, nodes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from crtk_messages import BuildError, build  # noqa: E402
from rosgraph import Nodes, Robot, four_domains  # noqa: E402

from ros_nodes.transport import use_profile  # noqa: E402


@pytest.fixture(scope="session")
def domain() -> Iterator[int]:
    """The first of the four ROS domains of these tests."""
    with four_domains() as first:
        os.environ["ROS_DOMAIN_ID"] = str(first)
        use_profile()
        yield first


@pytest.fixture(scope="session")
def _robot(domain: int) -> Iterator[Robot]:
    robot = Robot(domain)
    yield robot
    robot.close()


@pytest.fixture
def robot(_robot: Robot) -> Iterator[Robot]:
    """The robot, whole."""
    _robot.reset()
    yield _robot
    _robot.reset()


@pytest.fixture(scope="session")
def _nodes(domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    nodes = Nodes(domain, tmp_path_factory.mktemp("nodes"))
    yield nodes
    nodes.close()


@pytest.fixture
def nodes(_nodes: Nodes) -> Iterator[Nodes]:
    """policy_node and gate_node, unconfigured."""
    for process in _nodes.process.values():
        process.require_alive()
    yield _nodes
    _nodes.reset()


@pytest.fixture
def pair(domain: int, tmp_path: Path) -> Iterator[tuple[Nodes, Robot]]:
    """Nodes and a robot of the test's own, in the next domain: it may kill them."""
    robot = Robot(domain + 1)
    nodes = Nodes(domain + 1, tmp_path)
    yield nodes, robot
    nodes.close()
    robot.close()


@pytest.fixture(scope="session")
def messages_folder() -> str:
    """What PYTHONPATH needs so that crtk_msgs and tf2_msgs can be imported."""
    try:
        return str(build())
    except BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def right(make_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that always moves to the right of the image at 25 mm/s."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "right", (0.5, 0.0, 0.0)).folder
