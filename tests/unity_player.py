"""A headless stand-in for a built Unity player: it speaks the client's side of ML-Agents, in the C#'s own order.

    python tests/unity_player.py --actions multi --mlagents-port 5004

Its world: a point in as many dimensions as there are actions, to be brought to the origin; the camera shows it. What
comes from Unity by itself is done here too: an episode's end begins the next one, and a forced reset costs each agent
a step with an action of zeros. `--log` writes what it was told.
"""

import argparse
import json
import os
import socket
import struct
import sys
import threading
import time
import uuid
import zlib
from pathlib import Path

import grpc
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from envs.scenes.unity_wire import METHOD, OK, PNG, QUIT, RESET, SERVICE, UnityMessage  # noqa: E402

SPECS = {"continuous": (3, ()), "two": (2, ()), "four": (4, ()), "single": (0, (5,)), "multi": (0, (3, 3, 3)),
         "hybrid": (2, (3, 2)), "none": (0, ())}
STATISTICS = uuid.UUID("a1d8f7b7-cec8-50f9-b78b-d3e165a78520")
STEP = 0.1          # of the world, that an action of 1 moves
GOAL = 0.15


def arguments(words=None):
    """What the stand-in is to be like."""
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--mlagents-port", type=int, default=5004)
    add("--actions", choices=SPECS, default="continuous")
    add("--package", default="3.0.0")
    add("--api", default="1.5.0")
    add("--size", type=int, default=84, help="px of the camera; 0: none")
    add("--width", type=int, default=0, help="px, where it is not square")
    add("--channels", type=int, default=3, help="1 grey, 3 colours, 9 a stack of three")
    add("--floats", action="store_true", help="pictures as floats, not as PNG")
    add("--cached", action="store_true", help="the same few pictures again and again, drawn once")
    add("--mask", action="store_true", help="a second camera, named mask")
    add("--vector", type=int, default=4, help="numbers of the vector observation; 0: none")
    add("--forbid", action="store_true", help="mask the first choice of each branch in every other step")
    add("--agents", type=int, default=1)
    add("--helper", action="store_true", help="a second behaviour, of one discrete agent without camera")
    add("--stagger", action="store_true", help="agent k decides in every k+1st step")
    add("--late", type=int, default=0, help="messages before the point first decides; the helper does from the start")
    add("--new-ids", action="store_true", help="a new id for every episode, as older packages give")
    add("--alone", action="store_true", help="an ending in a message of its own, as with a decision period")
    add("--max-step", type=int, default=20)
    add("--endless", action="store_true", help="the goal ends nothing")
    add("--die-after", type=int, default=0, help="exchanges")
    add("--hang-after", type=int, default=0)
    add("--quit-after", type=int, default=0)
    add("-nographics", dest="blind", action="store_true", help="draw nothing, as Unity then does")
    add("--silent", action="store_true", help="never connect")
    add("--slow-start", type=float, default=0.0, help="s before connecting")
    add("--log", help="JSON file")
    return parser.parse_known_args(words)[0]


