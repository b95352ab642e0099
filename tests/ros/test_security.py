"""Nodes in processes of their own: same-host mode, security that is demanded, and what each may touch."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rclpy

from ros_nodes import arm_messages
from ros_nodes.arm_writer import MOTIONS
from ros_nodes.transport import CONFIG
from surgrl.node_process import NodeProcess
from surgrl.policy import transport
from surgrl.ros_graph import Graph
from surgrl.video_writer import write_video

ROOT = Path(__file__).parents[2]
needs_gate = pytest.mark.skipif(not (CONFIG.parent / "gate_node.py").is_file(),
                                reason="ros_nodes.gate_node is not there yet; its file and policy_node's wait for it")
PARAMETERS = {"policy_node": "policy.yaml", "gate_node": "policy.yaml", "sim_node": "simulation.yaml",
              "record_node": "record.yaml", "video_node": "replay.yaml"}
SPEAKER = textwrap.dedent("""
    import sys
    from rclpy.node import Node
    from ros_nodes import process, qos
    from ros_nodes.messages import make_image
    from sensor_msgs.msg import Image

    class Speaker(Node):
        exit_code = None

        def __init__(self):
            super().__init__("speaker")
            self.pictures = self.create_publisher(Image, "image", qos.IMAGE)
            self.message, _ = make_image(480, 640, "camera")
            self.create_timer(1 / 30, lambda: self.pictures.publish(self.message))
            print("up", flush=True)

        def stop(self): pass

    sys.exit(process.run(Speaker))
    """)
LISTENER = textwrap.dedent("""
    import sys, time, rclpy
    from ros_nodes import process, qos
    from sensor_msgs.msg import Image
    from rclpy.node import Node

    class Listener(Node):
        exit_code = None

        def __init__(self):
            super().__init__("listener")
            self.left = 30
            self.create_subscription(Image, "image", self.hear, qos.IMAGE)

        def hear(self, message):
            self.left -= len(message.data) == 640 * 480 * 3
            self.exit_code = 0 if self.left == 0 else None

        def stop(self): pass

    sys.exit(process.run(Listener))
    """)


@pytest.fixture
def start(domain: int) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python code in a process with some environment variables; ends it after the test."""
    started = []

    def run(code: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith("ROS_SECURITY") and name not in transport.profile_variables()}
        started.append(subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**kept, "ROS_DOMAIN_ID": str(domain + 2), "PYTHONPATH": str(ROOT), **variables}))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def segments_of(process: subprocess.Popen[str]) -> list[Path]:
    """Shared memory that the process has mapped from Fast DDS."""
    lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    return [path for path in (Path(line.split(maxsplit=5)[-1]) for line in lines)
            if path.parent == transport.MEMORY and transport.OURS.match(path.name)]


def last_line(process: subprocess.Popen[str]) -> str:
    """What a process that refuses says at its end; its exit code is 1."""
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1, told
    return told.strip().splitlines()[-1]


