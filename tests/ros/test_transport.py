"""Camera frames reach another process whole, best effort, through the Fast DDS profile."""

import os
import subprocess
import sys
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from ros_nodes import messages
from ros_nodes.transport import CONFIG, profile, profile_variables, use_profile
from surgrl.policy.transport import choose_local

FRAMES, RATE = 90, 30.0
CAMERA = """
import sys, time, rclpy
from sensor_msgs.msg import Image
from ros_nodes import messages, qos
rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, "image", qos.IMAGE)
message, pixels = messages.make_image(480, 640, "camera")
while publisher.get_subscription_count() == 0:
    time.sleep(0.05)
time.sleep(0.5)     # the reader's side of the match
start = time.monotonic()
for number in range(int(sys.argv[1])):
    time.sleep(max(0.0, start + number / float(sys.argv[2]) - time.monotonic()))
    pixels[:] = number
    publisher.publish(message)
time.sleep(1.0)
"""


def test_640x480_at_30_hz_best_effort_loses_no_more_than_one_in_a_hundred(domain):
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain + 3)
    node = rclpy.create_node("reader", context=context)
    came: list[int] = []
    # Deeper than qos.IMAGE: a busy machine may wake this reader late, and that is not the transport's loss.
    deep = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    node.create_subscription(
        Image, "image", lambda message: came.append(messages.read_image(message)[-1, -1, 0]), deep)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    camera = subprocess.Popen([sys.executable, "-c", CAMERA, str(FRAMES), str(RATE)],
                              env={**os.environ, "ROS_DOMAIN_ID": str(domain + 3)})
    try:
        end = time.monotonic() + 40
        while camera.poll() is None and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
    finally:
        camera.kill()
        camera.wait()
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
    assert len(came) >= 0.99 * FRAMES and came == sorted(came)


def test_a_profile_that_the_user_chose_is_left_alone(monkeypatch):
    first = profile_variables()[0]
    monkeypatch.setenv(first, "mine.xml")
    use_profile()
    assert os.environ[first] == "mine.xml"
    monkeypatch.delenv(first)
    use_profile()
    assert os.environ[first] == str(profile()) and profile().is_file()


def test_ours_is_ours_however_its_path_is_written(monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(CONFIG)
    monkeypatch.chdir(CONFIG.parent)
    monkeypatch.delenv("SURGRL_TRANSPORT", raising=False)
    for path in ("config/fastdds_shm.xml", str(tmp_path / "link" / "fastdds_shm.xml")):
        for name in profile_variables():
            monkeypatch.setenv(name, path)
        use_profile(apart=True)     # gate_node must not share memory because a camera's profile was exported
        assert os.environ[profile_variables()[0]] == str(CONFIG / "fastdds_udp.xml")


def test_local_takes_the_place_of_the_network_profile_that_the_docs_tell_to_export(monkeypatch):
    for name in profile_variables():
        monkeypatch.setenv(name, str(CONFIG / "fastdds_shm.xml"))
    monkeypatch.delenv("SURGRL_TRANSPORT", raising=False)
    use_profile()
    assert os.environ[profile_variables()[0]] == str(CONFIG / "fastdds_shm.xml")
    monkeypatch.setenv("SURGRL_TRANSPORT", "")      # so that it is set back afterwards
    choose_local()
    use_profile()
    assert os.environ[profile_variables()[0]] == str(CONFIG / "fastdds_local.xml") == str(profile())
    assert profile().is_file()
