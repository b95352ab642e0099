"""docs/results.md: made from the runs' files alone, and from nothing that is not there."""

import importlib.util
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from surgrl import measure
from surgrl.records import read_record
from surgrl.run import Progress

SPEC = importlib.util.spec_from_file_location("results", Path(__file__).parents[2] / "docs" / "results.py")
results = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(results)


def score(success):
    return {"success": success, "low": 0.0, "high": 1.0, "episodes": 100, "steps": 40.0, "distance": 0.01}


def measured(clean, **others):
    return {"eval-clean": {"policy": score(clean), "random": score(0.02), "expert": score(1.0)}, **others}


@pytest.fixture
def page(tmp_path, make_run):
    """The page of two methods on Reach, one of them measured in every way, and of one on Retract that was not."""
    attack = {"aim": "action", "rows": [{"budget": 0, "attack": score(0.9), "control": score(0.9)},
                                        {"budget": 4, "attack": score(0.2), "control": score(0.85)}]}
    halves = {"targets": {"agent_ratio": ">= 50"}, "trained": {"agent_ratio": 60.0, "mask_iou": float("nan")},
              "untrained": {"agent_ratio": 1.5, "mask_iou": None}}
    other = {"eval-test-full": {"policy": score(0.5)}, "eval-train-seeds": {"policy": score(1.0)}}
    runs = tmp_path / "runs"
    folders = [make_run(runs, "reach-dear", seed=1, measured=measured(0.9, attack=attack, disentangle=halves, **other)),
               make_run(runs, "reach-dear", seed=2, measured=measured(0.8, **other)),
               make_run(runs, "reach-plain", "objectives=[]", seed=1, measured=measured(0.7)),
               make_run(runs, "retract", "env.id=surgrl/Retract-v0", "objectives=[]")]
    docs = tmp_path / "docs"
    (docs / "images" / "results").mkdir(parents=True)
    (docs / "images" / "results" / "of-before.svg").write_text("<svg/>")
    (docs / "results-notes.md").write_text("It did not dance.\n")
    assert results.main([str(folder) for folder in folders], docs) == 0
    return docs


