"""What the monitor makes of what it hears, and whether it fits into a terminal."""

import io
import json

import pytest

from surgrl.dashboard import Collector, Snapshot, Source
from surgrl.dashboard_view import render

NOW = 1_700_000_000.0       # s
SOURCES = {"image": Source("/endoscope/left/image_raw"), "state": Source("/PSM1/operating_state", stream=False),
           "servo_cp": Source("/PSM1/servo_cp"), "dry_run": Source("/gate_node/dry_run/servo_cp", optional=True)}
NODES = ("policy_node", "gate_node")
LONG = "hold: the image is 0.143 s old, limits.max_image_age is 0.1 s; " + "the driver may be overloaded; " * 9


@pytest.fixture
def told() -> Collector:
    return Collector(7, "PSM1", SOURCES, NODES)


def look(told: Collector, now: float = NOW, present: tuple[str, ...] = NODES, **notes: str) -> Snapshot:
    return told.snapshot(now, present, notes)


def text_of(snapshot: Snapshot, width: int = 80, height: int | None = 24) -> list[str]:
    console = pytest.importorskip("rich.console").Console(width=width, file=io.StringIO(), color_system=None)
    console.print(render(snapshot, width, height))
    return console.file.getvalue().splitlines()


def stamp(seconds: float) -> int:
    return round(seconds * 1e9)


def test_rate_silence_and_delay_of_a_stream(told):
    for number in range(100):
        at = NOW - 0.5 - (99 - number) / 30
        told.hear("image", at, stamp(at - 0.02))
    feed = look(told).feeds[0]
    assert feed.rate == pytest.approx(30, abs=0.01) and feed.silence == pytest.approx(0.5, abs=1e-5)
    assert feed.delay_ms == pytest.approx(20, abs=0.01)


def test_a_stream_that_stopped_has_no_rate_but_a_silence(told):
    for number in range(10):
        told.hear("image", NOW + number / 30)
    feed = look(told, NOW + 60).feeds[0]
    assert feed.rate == 0 and feed.silence == pytest.approx(60 - 9 / 30, abs=1e-5) and feed.delay_ms is None


def test_only_the_first_command_for_an_image_is_its_latency(told):
    for image in range(30):
        taken = NOW + image / 30
        for repeat in range(3):
            told.answer(taken + 0.005 + repeat * 0.01, stamp(taken))
    latency = look(told, NOW + 1).latency
    assert latency.commands == 30
    assert latency.p50_ms == pytest.approx(5, abs=0.01) and latency.p99_ms == pytest.approx(5, abs=0.01)


def test_a_late_answer_shows_in_p99_and_leaves_with_the_window(told):
    for image in range(30):
        taken = NOW + image / 30
        told.answer(taken + (0.2 if image == 29 else 0.005), stamp(taken))
    assert look(told, NOW + 2).latency.p99_ms > 100
    assert look(told, NOW + 20).latency is None


def test_latency_goes_on_after_the_clock_of_the_camera_was_set_back(told):
    told.answer(NOW, stamp(NOW - 0.01))
    told.answer(NOW + 1, stamp(NOW - 3600))
    assert look(told, NOW + 1).latency.commands == 2


def test_a_reason_is_kept_when_the_words_change_not_the_numbers(told):
    for number, text in enumerate([
            "active: going", "active: going (limited: x)", "hold: 0.12 s old", "hold: 0.31 s old", "active: going"]):
        told.status("gate_node", text, NOW + number)
    assert [reason.text for reason in look(told).reasons] == ["active: going", "hold: 0.12 s old", "active: going"]


