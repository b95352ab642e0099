"""Unity's line, byte by byte: recorded sessions of Unity's own C# are answered as the official package did; damaged
messages are told and never waited for."""

import base64
import json
import socket
import struct
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from envs.scenes.unity import Action, Behaviour, PlayerError, Sight, UnityScene
from envs.scenes.unity_channels import STATISTICS, SideChannels, heard
from envs.scenes.unity_link import UnityLink
from envs.scenes.unity_sight import decode, fit, newest_rgb, observed, split
from envs.scenes.unity_wire import METHOD, QUIT, SERVICE, UnityMessage, message_class
from envs.unity_presets import chosen
from envs.unity_sensors import Sensors
from tests.unity_player import png

RECORDED = sorted((Path(__file__).parent / "unity").glob("*.jsonl"))
ANALYTICS = bytes.fromhex("a9a464b6 6fd8 5f5a 95cb e8353a7e8356".replace(" ", ""))


def recorded(path):
    """(who speaks, message) of a session."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["dir"], UnityMessage.FromString(base64.b64decode(line["b64"]))) for line in lines]


class Replay:
    """Unity's side of a recorded session, sent again in a thread; `replies` are ours."""

    def __init__(self, path):
        self.sent = [message for who, message in recorded(path) if who == "unity>python"]
        self.wanted = [message for who, message in recorded(path) if who == "python>unity"]
        self.replies = []

    def start(self, port):
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._call = channel.unary_unary(f"/{SERVICE}/{METHOD}", UnityMessage.SerializeToString,
                                         UnityMessage.FromString)
        self._channel, self._thread = channel, threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        for message in self.sent:
            self.replies.append(self._call(message, wait_for_ready=True, timeout=30))

    def end(self):
        self._thread.join(20)
        self._channel.close()


def free_port():
    """One that nobody listens on now."""
    link = UnityLink(0)
    link.close()
    return link.port


def plain(message):
    """Fields by name, entries of maps by key."""
    told = json_format.MessageToDict(message, preserving_proto_field_name=True)
    for part in ("input", "output"):
        rl = told.get(part, {}).get("rl", {})
        for name in ("actions", "agents"):
            if name in rl:
                rl[name] = {entry["key"]: entry["value"] for entry in rl[name]}
        if not rl.get("side_channel", "x"):
            del rl["side_channel"]
    return told


def without_analytics(reply):
    """The official reply less its training analytics, which we do not send."""
    data, kept, at = reply.input.rl.side_channel, b"", 0
    while at < len(data):
        length = 20 + struct.unpack_from("<i", data, at + 16)[0]
        kept += b"" if data[at:at + 16] == ANALYTICS else data[at:at + length]
        at += length
    if data:
        reply.input.rl.side_channel = kept
    return reply


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_session_is_answered_as_the_official_package_answered(path):
    replay, port = Replay(path), free_port()
    replay.start(port)
    scene = UnityScene(port=port, seed=42, start_time=20, answer_time=20)
    scene.side.set_engine({"resolution": [84, 84], "quality": 1, "time_scale": 20, "target_frame_rate": -1,
                           "capture_frame_rate": 60})
    scene.side.set_parameters({"goal_radius": 0.3, "stiffness": {"uniform": [0.5, 2.0]}}, seed=7)
    scene.reset()
    for reply in replay.wanted[2:-1]:
        rl = reply.input.rl
        if rl.command:
            scene.reset()
            continue
        scene.step({entry.key: [Action(list(action.continuous), list(action.discrete)) for action in entry.value.value]
                    for entry in rl.actions})
    scene.close()
    replay.end()
    assert len(replay.replies) == len(replay.wanted) == len(replay.sent)
    for k, (mine, theirs) in enumerate(zip(replay.replies, replay.wanted, strict=True)):
        told, wanted = plain(mine), plain(without_analytics(theirs))
        if k == 0:      # what we are, and what we can, is our own to say
            abilities = wanted["input"]["init"]["abilities"]
            assert told["input"]["init"].pop("package") == "0.20.0" and wanted["input"]["init"].pop("package")
            assert abilities.pop("analytics") is True
            assert told["input"]["init"].pop("areas") == wanted["input"]["init"].pop("areas", 1)
        assert told == wanted, k


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_the_recorded_session_shows_is_read_as_it_was_meant(path):
    first = path.stem.startswith("package-3")
    seen = [info for who, message in recorded(path) if who == "unity>python"
            for entry in message.output.rl.agents for info in entry.value.value]
    for info in seen:
        picture, vector = (decode(entry, observed(entry, channels_first=first)) for entry in info.observations)
        assert picture.shape == (16, 16, 3) and picture.dtype == np.uint8 and vector.dtype == np.float32
        assert vector.tolist() == list(info.observations[1].floats.data)
    statistics = [heard(message.output.rl.side_channel).statistics for who, message in recorded(path)
                  if who == "unity>python"]
    assert [told for told in statistics if told] == ([{"Episode/Success": [(1.0, "average")]}] * 2 if first else [])


