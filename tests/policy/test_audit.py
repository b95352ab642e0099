"""The audit log: what it writes, what it shows when someone changed it, and what it never does to the loop."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surgrl.cli import main
from surgrl.policy import chain
from surgrl.policy.audit import AuditLog, new_path
from surgrl.policy.chain import verify, verify_folder
from surgrl.policy.errors import UserError

ROOT = Path(__file__).parents[2]


def fill(path: Path, count: int = 20, **more: object) -> Path:
    """A log of header, `count` records and end."""
    with AuditLog(path, about={"node": "gate_node", "bundle": "ab12"}) as log:
        for number in range(count):
            log.write({"state": "active", "asked": {"v": np.array([0.01 * number, 0.0, 0.0])}, **more})
    return path


def wait(reached: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether `reached` came true in time."""
    end = time.monotonic() + seconds
    while not reached() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(reached())


def child(code: str, *words: object) -> subprocess.Popen[str]:
    """A process that runs `code`, which finds AuditLog, Path, sys and time."""
    head = "import sys, time\nfrom pathlib import Path\nfrom surgrl.policy.audit import AuditLog\n"
    return subprocess.Popen([sys.executable, "-c", head + code, *map(str, words)], cwd=ROOT, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill_while_writing(path: Path) -> None:
    """Write to a log in a process that is killed with SIGKILL."""
    process = child("log = AuditLog(Path(sys.argv[1]), about={})\n"
                    "while True: log.write({'asked': [1.0] * 50}); time.sleep(1e-3)", path)
    assert wait(lambda: path.exists() and path.stat().st_size > 20_000), process.stderr
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_what_is_written_can_be_read_and_proved(tmp_path):
    verdict = verify(fill(tmp_path / "a.jsonl"))
    assert verdict.fault is None and verdict.tail.records == 22
    records = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [record["n"] for record in records] == list(range(22))
    assert records[0]["audit"] == "header" and records[0]["about"] == {"node": "gate_node", "bundle": "ab12"}
    assert records[0]["pid"] == os.getpid()
    assert records[3]["asked"] == {"v": [0.02, 0.0, 0.0]} and records[-1]["audit"] == "end"
    assert abs(records[1]["t_wall"] - time.time_ns()) < 600e9


def test_the_hash_is_what_the_documentation_says(tmp_path):
    from hashlib import sha256
    previous = "0" * 64
    for line in fill(tmp_path / "a.jsonl").read_text().splitlines():
        body, _, end = line.rpartition(',"hash":"')
        previous = sha256((previous + body + "}").encode()).hexdigest()
        assert end == previous + '"}'


def test_any_value_is_written_as_strict_json(tmp_path):
    given = {"nan": float("nan"), "inf": np.float32("inf"), "array": np.array([[1, 2], [3, 4]]), "none": None,
             "mixed": (np.array([1.5, np.nan]), -np.inf, np.int64(3), np.bool_(True)), "path": Path("/a"), 5: "é"}
    with AuditLog(tmp_path / "a.jsonl", about={}) as log:
        log.write(given)

    def refuse(word: str) -> None:
        raise ValueError(word)
    told = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[1], parse_constant=refuse)
    assert {key: told[key] for key in map(str, given)} == {
        "nan": "nan", "inf": "inf", "array": [[1, 2], [3, 4]], "none": None,
        "mixed": [[1.5, "nan"], "-inf", 3, True], "path": "/a", "5": "é"}


def test_an_array_that_changes_after_write_is_told_as_it_was(tmp_path):
    values = np.zeros(3)
    with AuditLog(tmp_path / "a.jsonl", about={}) as log:
        for number in range(200):
            values[:] = number
            log.write({"asked": values, "deep": {"list": [values]}})
    told = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()[1:-1]]
    assert [record["asked"][0] for record in told] == list(range(200))
    assert [record["deep"]["list"][0][2] for record in told] == list(range(200))


def _change_byte(lines: list[bytes]) -> None:
    lines[7] = lines[7].replace(b"0.06", b"0.05")


