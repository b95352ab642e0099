"""What `surgrl monitor` knows and shows: samples in, a Snapshot out, and the Snapshot drawn. Knows no ROS."""

import textwrap
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

RATE_WINDOW = 2.0       # s, over which rates are taken
LATENCY_WINDOW = 10.0   # s, over which latencies are taken
SILENT = 0.5            # s, after which a stream counts as silent
NODE_SILENT = 3.0       # s, after which a node counts as silent: it tells its status once a second
KEPT = 200              # reasons
COLOURS = {"active": "bold black on green", "hold": "bold black on yellow", "waiting": "bold black on cyan",
           "latched": "bold white on red", "inactive": "bold white on grey37"}
LEVELS = ("OK", "WARN", "ERROR", "STALE")


@dataclass(frozen=True)
class Feed:
    """One topic as it comes in; None: nothing came yet."""

    name: str
    topic: str
    rate: float                 # Hz, over the last RATE_WINDOW
    silence: float | None       # s since the last message
    delay_ms: float | None      # of the last message, from its stamp to its arrival here
    note: str                   # why nothing may come: no publisher, or another quality of service
    stream: bool                # False: it tells changes only, and may be silent


@dataclass(frozen=True)
class Latency:
    """From the image's stamp to the first command that answers it, over the last LATENCY_WINDOW."""

    p50_ms: float
    p99_ms: float
    commands: int


@dataclass(frozen=True)
class NodeView:
    """A node by its ~/status."""

    name: str
    state: str                  # its own word; "absent": never heard; "gone": it has left the graph
    reason: str
    silence: float | None       # s since its last status


@dataclass(frozen=True)
class Signal:
    """What the operator's hand or foot tells; None: nothing came yet."""

    value: bool | None
    silence: float | None       # s
    note: str                   # why nothing may come, as of a Feed


@dataclass(frozen=True)
class Reason:
    """A change in what a node says."""

    time: str                   # of day, local
    node: str
    text: str


@dataclass(frozen=True)
class Diagnosis:
    """The last /diagnostics entry of one name."""

    name: str
    level: str
    message: str
    values: dict[str, str]
    silence: float              # s


@dataclass(frozen=True)
class Snapshot:
    """All that is known at one moment."""

    time: str                   # local, to the second
    domain: int
    arm: str
    operating_state: str | None
    enable: Signal
    estop: Signal
    feeds: tuple[Feed, ...]
    latency: Latency | None
    nodes: tuple[NodeView, ...]
    diagnostics: tuple[Diagnosis, ...]
    reasons: tuple[Reason, ...]     # newest first

    def as_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)


class Source(NamedTuple):
    """A topic that is listened to."""

    topic: str
    stream: bool = True
    optional: bool = False      # not shown until something came