def row(text, start, part):
    """Cells of the first table row that begins so, in the section `part`."""
    section = text[text.index(f"## {part}\n"):]
    line = next(line for line in section.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_is_no_trainings_run_is_left_out(tmp_path, make_run, capsys):
    docs, demo = tmp_path / "docs", tmp_path / "demo"
    demo.mkdir()
    assert results.main([str(make_run(tmp_path / "runs", "reach")), str(demo)], docs) == 0
    assert capsys.readouterr().err == f"left out, as no training's run: {demo}\n"
    assert [path.name for path in (docs / "results").iterdir()] == ["reach-s1"]


def test_a_method_is_told_with_seeds_scores_gaps_steps_time_and_config(page):
    text = (page / "results.md").read_text()
    name, seeds, clean, other, looks, seen, gap, steps, updates, minutes, config = row(text, "drqv2 + dear", "Reach")
    assert seeds.startswith("1, 2") and clean.startswith("**85%**") and clean.endswith("of 200")
    assert other.startswith("**50%**") and looks == "+35 (±64)" and seen.startswith("**100%**") and gap == "+15 (±64)"
    assert (steps, updates, minutes) == ("300", "150", "3.0 min") and "surgrl/configs/reach-demo.yaml" in config
    assert row(text, "scripted expert", "Reach")[2].startswith("**100%**")


@pytest.mark.parametrize(("told", "title"), [({}, "drqv2, under the looks of its training"),
                                             ({"randomise": "none"}, "drqv2")])
def test_an_attack_under_varied_looks_is_told_as_one(tmp_path, make_run, told, title):
    attack = {"aim": "action", "rows": [{"budget": 0, "attack": score(0.9), "control": score(0.9)}], **told}
    run = make_run(tmp_path / "runs", "varied", "objectives=[]", "env.options={randomise: full}", measured=measured(
        0.9, attack=attack))
    assert results.main([str(run)], tmp_path / "docs") == 0
    text = (tmp_path / "docs" / "results.md").read_text()
    assert f"| attack | {title} |" in text[text.index("### Robustness"):]


def test_what_was_not_measured_is_not_run_and_what_was_in_part_says_so(page):
    text = (page / "results.md").read_text()
    assert row(text, "drqv2", "Reach")[3:5] == ["not run", "not run"]
    assert row(text, "drqv2", "Retract")[2] == "not run"
    assert row(text, "4/255, FGSM on the action", "Reach")[1:] == ["**20%** 13%-29% of 100, 1 of 2 seeds", "not run"]
    assert row(text, "4/255, random signs", "Reach")[1].startswith("**85%**")
    retract = text[text.index("## Retract\n"):]
    assert "`surgrl disentangle`: not run" in retract and "random sign of the same size): not run" in retract
    assert "60 (1.5)" in text and "nan" not in text


def test_pictures_and_configs_are_there_and_none_of_before(page):
    text = (page / "results.md").read_text()
    linked = [page / path for path in re.findall(r"\]\(((?:images|results)/[^)]+)\)", text)]
    assert len(linked) == 4 and all(path.is_file() for path in linked)
    assert set((page / "images" / "results").iterdir()) == set(linked[:1] + linked[2:3])
    assert "## What did not work\n\nIt did not dance." in text


def test_the_page_is_made_again_from_the_runs_kept_beside_it(page, tmp_path):
    text = (page / "results.md").read_text()
    assert {path.name for path in (page / "results").iterdir()} == {
        "reach-dear-s1", "reach-dear-s2", "reach-plain-s1", "retract-s1"}
    shutil.rmtree(tmp_path / "runs")
    assert results.main([], page) == 0 and (page / "results.md").read_text() == text
    shutil.rmtree(page / "results" / "retract-s1")
    assert results.main([], page) == 0 and "## Retract" not in (page / "results.md").read_text()


def test_without_any_run_it_says_what_to_do(tmp_path, capsys):
    assert results.main([], tmp_path) == 1 and "name folders of runs" in capsys.readouterr().err


def test_the_page_that_ships_is_what_its_runs_tell(tmp_path):
    docs = Path(results.__file__).parent
    for name in ("results", "results-notes.md"):
        (shutil.copytree if (docs / name).is_dir() else shutil.copyfile)(docs / name, tmp_path / name)
    assert results.main([], tmp_path) == 0
    assert (tmp_path / "results.md").read_text() == (docs / "results.md").read_text()


def test_missing_measurements_are_filled_once_and_a_failure_is_told(swept, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "tiny-lr1e-3-s1"
    shutil.copytree(swept.runs / folder.name, folder)
    whole = measure.commands

    def short(record, episodes, baselines):
        found = whole(record, episodes, baselines)
        return {"eval-clean": found["eval-clean"], "attack": ["eval", str(tmp_path / "none")]}

    monkeypatch.setattr(measure, "commands", short)
    words = [str(folder), "--measure", "--episodes", "1"]
    assert results.main(words, tmp_path / "docs") == 1 and "attack: surgrl: error: " in capsys.readouterr().out
    assert set(read_record(folder).measured("eval-clean")) == {"policy", "random", "expert"}
    made = (folder / "eval-clean.json").stat().st_mtime_ns
    results.main(words, tmp_path / "docs")
    assert (folder / "eval-clean.json").stat().st_mtime_ns == made       # not measured twice
    assert "of 1" in row((tmp_path / "docs" / "results.md").read_text(), "drqv2 + dear", "Reach")[2]


def test_seen_seeds_are_those_that_the_training_saw(tmp_path, make_run):
    demonstrated = read_record(make_run(tmp_path, "a", "demos.episodes=30", "demos.noise=0.1", seed=3))
    words = measure.commands(demonstrated, 100, False)["eval-train-seeds"]
    assert words[words.index("--seed") + 1] == "3500000" and words[words.index("--episodes") + 1] == "30"
    told = replace(demonstrated, progress=Progress(episodes=70), config=replace(demonstrated.config, demos=replace(
        demonstrated.config.demos, folder="files")))        # whose seeds may be any
    words = measure.commands(told, 100, False)["eval-train-seeds"]
    assert words[words.index("--seed") + 1] == "3000000" and words[words.index("--episodes") + 1] == "70"
    few = read_record(make_run(tmp_path, "few", "env.seeds=5", seed=3))
    words = measure.commands(replace(few, progress=Progress(episodes=70)), 100, False)["eval-train-seeds"]
    assert words[words.index("--seed") + 1] == "3000000" and words[words.index("--episodes") + 1] == "5"
    alone = read_record(make_run(tmp_path, "b", "demos.episodes=0", "demos.updates=0", "agent.demo_share=0"))
    assert "eval-train-seeds" not in measure.commands(alone, 100, False)     # no episode is known to have been seen


def test_a_randomised_training_is_clean_without_its_randomisation(tmp_path, make_run):
    record = read_record(make_run(tmp_path, "a", "env.options={randomise: full}"))
    words = measure.commands(record, 100, True)
    assert words["eval-clean"][-2:] == ["--randomise", "none"]
    assert words["attack"][-2:] == ["--randomise", "none"]
    assert words["eval-test-full"][-3:] == ["--randomise", "test-full", "--no-baselines"]