def test_the_schema_is_our_own_and_meets_no_other_in_the_pool_that_all_share():
    from google.protobuf import descriptor_pool
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("surgrl.unity.UnityMessage")
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("communicator_objects.UnityMessageProto")
    fields = {field.name: field.number for field in message_class("AgentInfo").DESCRIPTOR.fields}
    assert fields == {"reward": 7, "done": 8, "max_step_reached": 9, "id": 10, "action_mask": 11, "observations": 13,
                      "group": 14, "group_reward": 15}


def test_the_line_is_for_this_machine_alone_and_a_port_in_use_is_told():
    link = UnityLink(0)
    with pytest.raises(ValueError, match=f"port {link.port} is in use on this machine"):
        UnityLink(link.port)
    for family, address, heard_there in ((socket.AF_INET, "127.0.0.1", True), (socket.AF_INET, "127.0.0.2", False),
                                         (socket.AF_INET6, "::1", False)):
        with socket.socket(family) as line:
            assert (line.connect_ex((address, link.port)) == 0) is heard_there, address
    link.close()
    UnityLink(link.port).close()        # and is free again


def test_all_channels_say_what_they_are_told():
    side = SideChannels()
    side.set_engine({"capture_frame_rate": 30, "resolution": [320, 240]})
    side.set_parameters({"one": 1.5, "many": {"multirange": [[0, 1], [2, 3]]}, "normal": {"gaussian": [0, 2]}}, seed=9)
    side.set_property("speed", 2.0)
    side.send(STATISTICS, struct.pack("<i", 4) + b"cost" + struct.pack("<fi", 0.25, 2))
    data = side.flush()
    told = heard(data)
    assert told.properties == {"speed": 2.0} and told.statistics == {"cost": [(0.25, "sum")]}
    engine = [payload for channel, payload in told.other if str(channel).startswith("e951342c")]
    assert engine == [struct.pack("<iii", 0, 320, 240), struct.pack("<ii", 4, 30)]
    parameters = [payload for channel, payload in told.other if str(channel).startswith("534c891e")]
    assert parameters[0] == struct.pack("<i", 3) + b"one" + struct.pack("<if", 0, 1.5)
    assert parameters[1].endswith(struct.pack("<iiiiffff", 1, 9, 2, 4, 0, 1, 2, 3))
    assert parameters[2].endswith(struct.pack("<iiiff", 1, 9, 1, 0, 2)) and side.flush() == b""
    for k in range(1, len(data)):       # wherever it is cut, nothing but a ValueError
        try:
            heard(data[:k])
        except ValueError:
            continue


@pytest.mark.parametrize("name, value, told", [
    ("é", 1, "must be ASCII"), ("a", float("nan"), "must be finite"), ("a", {"uniform": [1]}, "must be two numbers"),
    ("a", {"normal": [0, 1]}, "must be a number, or one of"), ("a", {"multirange": [1, 2]}, "a list of"),
    ("a", 1e300, "must be finite"), ("a", {"gaussian": ["x", 1]}, "must hold numbers"), ("a", None, "must be")])
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_parameter_that_unity_cannot_take_is_refused(name, value, told):
    with pytest.raises(ValueError, match=told):
        SideChannels().set_parameters({name: value})


