"""What `surgrl monitor` shows: a Snapshot drawn as text. Knows no ROS."""

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .dashboard import KEPT, LATENCY_WINDOW, NODE_SILENT, SILENT, Reason, Signal, Snapshot

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

COLOURS = {"active": "bold black on green", "hold": "bold black on yellow", "waiting": "bold black on cyan",
           "latched": "bold white on red", "inactive": "bold white on grey37"}


def render(snapshot: Snapshot, width: int, height: int | None = None) -> "Group":
    """As text of `width` columns and, if given, at most `height` lines; the oldest reasons fall out first."""
    from rich.console import Group
    head = [*_head(snapshot, width), _feeds(snapshot), *_latency_line(snapshot), *_nodes(snapshot, width),
            *_diagnostics(snapshot)]
    taken = len(head) + len(snapshot.feeds)             # the table has a line of headings, too
    room = KEPT if height is None else max(0, height - taken - 1)
    shown = snapshot.reasons[:min(room, 12) if height is None else room]
    return Group(*head, *_reasons(shown) if shown or room else ())


def _head(snapshot: Snapshot, width: int) -> "list[Text]":
    from rich.text import Text
    title = Text.assemble(("surgrl monitor", "bold"), f"  {snapshot.arm}  domain {snapshot.domain}")
    title.append(snapshot.time.rjust(max(20, width - title.cell_len)), "dim")
    state = snapshot.operating_state
    line = Text.assemble("arm ", (f" {state or 'no operating_state'} ", _good(state == "ENABLED", state is not None)),
                         "  enable ", _enable(snapshot.enable), "  e-stop ", _estop(snapshot.estop))
    return [_one_line(title), _one_line(line)]


def _good(good: bool, known: bool) -> str:
    return "dim" if not known else COLOURS["active" if good else "hold"]


def _enable(signal: Signal) -> tuple[str, str]:
    if signal.value is None or signal.silence is None:
        return f" {signal.note or 'not heard'} ", "dim"
    if signal.silence > SILENT:
        return f" silent for {_seconds(signal.silence)} ", COLOURS["hold"]
    return (" held ", COLOURS["active"]) if signal.value else (" released ", COLOURS["hold"])


def _estop(signal: Signal) -> tuple[str, str]:
    """Said once and for all, so a publisher that is gone is told: its button may have been pressed since."""
    if signal.value is None:
        return f" {signal.note or 'not heard'} ", "dim"
    word, state = ("PRESSED", "latched") if signal.value else ("free", "active" if not signal.note else "hold")
    return f" {word}{f', {signal.note}' if signal.note else ''} ", COLOURS[state]


def _feeds(snapshot: Snapshot) -> "Table":
    from rich.table import Table
    from rich.text import Text
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim")
    table.add_column("topic", ratio=1, no_wrap=True, overflow="ellipsis")
    for name, columns in (("rate Hz", 8), ("silent s", 9), ("delay ms", 9)):
        table.add_column(name, justify="right", width=columns, no_wrap=True)
    for feed in snapshot.feeds:
        quiet = feed.stream and (feed.silence is None or feed.silence > SILENT)
        topic = Text(feed.topic, "red" if quiet and feed.silence is not None else "dim" if quiet else "")
        if feed.note:
            topic.append(f"  {feed.note}", "yellow")
        table.add_row(topic, f"{feed.rate:.1f}" if feed.stream else "-",
                      "-" if feed.silence is None else f"{feed.silence:.2f}" if feed.silence < 100 else
                      f"{feed.silence:.0f}", "-" if feed.delay_ms is None else f"{feed.delay_ms:.1f}")
    return table


def _latency_line(snapshot: Snapshot) -> "list[Text]":
    from rich.text import Text
    told, line = snapshot.latency, Text("image to servo_cp  ", "dim")
    if told is None:
        line.append(f"no command in the last {LATENCY_WINDOW:.0f} s")
    else:
        line.append(f"p50 {told.p50_ms:.1f} ms  p99 {told.p99_ms:.1f} ms", "bold")
        line.append(f"  {told.commands} images answered in the last {LATENCY_WINDOW:.0f} s", "dim")
    return [_one_line(line)]


def _nodes(snapshot: Snapshot, width: int) -> "list[Text]":
    """Two lines for each node: a reason is the first thing to read in full."""
    from rich.text import Text
    margin = max((len(node.name) for node in snapshot.nodes), default=0) + 12
    lines = []
    for node in snapshot.nodes:
        late = f"{node.reason} (silent for {_seconds(node.silence)})" if (
            node.silence is not None and node.silence > NODE_SILENT) else node.reason
        told = textwrap.wrap(late, max(10, width - margin), max_lines=2, placeholder=" …") or [""]
        badge = f" {node.state[:8].upper()} "
        first = Text.assemble(node.name.ljust(margin - 12), " ",
                              (badge, COLOURS.get(node.state, "dim")), " " * (11 - len(badge)), told[0])
        second = Text(" " * margin + (told[1] if len(told) > 1 else ""))
        lines += [_one_line(first), _one_line(second)]
    return lines


def _diagnostics(snapshot: Snapshot) -> "list[Text]":
    from rich.text import Text
    lines = []
    for told in snapshot.diagnostics:
        values = "  ".join(f"{key} {value}" for key, value in told.values.items())
        style = {"OK": "green", "WARN": "yellow"}.get(told.level, "red")
        stale = f" (told {_seconds(told.silence)} ago)" if told.silence > NODE_SILENT else ""
        lines.append(_one_line(Text.assemble((f"{told.level} ", style), f"{told.name}{stale}  ",
                                             (f"{told.message}  {values}".strip(), "dim"))))
    return lines


def _reasons(reasons: Iterable[Reason]) -> "list[Text]":
    from rich.text import Text
    lines = [Text("what they said, newest first", "dim")]
    for reason in reasons:
        state = reason.text.partition(":")[0]
        colour = COLOURS.get(state, " on default").rsplit(" on ", 1)[1]
        lines.append(_one_line(Text.assemble((f"{reason.time} ", "dim"), (f"{reason.node} ", colour), reason.text)))
    return lines


def _one_line(text: "Text") -> "Text":
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.0f} min"
