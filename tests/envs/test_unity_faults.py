"""What goes wrong with a player: it dies, hangs, quits, never connects; and nothing of ours hangs with it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401  registers the ids
from envs.scenes.unity_link import PlayerError
from tests.unity_player import Beside

ROOT = Path(__file__).parents[2]
PLAYER = [sys.executable, str(ROOT / "tests" / "unity_player.py"), "--size", "16"]
SMALL = {"image_size": (16, 16)}


def left(before):
    """Threads that were not there before; gRPC's own, which ends a server, takes a moment to end itself."""
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    return set(threading.enumerate()) - before


def running(player):
    """Whether a process, by its folder in /proc, still runs; one that has ended waits there for its new parent."""
    try:
        return (player / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until_lost(env):
    """Steps until the player is lost; the error, and the seconds that its step took."""
    env.reset()
    for _ in range(200):
        began = time.monotonic()
        try:
            *_, terminated, truncated, _ = env.step(np.zeros(3))
            if terminated or truncated:
                env.reset()
        except PlayerError as error:
            return str(error), time.monotonic() - began
    raise AssertionError("nothing was lost")


def test_a_player_that_dies_is_told_with_its_last_words():
    env = gymnasium.make("surgrl/Unity-v0", player=[*PLAYER, "--die-after", "3"], **SMALL)
    told, _ = until_lost(env)
    assert "the player exited with code 7; it said last: stand-in for a Unity player Unity crashed: out of luck" in told
    with pytest.raises(PlayerError, match="make the environment anew"):
        env.step(np.zeros(3))
    env.close()


def test_a_player_that_is_killed_is_told_and_leaves_nothing():
    before = set(threading.enumerate())
    env = gymnasium.make("surgrl/Unity-v0", player=PLAYER, **SMALL)
    env.reset()
    process = env.unwrapped.unity._player.process
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    with pytest.raises(PlayerError) as caught:
        for _ in range(3):
            env.step(np.zeros(3))
    told = str(caught.value)
    assert "was killed by signal 9" in told or "closed the connection" in told
    env.close()
    assert not left(before)


def test_a_player_that_hangs_is_told_after_the_time_that_it_is_given_and_ended():
    env = gymnasium.make("surgrl/Unity-v0", player=[*PLAYER, "--hang-after", "3"], answer_time=3.0, **SMALL)
    process = env.unwrapped.unity._player.process
    told, took = until_lost(env)
    assert "no answer from Unity within 3 s" in told and 2.9 < took < 8
    env.close()
    assert process.poll() is not None


@pytest.mark.parametrize("gone", [False, True])     # whether the wrapper has ended already
def test_a_player_behind_a_wrapper_ends_too(gone, tmp_path):
    wrapper = tmp_path / "wrapper.sh"
    words = " ".join(PLAYER)
    wrapper.write_text(f'#!/bin/sh\n{words} --hang-after 3 "$@" &\necho $! > {tmp_path}/player\nwait\n')
    wrapper.chmod(0o755)
    env = gymnasium.make("surgrl/Unity-v0", player=str(wrapper), answer_time=3.0, **SMALL)
    player = Path("/proc", (tmp_path / "player").read_text().strip())
    if gone:
        env.unwrapped.unity._player.process.kill()
    until_lost(env)
    assert running(player)
    env.close()
    assert not running(player)


def test_a_player_that_never_connects_is_told_and_ended():
    before = set(threading.enumerate())
    with pytest.raises(PlayerError, match="no player from Unity within 2 s"):
        gymnasium.make("surgrl/Unity-v0", player=[*PLAYER, "--silent"], start_time=2.0)
    assert not left(before)


def test_a_player_that_ends_before_it_connects_is_told_at_once():
    with pytest.raises(PlayerError, match="exited with code 3; it said last: no licence"):
        gymnasium.make("surgrl/Unity-v0", player=[sys.executable, "-c", "print('no licence'); raise SystemExit(3)"])


def test_a_player_is_told_to_say_its_last_words_to_us_before_ones_own_arguments():
    tells = [sys.executable, "-c", "import sys; print(*sys.argv[1:]); raise SystemExit(3)"]
    with pytest.raises(PlayerError, match=r"said last: -batchmode -logFile - -logFile mine.log --mlagents-port \d+"):
        gymnasium.make("surgrl/Unity-v0", player=tells, arguments=["-logFile", "mine.log"])


def test_a_player_connects_past_an_http_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for others in (None, "mirror.local"):
        if others:
            monkeypatch.setenv("no_proxy", others)
            monkeypatch.setenv("no_grpc_proxy", others)
        env = gymnasium.make("surgrl/Unity-v0", player=PLAYER, start_time=20.0, **SMALL)
        env.reset()
        env.close()


def test_a_player_that_draws_nothing_is_told_before_anybody_learns_from_it():
    with pytest.raises(ValueError, match="no_graphics: the camera's picture is all of one colour"):
        gymnasium.make("surgrl/Unity-v0", player=PLAYER, no_graphics=True)
    env = gymnasium.make("surgrl/Unity-v0", player=PLAYER, no_graphics=True, observation="state")
    env.reset()
    env.close()


def test_an_editor_in_which_nobody_presses_play_is_told():
    with pytest.raises(PlayerError, match=r"press Play; it looks on port \d+\) from Unity within 0.5 s"):
        gymnasium.make("surgrl/Unity-v0", port=0, start_time=0.5)


def test_a_player_that_quits_is_told():
    player = Beside("--size", "16", "--quit-after", "3")
    env = gymnasium.make("surgrl/Unity-v0", port=player.port, **SMALL)
    told, took = until_lost(env)
    assert told == "Unity quit" and took < 5
    env.close()
    player.join(10)
    assert player.error is None


def test_a_second_unity_on_the_same_line_is_sent_away():
    first = Beside("--size", "16")
    env = gymnasium.make("surgrl/Unity-v0", port=first.port, **SMALL)
    env.reset()
    second = Beside("--size", "16")
    second.options.mlagents_port = second.port = first.port
    second.join(15)
    assert not second.is_alive()
    env.step(np.zeros(3))
    env.close()
    first.join(10)
    assert first.error is None


def test_no_thread_and_no_process_is_left_behind():
    before = set(threading.enumerate())
    env = gymnasium.make("surgrl/Unity-v0", player=PLAYER, **SMALL)
    env.reset()
    process = env.unwrapped.unity._player.process
    env.close()
    env.close()
    assert not left(before) and process.poll() == 0


@pytest.mark.parametrize("ending", ["raise KeyError('mine')", "sys.exit(5)", "os.kill(os.getpid(), signal.SIGINT)"])
def test_a_program_that_ends_in_the_midst_ends_in_seconds_and_takes_its_player_along(ending, tmp_path):
    code = (f"import os, signal, sys, time, gymnasium, numpy as np\n"
            f"env = gymnasium.make('envs:surgrl/Unity-v0', player={[*PLAYER, '--cached']!r}, image_size=(16, 16))\n"
            "env.reset()\nenv.step(np.zeros(3))\n"
            f"print(env.unwrapped.unity._player.process.pid, flush=True)\n{ending}\ntime.sleep(60)\n")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    player = int(process.stdout.readline())
    began = time.monotonic()
    assert process.wait(30) != 0
    took = time.monotonic() - began
    process.stdout.close()
    assert took < 3 * max(1.0, os.getloadavg()[0] / os.cpu_count())      # 3 s on a machine that is not overloaded
    for _ in range(100):
        if not Path(f"/proc/{player}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{player}").exists()


def resident():
    """MB of this process that are in memory."""
    with open("/proc/self/statm") as status:
        return int(status.read().split()[1]) * 4096 / 1e6


def grown(steps, warm_up):
    """MB after so many steps with resets, most of them by themselves and some by force."""
    before = set(threading.enumerate())
    env = gymnasium.make("surgrl/Unity-v0", player=[*PLAYER, "--cached"], **SMALL)
    start = 0.0
    env.reset()
    for k in range(steps + warm_up):
        if k == warm_up:
            start = resident()
        *_, terminated, truncated, _ = env.step(np.zeros(3))
        if terminated or truncated or k % 97 == 0:
            env.reset()
    more = resident() - start
    env.close()
    assert not left(before)
    return more


def test_memory_does_not_grow_over_some_steps():
    assert grown(1000, 300) < 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_does_not_grow_over_100000_steps():
    more = grown(100_000, 2000)
    print(f"grown by {more:.2f} MB")
    assert more < 5