def test_a_stack_of_grey_frames_sent_as_floats_is_known_by_its_name():
    for name, frames, shown in (("StackingSensor_size3_EndoCam", 3, [230] * 3), ("EndoCam", 3, [26, 128, 230]),
                                ("StackingSensor_size6_EndoCam", 6, [230] * 3),
                                ("StackingSensor_size2_EndoCam", 6, [26, 128, 230])):
        planes = np.repeat(np.float32([0.1, 0.5, 0.9] * (frames // 3)), 16)
        message = UnityMessage()
        info = message.output.rl.agents.add().value.value.add()
        info.observations.add(name=name, shape=[frames, 4, 4]).floats.data.extend(planes.tolist())
        behaviour = Behaviour("Scope", (observed(info.observations[0], True),), 3, ())
        sensors = Sensors(behaviour, chosen("none", (), behaviour), camera=0, needed=True)
        assert sensors.picture(Sight(1, behaviour, info, ()))[0, 0].tolist() == shown, name


def picture_message(**fields):
    return message_class("Observation")(**fields)


def test_colours_travel_three_to_a_png_and_are_sorted_by_the_mapping():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 255, (5, 7, 3), np.uint8) for _ in range(2))
    five = picture_message(shape=[5, 5, 7], compression=1, png=png(a) + png(b), mapping=[0, 1, 2, 3, 4, -1])
    assert np.array_equal(decode(five, observed(five, True)), np.concatenate([a, b[:, :, :2]], axis=2))
    mixed = picture_message(shape=[2, 5, 7], compression=1, png=png(a), mapping=[1, 0, 1])
    seen = decode(mixed, observed(mixed, True))
    assert np.array_equal(seen[:, :, 0], a[:, :, 1])
    assert np.array_equal(seen[:, :, 1], a[:, :, [0, 2]].mean(2).astype(np.uint8))
    grey = picture_message(shape=[5, 7, 1], compression=1, png=png(np.repeat(a[:, :, :1], 3, 2)))
    assert np.array_equal(decode(grey, observed(grey, False)), a[:, :, :1])
    assert len(split(png(a) + png(b))) == 2


def test_the_newest_frame_is_taken_of_a_stack_and_grey_is_told_by_its_mapping():
    stack = np.arange(2 * 2 * 9, dtype=np.uint8).reshape(2, 2, 9)
    assert np.array_equal(newest_rgb(stack), stack[:, :, 6:])
    assert np.array_equal(newest_rgb(stack[:, :, :3], [0, 0, 0, 1, 1, 1, 2, 2, 2]), np.repeat(stack[:, :, 2:3], 3, 2))
    assert np.array_equal(newest_rgb(stack[:, :, :4]), np.repeat(stack[:, :, 3:4], 3, 2))
    assert fit(stack[:, :, :3], None) is not None and fit(stack[:, :, :3], (16, 20)).shape == (16, 20, 3)


@pytest.mark.parametrize("fields, told", [
    ({"shape": [4, 4, 3], "compression": 1, "png": b""}, "holds no picture"),
    ({"shape": [4, 4, 3], "compression": 1, "png": b"JFIF"}, "is no PNG"),
    ({"shape": [4, 4, 3], "compression": 1, "png": png(np.zeros((4, 4, 3), np.uint8))[:-3]}, "cut off"),
    ({"shape": [4, 5, 3], "compression": 1, "png": png(np.zeros((4, 4, 3), np.uint8))}, "is not 5x4 px"),
    ({"shape": [4, 4, 4], "compression": 1, "png": png(np.zeros((4, 4, 3), np.uint8))}, "do not make 4 channels"),
    ({"shape": [4, 4, 3], "compression": 7}, "compressed in an unknown way"),
    ({"shape": [4]}, "holds 0 numbers"), ({"shape": [-1]}, "has the shape"), ({}, "has the shape"),
    ({"shape": [2 ** 30, 2 ** 30]}, "has the shape"),
    ({"shape": [1], "floats": {"data": [float("inf")]}}, "not finite")])
def test_an_observation_that_cannot_be_is_refused(fields, told):
    message = picture_message(**fields)
    with pytest.raises(ValueError, match=told):
        decode(message, observed(message, False))


def sent(replay, at, data):
    """A session whose message of that number is `data`: what came of it, seconds, and status of the last reply."""
    messages = [message.SerializeToString() for message in replay.sent]
    messages = [*messages[:at], data, *(messages[1:2] if at == 0 else [])]     # after hello, the call that waits
    port, statuses = free_port(), []
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[
        ("grpc.max_send_message_length", -1), ("grpc.initial_reconnect_backoff_ms", 20),
        ("grpc.min_reconnect_backoff_ms", 20)])

    def play():
        call = channel.unary_unary(f"/{SERVICE}/{METHOD}")
        for message in messages:
            statuses.append(UnityMessage.FromString(call(message, wait_for_ready=True, timeout=20)).header.status)
            if statuses[-1] == QUIT:
                return

    thread, scene, outcome, began = threading.Thread(target=play, daemon=True), None, "sound", time.monotonic()
    thread.start()
    try:
        scene = UnityScene(port=port, start_time=20, answer_time=20)
        for k in range(at - 1):
            if k == 0:
                scene._exchange(1, {})
            else:
                scene.step({name: [Action([0.0] * sight.behaviour.continuous, [1] * len(sight.behaviour.branches))
                                   for sight in sights] for name, sights in scene.decisions.items()})
        for sights in (*scene.decisions.values(), *scene.endings.values()):
            for sight in sights:
                for k in range(len(sight.behaviour.observations)):
                    sight.observation(k)
    except PlayerError as error:
        outcome = str(error)
    took = time.monotonic() - began
    if scene is not None:
        scene.close()
    thread.join(20)
    channel.close()
    assert not thread.is_alive() and statuses[-1] == QUIT       # Unity, too, is let go
    return outcome, took


