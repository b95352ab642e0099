"""gate_node over a real ROS graph: what it refuses, when it is silent, and what it sends."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, String

from ros_nodes import qos
from surgrl.ros_graph import Graph

PERIOD = 0.01       # s, of the gate


def speeds(robot):
    """m/s between commands that follow each other, (N,), and their times; a lost one counts for the next."""
    start = robot.start.position
    steps = np.diff(np.array([start, *(heard.pose.position for heard in robot.heard)]), axis=0)
    return np.linalg.norm(steps, axis=1) / PERIOD


@pytest.mark.parametrize(("limit", "value", "word"), [
    ("limits__box_low", [0.05, -0.036, 0.048], "low must be below high"),
    ("limits__box_high", [0.04, 0.056, float("nan")], "low must be below high"),
    ("limits__box_low", [0.0, 0.0], "three numbers"),
])
def test_limits_that_cannot_be_are_refused(nodes, right, limit, value, word):
    assert not nodes.configure(right, **{limit: value})
    assert nodes.wait(lambda: word in nodes.gate), nodes.gate


def test_a_limit_that_is_misspelt_starts_nothing(domain):
    done = subprocess.run(
        [sys.executable, "-m", "ros_nodes.gate_node", "--ros-args", "-p", "limits.sped:=0.005"], timeout=60,
        capture_output=True, text=True, env={**os.environ, "ROS_DOMAIN_ID": str(domain + 2)})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: gate_node has no parameter limits.sped; is limits.speed meant?"


@pytest.mark.parametrize("value", [0.0, -1.0, 30.0, float("nan")])
def test_a_speed_out_of_range_cannot_be_set(nodes, value):
    assert nodes.set("gate_node", limits__speed=value)


def test_limits_cannot_be_changed_behind_the_nodes_back(nodes, right):
    assert nodes.configure(right)
    assert "clean up" in nodes.set("gate_node", limits__speed=0.2)[0]


def test_an_audit_log_that_cannot_be_written_refuses_to_activate(nodes, right, tmp_path):
    (tmp_path / "file").write_text("")
    assert nodes.configure(right, audit_folder=str(tmp_path / "file"))
    assert not nodes.graph.change_state("gate_node", "activate")
    assert nodes.wait(lambda: "refused to activate" in nodes.gate), nodes.gate


def test_the_gate_needs_no_library_of_pictures_or_networks():
    code = ("import sys; sys.modules.update(dict.fromkeys(('cv2', 'onnxruntime', 'torch')))\n"
            "import ros_nodes.gate_node")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_no_lock_in_shared_memory_can_hold_the_gate_up(nodes):
    shared = {name: "/dev/shm/fast" in Path(f"/proc/{nodes.process[name].process.pid}/maps").read_text()
              for name in ("gate_node", "policy_node")}
    assert shared == {"gate_node": False, "policy_node": True}      # pictures go through it


def test_inactive_sends_nothing(nodes, robot, right):
    assert nodes.configure(right)
    nodes.press(robot)
    nodes.graph.spin(1.0)
    assert robot.heard == [] and robot.holds == []


def test_nothing_moves_before_the_pedal_is_pressed_anew(nodes, robot, right):
    robot.pressed = True        # held from before activation
    assert nodes.configure(right)
    for name in ("gate_node", "policy_node"):
        assert nodes.graph.change_state(name, "activate")
    assert nodes.wait(lambda: "release the pedal" in nodes.gate), nodes.gate
    nodes.graph.spin(0.5)
    assert robot.heard == []
    nodes.press(robot)
    assert nodes.wait(lambda: len(robot.heard) >= 5), nodes.gate


def test_a_dry_run_tells_the_arm_nothing(nodes, robot, right):
    dry = []
    nodes.graph.node.create_subscription(PoseStamped, "/gate_node/dry_run/servo_cp", dry.append, 1)
    nodes.activate(right, robot, dry_run=True)
    assert nodes.wait(lambda: len(dry) > 20), nodes.gate
    assert robot.heard == [] and robot.holds == [] and "dry run" in nodes.gate


def test_active_moves_the_right_way_from_the_setpoint_within_the_limits(nodes, robot, right):
    nodes.activate(right, robot)
    assert nodes.wait(lambda: len(robot.heard) >= 60), nodes.gate
    positions = np.array([robot.start.position, *(heard.pose.position for heard in robot.heard)])
    steps = np.diff(positions, axis=0)
    # Right in the image is x in the optical frame, and -x in CRTK's.
    assert (steps[:, 0] <= 0).all() and steps[-1, 0] < 0 and np.abs(steps[:, 1:]).max() < 1e-9
    assert np.linalg.norm(steps[0]) < 0.2 * 0.025 * PERIOD * 5          # it starts softly, from setpoint_cp
    assert np.median(np.linalg.norm(steps[20:], axis=1)) == pytest.approx(0.025 * PERIOD, rel=1e-3)
    assert all(np.allclose(heard.pose.quaternion, robot.start.quaternion) for heard in robot.heard)
    assert {heard.frame for heard in robot.heard} == {"ECM"}


def test_commands_carry_the_stamps_of_their_images(nodes, robot, right):
    nodes.activate(right, robot)
    assert nodes.wait(lambda: len(robot.heard) >= 30), nodes.gate
    stamps = [heard.stamp for heard in robot.heard]
    now = robot.node.get_clock().now().nanoseconds
    assert stamps == sorted(stamps) and len(set(stamps)) > 3 and 0 < now - stamps[-1] < 1e9


def test_a_fast_policy_is_cut_to_the_speed_limit(nodes, robot, make_bundle, tmp_path):
    nodes.activate(make_bundle(tmp_path / "fast", (1.0, 1.0, -1.0), scale=1.0).folder, robot, limits__speed=0.02)
    assert nodes.wait(lambda: len(robot.heard) >= 60), nodes.gate
    assert np.median(speeds(robot)[20:]) == pytest.approx(0.02, rel=1e-3)
    way = np.linalg.norm(robot.heard[-1].pose.position - robot.start.position)
    taken = robot.heard[-1].time - robot.heard[0].time + PERIOD
    assert way <= 0.02 * (taken + 0.2)      # messages that a busy machine lost do not make it faster


def test_targets_stay_inside_the_box(nodes, robot, make_bundle, tmp_path):
    low = [-0.004, 0.0, 0.09]
    nodes.activate(make_bundle(tmp_path / "far", (1.0, 0.0, 0.0)).folder, robot, limits__box_low=low)
    assert nodes.wait(lambda: robot.heard and robot.heard[-1].pose.position[0] < -0.0039), nodes.gate
    nodes.graph.spin(0.3)
    assert min(heard.pose.position[0] for heard in robot.heard) == pytest.approx(-0.004, abs=1e-6)


def test_a_jaw_channel_moves_the_jaw_no_faster_than_allowed(nodes, robot, make_bundle, tmp_path):
    bundle = make_bundle(tmp_path / "jaw", (0, 0, 0, 1), names=("v_x", "v_y", "v_z", "jaw"), scale=1.0,
                         proprio=("x", "qw", "jaw"))
    nodes.activate(bundle.folder, robot, limits__jaw_speed=0.6)
    assert nodes.wait(lambda: robot.jaws_heard and robot.jaws_heard[-1] == 1.0), nodes.gate
    assert np.median(np.diff(robot.jaws_heard[:60])) <= 0.6 * PERIOD + 1e-9


@pytest.mark.parametrize("command", ["interpolate_cp", "move_cp"])
def test_other_commands_go_where_arms_have_them_and_as_seldom_as_told(nodes, robot, right, command):
    heard = []
    hearing = nodes.graph.node.create_subscription(PoseStamped, f"/PSM1/{command}", heard.append, 10)
    robot.obeys = False         # it only listens: 10 mm ahead of the arm the gate latches
    nodes.activate(right, robot, command=command, command_every=5)
    assert nodes.wait(lambda: len(heard) >= 6), nodes.gate
    nodes.graph.node.destroy_subscription(hearing)
    steps = np.diff([message.pose.position.x for message in heard])
    assert robot.heard == [] and (steps < 0).all() and (steps >= -5 * 0.025 * PERIOD - 1e-9).all()


def test_another_arm_without_a_jaw_is_named_in_all_topics(nodes, robot, right):
    assert nodes.configure(right, arm="ECM", moves_jaw=False)
    names = dict(nodes.graph.node.get_topic_names_and_types())
    assert nodes.wait(lambda: nodes.graph.publishers("/ECM/servo_cp") == 1)
    assert nodes.wait(lambda: nodes.graph.node.count_subscribers("/ECM/measured_cp") == 1), names
    ours = [name for name, _ in nodes.graph.node.get_publisher_names_and_types_by_node("gate_node", "/")]
    assert not [name for name in ours if name.startswith("/PSM1") or "jaw" in name]


@pytest.mark.parametrize("topic", ["servo_cp", "jaw/move_jp", "servo_cs"])
def test_whoever_could_move_the_arm_past_the_gate_latches_it(nodes, robot, right, topic):
    from sensor_msgs.msg import JointState
    nodes.activate(right, robot)
    assert nodes.wait(lambda: robot.heard), nodes.gate
    kind = PoseStamped if topic.endswith(("_cp", "_cs")) else JointState
    rival = robot.node.create_publisher(kind, f"/PSM1/{topic}", 1)
    try:
        assert nodes.wait(lambda: nodes.gate.startswith("latched: ")), nodes.gate
        assert f"/PSM1/{topic}" in nodes.gate
    finally:
        robot.drop(rival)


@pytest.mark.parametrize("topic", ["/operator/enable", "/PSM1/measured_cp"])
def test_two_who_tell_the_gate_the_same_hold_it_and_the_pedal_must_be_pressed_anew(nodes, robot, right, topic):
    nodes.activate(right, robot)
    assert nodes.wait(lambda: robot.heard), nodes.gate
    rival = robot.node.create_publisher(Bool if topic == "/operator/enable" else PoseStamped, topic, 1)
    assert nodes.wait(lambda: f"hold: more than one publisher on {topic}" in nodes.gate), nodes.gate
    robot.drop(rival)
    assert nodes.wait(lambda: "release the pedal, then press it" in nodes.gate), nodes.gate
    count = len(robot.heard)
    nodes.press(robot)
    assert nodes.wait(lambda: len(robot.heard) > count), nodes.gate


@pytest.mark.parametrize("profile", [qos.STATE, QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)])
def test_an_emergency_stop_that_would_not_be_heard_holds(nodes, robot, right, profile):
    robot.leave_stop()
    nodes.activate(right, robot)
    assert nodes.wait(lambda: robot.heard), nodes.gate      # there need not be one
    quiet = PublisherEventCallbacks(use_default_callbacks=False)        # rclpy's own raise a deprecation of rclpy's
    button = robot.node.create_publisher(Bool, "/operator/estop", profile, event_callbacks=quiet)
    assert nodes.wait(lambda: "hold: the emergency stop would not be heard" in nodes.gate), nodes.gate
    robot.drop(button)
    robot.join_stop()


def test_an_emergency_stop_of_another_type_is_none(nodes, robot, right):
    robot.leave_stop()
    nodes.activate(right, robot)
    assert nodes.wait(lambda: robot.heard), nodes.gate
    button = robot.node.create_publisher(String, "/operator/estop", qos.LATCHED)
    told = "hold: the emergency stop would not be heard: /operator/estop is published as std_msgs/msg/String"
    assert nodes.wait(lambda: told in nodes.gate), nodes.gate
    robot.drop(button)
    robot.join_stop()


def test_a_latch_outlives_being_deactivated_and_only_the_reset_ends_it(nodes, robot, right):
    nodes.activate(right, robot)
    assert nodes.wait(lambda: robot.heard), nodes.gate
    for _ in range(2):      # deactivated while all is well is no latch
        assert nodes.graph.change_state("gate_node", "deactivate")
        assert nodes.graph.change_state("gate_node", "activate")
        assert nodes.wait(lambda: nodes.gate.startswith("hold: ") and "press" in nodes.gate), nodes.gate
        nodes.press(robot)
        assert nodes.wait(lambda: nodes.gate.startswith("active")), nodes.gate
    robot.press_stop(True)
    assert nodes.wait(lambda: nodes.gate.startswith("latched")), nodes.gate
    robot.press_stop(False)
    assert nodes.graph.change_state("gate_node", "deactivate")
    assert nodes.graph.change_state("gate_node", "activate")
    assert nodes.wait(lambda: nodes.gate == "latched: the emergency stop is pressed"), nodes.gate
    nodes.press(robot)
    nodes.graph.spin(0.5)
    assert nodes.gate.startswith("latched"), nodes.gate
    assert nodes.reset_gate()[0]
    nodes.press(robot)
    assert nodes.wait(lambda: nodes.gate.startswith("active")), nodes.gate


def test_a_rival_is_found_by_the_name_that_remapping_gives(domain, tmp_path):
    said: list[str] = []
    with Graph(domain + 2, lambda _, text: said.append(text)) as graph:
        process = subprocess.Popen(
            [sys.executable, "-m", "ros_nodes.gate_node", "--ros-args", "-p", f"audit_folder:={tmp_path}",
             "-p", "dry_run:=false", "-r", "/PSM1/servo_cp:=/lab/PSM1/servo_cp"],
            cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL,
            env={**os.environ, "ROS_DOMAIN_ID": str(domain + 2)})
        try:
            assert graph.wait_for(lambda: graph.lifecycle_ready("gate_node"), 30)
            for transition in ("configure", "activate"):
                assert graph.change_state("gate_node", transition)
            assert graph.wait_for(lambda: said and said[-1].startswith("hold"), 10), said
            rival = graph.node.create_publisher(PoseStamped, "/lab/PSM1/servo_cp", 1)
            told = "latched: more than one publisher on /lab/PSM1/servo_cp"
            assert graph.wait_for(lambda: said[-1].startswith(told), 10), said
            graph.node.destroy_publisher(rival)
        finally:
            process.terminate()
            process.wait(10)


def test_an_emergency_stop_that_has_gone_holds_until_it_is_back_and_the_pedal_is_pressed_anew(nodes, robot, right):
    nodes.activate(right, robot)
    assert nodes.wait(lambda: robot.heard), nodes.gate
    nodes.graph.spin(0.5)       # it has been seen
    robot.leave_stop()
    assert nodes.wait(lambda: "hold: the emergency stop has gone" in nodes.gate), nodes.gate
    robot.join_stop()
    assert nodes.wait(lambda: "release the pedal, then press it" in nodes.gate), nodes.gate
    count = len(robot.heard)
    nodes.press(robot)
    assert nodes.wait(lambda: len(robot.heard) > count), nodes.gate


def test_a_name_that_ros_does_not_take_is_refused_and_told(nodes, right):
    assert not nodes.configure(right, policy="no name")
    assert nodes.wait(lambda: "refused to configure" in nodes.gate and "no name" in nodes.gate), nodes.gate
    nodes.reset()
    assert nodes.configure(right)


def test_deactivate_comes_to_rest_holds_and_sends_nothing_after(nodes, robot, right):
    nodes.activate(right, robot)
    assert nodes.wait(lambda: len(robot.heard) >= 40), nodes.gate
    assert nodes.graph.change_state("gate_node", "deactivate")
    nodes.graph.spin(0.2)       # what was under way
    count = len(robot.heard)
    nodes.graph.spin(0.5)
    assert len(robot.heard) == count and len(robot.holds) == 1
    assert np.allclose(robot.heard[-1].pose.position, robot.heard[-2].pose.position, atol=1e-5)
    assert nodes.gate.startswith("inactive:")


def test_the_log_tells_what_was_asked_what_was_sent_and_why(nodes, robot, right):
    from surgrl.policy.bundle import PolicyBundle
    from surgrl.policy.chain import verify
    nodes.activate(right, robot)
    assert nodes.wait(lambda: len(robot.heard) >= 40), nodes.gate
    robot.pressed = False
    assert nodes.wait(lambda: robot.holds), nodes.gate
    nodes.reset()
    newest = max(nodes.audit.glob("*.jsonl"))
    text = newest.read_text()
    assert verify(newest).fault is None and '"asked"' in text and '"sent"' in text and "the pedal was released" in text
    assert text.count(f'"policy":"right {PolicyBundle.load(right).fingerprint}"') == 1


def test_diagnostics_tell_states_rates_and_the_way_to_stop(nodes, robot, right):
    from diagnostic_msgs.msg import DiagnosticArray
    told = {}

    def hear(message):
        told.update({status.name: (status, {pair.key: pair.value for pair in status.values})
                     for status in message.status})
    nodes.graph.node.create_subscription(DiagnosticArray, "/diagnostics", hear, 10)
    nodes.activate(right, robot)

    def both_are_active():
        return set(told) == {"gate_node", "policy_node"} and all(
            status.message.startswith("active:") and status.level == b"\x00" for status, _ in told.values())
    assert nodes.wait(both_are_active, 20), told
    gate, policy = told["gate_node"][1], told["policy_node"][1]
    assert gate["stop from full speed"] == "1.3 mm, 70 ms" and "p99" in gate["image to command"]
    assert policy["provider"] == "CPUExecutionProvider" and policy["images"].endswith("Hz")
