"""`surgrl serve` end to end: robot or recording, policy, gate, results; what it refuses; what it leaves behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import yaml

from surgrl import serve
from surgrl.node_process import parameter_file
from surgrl.policy.errors import UserError
from surgrl.serve import serve_episodes, summary
from surgrl.video_writer import write_video


def children_of(pid: int) -> list[int]:
    """Processes that `pid` has started (Linux)."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def alive(pid: int) -> bool:
    """Whether the process runs."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int], seconds: float = 8.0) -> bool:
    """Whether all end in time."""
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path_factory):
    """The audit logs of the tests are not the user's."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_orphans():
    """Each test ends with the child processes that it began with."""
    before = children_of(os.getpid())
    yield
    assert set(children_of(os.getpid())) <= set(before)


@pytest.fixture(autouse=True)
def impatience(monkeypatch):
    """Nobody else is in the domains of these tests; the one about those who are says how long it waits for them."""
    monkeypatch.setattr(serve, "DISCOVERY", 0.3)


def test_episodes_are_served_recorded_and_told(domain, right, tmp_path, home):
    pytest.importorskip("mcap")
    lines: list[str] = []
    results = serve_episodes(right, episodes=1, seed=5, domain=domain + 3, width=320, height=240,
                             results=tmp_path / "results.json", record=tmp_path / "bags", say=lines.append)
    (episode,) = results["episodes"]
    assert episode["seed"] == 5 and len(episode["latency_ms"]) > 10 and not results["interrupted"]
    assert "gate active: each action moves the arm" in lines
    assert any(line.startswith("episode 1/1:") for line in lines)
    assert not (home / ".surgrl").exists()      # no log is kept of a robot that was not there
    (folder,) = (tmp_path / "bags").iterdir()
    told = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    counts = {topic["topic_metadata"]["name"]: topic["message_count"] for topic in told["topics_with_message_count"]}
    assert counts["/PSM1/servo_cp"] > 10 and counts["/endoscope/left/image_raw/compressed"] > 10
    assert counts["/gate_node/status"] > 1
    assert summary(results).startswith(f"success {int(episode['success'])}/1, image-to-command p50")