def test_pictures_pass_between_processes_that_have_no_network_socket(start):
    speaker = start(SPEAKER, SURGRL_TRANSPORT="local")
    assert speaker.stdout.readline() == "up\n"
    listener = start(LISTENER, SURGRL_TRANSPORT="local")
    assert listener.wait(60) == 0, listener.stderr.read()
    # Seen from outside as well: no inode of its sockets stands in a table of the network's.
    links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{speaker.pid}/fd")]
    tables = "".join(Path(f"/proc/{speaker.pid}/net/{name}").read_text() for name in ("tcp", "udp", "tcp6", "udp6"))
    inodes = [link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")]
    assert not [inode for inode in inodes if f" {inode} " in tables]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user to try")
def test_another_user_cannot_read_the_pictures_of_local_mode(start):
    speaker = start(SPEAKER, SURGRL_TRANSPORT="local")
    assert speaker.stdout.readline() == "up\n"
    time.sleep(1.0)     # "up" is said just before the check that closes them
    paths = segments_of(speaker)
    assert any(path.stat().st_size > 2**23 for path in paths)       # the one that pictures go through
    done = subprocess.run(["cat", *map(str, paths)], user=65534, group=65534, extra_groups=[],
                          capture_output=True, check=False)
    assert done.stdout == b"" and done.stderr.count(b"Permission denied") == len(paths)


def test_a_variable_that_opens_udp_again_is_refused_and_named(start):
    told = last_line(start(SPEAKER, SURGRL_TRANSPORT="local", ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST"))
    assert "network sockets open: udp" in told
    assert told.endswith("ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST makes ROS 2 add UDP on all interfaces: unset it")


def test_an_unknown_transport_is_refused_in_one_line(start):
    assert last_line(start(SPEAKER, SURGRL_TRANSPORT="shm")).startswith("error: environment variable SURGRL_TRANSPORT")


def test_what_a_killed_node_leaves_is_cleaned_and_what_a_living_one_holds_is_not(start):
    killed, alive = start(SPEAKER), start(SPEAKER)
    assert killed.stdout.readline() == alive.stdout.readline() == "up\n"
    (orphan,), (held,) = ([path for path in segments_of(process) if path.stat().st_size > 2**23
                           and f"{path.name}_el" in open_names(process)] for process in (killed, alive))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert orphan.exists()
    time.sleep(1.0)
    removed = transport.clean_segments(min_age=1.0)
    assert orphan.name in removed and held.name not in removed
    assert not orphan.exists() and held.exists()


def open_names(process: subprocess.Popen[str]) -> set[str]:
    """Names of the files that the process has open."""
    return {Path(os.readlink(entry.path)).name for entry in os.scandir(f"/proc/{process.pid}/fd")}


@pytest.mark.parametrize("strategy", ["Permissive", "Enforce"])
def test_security_without_an_enclave_is_refused_before_the_node_is(start, tmp_path, strategy):
    speaker = start(SPEAKER, ROS_SECURITY_ENABLE="true", ROS_SECURITY_STRATEGY=strategy,
                    ROS_SECURITY_KEYSTORE=str(tmp_path))
    told = last_line(speaker)
    assert told.startswith("error: ROS_SECURITY_ENABLE=true, but") and "lacks identity_ca.cert.pem" in told


GOVERNANCE = """<?xml version="1.0"?>
<dds><domain_access_rules><domain_rule><domains><id_range><min>0</min><max>232</max></id_range></domains>
<allow_unauthenticated_participants>false</allow_unauthenticated_participants>
<enable_join_access_control>true</enable_join_access_control>
<discovery_protection_kind>ENCRYPT</discovery_protection_kind>
<liveliness_protection_kind>ENCRYPT</liveliness_protection_kind><rtps_protection_kind>SIGN</rtps_protection_kind>
<topic_access_rules><topic_rule><topic_expression>*</topic_expression>
<enable_discovery_protection>true</enable_discovery_protection>
<enable_liveliness_protection>true</enable_liveliness_protection>
<enable_read_access_control>true</enable_read_access_control>
<enable_write_access_control>true</enable_write_access_control>
<metadata_protection_kind>ENCRYPT</metadata_protection_kind><data_protection_kind>ENCRYPT</data_protection_kind>
</topic_rule></topic_access_rules></domain_rule></domain_access_rules></dds>
"""
PERMISSIONS = """<?xml version="1.0"?>
<dds><permissions><grant name="/"><subject_name>CN=/</subject_name>
<validity><not_before>2020-01-01T00:00:00</not_before><not_after>2099-01-01T00:00:00</not_after></validity>
<allow_rule><domains><id_range><min>0</min><max>232</max></id_range></domains>
<publish><topics><topic>*</topic></topics></publish><subscribe><topics><topic>*</topic></topics></subscribe>
</allow_rule><default>DENY</default></grant></permissions></dds>
"""


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    """A keystore with the root enclave, all rights, made with the openssl command."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not here, which makes the keystore")
    folder = tmp_path / "enclaves"
    folder.mkdir()

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")
    openssl("req", "-x509", *curve, "-subj", "/CN=ca", "-keyout", "../ca.key", "-out", "identity_ca.cert.pem")
    shutil.copy(folder / "identity_ca.cert.pem", folder / "permissions_ca.cert.pem")
    openssl("req", *curve[:-2], "-subj", "/CN=\\/", "-keyout", "key.pem", "-out", "../node.csr")
    openssl("x509", "-req", "-days", "30", "-in", "../node.csr", "-CA", "identity_ca.cert.pem", "-CAkey", "../ca.key",
            "-CAcreateserial", "-out", "cert.pem")
    for name, text in (("governance", GOVERNANCE), ("permissions", PERMISSIONS)):
        (tmp_path / name).write_text(text)
        openssl("smime", "-sign", "-text", "-in", f"../{name}", "-out", f"{name}.p7s", "-signer",
                "permissions_ca.cert.pem", "-inkey", "../ca.key")
    return tmp_path


@pytest.mark.parametrize("strategy", ["Permissive", "Enforce"])
def test_a_middleware_without_security_refuses_in_one_clear_line(start, keystore, strategy):
    """A middleware with security starts; what it then does is for its makers to test."""
    speaker = start(SPEAKER, ROS_SECURITY_ENABLE="true", ROS_SECURITY_STRATEGY=strategy,
                    ROS_SECURITY_KEYSTORE=str(keystore))
    if speaker.stdout.readline() == "up\n":
        pytest.skip("this Fast DDS has DDS-Security")
    told = last_line(speaker)
    assert "built without DDS-Security; run on a ROS 2 installation that has it" in told


class Rights(NamedTuple):
    """What a node has in the graph, or may have: names of topics and services."""

    publish: set[str]
    subscribe: set[str]
    reply: set[str]
    request: set[str]


def allowed(name: str) -> Rights:
    """The rights that the policy file of a node gives, names written out."""
    file = ElementTree.parse(CONFIG / "permissions" / f"{name}.xml")
    (profile,) = file.findall("./enclaves/enclave/profiles/profile")
    assert profile.get("node") == name and profile.get("ns") == "/"

    def names(right: str) -> set[str]:
        told = [item.text.strip() for group in profile if group.get(right) == "ALLOW" for item in group]
        assert len(told) == len(set(told)), f"{name}.xml tells a name twice in {right}"
        return {word.replace("~", f"/{name}") if word.startswith("~") else f"/{word.lstrip('/')}" for word in told}
    return Rights(*map(names, Rights._fields))


def had(node: Any, name: str) -> Rights:
    """What the node `name` has in the graph, as far as is known by now."""
    looks = (node.get_publisher_names_and_types_by_node, node.get_subscriber_names_and_types_by_node,
             node.get_service_names_and_types_by_node, node.get_client_names_and_types_by_node)
    try:
        return Rights(*({topic for topic, _ in look(name, "/")} for look in looks))
    except rclpy.node.NodeNameNonExistentError:
        return Rights(set(), set(), set(), set())


def rights_of(name: str, domain: int, scratch: Path, /, *, expected: Rights, **parameters: Any) -> Rights:
    """Start the node, configure and activate it where it has a lifecycle; what it then has in the graph."""
    with Graph(domain, lambda *_: None) as graph:
        process = NodeProcess(name, [CONFIG / PARAMETERS[name]], parameters, scratch, domain=domain)
        try:
            for transition in ("configure", "activate") if f"/{name}/change_state" in expected.reply else ():
                assert graph.wait_for(lambda: graph.lifecycle_ready(name), 30), process.last_words()
                assert graph.change_state(name, transition), process.last_words()
            graph.wait_for(lambda: had(graph.node, name) == expected, 20)
            graph.spin(1.0)     # what comes late is one right too many
            process.require_alive()
            return had(graph.node, name)
        finally:
            process.stop()


def assert_same(has: Rights, may: Rights) -> None:
    for right in Rights._fields:
        told, allows = getattr(has, right), getattr(may, right)
        assert told == allows, f"{right}: has and may not {told - allows}; may and has not {allows - told}"


@pytest.fixture
def with_jaw(make_bundle: Any, tmp_path: Path) -> Path:
    """A bundle that uses all that a policy can."""
    return make_bundle(tmp_path / "bundle", (0.5, 0.0, 0.0, 0.0), names=("v_x", "v_y", "v_z", "jaw"),
                       proprio=("x", "jaw")).folder


def test_sim_node_has_the_rights_of_its_file_and_uses_all(domain, tmp_path):
    may = allowed("sim_node")
    if arm_messages.TFMessage is None:          # what PyPI does not have, the node does without
        may = may._replace(publish=may.publish - {"/tf", "/tf_static"})
    if arm_messages.StringStamped is None:
        may = may._replace(reply={name for name in may.reply if not name.startswith("/PSM1/")})
    assert_same(rights_of("sim_node", domain + 2, tmp_path, expected=may, stereo=True), may)


def test_record_node_has_the_rights_of_its_file_and_uses_all(domain, tmp_path):
    pytest.importorskip("mcap")
    may = allowed("record_node")
    assert_same(rights_of("record_node", domain + 2, tmp_path, expected=may, folder=str(tmp_path)), may)


def test_video_node_has_the_rights_of_its_file_and_uses_all(domain, tmp_path):
    film = (np.random.default_rng(number).integers(0, 255, (120, 160, 3), np.uint8) for number in range(20))
    write_video(tmp_path / "film.mp4", film, rate=20)
    may = allowed("video_node")
    assert_same(rights_of("video_node", domain + 2, tmp_path, expected=may, source=str(tmp_path / "film.mp4"),
                          operator=True), may)


def test_every_node_has_a_file_of_its_rights():
    assert {file.stem for file in (CONFIG / "permissions").glob("*.xml")} == {
        file.stem for file in CONFIG.parent.glob("*_node.py")}


@needs_gate
def test_policy_node_has_the_rights_of_its_file_and_uses_all(domain, with_jaw, tmp_path):
    may = allowed("policy_node")
    assert_same(rights_of("policy_node", domain + 2, tmp_path, expected=may, bundle=str(with_jaw), task=""), may)


@needs_gate
def test_gate_node_has_the_rights_of_its_file_and_uses_all_in_one_mode_or_the_other(domain, tmp_path):
    may = allowed("gate_node")
    dry = {name for name in may.publish if "/dry_run/" in name}
    modes = [rights_of("gate_node", domain + 2, tmp_path, dry_run=dry_run, expected=may._replace(publish=publish))
             for dry_run, publish in ((True, {name for name in may.publish if not name.startswith("/PSM1/")}),
                                      (False, may.publish - dry))]
    assert not any(name.startswith("/PSM1/") for name in modes[0].publish)
    assert_same(Rights(*(first | second for first, second in zip(*modes, strict=True))), may)


@needs_gate
def test_only_the_gate_may_move_the_arm():
    moves = {f"/PSM1/{name}" for name in (*MOTIONS, "hold")}
    files = {file.stem: allowed(file.stem).publish & moves for file in (CONFIG / "permissions").glob("*.xml")}
    assert {name for name, rights in files.items() if rights} == {"gate_node"}
