"""What came of all faults, as one table."""

from typing import NamedTuple


class Row(NamedTuple):
    """One fault's line in the table."""

    id: str
    injected: str
    reaction: str
    ms: float | None
    bound: float | None
    note: str
    passed: bool


class Book:
    """What came of all faults."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.remarks: list[str] = []

    def table(self) -> str:
        """As Markdown."""
        lines = ["| fault | injected | reaction | fault to first safe command, ms | bound, ms | | pass |",
                 "|---|---|---|---:|---:|---|---|"]
        for row in self.rows:
            ms, bound = ("" if value is None else f"{value:.0f}" for value in (row.ms, row.bound))
            late = row.ms is not None and row.bound is not None and row.ms > row.bound
            passed = "NO" if not row.passed else f"yes, {row.ms - row.bound:.0f} ms late" if late else "yes"
            lines.append(f"| {row.id} | {row.injected} | {row.reaction} | {ms} | {bound} | {row.note} | {passed} |")
        return "\n".join([*lines, "", *self.remarks])
