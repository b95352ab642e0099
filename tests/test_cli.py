"""The command as a user types it: help works, and a mistake is told in one line."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from surgrl.cli import COMMANDS, EXTRAS

HERE = [name for name, (module, _) in COMMANDS.items() if find_spec(f"surgrl.{module}")]


Done = subprocess.CompletedProcess[str]


def surgrl(*words: str, cwd: Path | None = None, without: Sequence[str] = ()) -> Done:
    """Run `surgrl WORDS`, as if the packages `without` were not installed."""
    root = str(Path(__file__).parents[1])
    code = (f"import sys; sys.path.insert(0, {root!r}); sys.modules.update({dict.fromkeys(without)}); "
            "from surgrl.cli import main; sys.exit(main(sys.argv[1:]))")
    return subprocess.run([sys.executable, "-c", code, *words], cwd=cwd, capture_output=True, text=True,
                          timeout=120, check=False)


def assert_refused(done: Done, *words: str) -> None:
    """Exit code 1, one line that begins with `surgrl: error:`, no traceback."""
    assert done.returncode == 1
    assert done.stderr.startswith("surgrl: error: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_help_names_every_command():
    done = surgrl("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


@pytest.fixture(scope="module")
def helps():
    """command -> [exit code, what `surgrl COMMAND --help` said, its errors].

    All in one process, for torch's sake, which stays imported; our own modules are imported anew by each command.
    """
    code = """if True:
        import contextlib, io, json, sys
        told = {}
        for command in sys.argv[1:]:
            for name in [name for name in sys.modules if name.partition(".")[0] in ("surgrl", "models", "envs")]:
                del sys.modules[name]
            out, err, code = io.StringIO(), io.StringIO(), None
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    from surgrl.cli import main
                    code = main([command, "--help"])
                except SystemExit as end:
                    code = end.code
            told[command] = code, out.getvalue(), err.getvalue()
        print(json.dumps(told))
    """
    done = subprocess.run([sys.executable, "-c", code, *HERE], cwd=Path(__file__).parents[1], capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", HERE)
def test_every_command_explains_itself(helps, command):
    code, said, errors = helps[command]
    assert code == 0 and said.startswith(f"usage: surgrl {command}"), errors


@pytest.mark.parametrize("words", [["check", "none"], ["replay", "none", "none.mp4"]])
def test_an_unknown_bundle_is_told_in_one_line(tmp_path, words):
    assert_refused(surgrl(*words, cwd=tmp_path), "none: no such bundle folder", "pretrained are:")


def test_a_folder_that_is_no_bundle_is_told_in_one_line(tmp_path):
    assert_refused(surgrl("check", str(tmp_path)), "manifest.yaml is missing")


def test_a_video_that_is_not_there_is_told_in_one_line(tmp_path, make_bundle):
    make_bundle(tmp_path / "bundle")
    assert_refused(surgrl("replay", "bundle", "none.mp4", cwd=tmp_path), "none.mp4: names no recording")


def test_a_whole_bundle_is_told_with_its_units(tmp_path, make_bundle):
    make_bundle(tmp_path / "my bundle é")
    done = surgrl("check", "my bundle é", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "acts as exported" in done.stdout and "v_x in [-0.05, 0.05] m/s" in done.stdout


def test_a_reader_that_stops_listening_is_no_error_to_tell_of(tmp_path, make_bundle):
    make_bundle(tmp_path / "bundle")
    check = shlex.join([sys.executable, "-u", "-m", "surgrl", "check", str(tmp_path / "bundle")])
    done = subprocess.run(["bash", "-c", f"{check} | true"], cwd=Path(__file__).parents[1],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""


def test_no_command_and_an_unknown_one_are_a_matter_of_usage():
    for words in ([], ["dance"]):
        done = surgrl(*words)
        assert done.returncode == 2 and done.stderr.startswith("usage: surgrl")


def test_a_missing_package_is_named_with_the_extra_that_brings_it():
    assert_refused(surgrl("replay", "a", "b", without=["av"]), "'av'", "pip install '.[video]' in surgrl's folder")
    assert_refused(surgrl("monitor", "--once", "1", without=["rich"]), "'rich'", "pip install '.[monitor]'")
    assert_refused(surgrl("monitor", "--json", without=["rclpy"]), "rclpy is not installed", "[ros]'")
    said = surgrl("list", without=["torch", "gymnasium"]).stdout
    assert "pip install '.[sim]' in surgrl's folder" in said and "pip install '.[learn]' in surgrl's folder" in said


@pytest.mark.parametrize(("words", "told"), [
    (["--once", "0"], "--once is 0 s; it must be more than 0"), (["--json", "--domain", "233"], "0 to 232")])
def test_what_the_monitor_cannot_do_is_told_in_one_line(words, told):
    pytest.importorskip("rich")
    assert_refused(surgrl("monitor", *words), told)


def test_every_extra_that_a_refusal_names_is_one_that_setup_cfg_offers():
    text = (Path(__file__).parents[1] / "setup.cfg").read_text()
    offered = text[text.index("[options.extras_require]"):]
    assert all(f"\n{extra} =" in offered for extra in EXTRAS.values())


@pytest.mark.parametrize(("out", "told"), [
    ("afile/a.csv", "afile: is a file, where a folder is needed"),
    ("afile/below/a.csv", "afile/below: would lie within a file"),
    ("afolder", "afolder: is a folder, where a file is needed"),
    ("/proc/a.csv", "/proc/a.csv: is not there, or cannot be made"), ("a" * 300, "is too long a name")])
def test_a_place_that_cannot_be_written_to_is_told_in_one_line(tmp_path, out, told):
    (tmp_path / "afile").touch()
    (tmp_path / "afolder").mkdir()
    (tmp_path / "a.jsonl").write_text("{}\n")
    assert_refused(surgrl("audit", "a.jsonl", "--csv", out, cwd=tmp_path), told, "name another place")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "afile", "afolder"]


@pytest.mark.parametrize("words", [
    ("eval", "reach", "--episodes", "100000", "--json", "afile/scores.json"),
    ("eval", "reach", "--episodes", "100000", "--json", "afolder"),
    ("expect", "--films", "100000", "--out", "afile")])
def test_a_place_for_results_is_tried_before_the_work_and_not_after(tmp_path, words):
    (tmp_path / "afile").touch()
    (tmp_path / "afolder").mkdir()
    assert_refused(surgrl(*words, cwd=tmp_path), words[-1].split("/")[0], "name another place")
