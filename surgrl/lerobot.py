"""Episodes of a LeRobot dataset (v2.0, v2.1, v3.0) as recordings: parquet, mp4 and json, on this disk only."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute
import pyarrow.dataset as tables

from .decoded import BT601, GLIMPSES, LONGEST, Picture
from .policy.errors import UserError
from .policy.spec import Array
from .recordings import Track
from .video import VideoReader

VERSIONS = ("v2.0", "v2.1", "v3.0")
DEMO_PART = "meta/surgrl/demo-{:06d}.npz"      # what a demonstration has beside pictures, state and action
STATE, ACTION = "observation.state", "action"
EXACT = "recorded."         # before a feature's name: the same in float64, where float32 would have lost digits
COUNTS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
TIME = "recorded.time"      # s, where the times that pictures were taken at are known
PLACES = {"v2": ("data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
                 "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"),
          "v3": ("data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
                 "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4")}


class LeRobotReader:
    """The pictures of one camera of one episode, and its state and action. Reads as VideoReader does."""

    def __init__(self, root: str | Path, episode: int, topic: str | None = None):
        """topic: the camera, needed where there are several. UserError for what is missing or damaged."""
        self.path, self._episode = Path(root), episode
        self._info = read_info(self.path)
        self._three = self._info["codebase_version"] == "v3.0"
        self.rate = float(self._info["fps"])
        try:
            self._row = self._find_episode()
            self._key = self._choose(topic)
            self._table = self._read_rows()
            self.state, self.action = (self._track(name) for name in (STATE, ACTION))
            self._video, self._start = self._open()
        except (arrow.ArrowException, OSError, KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(f"{root}: episode {episode} cannot be read: {error!r}; copy the dataset anew") from error
        self.task = str((self._row.get("tasks") or [""])[0])
        rest = self.path / DEMO_PART.format(episode)
        self.demo = rest if rest.is_file() else None
        self.tags: dict[str, str] = {"robot_type": str(self._info.get("robot_type"))} | (
            {} if self._video is None else self._video.tags)
        if self._video is not None:
            self.width, self.height, self.colour = self._video.width, self._video.height, self._video.colour
        else:
            self.height, self.width, self.colour = *self._stored(0).shape[:2], BT601
        self.duration: float | None = float(self._times[-1]) + 1 / self.rate

    def __enter__(self) -> "LeRobotReader":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the video."""
        if self._video is not None:
            self._video.__exit__(kind, error, trace)

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        """Every picture in order, from the one shown at `start` (s) on."""
        ends = [*self._times[1:], self.duration]
        first = max(0, int(np.searchsorted(self._times, start + 1e-3, side="right")) - 1)
        if self._video is None:
            frames = (self._frame(k) for k in range(first, len(ends)))
            shown: Iterator[Picture] = (Picture(0, 0.0, 0.0, frame) for frame in frames)
        else:
            # In the middle of the first frame's time: stamps in the file and in the table are rounded apart.
            shown = islice(self._video.pictures(self._start + (first + 0.5) / self.rate), len(ends) - first)
        number = first
        for number, picture in enumerate(shown, start=first):
            yield picture._replace(number=number, time=float(self._times[number]), until=float(ends[number]))
        if number != len(ends) - 1:
            raise UserError(f"{self.path}: episode {self._episode} has {len(ends)} rows, but its video "
                            f"{self._key} ends after {number + 1} pictures; copy it anew")

    def glimpses(self) -> list[Array]:
        """Some pictures from all over the recording, (H, W, 3) uint8 each."""
        if self._video is not None:
            return self._video.glimpses(self._start, self._start + (self.duration or 0.0))
        return [self._stored(k) for k in np.unique(np.linspace(0, len(self._times) - 1, GLIMPSES).round().astype(int))]

    def column(self, name: str) -> Array | None:
        """A feature's values, (T, ...), as the dataset holds them; None where it has no such feature."""
        if name not in self._table.column_names:
            return None
        return np.array(self._table[name].to_pylist())

    def _find_episode(self) -> dict[str, Any]:
        """The episode's entry in the meta data."""
        if self._three:
            found = tables.dataset(self.path / "meta/episodes", format="parquet").to_table(
                filter=compute.field("episode_index") == self._episode).to_pylist()
        else:
            lines = (self.path / "meta/episodes.jsonl").read_text(encoding="utf-8").splitlines()
            found = [row for row in map(json.loads, lines) if row["episode_index"] == self._episode]
        if not found:
            raise UserError(f"{self.path}: has no episode {self._episode}")
        return dict(found[0])

    def _choose(self, topic: str | None) -> str:
        cameras = [name for name, told in self._info["features"].items() if told["dtype"] in ("video", "image")]
        if topic is None and len(cameras) > 1:
            raise UserError(f"{self.path}: holds pictures of {', '.join(cameras)}: name one as the topic")
        if not cameras or topic not in (None, *cameras):
            raise UserError(f"{self.path}: holds no pictures of {topic or 'any camera'}; "
                            f"it has them of: {', '.join(cameras) or 'none'}")
        return topic or cameras[0]

    def _file(self, kind: int, prefix: str, **more: Any) -> Path:
        """A data (0) or video (1) file of this episode."""
        name = self._info.get(("data_path", "video_path")[kind]) or PLACES["v3" if self._three else "v2"][kind]
        chunk = self._info.get("chunks_size", 1000)
        numbers = {f"{part}_index": self._row[f"{prefix}/{part}_index"] for part in ("chunk", "file")
                   } if self._three else {"episode_chunk": self._episode // chunk, "episode_index": self._episode}
        path = (self.path / name.format(**numbers, **more)).resolve()
        if not path.is_relative_to(self.path.resolve()):
            raise UserError(f"{self.path}: its {name} leads out of the dataset; such a dataset is not read")
        return path

    def _read_rows(self) -> Any:
        table = tables.dataset(self._file(0, "data"), format="parquet").to_table(
            filter=compute.field("episode_index") == self._episode).sort_by("frame_index")
        length = int(self._row["length"])
        if not length or table.num_rows != length:
            raise UserError(f"{self.path}: episode {self._episode} has {table.num_rows} rows, its meta data say "
                            f"{length}; copy the dataset anew")
        name = TIME if TIME in table.column_names else "timestamp"
        times = np.array(table[name].to_pylist(), float).reshape(-1)
        if name == "timestamp":     # float32: 1e-4 s are lost in half an hour
            times = np.where(np.abs(times - np.arange(length) / self.rate) < 1e-3, np.arange(length) / self.rate, times)
        self._times = times - times[0]
        if not ((steps := np.diff(self._times)) > 0).all() or not (steps < LONGEST).all():
            raise UserError(f"{self.path}: episode {self._episode}: the times of its rows must rise, by less than "
                            f"{LONGEST:g} s; copy it anew")
        return table

    def _track(self, name: str) -> Track | None:
        values = self.column(EXACT + name)
        values = self.column(name) if values is None else values
        if values is None:
            return None
        values = np.asarray(values, float).reshape(len(self._times), -1)
        told = self._info["features"].get(name, {})
        names, units = _flat(told.get("names")), _flat(told.get("units"))
        count = values.shape[1]
        return Track(tuple(names) if len(names) == count else tuple(f"{name}_{k}" for k in range(count)),
                     tuple(units) if len(units) == count else ("",) * count, self._times.copy(), values)

    def _open(self) -> tuple[VideoReader | None, float]:
        """The camera's video, None where pictures are in the table; s in it at which the episode begins."""
        if self._info["features"][self._key]["dtype"] == "image":
            return None, 0.0
        start = float(self._row[f"videos/{self._key}/from_timestamp"]) if self._three else 0.0
        return VideoReader(self._file(1, f"videos/{self._key}", video_key=self._key)), start

    def _frame(self, number: int) -> av.VideoFrame:
        pixels = self._stored(number)
        if pixels.shape[:2] != (self.height, self.width):
            raise UserError(f"{self.path}: episode {self._episode}: picture {number} is {pixels.shape[1]}x"
                            f"{pixels.shape[0]} px, the first {self.width}x{self.height}; a recording has one size")
        return av.VideoFrame.from_ndarray(pixels, format="rgb24")

    def _stored(self, number: int) -> Array:
        """(H, W, 3) uint8 RGB, of a dataset that holds pictures in its table."""
        entry = self._table[self._key][number].as_py()
        data = entry["bytes"] if isinstance(entry, dict) else None
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if pixels is None:
            raise UserError(f"{self.path}: episode {self._episode}: picture {number} is damaged or not in the table; "
                            "copy the dataset anew")
        return np.ascontiguousarray(pixels[..., ::-1])


def read_info(root: Path) -> dict[str, Any]:
    """A dataset's meta/info.json. UserError where it is damaged, or of a version that is not read."""
    path = root / "meta/info.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        version, _ = info["codebase_version"], info["features"].items()
        fit = float(info["fps"]) > 0 and int(info["total_episodes"]) >= 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged, or of no LeRobot dataset ({error!r}); copy it anew") from error
    if version not in VERSIONS or not fit:
        raise UserError(f"{path}: codebase_version {version!r}, fps {info['fps']!r}; read are "
                        f"{', '.join(VERSIONS)} at a rate above 0")
    return dict(info)


def other_features(root: Path) -> list[str]:
    """A dataset's features that are no part of a recording: neither pictures, state and action nor counted by rows."""
    known = {STATE, ACTION, EXACT + STATE, EXACT + ACTION, TIME, *COUNTS}
    return [name for name, told in read_info(root)["features"].items()
            if name not in known and told["dtype"] not in ("video", "image")]


def _flat(names: Any) -> list[str]:
    """Names as a list: datasets have them as lists, lists of lists, or mappings to lists."""
    if isinstance(names, dict):
        return [name for part in names.values() for name in _flat(part)] if any(
            isinstance(part, (list, dict)) for part in names.values()) else list(map(str, names))
    if isinstance(names, (list, tuple)):
        return [name for part in names for name in (_flat(part) if isinstance(part, (list, tuple)) else [str(part)])]
    return []