def _change_hash(lines: list[bytes]) -> None:
    lines[7] = lines[7][:-5] + (b"0" if lines[7][-5:-4] != b"0" else b"1") + lines[7][-4:]


def _garble(lines: list[bytes]) -> None:
    lines[7] = b"{" + lines[7]


def _remove(lines: list[bytes]) -> None:
    del lines[7]


def _remove_three(lines: list[bytes]) -> None:
    del lines[7:10]


def _remove_header(lines: list[bytes]) -> None:
    del lines[0]


def _forge(lines: list[bytes]) -> None:
    forged, _ = chain.seal({"n": 7, "t_mono": 0, "t_wall": 0, "asked": [9.9]}, lines[6][-67:-3].decode())
    lines.insert(7, forged)


def _copy(lines: list[bytes]) -> None:
    lines.insert(7, lines[3])


def _insert_text(lines: list[bytes]) -> None:
    lines.insert(7, b"hello\n")


def _swap(lines: list[bytes]) -> None:
    lines[7], lines[8] = lines[8], lines[7]


def _cut_lines(lines: list[bytes]) -> None:
    del lines[15:]


def _cut_in_a_line(lines: list[bytes]) -> None:
    del lines[16:]
    lines[15] = lines[15][:40]


def _cut_end(lines: list[bytes]) -> None:
    del lines[-1]


@pytest.mark.parametrize(("hurt", "line", "kind"), [
    (_change_byte, 8, "changed"), (_change_hash, 8, "changed"), (_garble, 8, "changed"),
    (_remove, 8, "missing"), (_remove_three, 8, "missing"), (_remove_header, 1, "missing"),
    (_copy, 8, "inserted"), (_insert_text, 8, "inserted"), (_swap, 8, "swapped"),
    (_forge, 9, "inserted"),    # the forged line is sealed well, so the true one after it looks out of place
    (_cut_lines, 16, "truncated"), (_cut_in_a_line, 16, "truncated"), (_cut_end, 22, "truncated")])
def test_a_change_is_found_and_named(tmp_path, capsys, hurt, line, kind):
    path = fill(tmp_path / "a.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    hurt(lines)
    path.write_bytes(b"".join(lines))
    fault = verify(path).fault
    assert fault is not None and (fault.line, fault.kind) == (line, kind), fault
    assert main(["audit", str(path)]) == 1
    assert f"BROKEN at line {line}: {kind}" in capsys.readouterr().out


def test_no_single_byte_can_be_changed(tmp_path):
    path = fill(tmp_path / "a.jsonl", 3)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        assert verify(path).fault is not None, whole[max(0, place - 20):place + 20]


def test_a_log_goes_on_where_it_was_closed(tmp_path):
    fill(tmp_path / "a.jsonl", 5)
    verdict = verify(fill(tmp_path / "a.jsonl", 5))
    assert verdict.fault is None and verdict.tail.records == 14 and verdict.crashes == 0


def test_a_killed_process_leaves_a_log_that_holds_and_goes_on(tmp_path):
    kill_while_writing(tmp_path / "a.jsonl")
    first = verify(tmp_path / "a.jsonl")
    assert first.fault is not None and first.fault.kind == "truncated" and first.tail.records > 10
    verdict = verify(fill(tmp_path / "a.jsonl", 5))
    assert verdict.fault is None and verdict.crashes == 1 and verdict.tail.records == first.tail.records + 7


@pytest.mark.parametrize("torn", [b'{"n":22,"t_mono":1', b'{"n":22}\n{"n":23', b"\xff\x00"])
def test_a_line_that_a_crash_cut_is_kept_and_told(tmp_path, torn):
    path = fill(tmp_path / "a.jsonl")
    before = path.read_bytes() + torn
    path.write_bytes(before)
    assert verify(path).fault.kind == "truncated"
    verdict = verify(fill(path, 3))
    assert path.read_bytes().startswith(before + b"\n") and verdict.fault is None and verdict.crashes == 1
    path.write_bytes(path.read_bytes().replace(torn, torn[:-1] + b"X"))
    assert verify(path).fault[:2] == (23, "changed")


def test_a_crash_within_the_first_line_can_be_gone_on_from(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"n":0,"t_mono"')
    assert verify(fill(tmp_path / "a.jsonl", 3)).fault is None


def test_files_of_a_folder_are_chained(tmp_path, capsys):
    paths = [fill(new_path(tmp_path), 3) for _ in range(4)]
    assert sorted(paths) == paths
    verdicts = verify_folder(tmp_path)
    assert [verdict.fault for verdict in verdicts] == [None] * 4
    assert verdicts[2].before == {"file": paths[1].name, "hash": verdicts[1].tail.hash, "torn": None}
    assert main(["audit", str(tmp_path)]) == 0
    paths[0].unlink()       # the oldest may be put away
    assert main(["audit", str(tmp_path)]) == 0
    assert f"goes on from {paths[0].name}" in capsys.readouterr().out
    paths[2].unlink()
    assert verify_folder(tmp_path)[1].fault[:2] == (1, "missing")


def test_the_next_file_tells_that_the_end_of_the_one_before_was_cut(tmp_path):
    first, second = (fill(new_path(tmp_path), 5) for _ in range(2))
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:-2]))
    fault = verify_folder(tmp_path)[0].fault
    assert (fault.line, fault.kind) == (6, "truncated") and second.name in fault.text