def test_the_simulated_robot_answers_where_the_parameters_say_that_the_real_one_does(domain, right, tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text(parameter_file("policy.yaml").read_text().replace("PSM1", "PSM2").replace(
        "/endoscope/left/", "/davinci/left/").replace("ECM", "camera"))
    lines: list[str] = []
    results = serve_episodes(right, episodes=1, seed=5, domain=domain + 3, width=160, height=120, params=file,
                             say=lines.append)
    assert len(results["episodes"][0]["latency_ms"]) > 10 and "gate active: each action moves the arm" in lines


def servoing_to(goal: np.ndarray, folder: Path, make_bundle) -> Path:
    """A bundle that reads the tip from proprio and goes to `goal` (3,) m in the optical frame, at 6/s."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper
    bundle = make_bundle(folder, proprio=("x", "y", "z"))
    gain = np.float32(6.0 / 0.05)
    nodes = [helper.make_node("Sub", ["goal", "proprio"], ["way"]),
             helper.make_node("Mul", ["way", "gain"], ["wanted"]),
             helper.make_node("Clip", ["wanted", "low", "high"], ["action"])]
    values = {"goal": np.float32(goal)[None], "gain": gain, "low": np.float32(-1), "high": np.float32(1)}
    shapes = {"images": (TensorProto.UINT8, ["B", 3, 64, 64]), "proprio": (TensorProto.FLOAT, ["B", 3])}
    graph = helper.make_graph(
        nodes, "servo", [helper.make_tensor_value_info(name, *shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["B", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, bundle.onnx)
    bundle.write(np.zeros((1, 120, 160, 3), np.uint8), np.zeros((1, 3), np.float32),
                 np.clip(gain * np.float32(goal), -1, 1)[None])
    return folder


def test_frames_and_proprio_are_right_all_the_way_to_the_marker(domain, make_bundle, tmp_path):
    env = gymnasium.make("envs:surgrl/Reach-v0", observation="state")
    observation, _ = env.reset(seed=7)
    env.close()
    bundle = servoing_to(observation["proprio"][:3] + observation["state"], tmp_path / "servo", make_bundle)
    results = serve_episodes(bundle, episodes=1, seed=7, domain=domain + 3, width=320, height=240,
                             say=lambda _: None)
    assert results["episodes"][0]["success"] and results["episodes"][0]["distance"] < 0.005


@pytest.mark.parametrize(("options", "word"), [
    ({"task": "surgrl/Retract-v0"}, "is a policy for surgrl/Reach-v0"),
    ({"domain": 233}, "0 to 232"),
    ({"width": 640, "height": 360}, "another shape"),
    ({"params": "nowhere.yaml"}, "no such parameter file"),
    ({"replay": "video.mp4", "live": True}, "a recording is replayed in a dry run"),
])
def test_what_cannot_be_served_is_refused_before_anything_starts(right, options, word):
    with pytest.raises(UserError, match=word):
        serve_episodes(right, say=lambda _: None, **options)


def picture(number: int) -> np.ndarray:
    """A picture that is neither blank nor that of another number."""
    rows, columns = np.mgrid[:120, :160]
    waves = 128 + 80 * np.sin(rows / 7 + number / 3) * np.cos(columns / 9)
    return np.repeat(waves[..., None], 3, axis=2).astype(np.uint8)


def test_a_recording_is_watched_in_a_dry_run(domain, right, tmp_path):
    write_video(tmp_path / "film.mp4", map(picture, range(140)), rate=20)
    lines: list[str] = []
    results = serve_episodes(right, replay=tmp_path / "film.mp4", domain=domain + 3, say=lines.append)
    assert "gate active: each action moves the arm (dry run: the arm is told nothing)" in lines
    assert summary(results) == f"{tmp_path / 'film.mp4'}: played to its end"


@pytest.mark.parametrize(("size", "word"), [(None, "no such video file"), (3000, "ended with exit code 1: .*film.mp4")])
def test_a_recording_that_cannot_be_played_is_told(domain, right, tmp_path, size, word):
    if size:
        write_video(tmp_path / "film.mp4", map(picture, range(20)), rate=20)
        os.truncate(tmp_path / "film.mp4", size)
    with pytest.raises(UserError, match=word):
        serve_episodes(right, replay=tmp_path / "film.mp4", domain=domain + 3, say=lambda _: None)


@pytest.mark.parametrize("discovery", [2.5, 0.0])
@pytest.mark.usefixtures("nodes")
def test_nodes_of_these_names_in_the_domain_already_are_refused(domain, right, monkeypatch, discovery):
    monkeypatch.setattr(serve, "DISCOVERY", discovery)      # 0: they are heard of only after ours have started
    # Which of those that are there is heard of first is up to the middleware: all refuse.
    with pytest.raises(UserError, match=r"(a \w+_node runs|someone publishes \S+) in ROS domain \d+ already"):
        serve_episodes(right, domain=domain, say=lambda _: None)


def test_a_camera_that_is_not_there_is_named(domain, right):
    with pytest.raises(UserError, match="nobody publishes /endoscope/left/image_raw within 0.5 s"):
        serve_episodes(right, domain=domain + 3, simulate=False, wait=0.5, say=lambda _: None)


def test_a_parameter_that_the_node_refuses_is_told(domain, right):
    with pytest.raises(UserError, match="image_width"):
        serve_episodes(right, domain=domain + 3, width=4, height=3, say=lambda _: None)


def test_no_process_outlives_it(domain, right):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)       # side by side, each in a domain of its own
    served = [subprocess.Popen(
        [sys.executable, "-u", "-m", "surgrl", "serve", str(right), "--episodes", "0",
         "--domain", str(domain + place), "--width", "160", "--height", "120"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)) for place in (1, 2, 3)]
    try:
        children = []
        for serving in served:
            said = []
            while not (said and said[-1].startswith("gate active")):
                said.append(serving.stdout.readline())
                assert said[-1], "".join(said)      # it has ended
            children.append(children_of(serving.pid))
        assert [len(pids) for pids in children] == [3, 3, 3]
        for serving, number in zip(served, numbers, strict=True):
            serving.send_signal(number)
        for serving, number, pids in zip(served, numbers, children, strict=True):
            serving.wait(15)
            assert gone(pids), number
            assert serving.returncode == (-9 if number == signal.SIGKILL else 0)
    finally:
        for serving in served:
            serving.kill()
            serving.wait()
            serving.stdout.close()