def damaged(rng, data):
    """Cut, overwritten, or something else altogether."""
    kind, data = rng.integers(4), bytearray(data)
    if kind == 0:
        return bytes(data[:rng.integers(len(data))])
    if kind == 1:
        for place in rng.integers(len(data), size=rng.integers(1, 8)):
            data[place] = rng.integers(256)
        return bytes(data)
    if kind == 2:
        start = rng.integers(len(data))
        return bytes(data[:start] + data[start + rng.integers(1, 40):])
    return rng.integers(0, 256, rng.integers(1, 400), np.uint8).tobytes()


def fuzz(count):
    """Of so many damaged messages, each told or (a changed colour, say) sound; never waited for, nothing else."""
    rng, told = np.random.default_rng(0), {}
    for k in range(count):
        replay = Replay(RECORDED[k % 2])
        at = (0, 2, 3, 5)[rng.integers(4)]
        outcome, took = sent(replay, at, damaged(rng, replay.sent[at].SerializeToString()))
        assert took < 10, outcome
        told[outcome.split("(")[0][:40]] = told.get(outcome.split("(")[0][:40], 0) + 1
    assert sum(told.values()) == count and told.get("sound", 0) < 0.4 * count and len(told) > 5, told
    return told


def test_damaged_messages_are_told_and_never_waited_for():
    fuzz(40)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_damaged_messages_are_told_and_never_waited_for():
    print(fuzz(1000))


@pytest.mark.parametrize("at, data, told", [
    (0, b"\xff\xff\xff", "3 bytes that are no message of ML-Agents"), (0, b"", "the status 0"),
    (0, UnityMessage(header={"status": 200}).SerializeToString(), "version none of ML-Agents' API"),
    (0, UnityMessage(header={"status": 200}, output={"init": {"api": "2.0.0"}}).SerializeToString(), "version 2.0.0"),
    (0, UnityMessage(header={"status": 400, "message": "bye"}).SerializeToString(), "Unity quit: bye"),
    (2, UnityMessage(header={"status": 200}, output={"rl": {"agents": [{"key": "x", "value": {"value": [{}]}}]}}
                     ).SerializeToString(), "behaviour 'x', which was not announced"),
    (2, UnityMessage(header={"status": 200}, output={"rl": {"side_channel": b"123"}}).SerializeToString(),
     "a header is cut off")])
def test_what_is_wrong_with_a_message_is_said(at, data, told):
    outcome, _ = sent(Replay(RECORDED[1]), at, data)
    assert told in outcome


def test_a_message_far_above_grpcs_limit_of_4_mb_arrives():
    replay = Replay(RECORDED[1])
    large = replay.sent[2]
    entry = large.output.rl.agents[0].value.value[0].observations[1]
    entry.shape[0] = 2_000_000
    entry.floats.data.extend([0.5] * (2_000_000 - len(entry.floats.data)))
    data = large.SerializeToString()
    assert len(data) > 8_000_000 and sent(replay, 2, data)[0] == "sound"