def test_the_next_file_vouches_for_the_end_of_one_whose_process_was_killed(tmp_path):
    kill_while_writing(new_path(tmp_path))
    fill(new_path(tmp_path), 5)
    verdicts = verify_folder(tmp_path)
    assert [verdict.fault for verdict in verdicts] == [None, None] and verdicts[0].crashes == 1


def test_a_file_put_between_two_others_is_told(tmp_path):
    paths = [fill(new_path(tmp_path / "a"), 3) for _ in range(2)]
    (tmp_path / "b").mkdir()
    fill(tmp_path / "b" / "x.jsonl", 3).rename(paths[0].with_name(paths[0].stem + "0.jsonl"))
    assert verify_folder(tmp_path / "a")[1].fault.kind == "inserted"


def test_names_go_on_rising_when_the_clock_was_set_back(tmp_path):
    (tmp_path / "29991231T235959.000000Z.jsonl").touch()
    assert new_path(tmp_path).name == "29991231T235959.000000Z1.jsonl"


def test_a_log_that_is_being_written_is_not_called_cut_off(tmp_path, capsys):
    log = AuditLog(tmp_path / "a.jsonl", about={})
    log.write({"state": "active"})
    assert wait(lambda: log.head.n == 1)
    assert main(["audit", str(tmp_path / "a.jsonl")]) == 0 and "being written" in capsys.readouterr().out
    assert verify(tmp_path / "a.jsonl").tail.hash == log.head.hash
    with pytest.raises(UserError, match="another process writes"):
        AuditLog(tmp_path / "a.jsonl", about={})
    log.close()
    assert "closed" in log.trouble


def test_where_nothing_can_be_written_is_refused_with_a_mend(tmp_path):
    (tmp_path / "file").write_text("mine\n")
    with pytest.raises(UserError, match="cannot be written .*name a folder"):
        AuditLog(tmp_path / "file" / "a.jsonl", about={})
    with pytest.raises(UserError, match="not an audit log"):
        AuditLog(tmp_path / "file", about={})
    assert (tmp_path / "file").read_text() == "mine\n"
    with pytest.raises(UserError, match="MB are free .*make room"):
        AuditLog(tmp_path / "a.jsonl", about={}, min_free=1e12)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        AuditLog(tmp_path / "a.jsonl", about={})


