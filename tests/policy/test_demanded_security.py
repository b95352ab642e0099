"""Security that is demanded is had, or the node is refused: the environment's traps, one by one."""

import pytest

from surgrl.policy import security
from surgrl.policy.errors import UserError


@pytest.fixture
def enclave(tmp_path, monkeypatch):
    """Makes the enclave `name` in a keystore, which the environment names."""
    for name in (security.ENABLE, security.STRATEGY, security.OVERRIDE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(security.KEYSTORE, str(tmp_path))

    def make(name: str) -> None:
        folder = tmp_path / "enclaves" / name.strip("/")
        folder.mkdir(parents=True)
        for file in security.FILES:
            (folder / file).touch()
    return make


@pytest.mark.parametrize("word", [None, "", "false"])
@pytest.mark.usefixtures("enclave")
def test_what_is_not_demanded_is_not_required(monkeypatch, word):
    if word is not None:
        monkeypatch.setenv(security.ENABLE, word)
    assert security.require_security([]) is False


@pytest.mark.parametrize(("name", "value", "told"), [
    (security.ENABLE, "True", "'True', which ROS 2 takes for no security at all"),
    (security.ENABLE, "1", "must be 'true', or 'false'"),
    (security.STRATEGY, "enforce", "'enforce', which ROS 2 takes for Permissive"),
    (security.KEYSTORE, "", "ROS_SECURITY_KEYSTORE is not set"),
    (security.KEYSTORE, "/nowhere", "/nowhere/enclaves lacks identity_ca.cert.pem, "),
    (security.OVERRIDE, "/other", "enclaves/other lacks ")])
def test_what_ros_would_let_pass_unsecured_is_refused(enclave, monkeypatch, name, value, told):
    enclave("/")
    monkeypatch.setenv(security.ENABLE, "true")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=told):
        security.require_security([])


@pytest.mark.parametrize(("argv", "name"), [
    ([], "/"), (["node", "--ros-args", "-e", "/surgrl/policy_node"], "/surgrl/policy_node"),
    (["node", "--ros-args", "-p", "a:=1", "--enclave", "/other"], "/other"),
    (["node", "-e", "/not/ours", "--ros-args", "-p", "a:=1"], "/"),
    (["node", "--ros-args", "-p", "a:=1", "--", "-e", "/not/ours"], "/")])
def test_the_enclave_is_the_one_that_the_command_line_names(enclave, monkeypatch, argv, name):
    monkeypatch.setenv(security.ENABLE, "true")
    with pytest.raises(UserError, match="lacks identity_ca.cert.pem"):
        security.require_security(argv)
    enclave(name)
    assert security.require_security(argv) is True


def test_an_enclave_that_lacks_one_file_is_refused(enclave, monkeypatch, tmp_path):
    enclave("/")
    monkeypatch.setenv(security.ENABLE, "true")
    (tmp_path / "enclaves" / "governance.p7s").unlink()
    with pytest.raises(UserError, match=r"enclaves lacks governance\.p7s, and ROS 2"):
        security.require_security([])
