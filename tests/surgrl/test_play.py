"""Playing a task: keys become actions; where there is no window, a video is written."""

import cv2
import numpy as np
import pytest

from surgrl import play
from surgrl.cli import main

TASK = "surgrl/Reach-v0"


def test_without_a_display_it_says_so_and_records_the_expert(tmp_path, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    out = tmp_path / "play.mp4"
    assert main(["play", TASK, "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("no window: ") for line in said) == 1
    steps = int(said[-1].split(": ")[1].split()[0])
    assert said[-1].endswith("success")
    video = cv2.VideoCapture(str(out))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == steps + 1 and video.get(cv2.CAP_PROP_FRAME_WIDTH) == 640
    video.release()


def test_the_expert_is_recorded_when_asked_for_without_a_word_on_windows(tmp_path, capsys):
    assert main(["play", TASK, "randomise=full", "--expert", "--out", str(tmp_path / "a.mp4")]) == 0
    assert "no window" not in capsys.readouterr().out and (tmp_path / "a.mp4").stat().st_size > 1000


@pytest.mark.parametrize("kind", ["dvc", "safe"])
def test_options_of_the_task_are_taken_and_image_size_is_that_of_the_picture(tmp_path, capsys, kind):
    out = tmp_path / "a.mp4"
    assert main(["play", "surgrl/ColonNavigate-v0", f"actions={kind}", "image_size=[48,64]",
                 "randomise.power=[0.5,0.6]", "--expert", "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip().endswith("success")
    video = cv2.VideoCapture(str(out))
    assert (video.get(cv2.CAP_PROP_FRAME_HEIGHT), video.get(cv2.CAP_PROP_FRAME_WIDTH)) == (48, 64)
    video.release()


@pytest.mark.parametrize(("words", "told"), [
    (["surgrl/Fly-v0"], "surgrl/Fly-v0"), ([TASK, "--seed", "-1"], "--seed is -1"),
    ([TASK, "--expert", "--out", "here.txt"], "must be an mp4"), ([TASK, "randomise=wild"], "'wild'"),
    ([TASK, "colour=1"], "option 'colour' is unknown; allowed: tolerance, target, image_size"),
    ([TASK, "render_size=[9,9]"], "option 'render_size' is set by the command"),
    ([TASK, "tolerance=small"], "tolerance is 'small'; it must be a number"),
    ([TASK, "image_size=100"], "image_size is (100,)"),
    ([TASK, "image_size"], "not of the form key=value"), ([TASK, "eyes=smell"], "'smell'"),
    ([TASK, "eyes=5"], "eyes 5 is unknown; allowed"), ([TASK, "randomise=[5]"], "randomise [5] is neither a level"),
    (["surgrl/ColonNavigate-v0", "actions=joystick"], "'joystick'")])
def test_a_users_mistake_is_one_line(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    assert main(["play", *words]) == 1
    said = capsys.readouterr().err
    assert told in said and said.startswith("surgrl: error: ") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_keys_move_the_channels_in_order_until_they_are_let_go():
    keyboard = play.Keyboard(("v_x", "v_y", "v_z", "jaw"))
    for key in ("right", "up", "page up"):
        keyboard.press(key, 1.0)
    assert np.array_equal(keyboard.action(1.1), [1, -1, 1, 1])
    assert np.array_equal(keyboard.action(1.0 + play.RELEASED + 0.01), [0, 0, 0, 1])


def test_space_toggles_the_jaw_once_however_long_it_is_held():
    keyboard = play.Keyboard(("v_x", "v_y", "v_z", "jaw"))
    for now in (1.0, 1.1, 1.2, 1.3, 1.5):
        keyboard.press("space", now)
    assert keyboard.action(2.0)[3] == -1
    keyboard.press("space", 3.0)
    assert keyboard.action(3.0)[3] == 1


def test_a_scopes_roll_has_keys_of_its_own():
    keyboard = play.Keyboard(("bend_x", "bend_y", "insertion", "roll"))
    keyboard.press("roll -", 0.0)
    keyboard.press("left", 0.0)
    assert np.array_equal(keyboard.action(0.0), [-1, 0, 0, -1])


def test_the_window_plays_until_escape_with_the_expert_when_asked(monkeypatch):
    shown, codes = [], iter([65363, 65363 + play.NUM_LOCK, ord(" "), ord("x"), *[-1] * 60, ord("n"), play.ESCAPE])
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append(picture))
    monkeypatch.setattr(cv2, "waitKeyEx", lambda wait: next(codes))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *asked: 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: shown.append("closed"))
    monkeypatch.setattr(play.time, "sleep", lambda rest: None)
    env = play.make_env(TASK, observation="state", render_mode="rgb_array", render_size=(48, 64))
    seeds, reset = [], env.reset
    env.reset = lambda seed: seeds.append(seed) or reset(seed=seed)
    play.play(env, 3)
    env.close()
    assert seeds == [3, 4] and shown[-1] == "closed" and len(shown) == 67
    assert shown[0].shape == (48, 64, 3)


def test_keys_choose_among_discrete_actions(monkeypatch):
    codes, done = iter([65363, 65363, play.ESCAPE]), []
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: None)
    monkeypatch.setattr(cv2, "waitKeyEx", lambda wait: next(codes))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *asked: 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    monkeypatch.setattr(play.time, "sleep", lambda rest: None)
    env = play.make_env("surgrl/ColonNavigate-v0", observation="state", render_mode="rgb_array", render_size=(48, 64),
                        actions="safe")
    step = env.step
    env.step = lambda action: done.append(action) or step(action)
    play.play(env, 0)
    env.close()
    assert done == [0, 1, 1]        # straight on until the first key, then right


@pytest.mark.parametrize("built", ["  GUI:           NONE\n", "  GUI:           GTK3\n"])
def test_a_window_needs_an_opencv_that_has_one_and_a_display(monkeypatch, built):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: built)
    monkeypatch.setattr(cv2, "namedWindow", lambda title: None)
    monkeypatch.setenv("DISPLAY", ":0")
    assert ("headless" in play.no_window()) == ("NONE" in built)
    if "GTK3" in built:
        assert play.no_window() == ""
        monkeypatch.delenv("DISPLAY")
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        assert "DISPLAY" in play.no_window()