def test_a_full_disk_is_trouble_and_no_error_in_the_loop(tmp_path):
    process = child("""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = AuditLog(Path(sys.argv[1]), about={})
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
end = time.monotonic() + 30
while log.trouble is None and time.monotonic() < end:
    log.write({"asked": [1.0] * 20})
    time.sleep(0.005)
told = log.trouble
for _ in range(3000): log.write({"asked": [1.0]})
log.close()
print(told)
""", tmp_path / "a.jsonl")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0 and "cannot be written (File too large)" in out, error
    verdict = verify(tmp_path / "a.jsonl")
    assert verdict.fault.kind == "truncated" and verdict.tail.records > 5
    assert verify(fill(tmp_path / "a.jsonl", 3)).fault is None


def test_a_writer_that_cannot_keep_up_is_trouble_until_the_loss_is_told(tmp_path):
    with AuditLog(tmp_path / "a.jsonl", about={}, queue=10) as log:
        for _ in range(5000):
            log.write({"asked": [1.0]})
        lost = log.trouble
        assert lost is not None and "records were lost" in lost
        assert wait(lambda: log.trouble is None)
        log.write({"asked": [2.0]})
    assert verify(tmp_path / "a.jsonl").fault is None
    records = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    told = sum(record["records"] for record in records if record.get("audit") == "lost")
    assert told + sum("asked" in record for record in records) == 5001


def test_a_disk_that_does_not_answer_is_trouble(tmp_path):
    process = child("""
import os
log = AuditLog(Path(sys.argv[1]), about={})
read, write = os.pipe()
os.dup2(write, log._file)           # a pipe that nobody reads: full after 64 kB, and then it blocks
end, slowest = time.monotonic() + 30, 0.0
while log.trouble is None and time.monotonic() < end:
    began = time.monotonic()
    log.write({"asked": [1.0] * 100})
    slowest = max(slowest, time.monotonic() - began)
    time.sleep(0.002)
print(log.trouble)
print(slowest)
os._exit(0)
""", tmp_path / "a.jsonl")
    out, error = process.communicate(timeout=60)
    told, slowest = out.splitlines()
    assert "has not answered" in told or "were lost" in told, error
    assert float(slowest) < 1.0


def test_a_record_that_takes_the_logs_own_keys_is_kept_and_is_trouble(tmp_path):
    with AuditLog(tmp_path / "a.jsonl", about={}) as log:
        log.write({"hash": "mine"})
        assert wait(lambda: log.trouble) and "'hash'" in log.trouble
    assert verify(tmp_path / "a.jsonl").fault is None
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[1])["given"] == {"hash": "mine"}


def test_the_summary_counts_what_was_asked_and_sent_and_why_it_held(tmp_path, capsys):
    with AuditLog(tmp_path / "a.jsonl", about={"node": "gate_node"}) as log:
        for state, reasons in (("active", []), ("hold", ["image is 131 ms old"]), ("hold", ["image is 141 ms old"]),
                               ("active", []), ("hold", ["image is 150 ms old"]), ("latched", ["e-stop pressed"])):
            log.write({"state": state, "reasons": reasons, "asked": {"v": [1.0, float("nan")]},
                       "sent": {"v": [0.5, 0.0]} if state == "active" else None})
    assert main(["audit", str(tmp_path / "a.jsonl"), "--csv", str(tmp_path / "out.csv")]) == 0
    out = capsys.readouterr().out
    assert "asked   6 commands, 2 sent" in out and "hold    2 times" in out and "latched 1 times" in out
    assert "    2  image is # ms old" in out and "    1  e-stop pressed" in out and "gate_node" in out
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert len(rows) == 6 and rows[1]["reasons"] == "image is 131 ms old"
    assert [row["sent.v.0"] for row in rows] == ["0.5", "", "", "0.5", "", ""]
    assert rows[0]["asked.v.1"] == "nan" and rows[0]["state"] == "active"


def test_what_is_no_log_is_told_in_one_line(tmp_path, capsys):
    assert main(["audit", str(tmp_path / "none")]) == 1 and "no such file or folder" in capsys.readouterr().err
    assert main(["audit", str(tmp_path)]) == 1 and "holds no audit log" in capsys.readouterr().err
