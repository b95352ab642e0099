"""Configs: what is wrong is named, and nothing is guessed."""

import pytest

from surgrl.cli import main
from surgrl.config import Config, PretrainConfig
from surgrl.config_file import built, config_names, config_of, load_config, plain, read_values
from surgrl.policy.errors import UserError


@pytest.mark.parametrize("name", config_names())
def test_every_config_that_comes_with_surgrl_is_sound_and_explains_itself(name):
    config = load_config(name)
    assert config.name == name
    assert config_of(plain(config)) == config


@pytest.mark.parametrize("name", config_names(PretrainConfig))
def test_so_is_every_config_of_pretrain(name):
    config = built(PretrainConfig, read_values(name))
    assert config.name == name and config.objectives
    assert built(PretrainConfig, plain(config)) == config


@pytest.mark.parametrize(("override", "told"), [
    ("sede=3", "unknown key sede"), ("image.sise=64", "unknown key image.sise"), ("seed=one", "seed is 'one'"),
    ("seed=1.5", "seed is 1.5"), ("seed=true", "seed is True"), ("memory.gamma=2", "memory.gamma is 2"),
    ("image=64", "image is 64"), ("objectives=dear", "objectives is 'dear'"), ("objectives=[dear]", "objectives is"),
    ("steps=-1", "steps is -1"), ("seed=2000", "seed is 2000"), ("seed", "key=value"), ("name=a/b", "name 'a/b'"),
    ("image.render=32", "image.render is 32"), ("agent.lr.x=1", "holds no keys"), ("seed=[", "not readable"),
    ("demos.episodes=0", "demos.updates is 800, which needs demonstrations")])
def test_a_mistake_is_named(override, told):
    with pytest.raises(UserError, match="(?s).*" + told.replace("[", r"\[")):
        load_config("reach-demo", [override])


@pytest.mark.parametrize(("config", "option"), [("reach-demo", "agent.demo_share=0.4"),
                                                ("reach-dvc", "agent.rehearse=8")])
def test_what_is_drawn_from_demonstrations_needs_some(config, option):
    with pytest.raises(UserError, match=f"{option.replace('=', ' is ')}, which needs demonstrations"):
        load_config(config, ["demos.episodes=0", "demos.updates=0", option])


def test_demonstrations_that_dvc_would_not_learn_from_are_refused():
    with pytest.raises(UserError, match="agent.imitation above 0"):
        load_config("retract-dvc", ["agent.imitation=0", "agent.rehearse=0", "demos.updates=0"])


@pytest.mark.parametrize("imitation", ["0", "0.0", "'0'"])
def test_recordings_that_dvc_would_not_learn_from_are_refused(imitation):
    with pytest.raises(UserError, match=r"recordings.sources names 1, which teach dvc .* agent.imitation above 0"):
        load_config("retract-dvc", [f"agent.imitation={imitation}", "agent.rehearse=0", "demos.updates=5",
                                    "demos.episodes=0", "recordings.sources=[a.mp4]"])


def test_numbers_in_a_mapping_are_read_as_numbers():
    assert load_config("reach", ["env.reward={wall: 1e-1}"]).env.reward == {"wall": 0.1}
    with pytest.raises(UserError, match="env.reward.wall is 'much'"):
        load_config("reach", ["env.reward={wall: much}"])


def test_an_unknown_key_lists_what_is_allowed():
    with pytest.raises(UserError, match="allowed here: render, size, stack, proprio"):
        load_config("reach-demo", ["image.colour=1"])


def test_yaml_reads_1e_minus_4_as_text_and_the_config_does_not():
    assert load_config("reach-demo", ["memory.gamma=9e-1"]).memory.gamma == 0.9


def test_a_file_is_found_by_path_and_named_after_itself(tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: 4\nimage: {size: 48}\n")
    config = load_config(str(tmp_path / "mine.yaml"), ["image.stack=2"])
    assert (config.name, config.seed, config.image.size, config.image.stack) == ("mine", 4, 48, 2)


@pytest.mark.parametrize("text", ["- a\n- b\n", "seed: [", "\x00"])
def test_what_is_no_config_is_told(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match="bad.yaml"):
        load_config(str(tmp_path / "bad.yaml"))


def test_a_missing_config_lists_those_that_are_there():
    with pytest.raises(UserError, match="reach-demo"):
        load_config("no-such-config")


def test_defaults_are_sound():
    assert Config(name="a").memory.nstep == 3


@pytest.mark.parametrize(("words", "told"), [
    (["train", "reach", "--runs", "R", "sed=2"], "unknown key sed"),
    (["train", "reach", "seed=1", "--runs", "R", "agent.lr=1", "sed=2"], "unknown key sed"),
    (["pretrain", "pretrain-tcn", "seed=1", "--runs", "R", "sed=2"], "unknown key sed"),
    (["play", "surgrl/Reach-v0", "--expert", "colour=1"], "option 'colour' is unknown"),
    (["demos", "surgrl/Reach-v0", "1", "out", "--size", "32", "colour=1"], "option 'colour' is unknown")])
def test_overrides_may_stand_behind_options(tmp_path, monkeypatch, surgrl, words, told):
    monkeypatch.chdir(tmp_path)
    done = surgrl(*words)
    assert done.returncode == 1 and told in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["train", "reach", "--runs", "R", "stray"], ["train", "reach", "--sed=2", "a=1"],
                                   ["report", "R", "--videos", "0", "a=1"]])
def test_other_words_behind_options_are_a_matter_of_usage(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and "unrecognized arguments" in capsys.readouterr().err
