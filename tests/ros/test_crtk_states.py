"""CRTK's table of states, row by row."""

import pytest

from ros_nodes.crtk import OperatingState
from surgrl.policy.errors import UserError

WAY = {"DISABLED": ("disable",), "ENABLED": ("enable",), "PAUSED": ("enable", "pause"), "FAULT": ("enable",)}


def in_state(word: str) -> OperatingState:
    state = OperatingState(ready=False, homing=0.5)
    for command in WAY[word]:
        state.command(command)
    if word == "FAULT":
        state.fail()
    assert state.word == word
    return state


@pytest.mark.parametrize(("before", "command", "after"), [
    ("DISABLED", "enable", "ENABLED"), ("FAULT", "enable", "ENABLED"), ("ENABLED", "pause", "PAUSED"),
    ("PAUSED", "resume", "ENABLED"), ("DISABLED", "disable", "DISABLED"), ("ENABLED", "disable", "DISABLED"),
    ("PAUSED", "disable", "DISABLED"), ("FAULT", "disable", "DISABLED"), ("ENABLED", "home", "ENABLED")])
def test_a_command_leads_on(before, command, after):
    state = in_state(before)
    state.command(command)
    assert state.word == after


@pytest.mark.parametrize(("before", "command"), [
    ("PAUSED", "enable"), ("DISABLED", "pause"), ("FAULT", "pause"), ("DISABLED", "resume"), ("FAULT", "resume"),
    ("DISABLED", "home"), ("PAUSED", "home"), ("FAULT", "home"), ("ENABLED", "stop")])
def test_a_command_that_means_nothing_there_is_refused_and_changes_nothing(before, command):
    state = in_state(before)
    with pytest.raises(UserError, match=command):
        state.command(command)
    assert state.word == before and not state.ready


def test_homing_takes_its_time_and_only_then_is_it_ready():
    state = in_state("ENABLED")
    state.command("home")
    state.pass_time(0.4)
    assert state.busy and not state.homed and not state.ready
    state.pass_time(0.2)
    assert state.ready and not state.busy
    state.command("unhome")
    assert state.word == "ENABLED" and not state.ready


@pytest.mark.parametrize("command", ["disable", "pause"])
def test_homing_does_not_outlive_a_stop(command):
    state = in_state("ENABLED")
    state.command("home")
    state.command(command)
    state.pass_time(1.0)
    assert not state.homed and not state.busy


@pytest.mark.parametrize(("meanwhile", "after"), [((), "ENABLED"), (("disable",), "DISABLED"), (("pause",), "PAUSED"),
                                                  (("resume",), "ENABLED"), (("resume", "pause"), "PAUSED")])
def test_an_interruption_ends_by_itself_unless_somebody_commands_otherwise(meanwhile, after):
    state = OperatingState(ready=True, homing=0.5)
    state.interrupt()
    assert state.word == "PAUSED"
    for command in meanwhile:
        state.command(command)
    state.go_on()
    assert state.word == after


@pytest.mark.parametrize("before", ["DISABLED", "PAUSED", "FAULT"])
def test_an_interruption_enables_nothing(before):
    state = in_state(before)
    state.interrupt()
    state.go_on()
    assert state.word == before
