"""A client that knows CRTK, not surgrl, drives the simulated robot over the wire, with crtk_msgs and without."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from crtk_messages import BuildError, build

from ros_nodes.transport import CONFIG, profile
from surgrl.node_process import NodeProcess

CLIENT, BUILDER = Path(__file__).with_name("crtk_client.py"), Path(__file__).with_name("crtk_messages.py")
BARE = ("topics", "handshake", "motion", "refusals")
SCENARIOS = (*BARE, "services", "frames")
PARAMETERS = {"ready": False, "operator": False, "image_width": 96, "image_height": 96, "max_steps": 10**9}


def drive(python: str, scenarios: Sequence[str], domain: int, *paths: str) -> None:
    """Run scenarios of the client in one process; fail with the one that it came to and its last words."""
    done = subprocess.run([python, str(CLIENT), *scenarios, "PSM1"], capture_output=True, text=True, timeout=240,
                          env=environment(domain, *paths))
    assert done.returncode == 0, f"{done.stdout}{done.stderr[-3000:]}"


def environment(domain: int, *paths: str) -> dict[str, str]:
    """For a Python that may be another one than ours: what the ROS wheels have set for ours is not handed on."""
    ours = ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "ROS_DOMAIN_ID": str(domain), "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="module")
def equipped(domain: int, messages_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A simulated robot that has crtk_msgs; the folder of that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", messages_folder)
        process = NodeProcess("sim_node", [CONFIG / "simulation.yaml"], PARAMETERS, tmp_path_factory.mktemp("equipped"),
                              domain=domain + 2)
    yield messages_folder
    process.stop()


@pytest.fixture(scope="module")
def plain(domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A simulated robot without crtk_msgs."""
    process = NodeProcess("sim_node", [CONFIG / "simulation.yaml"], PARAMETERS, tmp_path_factory.mktemp("plain"),
                          domain=domain + 3)
    yield
    process.stop()


def test_a_client_with_crtk_msgs(equipped, domain):
    drive(sys.executable, SCENARIOS, domain + 2, equipped)


@pytest.mark.parametrize("scenarios", [
    BARE[:2], pytest.param(BARE[2:], marks=pytest.mark.slow)], ids=lambda scenarios: "-".join(scenarios))
def test_a_client_without_crtk_msgs(plain, domain, scenarios):
    drive(sys.executable, scenarios, domain + 3)


def test_the_type_hash_is_that_of_the_real_package(messages_folder):
    code = ("import rclpy; from crtk_msgs.msg import OperatingState; rclpy.init(); node = rclpy.create_node('n'); "
            "node.create_publisher(OperatingState, 'x', 1); "
            "print(node.get_publishers_info_by_topic('/x')[0].topic_type_hash)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env=environment(1, messages_folder))
    assert "RIHS01_5cc57eea" in done.stdout and done.stdout.strip().endswith("c80e"), done.stdout + done.stderr


def test_without_a_compiler_it_is_told_what_lacks(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match="gcc, g\\+\\+ not found"):
        build(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("robot_is_jazzy", [False, True])
def test_jazzy_and_this_version_understand_each_other(domain, messages_folder, tmp_path, robot_is_jazzy):
    jazzy = os.environ.get("SURGRL_JAZZY_PYTHON")
    if not jazzy:
        pytest.skip("SURGRL_JAZZY_PYTHON names no Python with ros-rclpy 7.1 and what sim_node needs")
    if shutil.which("gcc") is None:
        pytest.skip("gcc not found")
    theirs = subprocess.run([jazzy, str(BUILDER)], capture_output=True, text=True, timeout=240, check=True,
                            env=environment(1)).stdout.strip()
    python, folder, client, client_folder = ((jazzy, theirs, sys.executable, messages_folder) if robot_is_jazzy
                                             else (sys.executable, messages_folder, jazzy, theirs))
    arguments = [word for name, value in PARAMETERS.items() for word in ("-p", f"{name}:={value}")]
    root = str(Path(__file__).parents[2])
    env = {**environment(domain + 2, root, folder), "FASTRTPS_DEFAULT_PROFILES_FILE": str(profile())}
    with (tmp_path / "log").open("wb") as log:
        robot = subprocess.Popen([python, "-m", "ros_nodes.sim_node", "--ros-args", *arguments], env=env, stdout=log,
                                 stderr=subprocess.STDOUT)
    try:
        drive(client, SCENARIOS, domain + 2, client_folder)
    finally:
        robot.terminate()
        robot.wait(10)
    assert robot.returncode == 0, (tmp_path / "log").read_text()
