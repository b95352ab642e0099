"""One policy over one recording: what it says, what the gates say to it, and how that is told in a table."""

from typing import Any

import numpy as np

from .annotate import Note
from .latency import Histogram
from .looks import HEADER, Look, Looks
from .playback import Answer, Playback
from .ticks import Tick


class Lane:
    """A policy on its way through a recording. `hear` runs in a thread, the rest in the one that writes."""

    def __init__(self, playback: Playback, name: str, suffix: str = ""):
        """name: of the policy; suffix: of its files' names."""
        self.playback, self.name = playback, name
        self.table, self.video = f"actions{suffix}.csv", f"replay{suffix}.mp4"
        self.looks = Looks(playback.bundle, playback.rate)
        self.latency = Histogram()
        self.counts = {"sent": 0, "limited": 0, "held": 0}

    def hear(self, number: int, tick: Tick) -> tuple[Answer, Look]:
        """Ask the policy, and look at the picture."""
        answer = self.playback.ask(tick)
        return answer, self.looks.look(number, self.playback.seen(tick), tick.time)

    def judge(self, tick: Tick, answer: Answer) -> Note:
        """What the gate makes of the answer; counts it."""
        note = self.playback.judge(tick, answer)
        self.counts["held" if note.hold else "limited" if note.reasons else "sent"] += 1
        if answer.seconds:
            self.latency.add(answer.seconds)
        return note

    def header(self) -> list[str]:
        """Columns of its table."""
        return [*self.playback.header(), *HEADER]

    def row(self, note: Note, look: Look) -> list[str]:
        """One line of it."""
        return [*self.playback.row(note), *look.row()]

    def heard(self) -> dict[str, Any]:
        """What the side of `hear` remembers, for `recall`."""
        return {"runtime": self.playback.runtime.memory(), "looks": self.looks.memory()}

    def judged(self) -> dict[str, Any]:
        """What the other side remembers."""
        return {"gate": self.playback.gate_memory(), "latency": self.latency.memory(), "counts": self.counts}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on where another lane stood: what `heard` and `judged` gave, in one."""
        self.playback.recall(memory["runtime"], np.asarray(memory["gate"]))
        self.looks.recall(memory["looks"])
        self.latency.recall(memory["latency"])
        self.counts = dict(memory["counts"])