class Collector:
    """Takes in what is heard. Times are s of the system's clock, as stamps are."""

    def __init__(self, domain: int, arm: str, sources: Mapping[str, Source], nodes: Iterable[str]):
        """sources: by the names that `hear` gets. nodes: whose ~/status is told."""
        self._domain, self._arm, self._sources = domain, arm, dict(sources)
        self._arrivals: dict[str, deque[float]] = {name: deque() for name in sources}
        self._last: dict[str, float] = {}
        self._delays: dict[str, float] = {}
        self._latencies: deque[tuple[float, float]] = deque()       # s of arrival, s
        self._answered = 0                                          # ns, stamp of the last image answered
        self._signals: dict[str, tuple[bool, float]] = {}
        self._status: dict[str, tuple[str, float]] = {}
        self._nodes, self._shapes = tuple(nodes), dict.fromkeys(nodes, "")
        self._reasons: deque[Reason] = deque(maxlen=KEPT)
        self._diagnoses: dict[str, tuple[str, str, dict[str, str], float]] = {}
        self._operating_state: str | None = None

    def hear(self, name: str, now: float, stamp: int = 0) -> None:
        """A message of the source `name`. stamp: ns, 0 where it has none."""
        arrivals = self._arrivals[name]
        arrivals.append(now)
        while arrivals[0] < now - RATE_WINDOW:
            arrivals.popleft()
        self._last[name] = now
        if stamp:
            self._delays[name] = now - stamp * 1e-9

    def answer(self, now: float, stamp: int) -> None:
        """A command that answers the image of that stamp, ns; only the first one for an image counts."""
        if stamp > self._answered or stamp < self._answered - 10**9:   # a second back: the camera was started anew
            self._answered = stamp
            self._latencies.append((now, now - stamp * 1e-9))

    def tell_state(self, word: str) -> None:
        """The arm's operating_state."""
        self._operating_state = word

    def signal(self, name: str, value: bool, now: float) -> None:
        """"enable" or "estop"."""
        self._signals[name] = value, now

    def status(self, node: str, text: str, now: float) -> None:
        """A node's ~/status; kept as a reason when it changes in more than its numbers and how it limits."""
        self._status[node] = text, now
        shape = "".join(letter for letter in text.split(" (limited")[0] if not letter.isdigit())
        if shape != self._shapes[node]:
            self._shapes[node] = shape
            self._remember(node, text, now)

    def diagnose(self, name: str, level: int, message: str, values: Mapping[str, str], now: float) -> None:
        """An entry of /diagnostics; level as diagnostic_msgs/DiagnosticStatus counts."""
        word = LEVELS[level] if level < len(LEVELS) else str(level)
        self._diagnoses[name] = word, message, dict(values), now

    def snapshot(self, now: float, present: Iterable[str], notes: Mapping[str, str]) -> Snapshot:
        """What is known. present: names of the nodes in the graph. notes: by source, why nothing may come."""
        present = set(present)
        while self._latencies and self._latencies[0][0] < now - LATENCY_WINDOW:
            self._latencies.popleft()
        return Snapshot(
            _clock(now, "%Y-%m-%d %H:%M:%S"), self._domain, self._arm, self._operating_state,
            *(self._signal(now, name, notes.get(name, "")) for name in ("enable", "estop")),
            tuple(self._feed(now, name, notes.get(name, "")) for name, source in self._sources.items()
                  if not source.optional or name in self._last),
            self._latency(), tuple(self._view(now, name, name in present) for name in self._nodes),
            tuple(Diagnosis(name, *told, max(0.0, now - last))
                  for name, (*told, last) in sorted(self._diagnoses.items())),
            tuple(reversed(self._reasons)))

    def _feed(self, now: float, name: str, note: str) -> Feed:
        source, last, delay = self._sources[name], self._last.get(name), self._delays.get(name)
        times = [arrival for arrival in self._arrivals[name] if arrival >= now - RATE_WINDOW]
        rate = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0
        return Feed(name, source.topic, rate, None if last is None else max(0.0, now - last),
                    None if delay is None else delay * 1e3, note, source.stream)

    def _latency(self) -> Latency | None:
        if not self._latencies:
            return None
        p50, p99 = np.percentile([latency * 1e3 for _, latency in self._latencies], [50, 99])
        return Latency(float(p50), float(p99), len(self._latencies))

    def _view(self, now: float, name: str, present: bool) -> NodeView:
        if name not in self._status:
            return NodeView(name, "silent" if present else "absent", "", None)
        text, last = self._status[name]
        state, _, reason = text.partition(":")
        silence = max(0.0, now - last)
        if not present and silence > NODE_SILENT:
            if self._shapes[name]:      # once; when it comes back, its status is news again
                self._remember(name, "has left the graph", now)
                self._shapes[name] = ""
            return NodeView(name, "gone", f"last said {text}", silence)
        return NodeView(name, state.strip(), reason.strip(), silence)

    def _signal(self, now: float, name: str, note: str) -> Signal:
        value, last = self._signals.get(name, (None, None))
        return Signal(value, None if last is None else max(0.0, now - last), note)

    def _remember(self, node: str, text: str, now: float) -> None:
        self._reasons.append(Reason(_clock(now, "%H:%M:%S"), node, text))


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


def _clock(now: float, form: str) -> str:
    return time.strftime(form, time.localtime(now))
