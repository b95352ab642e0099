"""What an installation contains: pip's wheel, and the files that colcon and ROS look for."""

import configparser
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IGNORED = shutil.ignore_patterns(".*", "runs", "build", "install", "log", "dist", "*.egg-info", "__pycache__")


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_every_launch_file_is_installed_where_ros_looks(setup):
    listed = lines(setup["options.data_files"]["share/surgrl/launch"])
    assert sorted(listed) == sorted(f"launch/{path.name}" for path in (ROOT / "launch").glob("*.launch.py"))


def test_the_files_by_which_ros_finds_the_package_are_installed(setup):
    files = setup["options.data_files"]
    assert lines(files["share/ament_index/resource_index/packages"]) == ["resource/surgrl"]
    assert lines(files["share/surgrl"]) == ["package.xml"]
    assert (ROOT / "resource" / "surgrl").is_file()


def test_ros_and_pip_are_told_the_same_version(setup):
    told = re.search(r"<version>(.*)</version>", (ROOT / "package.xml").read_text(encoding="utf-8"))
    assert told is not None and told[1] == setup["metadata"]["version"]


def test_every_command_stands_for_a_function_that_is_there(setup):
    for line in lines(setup["options.entry_points"]["console_scripts"]):
        module, function = line.split(" = ")[1].split(":")
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None, line
        assert f"def {function}(" in Path(spec.origin).read_text(encoding="utf-8"), line


def test_every_requirement_is_pinned_for_the_tests(setup):
    wanted = lines(setup["options"]["install_requires"])
    for extra, requirements in setup["options.extras_require"].items():
        if extra not in ("all", "test"):
            wanted += lines(requirements)
    names = {re.split(r"[\[<>=~; ]", line)[0].lower() for line in wanted}
    pinned = {line.split("==")[0].lower() for line in lines((ROOT / "constraints.txt").read_text())}
    assert names - pinned == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel built from a copy of the tree, in a folder whose path has a space."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "the tree"
    shutil.copytree(ROOT, tree, ignore=IGNORED)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet",
         "--disable-pip-version-check", "--wheel-dir", str(folder), str(tree)],
        capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("surgrl-*.whl"))) as archive:
        return set(archive.namelist())


def _sources(*patterns: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern)
            if path.is_file() and "__pycache__" not in path.parts}


@pytest.mark.slow
def test_the_wheel_holds_the_whole_house_and_its_data(wheel):
    wanted = _sources("surgrl/**/*.py", "envs/**/*.py", "models/**/*.py", "ros_nodes/**/*.py",
                      "surgrl/configs/*.yaml", "surgrl/*.css", "surgrl/*.js", "envs/*.yaml", "ros_nodes/config/*",
                      "models/pretrained/*/*", "models/pretrained/encoders/*/*")
    assert wanted - wheel == set()


@pytest.mark.slow
def test_the_wheel_holds_no_tests_and_no_launch_package(wheel):
    assert not [name for name in wheel if name.startswith(("tests/", "launch/", "benchmarks/", "docs/"))]


@pytest.mark.slow
def test_the_wheel_puts_what_ros_looks_for_under_share(wheel):
    shared = {name.split("/data/", 1)[1] for name in wheel if ".data/data/" in name}
    assert shared == {"share/surgrl/package.xml", "share/ament_index/resource_index/packages/surgrl",
                      *(f"share/surgrl/launch/{path.name}" for path in (ROOT / "launch").glob("*.launch.py"))}
