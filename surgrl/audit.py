"""`surgrl audit FILE|FOLDER...`: prove that audit logs are as they were written, and tell what is in them."""

import argparse
import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .files import atomic_file
from .policy.chain import Record, Verdict, logs, verify, verify_folder
from .policy.errors import UserError

EPOCH = datetime(1970, 1, 1)
STOPS = ("hold", "latched")     # states that a summary counts, with their reasons
MOST = 8                        # reasons of a state that are printed


class Summary:
    """What the records of a log tell, counted while they are read."""

    def __init__(self) -> None:
        """Nothing read yet."""
        self.about: Mapping[str, Any] = {}
        self.first = self.last = 0                      # ns, wall time of the first and the last record
        self.asked = self.sent = self.lost = 0
        self.stops = {state: 0 for state in STOPS}      # times that the state was entered
        self.reasons = {state: Counter[str]() for state in STOPS}
        self._state = ""

    def add(self, record: Record) -> None:
        """One more record that holds."""
        self.first, self.last = self.first or record["t_wall"], record["t_wall"]
        if record.get("audit") == "header":
            self.about, self._state = record.get("about") or {}, ""
        elif record.get("audit") == "lost":
            self.lost += record["records"]
        self.asked += record.get("asked") is not None
        self.sent += record.get("sent") is not None
        state = _state(record) or self._state
        if state in STOPS and state != self._state:
            self.stops[state] += 1
            for reason in _reasons(record) or ["none told"]:        # 131 ms and 132 ms are one reason, not two
                self.reasons[state][re.sub(r"-?\d+(\.\d+)?", "#", reason)] += 1
        self._state = state

    def lines(self) -> Iterable[str]:
        """As a person reads it."""
        for name, value in self.about.items():
            if not isinstance(value, dict | list):
                yield f"{name:8s}{value}"
        yield f"lasts   {_utc(self.first)} to {_utc(self.last)} UTC, {(self.last - self.first) * 1e-9:.1f} s"
        yield f"asked   {self.asked} commands, {self.sent} sent"
        for state in STOPS:
            yield f"{state:8s}{self.stops[state]} times"
            for reason, count in self.reasons[state].most_common(MOST):
                yield f"        {count:5d}  {reason}"
        if self.lost:
            yield f"lost    {self.lost} records, which the log says that it had no time to write"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl audit`."""
    add = parser.add_argument
    add("logs", nargs="+", type=Path, help="an audit log (.jsonl), or a folder of them: then the chain of files too")
    add("--csv", type=Path, help="write what was asked and sent as a table, one row for each record that holds")


def run(args: argparse.Namespace) -> int:
    """Print a verdict and a summary of each log; 1 when one of them is broken."""
    broken = 0
    for path in args.logs:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; name an audit log, or the folder that holds them")
        summary = Summary()
        verdicts = verify_folder(path, summary.add) if path.is_dir() else [verify(path, summary.add)]
        for verdict in verdicts:
            print(told(verdict))
        if verdicts[0].before and not verdicts[0].fault:
            print(f"  it goes on from {verdicts[0].before['file']}, which was not looked at")
        if summary.first:
            print("\n".join(f"  {line}" for line in summary.lines()))
        broken += sum(verdict.fault is not None for verdict in verdicts)
    if args.csv is not None:
        paths = [log for path in args.logs for log in (logs(path) if path.is_dir() else [path])]
        print(f"wrote {args.csv}: {write_table(paths, args.csv)} rows")
    return int(broken > 0)


def told(verdict: Verdict) -> str:
    """A verdict in a line."""
    records, end = f"{verdict.tail.records} records", f"last hash {verdict.tail.hash}"
    crashes = f", {verdict.crashes} times cut off by a crash and gone on" if verdict.crashes else ""
    if verdict.fault is not None:
        line, kind, text = verdict.fault
        return f"{verdict.path}: BROKEN at line {line}: {kind}: {text}; {records} before it hold, {end}"
    return f"{verdict.path}: whole{', and being written' if verdict.live else ''}: {records}{crashes}, {end}"


def write_table(paths: Iterable[Path], out: Path) -> int:
    """Write the records that hold, those of the log itself left out, as a table; the number of its rows."""
    paths, columns, rows = list(paths), dict[str, None](), 0

    def collect(record: Record) -> None:
        columns.update(dict.fromkeys(_numbers(record)))

    for path in paths:
        verify(path, collect)
    with atomic_file(out) as scratch, scratch.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "n", "time_utc", "t_mono_s", "state", "reasons", *columns])
        for path in paths:
            def write(record: Record, name: str = path.name) -> None:
                nonlocal rows
                if "audit" in record:
                    return
                numbers = _numbers(record)
                table.writerow([name, record["n"], _utc(record["t_wall"]), f"{record['t_mono'] * 1e-9:.6f}",
                                _state(record), "; ".join(_reasons(record)),
                                *(numbers.get(column, "") for column in columns)])
                rows += 1
            verify(path, write)
    return rows


def _numbers(record: Record) -> dict[str, Any]:
    """What was asked and sent: {"asked.v.0": 0.01, ...}."""
    found: dict[str, Any] = {}

    def flatten(name: str, value: Any) -> None:
        if isinstance(value, dict | list):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                flatten(f"{name}.{key}", item)
        elif value is not None:
            found[name] = value
    for name in ("asked", "sent"):
        flatten(name, record.get(name))
    return found


def _state(record: Record) -> str:
    return str(record.get("state") or "").split(":")[0].lower()


def _reasons(record: Record) -> list[str]:
    reasons = record.get("reasons") or []
    return [str(reason) for reason in reasons] if isinstance(reasons, list) else [str(reasons)]


def _utc(ns: int) -> str:
    return (EPOCH + timedelta(microseconds=ns // 1000)).isoformat(" ")
