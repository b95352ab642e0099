"""Builds crtk_msgs and tf2_msgs, which PyPI does not have, with the generators of the ROS wheels and gcc.

`python tests/ros/crtk_messages.py` prints the folder for PYTHONPATH. What is built stands in the user's cache, once
for each set of definitions, Python and ROS version. The type hashes are those of ROS's own CMake build, so peers that
have the real packages are talked to.
"""

import hashlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path

PREFIX = Path(sys.prefix)
# package -> its interface files; fields as CRTK (crtk_msgs 1.3) and ROS 2 (tf2_msgs) publish them
PACKAGES: Mapping[str, Mapping[str, str]] = {
    "crtk_msgs": {
        "msg/OperatingState.msg": "std_msgs/Header header\nstring state\nbool is_homed\nbool is_busy\n",
        "msg/StringStamped.msg": "std_msgs/Header header\nstring string\n",
        "srv/TriggerOperatingState.srv": "---\ncrtk_msgs/OperatingState operating_state\n",
        "srv/QueryForwardKinematics.srv":
            "float64[] jp\ngeometry_msgs/Pose cp\n---\ngeometry_msgs/Pose cp\nbool result\nstring message\n",
        "srv/QueryInverseKinematics.srv":
            "geometry_msgs/Pose cp\nfloat64[] jp\n---\nfloat64[] jp\nbool result\nstring message\n"},
    "tf2_msgs": {"msg/TFMessage.msg": "geometry_msgs/TransformStamped[] transforms\n"}}
NEEDS = ("builtin_interfaces", "service_msgs", "std_msgs", "geometry_msgs")     # packages that the files refer to
WIRE = ("rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c")  # how a message is put on the wire
LOADED = ("rosidl_generator_c", *WIRE, "rosidl_typesupport_c", "rosidl_generator_py")
# ROS opens these libraries by name only: loaded beforehand, no LD_LIBRARY_PATH is needed.
INIT = """import ctypes
from pathlib import Path

for name in {names}:
    ctypes.CDLL(str(Path(__file__).parent / f"lib{package}__{{name}}.so"), mode=ctypes.RTLD_GLOBAL)
"""


class BuildError(Exception):
    """What is missing on this machine."""


def build(cache: Path | None = None) -> Path:
    """Folder that holds both packages, for PYTHONPATH; built when it is not there. BuildError says what lacks.

    cache: default $XDG_CACHE_HOME/surgrl or ~/.cache/surgrl.
    """
    lacking = [tool for tool in ("gcc", "g++") if shutil.which(tool) is None]
    lacking += [str(file) for file in [Path(sysconfig.get_paths()["include"]) / "Python.h"] if not file.exists()]
    if lacking:
        raise BuildError(f"{', '.join(lacking)} not found: crtk_msgs cannot be built here")
    recipe = [Path(__file__).read_text(), sys.version, str(PREFIX), version("ros-rclpy")]
    home = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surgrl"
    folder = home / f"messages-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]}"
    if not folder.exists():
        home.mkdir(parents=True, exist_ok=True)
        # The generators tell each file that they touch.
        with tempfile.TemporaryDirectory(dir=home) as scratch, redirect_stdout(io.StringIO()):
            for package, files in PACKAGES.items():
                _Package(package, files, Path(scratch) / package).build(Path(scratch) / "python" / package)
            try:
                (Path(scratch) / "python").rename(folder)      # whole or not at all
            except OSError:
                if not folder.exists():                         # else another process was first
                    raise
    return folder


