"""The files that a replay leaves in a folder, and whether those that are there are a replay's."""

import json
import os
from pathlib import Path
from typing import Any

from .policy.errors import UserError
from .segments import PARTS

REPORT, LATENCY, SUMMARY, THUMBNAIL = "report.html", "latency.json", "summary.json", "thumbnail.jpg"
OPTIONAL = [f"{word}{suffix}.{kind}" for suffix in ("", "-against")
            for word, kind in (("actions", "csv"), ("actions", "parquet"), ("replay", "mp4"))]
RESULTS = (*OPTIONAL, LATENCY, THUMBNAIL, REPORT, SUMMARY)
INDEX, TITLE = "index.html", "Replays"      # over several replays


def read_summary(folder: Path) -> dict[str, Any] | None:
    """The summary of the replay in a folder; None where there is none. UserError for a file that is no such."""
    path = folder / SUMMARY
    if not os.path.lexists(path):
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        whole = {"source", "files", "bundles"} <= told["key"].keys()
    except (FileNotFoundError, IsADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise UserError(f"{path}: damaged, or not of a replay; name another --out, or move it away")
    return dict(told)


def is_result(path: Path) -> bool:
    """Whether a file is a replay's result, and so no recording."""
    if path.name not in RESULTS:
        return False
    try:
        return (path.parent / PARTS).is_dir() or read_summary(path.parent) is not None
    except UserError:
        return False
