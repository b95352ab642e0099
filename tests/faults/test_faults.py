"""F01 to F42 against the real graph: the arm stops, is not moved, or the limits hold; and in which time."""

from typing import Any

import pytest
from faults import FAULTS, SLOW, Fault
from flows import Outcome
from ledger import Row
from verdict import judge


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.id, marks=[pytest.mark.slow] * (fault.id in SLOW))
                                   for fault in FAULTS])
def test_a_fault_ends_as_the_table_says_and_in_its_time(fault: Fault, stage: Any, book: Any, slack: float) -> None:
    outcome, passed = Outcome(None, "no"), False
    try:
        outcome = fault.run(stage)
        passed = outcome.ms is None or fault.bound is None or outcome.ms <= fault.bound + slack
        assert passed, f"{outcome.ms:.0f} ms, bound {fault.bound:.0f} + {slack:.0f} ms"
    finally:
        book.rows.append(Row(fault.id, fault.injected, fault.reaction, outcome.ms, fault.bound, outcome.note, passed))


def test_no_command_was_outside_the_limits(stage: Any, book: Any) -> None:
    stage.ready()
    stage.down("gate_node")     # which ends its log
    count = judge(stage.nodes.audit, stage.log, stage.unlogged)
    book.remarks.append(f"{count.sent} commands sent, {count.heard} heard by the arm, {len(count.outside)} outside "
                        f"limits ({count.unlogged} heard ones are in no log: the gate was killed, or its disk full; "
                        f"{count.belated} left as the gate was stopped, one step from rest).")
    assert count.sent > 20 and count.outside == [], count.outside[:10]