def test_nodes_are_absent_then_speak_then_leave_and_come_back(told):
    assert [node.state for node in look(told, present=()).nodes] == ["absent", "absent"]
    assert look(told).nodes[0].state == "silent"        # in the graph, and has not said a word
    told.status("policy_node", "active: each image is answered", NOW)
    assert look(told).nodes[0].reason == "each image is answered"
    left = look(told, NOW + 5, present=())
    assert left.nodes[0].state == "gone" and left.reasons[0].text == "has left the graph"
    assert look(told, NOW + 6, present=()).reasons == left.reasons      # told once
    told.status("policy_node", "inactive: not configured", NOW + 7)
    back = look(told, NOW + 7)
    assert back.nodes[0].state == "inactive" and back.reasons[0].text == "inactive: not configured"


def test_a_node_that_is_stuck_is_told_with_how_long(told):
    told.status("gate_node", "active: each image moves the arm", NOW)
    assert any("moves the arm (silent for 9.0 s)" in line for line in text_of(look(told, NOW + 9)))


def test_a_dry_run_topic_shows_only_once_it_is_used(told):
    assert [feed.name for feed in look(told).feeds] == ["image", "state", "servo_cp"]
    told.hear("dry_run", NOW)
    assert [feed.name for feed in look(told).feeds] == ["image", "state", "servo_cp", "dry_run"]


@pytest.mark.parametrize(("estop", "note", "word"), [
    (None, "nobody publishes it", "e-stop  nobody publishes it"), (True, "", "e-stop  PRESSED"),
    (False, "", "e-stop  free "), (False, "nobody publishes it", "e-stop  free, nobody publishes it")])
def test_the_emergency_stop_is_told_with_whether_it_still_has_a_voice(told, estop, note, word):
    if estop is not None:
        told.signal("estop", estop, NOW)
    assert word in text_of(look(told, NOW + 60, estop=note))[1]


@pytest.mark.parametrize(("value", "silence", "word"), [
    (True, 0.1, "held"), (False, 0.1, "released"), (True, 2.0, "silent for 2.0 s")])
def test_enable_counts_only_while_it_is_said(told, value, silence, word):
    told.signal("enable", value, NOW)
    assert f"enable  {word} " in text_of(look(told, NOW + silence))[1]


def full(told: Collector) -> Snapshot:
    for number in range(50):
        for name in SOURCES:
            told.hear(name, NOW + number / 30, stamp(NOW - 3600))
        told.status("gate_node", LONG + "ab"[number % 2], NOW + number)
    told.status("policy_node", LONG, NOW)
    told.tell_state("ENABLED")
    for name in (*NODES, "camera", "arm"):
        told.diagnose(name, 1, "a message", {f"key_{number}": "1.234" for number in range(12)}, NOW)
    return look(told, NOW + 50, image="2 publishers")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 20), (200, 60), (40, 24)])
def test_it_fits_the_terminal_however_much_there_is_to_tell(told, width, height):
    lines = text_of(full(told), width, height)
    assert len(lines) <= height and max(map(len, lines)) <= width


def test_at_80_by_24_all_that_matters_is_there(told):
    told.signal("enable", True, NOW + 50)
    lines = text_of(full(told))
    page = "\n".join(lines)
    for word in ("/endoscope/left/image_raw  2 publishers", "/PSM1/servo_cp", "/gate_node/dry_run/servo_cp",
                 " ENABLED ", "enable  held ", " HOLD ", "WARN gate_node", "WARN policy_node", "image to servo_cp"):
        assert word in page, page
    assert lines[-1].split()[1] == "gate_node"      # at least one reason with its time


def test_nothing_heard_at_all_is_told_too(told):
    page = "\n".join(text_of(look(told, present=(), image="nobody publishes it")))
    assert "no operating_state" in page and page.count("ABSENT") == 2 and "image_raw  nobody publishes it" in page


def test_a_snapshot_is_plain_data(told):
    assert json.loads(json.dumps(full(told).as_dict()))["nodes"][1]["state"] == "hold"


def test_an_unknown_level_of_diagnostics_is_told_as_it_is(told):
    told.diagnose("camera", 9, "", {}, NOW)
    assert look(told).diagnostics[0].level == "9"
