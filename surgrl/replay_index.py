"""The index over several replays: one row for each recording, told from the summaries in their folders."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import cv2

from .page import Page, jpeg_uri
from .recordings import Source
from .replay_page import asset
from .replay_parts import clock
from .trace import shares

SUMMARY, THUMBNAIL, REPORT = "summary.json", "thumbnail.jpg", "report.html"


class Entry(NamedTuple):
    """One recording, and how it went."""

    source: Source
    folder: str
    fault: str = ""         # why it could not be replayed


def write_index(out: Path, entries: Sequence[Entry], left: int) -> None:
    """out/index.html. left: recordings that are still to come."""
    failed = sum(bool(entry.fault) for entry in entries)
    done = len(entries) - failed
    lead = f"{done} of {len(entries) + left} recordings replayed" + (
        f", {failed} could not be" if failed else "") + (f", {left} to come" if left else "") + "."
    page = Page("Replays", lead, style=asset("replay_page.css"))
    rows = [_fault(entry) if entry.fault else _row(out, entry) for entry in entries]
    page.markup("<div class='wide'><table class='list'><tr><th></th><th>recording</th><th>lasts</th>"
                "<th>sent as asked, limited, held</th><th>pictures unlike training's</th><th>smoothness (SPARC)</th>"
                f"<th>agreement with the robot</th></tr>{''.join(rows)}</table></div>")
    page.text("Of the first policy. SPARC: spectral arc length of what is sent, nearer to 0 is smoother. Agreement: "
              "mean cosine between what the policy wants and what the robot did, with its 95 % interval.")
    page.write(out / "index.html")


def _row(out: Path, entry: Entry) -> str:
    folder = out / entry.folder
    summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    policy = summary["policies"][0]
    parts = shares(policy["frames"])
    told = ", ".join(f"{part:.0%}" for part in parts)
    bar = "".join(f"<i class='g{at}' style='width:{part:.1%}'></i>" for at, part in enumerate(parts))
    pictures = policy.get("pictures")
    unlike = f"{pictures['unlike'] / max(1, pictures['looked_at']):.0%}" if pictures else "-"
    sparc = policy["sparc"]["sent"]
    robot = next((like for like in summary["agreement"] if "robot" in like["between"]), None)
    agreement = "-" if robot is None else f"{robot['mean']:+.2f} ({robot['low']:+.2f} to {robot['high']:+.2f})"
    picture = cv2.imread(str(folder / THUMBNAIL))
    link = f"<a href='{quote(entry.folder)}/{REPORT}'>{html.escape(entry.source.name)}</a>"
    return (f"<tr><td><img src='{jpeg_uri(picture[:, :, ::-1], 75)}' alt=''></td><td>{link}</td>"
            f"<td>{clock(summary['ticks'] / summary['rate_hz'])}</td><td><span class='share' role='img' "
            f"aria-label='{told}'>{bar}</span>{told}</td><td>{unlike}</td>"
            f"<td>{'-' if sparc is None else f'{sparc:.2f}'}</td><td>{agreement}</td></tr>")


def _fault(entry: Entry) -> str:
    return (f"<tr><td></td><td>{html.escape(entry.source.name)}</td><td colspan='5'><span class='fault'>"
            f"{html.escape(entry.fault)}</span></td></tr>")
