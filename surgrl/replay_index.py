"""The index over several replays: one row for each recording, told from the summaries in their folders."""

import base64
import html
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .page import Page
from .recordings import Source
from .replay_files import INDEX, REPORT, SUMMARY, THUMBNAIL, TITLE
from .replay_page import asset
from .replay_parts import clock
from .trace import shares


class Index:
    """The page, which grows by a row for each recording."""

    def __init__(self, out: Path, count: int):
        """out: folder of it, and of the replays' folders; count: recordings in all."""
        self._out, self._count = out, count
        self._rows: list[str] = []
        self._failed = 0

    def add(self, source: Source, folder: str, fault: str = "") -> None:
        """A recording that was replayed into `folder`, or the fault why it could not be."""
        self._rows.append(_fault(source, fault) if fault else _row(source, self._out / folder))
        self._failed += bool(fault)
        self._write()

    def _write(self) -> None:
        done, left = len(self._rows) - self._failed, self._count - len(self._rows)
        lead = f"{done} of {self._count} recordings replayed" + (
            f", {self._failed} could not be" if self._failed else "") + (f", {left} to come" if left else "") + "."
        page = Page(TITLE, lead, style=asset("replay_page.css"))
        page.markup("<div class='wide'><table class='list'><tr><th></th><th>recording</th><th>lasts</th>"
                    "<th>sent as asked, limited, held</th><th>pictures unlike training's</th><th>smoothness (SPARC)"
                    f"</th><th>agreement with the robot</th></tr>{''.join(self._rows)}</table></div>")
        page.text("Of the first policy. SPARC: spectral arc length of what is sent, nearer to 0 is smoother. Agreement "
                  "is the mean cosine between what the policy wants and what the robot did, with its 95 % interval.")
        page.write(self._out / INDEX)


def _row(source: Source, folder: Path) -> str:
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
    picture = base64.b64encode((folder / THUMBNAIL).read_bytes()).decode()
    link = f"<a href='{quote(folder.name)}/{REPORT}'>{html.escape(source.name)}</a>"
    return (f"<tr><td><img src='data:image/jpeg;base64,{picture}' alt=''></td><td>{link}</td>"
            f"<td>{clock(summary['ticks'] / summary['rate_hz'])}</td><td><span class='share' role='img' "
            f"aria-label='{told}'>{bar}</span>{told}</td><td>{unlike}</td>"
            f"<td>{'-' if sparc is None else f'{sparc:.2f}'}</td><td>{agreement}</td></tr>")


def _fault(source: Source, fault: str) -> str:
    return (f"<tr><td></td><td>{html.escape(source.name)}</td><td colspan='5'><span class='fault'>"
            f"{html.escape(fault)}</span></td></tr>")
