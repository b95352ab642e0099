"""The report: one file that needs no other."""

import re

import numpy as np

from surgrl import charts
from surgrl.report import Page


def test_a_page_is_one_file_without_outside_references_and_keeps_markup_in_texts_as_text(tmp_path):
    page = Page("A <title>", "lead & more")
    page.heading("Part")
    page.text("a < b")
    page.figures([("98%", "of episodes")])
    page.pictures([(np.full((8, 8, 3), 200, np.uint8), "a picture")], pixels=True)
    page.table(["a", "b"], [["1", "<script>"]])
    page.code("surgrl list")
    (tmp_path / "clip.mp4").write_bytes(b"not a real clip")
    page.video(tmp_path / "clip.mp4")
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "A &lt;title&gt;" in text and "&lt;script&gt;" in text and "<script>" not in text
    sources = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(sources) == 2 and all(source.startswith("data:") for source in sources)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_charts_are_svg_and_take_what_a_short_run_has(tmp_path):
    (tmp_path / "metrics.csv").write_text("update,seconds,imitation/error\n50,10,0.5\n100,20,0.1\n")
    (tmp_path / "eval.csv").write_text("update,seconds,success,low,high\n100,20,0.9,0.7,0.98\n")
    drawn = [charts.learning_curve(tmp_path), charts.latency_histogram([3.0, 4.0, 9.0]),
             charts.success_bars(["a", "b"], [0.5, 1.0], [0.3, 0.8], [0.7, 1.0])]
    assert all(chart.startswith("<svg") and chart.rstrip().endswith("</svg>") for chart in drawn)
