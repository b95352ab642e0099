"""One self-contained HTML page: pictures, charts, figures and a video in a single file."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import cv2

from .files import atomic_file
from .palette import INK, SOFT
from .policy.spec import Array

STYLE = """
:root { color-scheme: light dark; --ink: #24303c; --soft: #6b7885; --line: #d9dee3; --accent: #b3243c;
        --paper: #ffffff; --tint: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dbe2e8; --soft: #93a0ac; --line: #333c45; --accent: #ff7a8a; --paper: #14181c; --tint: #1f252b; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--ink);
       background: var(--paper); }
header { background: #1d0d10; color: #f6ecec; padding: 2.2rem 0; }
header > div { padding: 0 1.5rem; }
header h1 { margin: 0 0 .3rem; font-size: 1.9rem; }
header p { margin: 0; color: #d8c3c3; max-width: 62rem; }
main, header > div { max-width: 72rem; margin: 0 auto; }
main { padding: 1rem 1.5rem 4rem; }
h2 { margin: 2.4rem 0 .4rem; font-size: 1.3rem; }
h3 { margin: 1.6rem 0 .2rem; font-size: 1.05rem; }
p { max-width: 48rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.4rem 0; }
.figures div { flex: 1 1 10rem; border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; }
.figures b { display: block; font-size: 1.7rem; color: var(--accent); line-height: 1.2; }
.figures span { color: var(--soft); font-size: .9rem; }
.strip { display: flex; flex-wrap: wrap; gap: .7rem; margin: .8rem 0; }
.strip figure { margin: 0; flex: 1 1 9rem; max-width: 21rem; }
.strip figure.clip { flex-basis: 18rem; }
.strip img, video { width: 100%; border-radius: 8px; display: block; background: #000; }
.pixels img { image-rendering: pixelated; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .25rem; }
video { max-width: 40rem; }
svg { max-width: 100%; height: auto; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
td, th { text-align: left; padding: .35rem 1.2rem .35rem 0; border-bottom: 1px solid var(--line);
         vertical-align: top; white-space: pre-line; }
th { font-weight: 600; color: var(--soft); }
td:first-child { font-weight: 600; white-space: nowrap; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--soft); }
code, pre { background: var(--tint); border-radius: 6px; font-size: .88rem; }
code { padding: .1rem .3rem; } pre { padding: .8rem 1rem; overflow-x: auto; }
"""


class Page:
    """Collects parts from top to bottom; `write` puts them into one file."""

    def __init__(self, title: str, lead: str, *, style: str = "", script: str = ""):
        """lead: one sentence under the title. style, script: CSS and JavaScript of this page alone."""
        self._title, self._lead, self._style, self._script = title, lead, style, script
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        """A section begins."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def subheading(self, text: str) -> None:
        """A part of a section begins."""
        self._parts.append(f"<h3>{html.escape(text)}</h3>")

    def text(self, text: str) -> None:
        """A paragraph."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def figures(self, values: Sequence[tuple[str, str]]) -> None:
        """Key figures: (value, what it is)."""
        boxes = "".join(f"<div><b>{html.escape(v)}</b><span>{html.escape(t)}</span></div>" for v, t in values)
        self._parts.append(f'<div class="figures">{boxes}</div>')

    def pictures(self, pictures: Sequence[tuple[Array, str]], pixels: bool = False) -> None:
        """Pictures (H, W, 3) uint8 RGB side by side, with captions; pixels: small ones, shown as they are."""
        shown = "".join(f'<figure><img src="{_png(image)}" alt="{html.escape(caption)}">'
                        f"<figcaption>{html.escape(caption)}</figcaption></figure>" for image, caption in pictures)
        self._parts.append(f'<div class="strip{" pixels" if pixels else ""}">{shown}</div>')

    def chart(self, svg: str) -> None:
        """A chart, as SVG text; its ink and its lines take the page's colours, by day and by night."""
        for colour, name in ((INK, "--ink"), (SOFT, "--line")):
            svg = svg.replace(colour, f"var({name})")
        self._parts.append(f"<div>{svg}</div>")

    def video(self, path: Path) -> None:
        """An mp4, inside the page."""
        self._parts.append(_clip(path))

    def videos(self, clips: Sequence[tuple[Path, str]]) -> None:
        """Small mp4s side by side, with captions."""
        shown = "".join(f'<figure class="clip">{_clip(path)}<figcaption>{html.escape(caption)}</figcaption></figure>'
                        for path, caption in clips)
        self._parts.append(f'<div class="strip">{shown}</div>')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of text."""
        lines = ["<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
                 for tag, row in [("th", head), *(("td", row) for row in rows)]]
        self._parts.append(f'<div class="wide"><table>{"".join(lines)}</table></div>')

    def code(self, text: str) -> None:
        """Lines as they are typed."""
        self._parts.append(f"<pre>{html.escape(text)}</pre>")

    def folded(self, title: str, text: str) -> None:
        """Lines as they are typed, shown when the title is clicked on."""
        self._parts.append(f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(text)}</pre></details>")

    def markup(self, text: str) -> None:
        """HTML as it is; whoever gives it has escaped what is not ours."""
        self._parts.append(text)

    def write(self, path: Path) -> None:
        """The page as one file that needs no other."""
        document = (f"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
                    f"<meta name='viewport' content='width=device-width, initial-scale=1'>"
                    f"<title>{html.escape(self._title)}</title><style>{STYLE}{self._style}</style></head><body>"
                    f"<header><div><h1>{html.escape(self._title)}</h1><p>{html.escape(self._lead)}</p></div></header>"
                    f"<main>{''.join(self._parts)}</main>"
                    f"{f'<script>{self._script}</script>' if self._script else ''}</body></html>")
        with atomic_file(path) as scratch:
            scratch.write_text(document, encoding="utf-8")


def _clip(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<video controls loop muted playsinline src="data:video/mp4;base64,{data}"></video>'


def jpeg_uri(image: Array, quality: int = 85) -> str:
    """A photograph (H, W, 3) uint8 RGB as a data URI."""
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _png(image: Array) -> str:
    done, data = cv2.imencode(".png", image[:, :, ::-1])
    assert done
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()
