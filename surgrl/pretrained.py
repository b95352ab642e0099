"""Where the bundles lie that come with surgrl. Finds them without importing what trains."""

from importlib.util import find_spec
from pathlib import Path

from .policy.errors import UserError


def pretrained_folder() -> Path:
    """The folder models/pretrained of the installed package."""
    spec = find_spec("models")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the package 'models' of surgrl is not installed; install surgrl anew")
    return Path(spec.submodule_search_locations[0]) / "pretrained"


def pretrained_names() -> list[str]:
    """Names of the bundles that came with this installation."""
    return sorted(path.parent.name for path in pretrained_folder().glob("*/manifest.yaml"))


def find_bundle(name: str) -> Path:
    """A folder as given, or the folder of the pretrained bundle of that name."""
    path = Path(name)
    if path.is_dir():
        return path
    if name in pretrained_names():
        return pretrained_folder() / name
    raise UserError(f"{name}: no such bundle folder, nor a pretrained bundle; pretrained are: "
                    f"{', '.join(pretrained_names()) or 'none'}")