class _Package:
    """One package on its way from interface files to Python."""

    def __init__(self, name: str, files: Mapping[str, str], scratch: Path):
        self._name, self._scratch, self._share = name, scratch, PREFIX / "share"
        self._sources = {gen: scratch / gen for gen in (*LOADED, "rosidl_generator_type_description")}
        self._idl: list[str] = []
        for path, text in files.items():
            (scratch / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch / path).write_text(text)
            kind = path.split("/")[0]
            convert = getattr(importlib.import_module(f"rosidl_adapter.{kind}"), f"convert_{kind}_to_idl")
            convert(scratch, name, Path(path), scratch / "idl" / kind)
            self._idl.append(f"{kind}/{Path(path).stem}.idl")

    def build(self, target: Path) -> None:
        """Generate, compile, and put the Python package and its libraries into `target`."""
        self._generate(target)
        self._compile(target)
        (target / "__init__.py").write_text(INIT.format(names=LOADED, package=self._name))

    def _generate(self, target: Path) -> None:
        described = self._sources["rosidl_generator_type_description"] / self._name
        self._call("rosidl_generator_type_description", "generate_type_hash", described,
                   include_paths=[f"{need}:{self._share / need}" for need in NEEDS])
        hashes = [f"{idl}:{described / Path(idl).with_suffix('.json')}" for idl in self._idl]
        for generator, function, arguments in (
                ("rosidl_generator_c", "generate_c", ()),
                ("rosidl_typesupport_introspection_c", "generate_c", ()),
                ("rosidl_typesupport_fastrtps_c", "generate_typesupport_fastrtps_c", ()),
                ("rosidl_typesupport_c", "generate_c", (WIRE,))):
            folder = self._sources[generator] / self._name
            self._call(generator, function, folder, *arguments, type_description_tuples=hashes)
            template = self._share / generator / "resource" / f"{generator}__visibility_control.h.in"
            if template.exists():       # CMake would fill it in
                text = template.read_text().replace("@PROJECT_NAME@", self._name)
                header = folder / "msg" / template.stem
                header.parent.mkdir(parents=True, exist_ok=True)
                header.write_text(text.replace("@PROJECT_NAME_UPPER@", self._name.upper()))
        self._call("rosidl_generator_py", "generate_py", target, ["rosidl_typesupport_c", *WIRE],
                   type_description_tuples=hashes)

    def _call(self, generator: str, function: str, output: Path, *arguments: object, **more: object) -> None:
        for idl in self._idl:
            (output / idl).parent.mkdir(parents=True, exist_ok=True)
        told = {"package_name": self._name, "output_dir": str(output), "target_dependencies": [],
                "template_dir": str(self._share / generator / "resource"),
                "idl_tuples": [f"{self._scratch / 'idl'}:{idl}" for idl in self._idl],
                "ros_interface_dependencies": [f"{need}:{file}" for need in NEEDS
                                               for file in sorted((self._share / need / "msg").glob("*.idl"))], **more}
        order = self._scratch / f"{generator}.json"
        order.write_text(json.dumps(told))
        getattr(importlib.import_module(generator), function)(str(order), *arguments)

    def _compile(self, target: Path) -> None:
        own, others = self._name, [need for need in NEEDS if need != self._name]

        def library(part: str, *links: str) -> None:
            sources = (target.rglob("*_s.c") if part == "rosidl_generator_py"
                       else (file for end in ("*.c", "*.cpp") for file in self._sources[part].rglob(end)))
            neighbours = [f"{other}__{part}" for other in others if part != "rosidl_typesupport_c"]
            self._link(target, f"lib{own}__{part}.so", sources, [*links, *neighbours])

        mine = f"{own}__rosidl_generator_c"
        library("rosidl_generator_c", "rosidl_runtime_c", "rcutils")
        library("rosidl_typesupport_introspection_c", mine, "rosidl_typesupport_introspection_c")
        library("rosidl_typesupport_fastrtps_c", mine, "rosidl_typesupport_fastrtps_c",
                "rosidl_typesupport_fastrtps_cpp", "fastcdr", "rmw", "rcutils")
        library("rosidl_typesupport_c", mine, "rosidl_typesupport_c", *(f"{own}__{wire}" for wire in WIRE))
        library("rosidl_generator_py", mine, f"{own}__rosidl_typesupport_c")
        for support in ("rosidl_typesupport_c", *WIRE):
            self._link(target, f"{own}_s__{support}.so", [target / f"_{own}_s.ep.{support}.c"],
                       [f"{own}__rosidl_generator_py", f"{own}__{support}", mine])

    def _link(self, target: Path, name: str, sources: Iterable[Path], libraries: Iterable[str]) -> None:
        import numpy
        files = sorted(map(str, sources))
        cpp = any(file.endswith(".cpp") for file in files)
        include = PREFIX / "include"
        folders = [*self._sources.values(), sysconfig.get_paths()["include"], numpy.get_include(), include,
                   *(folder for folder in include.iterdir() if folder.is_dir())]
        command = [*(["g++", "-std=c++17"] if cpp else ["gcc", "-std=gnu11"]), "-O1", "-fPIC", "-shared",
                   *(f"-I{folder}" for folder in folders), f"-Wl,-soname,{name}", "-o", str(target / name), *files,
                   f"-L{target}", f"-L{PREFIX / 'lib'}", f"-Wl,-rpath,$ORIGIN:{PREFIX / 'lib'}",
                   "-Wl,--allow-shlib-undefined", *(f"-l{library}" for library in libraries)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BuildError(f"{name} of {self._name} cannot be compiled: {done.stderr.strip()[-2000:]}")


if __name__ == "__main__":
    print(build())
