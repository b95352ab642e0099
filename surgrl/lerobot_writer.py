"""A LeRobot dataset, version 3.0, written with pyarrow and PyAV: each episode a parquet file and an mp4."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

from .lerobot import ACTION, EXACT, PLACES, STATE, TIME
from .policy.errors import UserError
from .policy.spec import Array
from .recordings import Recording
from .rows import Row
from .video_writer import VideoWriter, yuv_of

CHUNK = 1000            # files in a folder
CAMERA = "observation.images.endoscope"
QUALITY = 18            # qp of x264: hardly to be told from the original
KEY_EVERY = 2           # frames: training reads single ones
SAMPLES = 100           # pictures of an episode that statistics look at, a tenth of the px in both directions
HF = {"int64": "int64", "float32": "float32", "float64": "float64", "bool": "bool"}


class _Stats(NamedTuple):
    """Of one feature in one episode: min, max, mean, std of its entries, and how many there are."""

    low: Array
    high: Array
    mean: Array
    std: Array
    number: int


class DatasetWriter:
    """Write episodes, then `close`. Not atomic: give it a scratch folder."""

    def __init__(self, root: Path, rate: float, *, lossless: bool):
        """rate: Hz of the rows. lossless: pictures as png in the tables, in place of a video."""
        self.root, self._rate, self._lossless = root, rate, lossless
        self.features: dict[str, dict[str, Any]] = {}
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[dict[str, _Stats]] = []
        self._total = 0

    def write(self, recording: Recording, rows: Iterable[Row], task: str,
              more: dict[str, Array] | None = None) -> list[Row]:
        """One episode; more: features of one number a row. Returns what was written, without the pictures."""
        number, size = len(self._episodes), (recording.width // 2 * 2, recording.height // 2 * 2)
        features = self._describe(recording, (recording.width, recording.height) if self._lossless else size, more)
        if self._episodes and features != self.features:
            raise UserError(f"{recording.path}: pictures, state or action are not as those of the recordings before "
                            f"({_apart(features, self.features)}); convert them to a dataset of their own")
        self.features = features
        kept, glimpses, pictures = list[Row](), list[Array](), list[bytes]()
        place = {"chunk_index": number // CHUNK, "file_index": number % CHUNK}
        path = self.root / PLACES["v3"][1].format(video_key=CAMERA, **place)
        every = max(1, round((recording.duration or 60) * self._rate / SAMPLES))
        writer = None
        if not self._lossless:
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = VideoWriter(path, size, rate=self._rate, quality=QUALITY, key_every=KEY_EVERY)
        try:
            for k, row in enumerate(rows):
                if k % every == 0:
                    glimpses.append(row.rgb[::10, ::10].reshape(-1, 3) / 255)
                if writer is not None:
                    writer.write(yuv_of(row.rgb[:size[1], :size[0]]))
                else:
                    pictures.append(cv2.imencode(".png", np.ascontiguousarray(row.rgb[..., ::-1]))[1].tobytes())
                kept.append(row._replace(rgb=row.rgb.mean(axis=(0, 1))))
        except BaseException as error:
            if writer is not None:
                writer.__exit__(type(error), error, None)
            raise
        if writer is not None:
            writer.__exit__(None, None, None)
        self._finish(number, place, kept, np.concatenate(glimpses), pictures, task, more or {})
        return kept

    def close(self) -> None:
        """Write the meta data."""
        meta, count = self.root / "meta", len(self._episodes)
        tasks = arrow.table({"task_index": list(self._tasks.values()), "__index_level_0__": list(self._tasks)})
        told = {"index_columns": ["__index_level_0__"], "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64",
             "metadata": None},
            {"name": None, "field_name": "__index_level_0__", "pandas_type": "unicode", "numpy_type": "object",
             "metadata": None}],
            "column_indexes": [{"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object",
                                "metadata": {"encoding": "UTF-8"}}], "creator": {"library": "pyarrow",
                                                                                 "version": arrow.__version__},
            "pandas_version": "2.0.0"}
        _write(tasks.replace_schema_metadata({"pandas": json.dumps(told)}), meta / "tasks.parquet")
        _write(arrow.Table.from_pylist(self._episodes), meta / "episodes/chunk-000/file-000.parquet")
        info = {"codebase_version": "v3.0", "robot_type": "surgical_robot", "total_episodes": count,
                "total_frames": self._total, "total_tasks": len(self._tasks), "chunks_size": CHUNK,
                "data_files_size_in_mb": 100, "video_files_size_in_mb": 200,
                "fps": int(self._rate) if self._rate == int(self._rate) else self._rate,
                "splits": {"train": f"0:{count}"}, "data_path": PLACES["v3"][0],
                "video_path": None if self._lossless else PLACES["v3"][1], "features": self.features}
        stats = {name: _told(_joined([part[name] for part in self._stats])) for name in self._stats[0]}
        for path, values in ((meta / "info.json", info), (meta / "stats.json", stats)):
            path.write_text(json.dumps(values, indent=4) + "\n", encoding="utf-8")

    def _describe(self, recording: Recording, size: tuple[int, int], more: dict[str, Array] | None
                  ) -> dict[str, dict[str, Any]]:
        """The dataset's features, as info.json tells them."""
        camera: dict[str, Any] = {"dtype": "image" if self._lossless else "video", "shape": [size[1], size[0], 3],
                                  "names": ["height", "width", "channels"]}
        if not self._lossless:
            camera["info"] = {"video.height": size[1], "video.width": size[0], "video.codec": "h264",
                              "video.pix_fmt": "yuv420p", "video.is_depth_map": False, "video.fps": self._rate,
                              "video.channels": 3, "has_audio": False}
        features = {CAMERA: camera}
        for name, track in ((STATE, recording.state), (ACTION, recording.action)):
            if track is not None:
                told = {"shape": [len(track.names)], "names": list(track.names), "units": list(track.units)}
                features[name] = {"dtype": "float32", **told}
                features[EXACT + name] = {"dtype": "float64", **told}
        features[TIME] = {"dtype": "float64", "shape": [1], "names": None}
        for name, values in (more or {}).items():
            features[name] = {"dtype": str(values.dtype), "shape": [1], "names": None}
        features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
        for name in ("frame_index", "episode_index", "index", "task_index"):
            features[name] = {"dtype": "int64", "shape": [1], "names": None}
        return features

    def _finish(self, number: int, place: dict[str, int], kept: list[Row], glimpses: Array, pictures: list[bytes],
                task: str, more: dict[str, Array]) -> None:
        """The episode's table, its entry in the meta data and its statistics."""
        count, task_index = len(kept), self._tasks.setdefault(task, len(self._tasks))
        steps = np.arange(count)
        columns: dict[str, Array] = {}
        for name, values in ((STATE, [row.state for row in kept]), (ACTION, [row.action for row in kept])):
            if name in self.features:
                columns[EXACT + name] = np.array(values, float)
                columns[name] = columns[EXACT + name].astype(np.float32)
        columns[TIME] = np.array([row.time for row in kept])
        columns |= {name: values[:count] for name, values in more.items()}
        columns |= {"timestamp": (steps / self._rate).astype(np.float32), "frame_index": steps,
                    "episode_index": np.full(count, number), "index": self._total + steps,
                    "task_index": np.full(count, task_index)}
        arrays = {name: arrow.array(columns[name].reshape(count, *filter(lambda n: n > 1, told["shape"])).tolist(),
                                    _type(told)) for name, told in self.features.items() if name in columns}
        if pictures:
            arrays[CAMERA] = arrow.array([{"bytes": data, "path": None} for data in pictures],
                                         arrow.struct({"bytes": arrow.binary(), "path": arrow.string()}))
        told = {name: _hugging(self.features[name]) for name in arrays}
        _write(arrow.table(arrays).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": told}})}),
               self.root / PLACES["v3"][0].format(**place))
        stats = {name: _measured(values.astype(float).reshape(count, -1)) for name, values in columns.items()}
        seen = _measured(glimpses)
        low, high, mean, std = (part.reshape(3, 1, 1) for part in (seen.low, seen.high, seen.mean, seen.std))
        stats[CAMERA] = _Stats(low, high, mean, std, count)
        entry: dict[str, Any] = {
            "episode_index": number, "tasks": [task], "length": count, "data/chunk_index": place["chunk_index"],
            "data/file_index": place["file_index"], "dataset_from_index": self._total,
            "dataset_to_index": self._total + count}
        if not self._lossless:
            entry |= {f"videos/{CAMERA}/chunk_index": place["chunk_index"],
                      f"videos/{CAMERA}/file_index": place["file_index"], f"videos/{CAMERA}/from_timestamp": 0.0,
                      f"videos/{CAMERA}/to_timestamp": count / self._rate}
        entry |= {f"stats/{name}/{what}": value for name, part in stats.items() for what, value in _told(part).items()}
        self._episodes.append(entry | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        self._stats.append(stats)
        self._total += count


def _write(table: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)


def _type(feature: dict[str, Any]) -> Any:
    kind = {"float32": arrow.float32(), "float64": arrow.float64(), "int64": arrow.int64(),
            "bool": arrow.bool_()}[feature["dtype"]]
    return arrow.list_(kind, feature["shape"][0]) if feature["shape"] != [1] else kind


def _hugging(feature: dict[str, Any]) -> dict[str, Any]:
    """A feature in the words of Hugging Face's datasets."""
    if feature["dtype"] == "image":
        return {"_type": "Image"}
    value = {"dtype": HF[feature["dtype"]], "_type": "Value"}
    return value if feature["shape"] == [1] else {"feature": value, "length": feature["shape"][0], "_type": "List"}


def _measured(values: Array) -> _Stats:
    """Of (N, D)."""
    return _Stats(values.min(axis=0), values.max(axis=0), values.mean(axis=0), values.std(axis=0), len(values))


def _joined(parts: Sequence[_Stats]) -> _Stats:
    """Of several episodes as one."""
    weights = np.array([part.number for part in parts], float)
    weights /= weights.sum()
    pairs = list(zip(weights, parts, strict=True))
    mean = sum(weight * part.mean for weight, part in pairs)
    square = sum(weight * (part.std ** 2 + (part.mean - mean) ** 2) for weight, part in pairs)
    return _Stats(np.min([part.low for part in parts], axis=0), np.max([part.high for part in parts], axis=0),
                  np.asarray(mean), np.sqrt(np.asarray(square)), sum(part.number for part in parts))


def _told(stats: _Stats) -> dict[str, Any]:
    return {"min": stats.low.tolist(), "max": stats.high.tolist(), "mean": stats.mean.tolist(),
            "std": stats.std.tolist(), "count": [stats.number]}


def _apart(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The first feature in which two datasets differ."""
    name = next(name for name in (*one, *other) if one.get(name) != other.get(name))
    return f"{name}: {one.get(name)} here, {other.get(name)} there"
