"""What this process has open, and whose shared memory may be removed."""

import fcntl
import os
import re
import socket
import time
from pathlib import Path

import pytest

from surgrl.policy import transport
from surgrl.policy.errors import UserError

NAME = "fastdds_0123456789abcdef"


@pytest.fixture
def local(monkeypatch):
    """SURGRL_TRANSPORT=local, and nothing else set that Fast DDS reads."""
    monkeypatch.setenv(transport.SETTING, "local")
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    for name in transport.profile_variables():
        monkeypatch.setenv(name, str(transport.profile(Path("config"))))


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """A folder in the place of /dev/shm with one old segment and its lock, which nobody holds."""
    monkeypatch.setattr(transport, "MEMORY", tmp_path)
    for name in (NAME, f"{NAME}_el"):
        (tmp_path / name).write_bytes(b"")
        make_old(tmp_path / name)
    return tmp_path


def make_old(path: Path) -> None:
    os.utime(path, (time.time() - 60,) * 2)


@pytest.mark.parametrize(("family", "host", "told"), [
    (socket.AF_INET, "127.0.0.1", "udp 127.0.0.1:{}"), (socket.AF_INET, "0.0.0.0", "udp 0.0.0.0:{}"),
    (socket.AF_INET6, "::1", "udp6 [0000:0000:0000:0000:0000:0000:0000:0001]:{}")])
def test_a_socket_is_named_by_its_address(family, host, told):
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        try:
            opened.bind((host, 0))
        except OSError as error:
            pytest.skip(f"no {host} here: {error}")
        assert told.format(opened.getsockname()[1]) in transport.inet_sockets()


def test_sockets_that_stay_in_the_machine_do_not_count():
    before = transport.inet_sockets()
    with socket.socket(socket.AF_UNIX) as _, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as _:
        assert transport.inet_sockets() == before


@pytest.mark.usefixtures("local")
def test_local_mode_refuses_a_process_with_a_network_socket():
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(
            UserError, match=rf"network sockets open.* tcp 127\.0\.0\.1:{server.getsockname()[1]}\b"):
        transport.check_transport()


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize(("name", "value", "told"), [
    ("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST", "LOCALHOST makes ROS 2 add UDP on all interfaces: unset it"),
    (transport.profile_variables()[0], "/lab/udp.xml", "=/lab/udp.xml is another profile than fastdds_local.xml")])
def test_what_opened_it_is_named(monkeypatch, name, value, told):
    monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)), pytest.raises(UserError, match=told):
        transport.check_transport()


def test_network_mode_lets_sockets_be(monkeypatch):
    monkeypatch.delenv(transport.SETTING, raising=False)
    with socket.create_server(("127.0.0.1", 0)):
        transport.check_transport()


def test_an_unknown_transport_is_refused(monkeypatch):
    monkeypatch.setenv(transport.SETTING, "localhost")
    with pytest.raises(UserError, match="SURGRL_TRANSPORT is 'localhost'; it must be network or local"):
        transport.is_local()


def test_a_segment_that_nobody_holds_is_removed_with_its_lock(memory):
    assert transport.clean_segments() == [NAME] and list(memory.iterdir()) == []


def test_a_segment_whose_owner_lives_stays(memory):
    with (memory / f"{NAME}_el").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert transport.clean_segments() == []
    assert len(list(memory.iterdir())) == 2
    assert transport.clean_segments() == [NAME]     # the owner is gone: its lock went with it


def test_a_segment_that_was_made_just_now_stays(memory):
    os.utime(memory / f"{NAME}_el")
    assert transport.clean_segments() == [] and len(list(memory.iterdir())) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", [NAME, f"{NAME}_el"])
def test_another_users_segment_stays(memory, name):
    os.chown(memory / name, 65534, 65534)
    assert transport.clean_segments() == [] and len(list(memory.iterdir())) == 2


def test_a_link_in_the_place_of_a_lock_is_not_followed(memory):
    target = memory / "precious"
    target.touch()
    make_old(target)
    (memory / f"{NAME}_el").unlink()
    (memory / f"{NAME}_el").symlink_to(target)
    assert transport.clean_segments() == [] and target.exists() and (memory / NAME).exists()


@pytest.mark.parametrize("name", ["fastdds_port7400_el", "sem.fastdds_port7400_mutex", "other_0123456789abcdef_el",
                                  "fastdds_0123456789abcdef_el.txt"])
def test_nothing_else_is_touched(memory, name):
    (memory / name).touch()
    make_old(memory / name)
    transport.clean_segments()
    assert (memory / name).exists()


@pytest.mark.skipif(not transport.MEMORY.is_dir(), reason=f"no {transport.MEMORY} here")
def test_too_little_shared_memory_is_told_with_what_to_do(monkeypatch):
    transport.require_memory()
    monkeypatch.setattr(transport, "NEEDED", 10**18)
    with pytest.raises(UserError, match=r"/dev/shm has \d+ MB free.*--shm-size=512m"):
        transport.require_memory()


def test_our_profiles_take_no_more_than_is_asked_for():
    folder = Path(__file__).parents[2] / "ros_nodes" / "config"
    for name in transport.PROFILES.values():
        size = int(re.search(r"<segment_size>(\d+)<", (folder / name).read_text())[1])
        assert 0.85 * transport.NEEDED < size < transport.NEEDED
