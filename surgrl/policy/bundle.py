"""A policy as a folder: policy.onnx, manifest.yaml, golden.npz, frames.npz. All that crosses from training to robot."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .errors import UserError
from .profile import FrameProfile
from .spec import ActionSpec, Array, ImageSpec, ProprioSpec

PLAIN, RECURRENT = 1, 2      # formats: the second has a recurrent state, which older readers do not feed
FILES = ("policy.onnx", "golden.npz")
PROFILE = "frames.npz"       # what camera frames look like; bundles exported before there was one do without


@dataclass(frozen=True)
class PolicyBundle:
    """What a robot must know of a policy. `load` proves that no byte differs from what was exported."""

    folder: Path
    task: str                   # Gymnasium id that the policy was made for
    image: ImageSpec
    proprio: ProprioSpec
    action: ActionSpec
    origin: dict[str, Any]      # agent, config, seed, steps, commit, scores: how this policy came to be
    state: int = 0              # S, numbers that a recurrent policy remembers from frame to frame; 0: none

    @property
    def onnx(self) -> Path:
        """The network: `images` (B, 3*stack, h, w) uint8 [, `proprio` (B, P) float32] [, `state` (B, S) float32]
        -> `action` (B, A) in -1..1 [, `next_state` (B, S)]. An episode's first state is 0."""
        return self.folder / "policy.onnx"

    @cached_property
    def fingerprint(self) -> str:
        """Twelve digits that tell this bundle from any other: of the manifest's sha256, which covers all files."""
        return _file_hash(self.folder / "manifest.yaml")[:12]

    def golden(self) -> dict[str, Array]:
        """Frames (n, H, W, 3) uint8 fed in order, proprio (n, P), and the actions (n, A) they must give."""
        with np.load(self.folder / "golden.npz", allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("frames", "proprio", "actions")}

    def profile(self) -> FrameProfile | None:
        """What camera frames of this task look like; None in a bundle without."""
        path = self.folder / PROFILE
        return FrameProfile.load(path) if path.is_file() else None

    def write(self, frames: Array, proprio: Array, actions: Array) -> None:
        """Write golden.npz and the manifest beside the policy.onnx, and frames.npz if any, already in `folder`."""
        np.savez_compressed(self.folder / "golden.npz", frames=frames, proprio=proprio, actions=actions)
        manifest: dict[str, Any] = {
            "format": RECURRENT if self.state else PLAIN, "task": self.task, "image": asdict(self.image),
            "proprio": asdict(self.proprio),
            "action": asdict(self.action), **({"state": self.state} if self.state else {}), "origin": self.origin,
            "sha256": {name: _file_hash(self.folder / name) for name in _files_of(self.folder)}}
        manifest = json.loads(json.dumps(manifest))     # tuples to lists, as YAML reads them back
        manifest["sha256"]["manifest"] = _manifest_hash(manifest)
        (self.folder / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False, width=110))

    @classmethod
    def load(cls, folder: str | Path) -> "PolicyBundle":
        """Read and verify a bundle. UserError names what is missing, changed or of another format."""
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such bundle; make one with `surgrl export RUN {folder}`")
        for name in ("manifest.yaml", *FILES):
            if not (folder / name).is_file():
                raise UserError(f"{folder}: {name} is missing; a bundle holds manifest.yaml, "
                                f"{', '.join(FILES)}: copy or export it anew")
        manifest = _read_manifest(folder / "manifest.yaml")
        if PROFILE in manifest["sha256"] and not (folder / PROFILE).is_file():
            raise UserError(f"{folder}: {PROFILE} is missing, which the manifest names; copy or export the bundle anew")
        for name in _files_of(folder):
            if _file_hash(folder / name) != manifest["sha256"].get(name):
                raise UserError(f"{folder}: {name} is not the file that the manifest describes "
                                "(sha256 differs); it was changed or damaged: copy or export the bundle anew")
        return cls(folder, manifest["task"], ImageSpec(**_tuples(manifest["image"])),
                   ProprioSpec(**_tuples(manifest["proprio"])), ActionSpec(**_tuples(manifest["action"])),
                   manifest["origin"], int(manifest.get("state", 0)))


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML; copy or export the bundle anew") from error
    if not isinstance(manifest, dict) or manifest.get("format") not in (PLAIN, RECURRENT):
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise UserError(f"{path}: bundle format {found!r}, this surgrl reads {PLAIN} and {RECURRENT}; "
                        "export it anew with this version")
    hashes = manifest.get("sha256")
    if not isinstance(hashes, dict) or hashes.get("manifest") != _manifest_hash(manifest):
        raise UserError(f"{path}: the manifest is not the one that was exported (sha256 differs); "
                        "it was changed or damaged: copy or export the bundle anew")
    return manifest


def _files_of(folder: Path) -> tuple[str, ...]:
    """Files that the manifest must know: one that was put beside the others is as bad as one that was changed."""
    return (*FILES, PROFILE) if (folder / PROFILE).is_file() else FILES


def _file_hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _manifest_hash(manifest: dict[str, Any]) -> str:
    """Hash of all that the manifest says, but for this hash itself."""
    hashes = {name: value for name, value in manifest["sha256"].items() if name != "manifest"}
    text = json.dumps({**manifest, "sha256": hashes}, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
