"""What `surgrl monitor` knows: samples in, a Snapshot out. Knows no ROS."""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

RATE_WINDOW = 2.0       # s, over which rates are taken
LATENCY_WINDOW = 10.0   # s, over which latencies are taken
SILENT = 0.5            # s, after which a stream counts as silent
NODE_SILENT = 3.0       # s, after which a node counts as silent: it tells its status once a second
KEPT = 200              # reasons
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


def _clock(now: float, form: str) -> str:
    return time.strftime(form, time.localtime(now))
