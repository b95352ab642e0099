"""The walls of the house: who may import whom. Read from the source, so no import hides in a function."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("envs", "models", "surgrl", "ros_nodes", "launch")
ROBOT = {"numpy", "yaml", "cv2", "onnxruntime", *sys.stdlib_module_names}
# folder -> what of ours, beside itself, its files may import
WALLS = {"envs": (), "models": (), "surgrl/policy": (), "surgrl": ("models",),
         # recordings, video: read with PyAV, and bags with mcap and rosbags, by video_node, which is no part of a robot
         "ros_nodes": ("surgrl.policy", "surgrl.pretrained", "surgrl.recordings", "surgrl.view", "surgrl.ahead",
                      "surgrl.bag_writer"),
         "launch": ("surgrl.policy", "surgrl.pretrained", "ros_nodes")}
TRAINING = {"torch", "gymnasium", "pybullet"}


def imports(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of all that a file imports, at its head or within a function."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else ()
            for alias in node.names:
                yield node.lineno, ".".join([*base, *([node.module] if node.module else []), alias.name])


def inside(name: str, package: str) -> bool:
    """Whether a dotted name is of the package."""
    return name == package or name.startswith(f"{package}.")


def breaches(root: Path) -> list[str]:
    """Every import through a wall, and every __init__.py that is not as it must be."""
    found = []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            place = path.relative_to(root)
            home = "surgrl/policy" if place.is_relative_to("surgrl/policy") else folder
            allowed = (home.replace("/", "."), *WALLS[home])
            for line, name in imports(path, root):
                top = name.split(".")[0]
                ours = top in FOLDERS and top != "launch"       # `launch` is ROS's own; ours has no modules
                if ours and not any(inside(name, package) for package in allowed):
                    found.append(f"{place}:{line} imports {name}; {home} may import {', '.join(allowed)}")
                elif home == "surgrl/policy" and not (ours or top in ROBOT):
                    found.append(f"{place}:{line} imports {name}; the robot may not have it")
            if path.name == "__init__.py" and path.read_text().strip() and place.parent != Path("envs"):
                found.append(f"{place} must be empty")
    shadows = [root / folder / "__init__.py" for folder in ("launch", "tests")]
    return found + [f"{path.relative_to(root)} must not be" for path in shadows if path.exists()]


def test_no_import_goes_through_a_wall():
    assert breaches(ROOT) == []


def test_every_folder_of_the_house_is_looked_at():
    assert all(list((ROOT / folder).rglob("*.py")) for folder in FOLDERS)


@pytest.mark.parametrize(("place", "text"), [
    ("envs/a.py", "import models"), ("envs/a.py", "from surgrl.files import atomic_file"),
    ("envs/tasks/a.py", "def f():\n    import ros_nodes.qos"), ("models/a.py", "import envs.scene"),
    ("models/agents/a.py", "from surgrl import policy"), ("surgrl/a.py", "import envs"),
    ("surgrl/a.py", "from ros_nodes import qos"), ("surgrl/policy/a.py", "import torch"),
    ("surgrl/policy/a.py", "from ..files import atomic_file"),
    ("surgrl/policy/a.py", "from tqdm import tqdm"), ("surgrl/policy/a.py", "import models.encoder"),
    ("ros_nodes/a.py", "from surgrl.train import run"),
    ("ros_nodes/a.py", "import models"), ("ros_nodes/a.py", "from surgrl import cli"),
    ("models/__init__.py", "X = 1"), ("launch/__init__.py", ""), ("tests/__init__.py", "")])
def test_the_check_itself_sees_a_broken_wall(tmp_path, place, text):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text(text)
    assert len(breaches(tmp_path)) == 1


@pytest.mark.parametrize(("place", "text"), [
    ("surgrl/a.py", "from models.make import make_agent"),
    ("surgrl/policy/a.py", "from .spec import Array\nimport json"),
    ("ros_nodes/a.py", "from surgrl.policy.runtime import PolicyRuntime\nfrom . import qos"),
    ("ros_nodes/a.py", "from surgrl.ahead import ahead"),
    ("envs/tasks/a.py", "from ..scene import Scene\nimport pybullet"),
    ("launch/a.launch.py", "import launch"), ("envs/__init__.py", "from gymnasium import register")])
def test_the_check_lets_through_what_the_walls_allow(tmp_path, place, text):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text(text)
    assert breaches(tmp_path) == []


@pytest.mark.parametrize("module", [
    "surgrl.cli", "surgrl.policy.runtime", "surgrl.policy.gate", "surgrl.check", "surgrl.replay", "surgrl.audit",
    "surgrl.convert", "surgrl.demo_reader"])
def test_what_runs_at_the_robot_imports_without_what_trains(module):
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in sorted(TRAINING))
    done = subprocess.run([sys.executable, "-c", f"import sys; {blocked}; import {module}"], cwd=ROOT,
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_envs_registers_its_ids_without_the_physics_engine():
    code = "import sys; sys.modules['pybullet'] = None; import envs"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0, done.stderr
