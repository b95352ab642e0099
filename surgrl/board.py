"""How far several trainings are: bars in a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

State = Callable[[], tuple[float, str]]
TELL_SECONDS = 60.0         # s between lines where no terminal shows bars


class Board:
    """A line for every running job: bars in a terminal; elsewhere a line each, once a minute."""

    def __init__(self, total: int, jobs: int):
        """total: runs to train; jobs: at most so many at once."""
        self.live, self._told = sys.stderr.isatty(), time.monotonic()
        layout = "{desc} {percentage:3.0f}%|{bar}| {unit}"      # not {postfix}: tqdm puts a comma before it
        rows = min(total, jobs) if self.live else 0
        self._bars = [tqdm(total=1.0, position=k, leave=False, bar_format=layout, dynamic_ncols=True)
                      for k in range(rows)]
        self._all = tqdm(total=total, position=rows, desc="runs", unit="run", dynamic_ncols=True,
                         bar_format="{desc} {n_fmt}/{total_fmt} [{elapsed}]", leave=False, disable=not self.live)

    def __enter__(self) -> "Board":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wipe the bars away."""
        for bar in [*self._bars, self._all]:
            bar.close()

    def tell(self, verdict: str) -> None:
        """A run has ended."""
        tqdm.write(verdict)
        sys.stdout.flush()
        self._all.update()

    def show(self, running: Sequence[tuple[str, State]]) -> None:
        """How far they are: name, and what tells share of work done and a text."""
        if not self.live:
            if time.monotonic() - self._told >= TELL_SECONDS:
                self._told = time.monotonic()
                for name, state in running:
                    share, told = state()
                    print(f"        {name} {share:.0%} {told}", flush=True)
            return
        for k, bar in enumerate(self._bars):
            name, state = running[k] if k < len(running) else ("", lambda: (0.0, ""))
            bar.n, bar.unit = state()
            bar.set_description_str(name)
        self._all.refresh()
