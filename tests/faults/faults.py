"""The table: what is injected, what must follow, and within which time of the fault."""

import os
import resource
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import networks
import numpy as np
from flows import (
    STILL,
    Outcome,
    bounded,
    fastest,
    goes_on,
    needs_reset,
    never_forwarded,
    order,
    refuses,
    shown,
    stops,
)
from rosgraph import START
from stage import Stage, first_slower

FRAME = 1e3 / 30        # ms
TICK = 10.0             # ms
X, Y, Z = START.position.tolist()


class Fault(NamedTuple):
    """One row."""

    id: str
    injected: str
    reaction: str           # HOLD, LATCH, REFUSE, CLAMP, silence, none
    bound: float | None     # ms, from the fault to the first safe command
    run: Callable[[Stage], Outcome]


# Of a kind with another one in the table: run with `-m slow` too.
SLOW = ("F02b", "F12b", "F12c", "F13b", "F13c", "F15b", "F25c", "F34b")


def signalled(name: str, number: int) -> Callable[[Stage], float]:
    """A signal to a process."""
    def inject(stage: Stage) -> float:
        os.kill(stage.pid(name), number)
        return time.monotonic()
    return inject


def go_on(name: str) -> Callable[[Stage], None]:
    """The end of a SIGSTOP."""
    return lambda stage: os.kill(stage.pid(name), signal.SIGCONT)


def last_image(stage: Stage) -> float:
    """No image any more; since the last one."""
    return stage.driver("show", program="none", since="last image")


def ageing(stage: Stage) -> float:
    """A camera that gets later with each image; from when the newest that was answered is older than allowed."""
    began = stage.driver("show", program="drift", since="image")

    def old() -> float | None:
        """s, monotonic, when an answered image became too old before the next answer came."""
        lines = stage.log.of("asked", began - 1e-3)
        for line, after in zip(lines, [*lines[1:], None], strict=False):
            when = line["t"] - line["wall"] + line["stamp"] * 1e-9 + 0.1
            if after is None or when <= after["t"]:
                return float(max(when, line["t"])) if time.monotonic() > when else None
        return None
    assert stage.wait(old)
    when = old()
    assert when is not None
    return when


def rival(topic: str) -> Callable[[Stage], float]:
    """One more publisher."""
    return lambda stage: stage.driver("rival", topic=topic)


def no_rival(stage: Stage) -> None:
    """The only one again."""
    stage.driver("no rival")


def stop_again(stage: Stage) -> None:
    """The emergency stop is there, and not pressed."""
    stage.driver("estop again")


def unheard_stop(stage: Stage) -> float:
    """In the place of the emergency stop, one of another quality of service: what it says never arrives."""
    since = stage.driver("rival", topic="estop")
    stage.driver("no estop")
    return since


def heard_stop(stage: Stage) -> None:
    """The right one again."""
    stage.driver("no rival")
    stage.driver("estop again")


def full_disk(stage: Stage) -> float:
    """No file of the gate may get any larger."""
    newest = max(stage.nodes.audit.glob("*.jsonl"))
    resource.prlimit(stage.pid("gate_node"), resource.RLIMIT_FSIZE, (newest.stat().st_size, resource.RLIM_INFINITY))
    now = time.monotonic()
    stage.unlogged.append((now - 0.1, now + 0.5))
    return now


