"""What the faults have in common: how each is brought about, what must follow, and how it is measured."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rosgraph import START
from stage import Sent, Stage, first_safe, ways

STILL = 0.2             # s, for which nothing may move where nothing may
CREEP = 1e-5            # m, of the last way of a motion that has come to rest
Inject = Callable[[Stage], float]       # brings a fault about; when it took effect, s, monotonic
Step = Callable[[Stage], None]


class Outcome(NamedTuple):
    """What came of it."""

    ms: float | None            # from the fault to the first safe command; None: nothing to measure
    note: str = ""


def order(do: str, **what: Any) -> Inject:
    """An order to the driver."""
    return lambda stage: stage.driver(do, **what)


def shown(code: int) -> Inject:
    """Pictures that have the network answer with a fault; from when the first one left."""
    return order("show", code=code, since="image")


def nothing(_: Stage) -> None:
    """No more than that."""


def stops(inject: Inject, says: str, *, resumes: str = "itself", latched: bool = False, later: float = 0.0,
          cleared: Step = nothing, still: Step = nothing,
          measure: Callable[[list[Sent]], float] = first_safe, **parameters: Any) -> Callable[[Stage], Outcome]:
    """A fault that stops the arm; then it is cleared, and the arm goes on as it may.

    says: what a status must hold, "|" between alternatives. resumes: by "itself", by a new edge of the "pedal".
    latched: only the operator's reset and a new edge of the pedal may go on; later: and that this comes by then, s,
    after a hold. cleared: what clears it beside the driver being whole. still: what else must hold while it lasts.
    """
    def run(stage: Stage) -> Outcome:
        for _ in range(4):
            stage.ready(**parameters)
            since = inject(stage)
            stage.wait_for_rest(since - 0.05)
            motion = stage.log.motion(stage.log.of("hold", since - 0.05)[0]["t"])
            safe = measure([sent for sent in motion if sent.t > since - 0.1])
            if safe >= since - 0.005:
                break
            settle(stage, cleared)      # a busy machine has stopped it a moment before the fault
        else:
            raise AssertionError("it was stopped by something else, four times")
        assert ways(motion)[-1:] < CREEP, "the last command is not one of rest"
        assert stage.wait(lambda: stage.said(since, says), 4.0), (
            f"{says!r} not told: {stage.gate}; {stage.nodes.policy}")
        note = ""
        if latched:
            def is_latched() -> list[Any]:
                return [line for line in stage.log.of("gate", since - 0.01) if line["text"].startswith("latched")]
            assert stage.wait(is_latched, later + 3.0), f"not latched: {stage.gate}; {stage.nodes.policy}"
            if later:
                note = f"latched after {is_latched()[0]['t'] - since:.1f} s"
        still(stage)
        stage.stays(STILL)
        stage.driver("place", at=START.position.tolist())
        settle(stage, cleared)
        if latched:
            needs_reset(stage)
        elif resumes == "pedal":
            stage.stays(STILL)
            stage.press()
        assert stage.wait(lambda: stage.log.commands(time.monotonic() - 0.05)), (
            f"does not go on: {stage.gate}; {stage.nodes.policy}")
        return Outcome((safe - since) * 1e3, note)
    return run


def settle(stage: Stage, cleared: Step) -> None:
    """The fault is over."""
    stage.driver("whole")
    cleared(stage)


def never_forwarded(stage: Stage) -> None:
    """The tick that took an action which is not finite was latched, and every one since."""
    records = [record for record in stage.records() if "raw" in record]
    bad = [record for record in records if {"nan", "inf", "-inf"} & set(map(str, record["raw"]))]
    assert bad and all(record["state"] == "latched" for record in bad)


def needs_reset(stage: Stage) -> None:
    """A latch: neither time nor the pedal goes on, nor the reset alone, but the reset and then the pedal."""
    stage.press()
    stage.stays(STILL)
    if stage.nodes.policy.startswith("latched"):
        stage.again("policy_node")
        assert stage.wait(lambda: stage.nodes.policy.startswith("active")), stage.nodes.policy
    assert stage.wait(lambda: stage.nodes.reset_gate()[0], 5.0), stage.gate
    stage.stays(STILL)
    stage.press()


def refuses(parameters: Callable[[Stage], dict[str, Any]], says: str, *,
            node: str = "policy_node") -> Callable[[Stage], Outcome]:
    """What configure does not take. The gate stays active, and still."""
    def run(stage: Stage) -> Outcome:
        wanted = {**stage.usual(node), **parameters(stage)}
        stage.down(node)
        assert stage.wait(lambda: not stage.log.commands(time.monotonic() - 0.1)), "it goes on"
        reasons = stage.nodes.set(node, **wanted)
        assert not reasons, reasons
        stage.forget(node)
        began = time.monotonic()
        assert not stage.graph.change_state(node, "configure"), "it was taken"
        took = time.monotonic() - began
        assert stage.wait(lambda: stage.said(began, says), 3.0), (stage.gate, stage.nodes.policy)
        assert not stage.log.commands(began)
        return Outcome(None, f"refused in {took * 1e3:.0f} ms")
    return run


def goes_on(inject: Inject, check: Callable[[Stage, float], str], seconds: float) -> Callable[[Stage], Outcome]:
    """What must not stop the arm, but be told or counted."""
    def run(stage: Stage) -> Outcome:
        for _ in range(4):
            stage.ready()
            since = inject(stage)
            stage.graph.spin(seconds)
            note = check(stage, since)
            stopped = stage.log.of("hold", since)
            stage.driver("whole")
            if not stopped:
                return Outcome(None, note)
        raise AssertionError(f"it stops: {[line['text'] for line in stage.log.of('gate', since)]}")
    return run


def bounded(inject: Inject, words: str, check: Callable[[Stage, float], str], seconds: float,
            **parameters: Any) -> Callable[[Stage], Outcome]:
    """What the gate cuts, every tick. That no limit is broken is checked of all commands at the end."""
    def run(stage: Stage) -> Outcome:
        stage.ready(**parameters)
        since = inject(stage)
        stage.graph.spin(seconds)
        note = check(stage, since)
        text = max(stage.nodes.audit.glob("*.jsonl")).read_text()
        assert any(word in text for word in words.split("|")), words
        stage.driver("whole")
        return Outcome(None, note)
    return run


def fastest(stage: Stage, since: float) -> float:
    """m/s between commands since then."""
    return float(np.max(ways(stage.log.commands(since)), initial=0.0)) / 0.01