def png(image):
    """(H, W, 3) uint8 -> a PNG."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    height, width, _ = image.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)) + chunk(b"IEND", b""))


class Agent:
    """One point, and what is told of it."""

    counter = 0

    def __init__(self, name, actions, options, camera, rng, parameters):
        self.name, (self.continuous, self.branches), self.rng = name, SPECS[actions], rng
        self.parameters = parameters
        self.options, self.camera, self.frames = options, camera, []
        Agent.counter += 1
        self.id, self.taken = Agent.counter, None
        self.begin()

    def begin(self):
        if self.options.new_ids:
            Agent.counter += 1
            self.id = Agent.counter
        if "seed" in self.parameters:      # read anew for each episode, as unity/EpisodeAgent.cs does
            self.rng = np.random.default_rng(int(self.parameters["seed"]))
        self.position = self.rng.uniform(0.3, 0.9, 3) * self.rng.choice([-1.0, 1.0], 3)
        self.steps, self.frames = 0, []

    def act(self, action):
        """A step; `ended` and `cut` tell of it."""
        move = np.zeros(3)
        numbers = list(action.continuous) if action else [0.0] * self.continuous
        choices = list(action.discrete) if action else [0] * len(self.branches)
        assert len(numbers) == self.continuous and len(choices) == len(self.branches), (numbers, choices)
        assert all(0 <= choice < size for choice, size in zip(choices, self.branches, strict=True)), choices
        if action and list(action.old) != [np.float32(value) for value in (*numbers, *choices)]:
            raise AssertionError("the field of API 1.0 differs")
        along = [*numbers, *(2 * choice / (size - 1) - 1 for choice, size in
                             zip(choices, self.branches, strict=True))][:3]
        move[:len(along)] = along
        self.position = np.clip(self.position + STEP * move, -1, 1)
        self.steps, self.taken = self.steps + 1, action
        self.reward = -float(np.abs(self.position).sum())
        reached = float(np.abs(self.position[:max(1, len(along))]).max()) < GOAL and not self.options.endless
        self.ended, self.cut = reached or self.steps >= self.options.max_step, not reached

    def picture(self, flat=False):
        height, width = self.options.size, self.options.width or self.options.size
        if self.options.blind:
            return np.zeros((height, width, 3), np.uint8)
        rows, columns = np.mgrid[0:height, 0:width]
        x, y = (self.position[:2] + 1) / 2 * (width - 1, height - 1)
        away = np.hypot(columns - x, rows - y)
        if flat:
            return np.repeat(np.uint8(255 * (away < height / 8))[:, :, None], 3, axis=2)
        image = np.empty((height, width, 3), np.uint8)
        image[:, :, 0] = np.clip(255 - 6 * away, 0, 255)
        image[:, :, 1] = int(127 + 120 * self.position[2])
        image[:, :, 2] = rows * 255 // height
        return image

    def observe(self, info, chw):
        """Fill in the observations."""
        if self.camera:
            self.draw(info.observations.add(name="EndoCam"), chw)
            if self.options.mask:
                entry = info.observations.add(name="mask", compression=PNG, png=png(self.picture(flat=True)))
                self.shape(entry, 3, chw)
        count = self.options.vector if self.camera else 2
        if count:
            values = [*self.position, float(self.steps), *[0.0] * max(0, count - 4)][:count]
            entry = info.observations.add(name=f"VectorSensor_size{count}", shape=[count])
            entry.floats.data.extend(values)

    def shape(self, entry, channels, chw):
        sides = [self.options.size, self.options.width or self.options.size]
        entry.shape.extend([channels, *sides] if chw else [*sides, channels])

    def draw(self, entry, chw):
        channels = self.options.channels
        self.shape(entry, channels, chw)
        if self.options.cached:
            if not hasattr(self.options, "drawn"):
                pictures = [self.rng.integers(0, 255, (self.options.size, self.options.size, 3), np.uint8)
                            for _ in range(8)]
                self.options.drawn = [(png(image), (image / np.float32(255)).ravel().tolist()) for image in pictures]
            data, floats = self.options.drawn[self.steps % 8]
            if self.options.floats:
                entry.floats.data.extend(floats)
            else:
                entry.compression, entry.png = PNG, data
            return
        now = self.picture()
        self.frames = [*(self.frames or [now] * 3), now][-3:]
        whole = np.concatenate(self.frames, axis=2) if channels == 9 else now
        if channels == 1:
            whole = whole.mean(axis=2, keepdims=True).astype(np.uint8)
        if self.options.floats:
            order = whole.transpose(2, 0, 1) if chw else whole
            entry.floats.data.extend((order / np.float32(255)).ravel().tolist())
            return
        entry.compression = PNG
        if channels == 9:
            entry.png = b"".join(png(frame) for frame in self.frames)
            entry.mapping.extend(range(9))
        elif channels == 1:
            entry.png = png(np.repeat(whole, 3, axis=2))
            if chw:
                entry.mapping.extend([0, 0, 0])
        else:
            entry.png = png(whole)


class Academy:
    """The agents, and the conversation about them."""

    def __init__(self, options):
        self.options, self.log = options, {"resets": 0, "parameters": {}, "engine": [], "other": 0, "acted": 0}
        self.chw = int(options.package.split(".")[0]) >= 3
        channel = grpc.insecure_channel(f"localhost:{options.mlagents_port}", options=[
            ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)])
        grpc.channel_ready_future(channel).result(30)
        self.exchange = channel.unary_unary(f"/{SERVICE}/{METHOD}", UnityMessage.SerializeToString,
                                            UnityMessage.FromString)
        self.announced, self.count, self.statistics = set(), 0, b""

    def run(self):
        """From hello to the end; the exit code."""
        options, hello = self.options, message()
        init = hello.output.init
        init.name, init.api, init.package = "AcademySingleton", options.api, options.package
        init.abilities.base = init.abilities.concatenated_png = init.abilities.hybrid_actions = True
        reply = self.exchange(hello)
        if reply.header.status != OK:
            return 0
        self.log["seed"], self.log["trainer"] = reply.input.init.seed, reply.input.init.package
        rng = np.random.default_rng(reply.input.init.seed)
        reply = self.exchange(message())
        if reply.header.status != OK:
            return 0
        self.hear(reply)
        self.agents = [Agent("Scope?team=0", options.actions, options, options.size > 0, rng, self.log["parameters"])
                       for _ in range(options.agents)]
        if options.helper:
            self.agents.append(Agent("Helper?team=0", "single", options, False, rng, self.log["parameters"]))
        for tick in range(10 ** 9):
            deciding = [agent for k, agent in enumerate(self.agents)
                        if (not options.stagger or tick % (k % options.agents + 1) == 0)
                        and (tick >= options.late or agent.name.startswith("Helper"))]
            reply = self.tell([], deciding)
            if reply.header.status != OK:
                break
            if self.hear(reply):        # a forced reset: each acts with zeros, and nothing is told of it
                for agent in self.agents:
                    agent.begin()
                    agent.act(None)
                continue
            actions = {entry.key: list(entry.value.value) for entry in reply.input.rl.actions}
            for agent in deciding:
                agent.act(actions[agent.name].pop(0))
            assert not any(actions.values()), "more actions than agents"
            self.log["acted"] += len(deciding)
            ending = [agent for agent in deciding if agent.ended]
            if ending and not self.finish(ending):
                break
        return 0

    def finish(self, ending):
        """Tell of the endings, and begin the next episodes; False when the trainer quits."""
        for agent in ending:
            self.record("Episode/Success", float(not agent.cut))
        infos = [(agent, agent.reward, agent.cut, self.told(agent)) for agent in ending]
        for agent in ending:
            agent.begin()
        if self.options.alone:
            reply = self.tell(infos, [])
            self.hear(reply)
            return reply.header.status == OK
        self.waiting = infos
        return True

    waiting = ()

    def tell(self, endings, deciding):
        """One exchange."""
        sent = message()
        rl, entries = sent.output.rl, {}
        for agent, reward, cut, info in [*self.waiting, *endings]:
            entry = entries.setdefault(agent.name, None) or rl.agents.add(key=agent.name)
            entries[agent.name] = entry
            copy = entry.value.value.add()
            copy.CopyFrom(info)
            copy.reward, copy.done, copy.max_step_reached = reward, True, cut
        self.waiting = ()
        for agent in deciding:
            entry = entries.setdefault(agent.name, None) or rl.agents.add(key=agent.name)
            entries[agent.name] = entry
            info = self.told(agent)
            info.reward = getattr(agent, "reward", 0.0) if agent.steps else 0.0
            entry.value.value.add().CopyFrom(info)
        for agent in self.agents:
            if agent.name in entries and agent.name not in self.announced:
                self.announced.add(agent.name)
                self.announce(sent.output.init.brains.add(), agent)
        rl.side_channel, self.statistics = self.statistics, b""
        self.count += 1
        if self.options.die_after and self.count > self.options.die_after:
            print("Unity crashed: out of luck", flush=True)
            os._exit(7)
        if self.options.hang_after and self.count > self.options.hang_after:
            time.sleep(600)
        if self.options.quit_after and self.count > self.options.quit_after:
            sent = message()
            sent.header.status = QUIT
        return self.exchange(sent)

    def told(self, agent):
        """AgentInfo of now."""
        holder = UnityMessage().output.rl.agents.add().value.value.add()
        holder.id = agent.id
        agent.observe(holder, self.chw)
        if self.options.forbid and agent.steps % 2:
            holder.action_mask.extend([k == 0 for size in agent.branches for k in range(size)])
        return holder

    def announce(self, brain, agent):
        brain.name, brain.training = agent.name, True
        if tuple(map(int, self.options.api.split("."))) >= (1, 3, 0):
            brain.actions.continuous, brain.actions.discrete = agent.continuous, len(agent.branches)
            brain.actions.branches.extend(agent.branches)
        else:
            brain.old_size.extend(agent.branches or [agent.continuous])
            brain.old_space = int(not agent.branches)

    def record(self, name, value):
        payload = struct.pack("<i", len(name)) + name.encode() + struct.pack("<fi", value, 0)
        self.statistics += STATISTICS.bytes_le + struct.pack("<i", len(payload)) + payload

    def hear(self, reply):
        """Side channels of a reply; whether it resets."""
        data, at = reply.input.rl.side_channel, 0
        while at < len(data):
            channel, length = str(uuid.UUID(bytes_le=data[at:at + 16])), struct.unpack_from("<i", data, at + 16)[0]
            payload, at = data[at + 20:at + 20 + length], at + 20 + length
            if channel.startswith("534c891e"):
                size = struct.unpack_from("<i", payload)[0]
                kind, value = struct.unpack_from("<if", payload, 4 + size)
                self.log["parameters"][payload[4:4 + size].decode()] = value if kind == 0 else payload[4 + size:].hex()
            elif channel.startswith("e951342c"):
                self.log["engine"].append(payload.hex())
            else:
                self.log["other"] += 1
        reset = reply.input.rl.command == RESET
        self.log["resets"] += reset
        return reset


class Beside(threading.Thread):
    """A stand-in in a thread of this process, for tests that are not about processes."""

    def __init__(self, *words):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        super().__init__(daemon=True)
        self.options, self.error, self.log = arguments([*words, "--mlagents-port", str(self.port)]), None, {}
        self.start()

    def run(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:      # a channel that finds nobody waits a second before it looks again
            with socket.socket() as line:
                if line.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.01)
        try:
            academy = Academy(self.options)
            self.log = academy.log
            academy.run()
        except Exception as error:
            self.error = error


def message():
    """An empty one, of status OK."""
    sent = UnityMessage()
    sent.header.status = OK
    return sent


def main():
    """Play until the trainer quits."""
    options = arguments()
    print("stand-in for a Unity player", flush=True)
    if options.silent:
        time.sleep(600)
    time.sleep(options.slow_start)
    academy = Academy(options)
    try:
        return academy.run()
    except grpc.RpcError as error:          # the trainer is gone: a player quits too
        return 0 if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) else 1
    finally:
        if options.log:
            Path(options.log).write_text(json.dumps(academy.log))


if __name__ == "__main__":
    sys.exit(main())