def empty_disk(stage: Stage) -> None:
    """Room again; a log that failed is not trusted again, the next one is."""
    resource.prlimit(stage.pid("gate_node"), resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    stage.again("gate_node")


def policy_is_killed(stage: Stage) -> Outcome:
    """F21, and F31 for the policy: the one that is started anew does not move the arm."""
    return stops(lambda stage: stage.kill("policy_node"), "silent|image is|is old", resumes="pedal",
                 cleared=lambda stage: stage.restart("policy_node"))(stage)


def gate_is_killed(stage: Stage) -> Outcome:
    """F24, and F31 for the gate."""
    stage.ready()
    since = stage.kill("gate_node")
    stage.graph.spin(2 * STILL)
    last = stage.log.motion(time.monotonic())[-1].t
    stage.stays(STILL)
    stage.driver("place", at=START.position.tolist())
    stage.restart("gate_node")
    stage.stays(2 * STILL)
    assert "release the pedal" in stage.gate or "emergency stop" in stage.gate, stage.gate
    stage.move()
    return Outcome(max(last - since, 0.0) * 1e3, "the arm keeps the last target")


def both_are_killed(stage: Stage) -> Outcome:
    """F31: nothing that was started anew moves the arm by itself."""
    stage.ready()
    for name in ("policy_node", "gate_node"):
        stage.kill(name)
    stage.graph.spin(STILL)
    stage.driver("place", at=START.position.tolist())
    for name in ("gate_node", "policy_node"):
        stage.restart(name)
    stage.stays(3 * STILL)
    assert "release the pedal" in stage.gate or "emergency stop" in stage.gate, stage.gate
    stage.move()
    return Outcome(None, "moves at the new edge")


def gate_is_stopped(stage: Stage) -> Outcome:
    """A gate that stands still and goes on: the arm is told nothing meanwhile, and no jump after."""
    stage.ready()
    since = signalled("gate_node", signal.SIGSTOP)(stage)
    stage.graph.spin(2 * STILL)
    last = stage.log.motion(time.monotonic())[-1]
    stage.stays(STILL)
    woken = time.monotonic()
    go_on("gate_node")(stage)
    assert stage.wait(lambda: stage.gate.startswith("hold"), 5.0), stage.gate
    stage.graph.spin(0.1)       # it tells the arm to hold
    stage.stays(STILL)
    stage.press()
    assert stage.wait(lambda: len(stage.log.commands(woken)) > 20), stage.gate
    way = float(np.linalg.norm(stage.log.commands(woken)[0].at - last.at))
    assert way < 1e-4, f"it goes on with a jump of {way * 1e3:.2f} mm"
    return Outcome(max(last.t - since, 0.0) * 1e3, "then from rest, after a new edge")


def driver_is(number: int) -> Callable[[Stage], Outcome]:
    """Arm, camera and pedal stop or die: no one hears the gate, so its own log must do."""
    def run(stage: Stage) -> Outcome:
        stage.ready()
        since = stage.kill("driver") if number == signal.SIGKILL else signalled("driver", number)(stage)
        assert stage.wait(lambda: stage.gate.startswith("hold"), 5.0), stage.gate
        stage.graph.spin(0.5)
        sent = [record for record in stage.records() if record.get("sent") and record["t_mono"] * 1e-9 > since - 0.3]
        slower = next(record for record in sent if record["state"] != "active")
        assert sent[-1].get("hold"), "it did not come to rest"
        if number == signal.SIGKILL:
            stage.new_driver()
        else:
            go_on("driver")(stage)
            stage.graph.spin(STILL)     # it first hears what it was told asleep
        assert stage.wait(lambda: "release the pedal" in stage.gate), stage.gate
        stage.stays(STILL)
        stage.move()
        return Outcome((slower["t_mono"] * 1e-9 - since) * 1e3, "from the gate's log")
    return run


def held_from_before(stage: Stage) -> Outcome:
    """F29."""
    stage.ready()
    stage.again("gate_node")
    assert stage.wait(lambda: "release the pedal" in stage.gate), stage.gate
    stage.stays(3 * STILL)
    stage.press()
    stage.move()
    return Outcome(None, "moves at the new edge")


def estop(stage: Stage) -> Outcome:
    """F30: neither the release nor the pedal goes on; and no reset while it is pressed."""
    def no_reset(stage: Stage) -> None:
        assert stage.nodes.reset_gate() == (False, "the emergency stop is still pressed")
    return stops(order("estop", pressed=True), "emergency stop", latched=True, still=no_reset,
                 cleared=lambda stage: stage.driver("estop", pressed=False) and None)(stage)


def other_channels(stage: Stage) -> Outcome:
    """F05 at run time: another policy in the place of the one that was heard first."""
    stage.ready()
    stage.down("policy_node")
    since = time.monotonic()
    bundle = str(stage.with_channels("v_x", "v_y", "v_z", "jaw"))
    assert stage.configure("policy_node", {**stage.usual("policy_node"), "bundle": bundle})
    assert stage.activate("policy_node")

    def asked() -> list[dict[str, Any]]:
        return [line for line in stage.log.of("asked", since) if len(line["names"]) == 4]

    def latched() -> list[dict[str, Any]]:
        told = "latched: the policy's action is"
        return [line for line in stage.log.of("gate", since) if line["text"].startswith(told)]
    assert stage.wait(asked) and stage.wait(latched), stage.gate
    ms = (latched()[0]["t"] - asked()[0]["t"]) * 1e3
    stage.down("policy_node")
    assert stage.configure("policy_node", stage.usual("policy_node")) and stage.activate("policy_node")
    needs_reset(stage)
    stage.move()
    return Outcome(max(ms, 0.0), "until it is told; the arm rests")


def warm(stage: Stage) -> Outcome:
    """F37: the first action after activation is as quick as the others."""
    for _ in range(4):
        stage.ready()
        stage.down("policy_node")
        assert stage.configure("policy_node", stage.usual("policy_node"))
        since = time.monotonic()
        assert stage.activate("policy_node")
        assert stage.wait(lambda since=since: len(stage.log.of("asked", since)) > 40)
        took = [line["wall"] - line["stamp"] * 1e-9 for line in stage.log.of("asked", since)]
        first, usual = took[0] * 1e3, float(np.median(took)) * 1e3
        stage.move()
        if first < usual + 20:
            return Outcome(None, f"first action {first:.1f} ms after its image, median {usual:.1f} ms")
    raise AssertionError(f"the first action takes {first:.0f} ms, the others {usual:.0f} ms")


def slower_than_frames(stage: Stage) -> Outcome:
    """F36: held by the age of the images, and no queue of them grows."""
    def no_queue(stage: Stage) -> None:
        began = time.monotonic()
        stage.graph.spin(1.5)
        ages = [line["wall"] - line["stamp"] * 1e-9 for line in stage.log.of("asked", began)]
        assert ages and max(ages[len(ages) // 2:]) < max(ages[:len(ages) // 2]) + 0.15, ages
    return stops(shown(networks.SLOW), "the image is|image is|silent", still=no_queue)(stage)


def half_rate(stage: Stage, since: float) -> str:
    """Told within a second and a half, and at the normal rate no more."""
    told = [line for line in stage.log.of("policy", since) if "images come at" in line["text"]]
    assert told, stage.nodes.policy
    return f"warned after {told[0]['t'] - since:.1f} s"


def disordered(stage: Stage, since: float) -> str:
    """None of the late ones was answered."""
    late = {line["stamp"] for line in stage.log.of("image", since) if line["offset"] < -0.01}
    asked = stage.log.of("asked", since)
    assert len(late) > 5 and not any(line["stamp"] in late for line in asked)
    stamps = [line["stamp"] for line in asked]
    assert stamps == sorted(stamps)
    return f"{len(late)} late images, none answered"


def cut_short(stage: Stage) -> float:
    """Images that hold less than they tell; since the last whole one."""
    return stage.driver("set", set={"cut": 100}, since="last image")


def to_the_face(stage: Stage, since: float) -> str:
    """F33: it comes to the face, not beyond, and slides along it."""
    assert stage.wait(lambda: abs(stage.log.commands(since)[-1].at[0] - (X - FACE)) < 1e-4, 10.0), stage.gate
    return "comes to rest on the face"


def outwards(stage: Stage) -> float:
    """From near the middle: further aside, the cone's side would come first."""
    if np.abs(stage.log.commands()[-1].at - START.position).max() > 0.03:
        stage.home()
        stage.move()
    return stage.driver("show", code=networks.NEARER, since="image")


def to_the_cannula(stage: Stage, since: float) -> str:
    """F34: as deep out as allowed."""
    assert stage.wait(lambda: abs(np.linalg.norm(stage.log.commands(since)[-1].at - RCM) - 0.055) < 2e-4, 10.0), (
        stage.log.commands(since)[-1].at)
    return "stays 55 mm from the remote centre"


FACE = 0.12             # m from the start
RCM = np.array([X, Y, Z - 0.08])
CONE = {"limits__rcm__use": True, "limits__rcm__centre": RCM.tolist(), "limits__rcm__axis": [0.0, 0.0, 1.0],
        "limits__rcm__angle": 1.2, "limits__rcm__depth_low": 0.055, "limits__rcm__depth_high": 0.3}


def out_of_the_cone(stage: Stage) -> Outcome:
    """F34: an arm that starts where it may not be is not moved."""
    stage.ready(**CONE)
    since = stage.driver("set", set={"pressed": False}, since="press")
    stage.wait_for_rest(since)
    stage.driver("place", at=(RCM + [0.0, 0.0, 0.03]).tolist())
    stage.press()
    assert stage.wait(lambda: "out of bounds" in stage.gate), stage.gate
    stage.stays(STILL)
    stage.driver("place", at=START.position.tolist())
    stage.move()
    return Outcome(None, "held until it is moved inside")


def step_up(stage: Stage) -> float:
    """From standing still to as fast as may be."""
    stage.driver("show", code=networks.STILL, since="image")
    stage.graph.spin(0.4)
    return stage.driver("show", code=networks.RIGHT, since="image")


def at_speed(stage: Stage, since: float) -> str:
    """It becomes as fast as it was asked to, not faster."""
    speed = fastest(stage, since)
    assert 0.045 < speed < 0.05 * (1 + 1e-6), speed
    return f"{speed * 1e3:.1f} mm/s after the ramp"


def wild(stage: Stage) -> Outcome:
    """F04: cut at once, latched at the tenth."""
    return stops(shown(networks.WILD), "outside [-1, 1]", latched=True, measure=first_slower)(stage)


def swinging(stage: Stage) -> float:
    """To and fro with each frame."""
    return stage.driver("show", program="swinging", since="image")


def unwritable(stage: Stage) -> Outcome:
    """F42 at activation."""
    stage.down("gate_node")
    (stage.folder / "file").write_text("")
    assert stage.configure("gate_node", {**stage.usual("gate_node"), "audit_folder": str(stage.folder / "file")})
    began = time.monotonic()
    assert not stage.activate("gate_node"), "it was taken"
    took = time.monotonic() - began
    assert stage.wait(lambda: "refused to activate" in stage.gate and "audit log" in stage.gate), stage.gate
    stage.down("gate_node")
    return Outcome(None, f"refused in {took * 1e3:.0f} ms")


def look(name: str) -> Callable[[Stage], float]:
    """The camera sees something else; since the first such image."""
    return order("show", look=name, since="image")


def spoilt(how: str) -> Callable[[Stage], dict[str, Any]]:
    """The parameter that names a bundle which no robot may run."""
    def copied(stage: Stage) -> dict[str, Any]:
        place = stage.folder / f"{how}-{time.monotonic_ns()}" / "bundle"
        return {"bundle": str(networks.spoilt(stage.bundle, place, how))}
    return copied


FAULTS = (
    Fault("F01", "an action with one NaN", "LATCH", FRAME + TICK, stops(
        shown(networks.NAN_CHANNEL), "not finite", latched=True, still=never_forwarded)),
    Fault("F02", "an action with +Inf", "LATCH", FRAME + TICK, stops(
        shown(networks.PLUS_INF), "not finite", latched=True, still=never_forwarded)),
    Fault("F02b", "an action with -Inf", "LATCH", FRAME + TICK, stops(
        shown(networks.MINUS_INF), "not finite", latched=True, still=never_forwarded)),
    Fault("F03", "one NaN pixel in the network", "LATCH", FRAME + TICK, stops(
        shown(networks.NAN_PIXEL), "not finite", latched=True, still=never_forwarded)),
    Fault("F03b", "NaN in measured_cp", "HOLD", 50 + TICK, stops(
        order("spoil", since="last state"), "measured_cp is")),
    Fault("F04", "actions of 5.0, meant to be in [-1, 1]", "CLAMP, LATCH", FRAME + TICK, wild),
    Fault("F05", "a bundle with other channels", "REFUSE", None, refuses(
        lambda stage: {"bundle": str(stage.with_channels("v_x", "v_y", "w_z"))}, "w_z")),
    Fault("F05b", "actions of another length while running", "LATCH", TICK, other_channels),
    Fault("F06", "the camera stops", "HOLD", 100 + TICK, stops(last_image, "image is")),
    Fault("F07", "images arrive later and later", "HOLD", TICK, stops(ageing, "image is")),
    Fault("F08", "stamps 50 ms in the future", "LATCH", FRAME + TICK, stops(
        order("set", set={"image_offset": 0.05}, since="image"), "from the future", latched=True)),
    Fault("F09", "stamps of another clock", "LATCH", FRAME + TICK, stops(
        order("set", set={"image_offset": -1000.0}, since="image"), "stamps", latched=True)),
    Fault("F10", "a frozen picture, fresh stamps", "HOLD", 5 * FRAME + TICK, stops(
        order("show", moves=False, since="last image"), "frozen")),
    Fault("F11", "a frozen picture with a running clock in it", "HOLD", 5 * FRAME + TICK, stops(
        order("show", moves=False, program="clock", since="last image"), "frozen")),
    Fault("F12", "black", "HOLD", 2 * FRAME + TICK, stops(look("black"), "is black")),
    Fault("F12b", "white", "HOLD", 2 * FRAME + TICK, stops(look("white"), "is white")),
    Fault("F12c", "colour bars", "HOLD", 2 * FRAME + TICK, stops(look("bars"), "no signal")),
    Fault("F13", "defocus", "HOLD, LATCH after 2 s", 5 * FRAME, stops(
        look("defocused"), "out of focus", latched=True, later=2.0)),
    Fault("F13b", "smoke", "HOLD, LATCH after 2 s", 5 * FRAME, stops(
        look("smoke"), "smoke|unlike", latched=True, later=2.0)),
    Fault("F13c", "blood on the lens", "HOLD, LATCH after 2 s", 5 * FRAME, stops(
        look("blood"), "blood|unlike", latched=True, later=2.0)),
    Fault("F14", "out of the body: a room", "HOLD, LATCH after 1 s", 5 * FRAME, stops(
        look("room"), "unlike any picture", latched=True, later=1.0)),
    Fault("F15", "another resolution", "LATCH", FRAME, stops(look("larger"), "changed", latched=True)),
    Fault("F15b", "another shape", "LATCH", FRAME, stops(look("wider"), "changed", latched=True)),
    Fault("F15c", "another encoding", "LATCH", FRAME, stops(
        order("set", set={"encoding": "bgr8"}, since="image"), "encoding changed", latched=True)),
    Fault("F16", "bgr8 labelled rgb8", "HOLD, LATCH after 2 s", 5 * FRAME, stops(
        look("swapped"), "swapped", latched=True, later=2.0)),
    Fault("F17", "another crop than the policy was made for", "REFUSE", None, refuses(
        spoilt("crop"), "golden action")),
    Fault("F18", "images shorter than they tell", "HOLD", 100 + TICK, stops(
        cut_short, "dropped: image holds|image is")),
    Fault("F19", "half the frame rate", "WARN", None, goes_on(
        order("show", program="half", since="image"), half_rate, 1.5)),
    Fault("F19b", "a fourth of the frame rate", "HOLD", 100 + TICK, stops(
        order("show", program="fourth", since="image"), "image is|silent", still=lambda stage: stage.stays(1.2))),
    Fault("F20", "images out of order", "none: dropped", None, goes_on(
        order("show", program="disordered", since="image"), disordered, 0.6)),
    Fault("F21", "policy: SIGKILL", "HOLD", 100 + TICK, policy_is_killed),
    Fault("F22", "policy: SIGSTOP", "HOLD", 120, stops(
        signalled("policy_node", signal.SIGSTOP), "silent|image is", cleared=go_on("policy_node"))),
    Fault("F23", "policy: a callback that takes 1 s", "HOLD", 120, stops(
        shown(networks.STUCK), "silent|image is")),
    Fault("F24", "gate: SIGKILL", "silence", 30, gate_is_killed),
    Fault("F24b", "gate: SIGSTOP", "silence", 30, gate_is_stopped),
    Fault("F25", "the arm tells nothing any more", "HOLD", 50 + TICK, stops(
        order("set", set={"tells": False}, since="last state"), "measured_cp is")),
    Fault("F25b", "driver (arm, camera, pedal): SIGSTOP", "HOLD", 50 + TICK, driver_is(signal.SIGSTOP)),
    Fault("F25c", "driver (arm, camera, pedal): SIGKILL", "HOLD", 50 + TICK, driver_is(signal.SIGKILL)),
    Fault("F26", "the tip is 20 mm off its command", "LATCH", 100, stops(
        order("push", by=[0.0, 0.02, 0.0], since="state"), "behind its command", latched=True)),
    Fault("F27", "the pedal is released", "HOLD", TICK, stops(
        order("set", set={"pressed": False}, since="press"), "pedal was released", resumes="pedal",
        cleared=lambda stage: stage.driver("set", set={"pressed": False}) and None)),
    Fault("F28", "the pedal is dead", "HOLD", 200 + TICK, stops(
        order("set", set={"pressed": None}, since="last press"), "pedal is not heard", resumes="pedal",
        cleared=lambda stage: stage.driver("set", set={"pressed": True}) and None)),
    Fault("F29", "the pedal is held from before activation", "silence", None, held_from_before),
    Fault("F30", "emergency stop, then its release", "LATCH", TICK, estop),
    Fault("F30b", "the emergency stop's node is gone", "HOLD", 1000, stops(
        order("no estop"), "emergency stop has gone", resumes="pedal", cleared=stop_again)),
    Fault("F30c", "an emergency stop that would not be heard", "HOLD", 1000, stops(
        unheard_stop, "emergency stop would not be heard", resumes="pedal", cleared=heard_stop)),
    Fault("F31", "policy and gate killed and started anew, the pedal held", "silence", None, both_are_killed),
    Fault("F32", "a step from 0 to full speed", "CLAMP", TICK, bounded(
        step_up, "acceleration and jerk", at_speed, 0.8)),
    Fault("F33", "commands into a face of the box", "CLAMP", TICK, bounded(
        shown(networks.RIGHT), "inside the workspace box", to_the_face, 0.1,
        limits__box_low=[X - FACE, Y - 0.1, Z - 0.1])),
    Fault("F34", "commands out of the cannula", "CLAMP", TICK, bounded(
        outwards, "insertion depth|cone", to_the_cannula, 0.1, **CONE)),
    Fault("F34b", "an arm too near to its remote centre", "HOLD", None, out_of_the_cone),
    Fault("F35", "to and fro at 30 Hz", "LATCH", 500, stops(swinging, "swings to and fro", latched=True)),
    Fault("F36", "inference takes 80 ms", "HOLD", 100 + TICK, slower_than_frames),
    Fault("F37", "the first inference", "none: warmed up", None, warm),
    Fault("F38", "one bit of the weights flipped", "REFUSE", None, refuses(spoilt("bit"), "sha256 differs")),
    Fault("F39", "weights in another file: missing", "REFUSE", None, refuses(
        spoilt("missing"), "in another file")),
    Fault("F39b", "weights in another file: truncated", "REFUSE", None, refuses(
        spoilt("truncated"), "in another file")),
    Fault("F39c", "weights in another file: swapped", "REFUSE", None, refuses(spoilt("swapped"), "in another file")),
    Fault("F39d", "weights in another file: outside", "REFUSE", None, refuses(spoilt("escaping"), "in another file")),
    Fault("F40", "CUDA asked for, not there", "REFUSE", None, refuses(
        lambda stage: {"providers": ["CUDAExecutionProvider", "CPUExecutionProvider"]},
        "has no CUDAExecutionProvider")),
    Fault("F41", "another publisher of servo_cp", "LATCH", 1000, stops(
        rival("servo_cp"), "more than one publisher", latched=True, cleared=no_rival)),
    Fault("F41b", "another publisher of actions", "LATCH", 1000, stops(
        rival("action"), "more than one publisher", latched=True, cleared=no_rival)),
    Fault("F42", "an audit log that cannot be written", "REFUSE", None, unwritable),
    Fault("F42b", "the audit log's disk is full", "HOLD", 1000, stops(
        full_disk, "audit log", resumes="pedal", cleared=empty_disk)),
)
