"""What a policy commands, drawn onto the picture that it saw."""

from typing import NamedTuple

import numpy as np

from .canvas import Canvas, Colour, text_width
from .policy.spec import ActionSpec, Array

WHITE, DARK, BLACK = (255, 255, 255), (70, 70, 70), (0, 0, 0)
GREEN, AMBER, RED, BLUE = (70, 225, 130), (255, 190, 50), (255, 75, 65), (95, 190, 255)
MILLI = {"m/s": "mm/s", "m": "mm"}      # what surgeons read
Box = tuple[int, int, int, int]         # top, left, height, width, px
BASE = (640, 480)                       # px, width and height of the picture that the lengths below are for


class Note(NamedTuple):
    """All that is told about one picture."""

    time: float                 # s of presentation
    number: int                 # of the frame in the file, from 0
    age: float                  # s, of the picture at this moment
    action: Array               # (A,) SI, what the policy wants; NaN when it was not asked
    wanted: Array               # (3,) its tip velocity over the fastest one; x right, y down, z away
    sent: Array                 # (3,) the same after the gate
    hold: bool                  # nothing may move
    reasons: tuple[str, ...]    # why the gate changed or held it


class Annotator:
    """Draws notes: arrow in the image plane, gauge of depth, bars of the action, line of the gate."""

    def __init__(self, action: ActionSpec, size: tuple[int, int], *, view: Box, arrow: bool):
        """size: width, height px; view: top, left, height, width px of what the policy sees.

        arrow: whether the action is told in the frame of the camera, so that its direction can be drawn.
        """
        self.spec, self.view, self.arrow = action, view, arrow
        self.scale = min(size[0] / BASE[0], size[1] / BASE[1])
        self.letters = 0.42 * self.scale
        self.name_width = max(text_width(name, self.letters) for name in action.names) + self._px(16)
        words = ("SEND", "LIMITED", "HOLD", "away", "near")
        self.word_width = {word: text_width(word, self.letters) for word in words}

    def draw(self, yuv: Array, note: Note) -> None:
        """Draw on (height * 3 // 2, width) uint8, planes of yuv420p, in place."""
        canvas = Canvas(yuv)
        self._draw_view(canvas)
        if self.arrow:
            self._draw_velocity(canvas, note)
            self._draw_depth(canvas, note)
        self._draw_status(canvas, note)
        self._draw_action(canvas, note)

    def _draw_view(self, canvas: Canvas) -> None:
        """Corners of what the policy sees."""
        top, left, rows, columns = self.view
        arm, thick = self._px(14), self._px(2)
        for y in (top, top + rows - arm):
            for x in (left, left + columns - thick):
                canvas.box(y, x, y + arm, x + thick, WHITE)
        for y in (top, top + rows - thick):
            for x in (left, left + columns - arm):
                canvas.box(y, x, y + thick, x + arm, WHITE)

    def _draw_velocity(self, canvas: Canvas, note: Note) -> None:
        """What is sent as a full arrow; what was wanted instead as a thin line."""
        top, left, rows, columns = self.view
        centre, reach = np.array([left + columns / 2, top + rows / 2]), 0.3 * min(rows, columns)
        if note.reasons and np.isfinite(note.wanted).all():
            canvas.line(centre, centre + np.clip(note.wanted[:2], -1, 1) * reach, AMBER, self._px(1))
        if note.hold:
            arm = self._px(9)
            for x, y in ((arm, arm), (arm, -arm)):
                canvas.line(centre - [x, y], centre + [x, y], RED, self._px(4))
            return
        canvas.disc(centre, self._px(5), BLACK)
        self._draw_arrow(canvas, centre, note.sent[:2] * reach, BLACK, self._px(2))
        self._draw_arrow(canvas, centre, note.sent[:2] * reach, _colour(note), 0)
        canvas.disc(centre, self._px(3), _colour(note))

    def _draw_arrow(self, canvas: Canvas, start: Array, way: Array, colour: Colour, rim: int) -> None:
        length = float(np.hypot(*way))
        if length < self._px(4):
            return
        along = way / length
        across, head, end = np.array([-along[1], along[0]]), min(self._px(18), length), start + way
        canvas.line(start, end - along * head * 0.8, colour, self._px(5) + 2 * rim)
        back, half = end - along * (head + rim), across * (head / 2 + 1.5 * rim)
        canvas.polygon(np.array([end + along * 2 * rim, back + half, back - half]), colour)

    def _draw_depth(self, canvas: Canvas, note: Note) -> None:
        """A gauge at the right: up is away from the camera, into the picture."""
        half, right, middle = self._px(80), canvas.width - self._px(14), canvas.height // 2
        left, frame = right - self._px(12), half + self._px(22)
        canvas.shade(middle - frame, right - self._px(56), middle + frame, canvas.width)
        for word, y in (("away", middle - half - self._px(8)), ("near", middle + half + self._px(17))):
            canvas.text(word, right - self.word_width[word], y, self.letters, WHITE)
        canvas.box(middle - half, left, middle + half, right, DARK)
        tip = middle - min(max(float(note.sent[2]), -1.0), 1.0) * half
        canvas.box(min(tip, middle), left, max(tip, middle), right, _colour(note))
        canvas.box(middle - self._px(1), left - self._px(5), middle + self._px(1), right + self._px(5), WHITE)

    def _draw_status(self, canvas: Canvas, note: Note) -> None:
        """The gate's word and its reasons; when and what this picture is."""
        bar, base, word = self._px(26), self._px(17), _word(note)
        width = self.word_width["LIMITED"] + self._px(16)
        canvas.shade(0, 0, bar, canvas.width)
        canvas.box(0, 0, bar, width, _colour(note))
        canvas.text(word, (width - self.word_width[word]) / 2, base, self.letters, BLACK)
        place = f"{note.time:.2f} s   frame {note.number}   image {note.age * 1e3:.0f} ms old"
        x = canvas.width - text_width(place, self.letters) - self._px(10)
        canvas.text(place, x, base, self.letters, WHITE)
        if note.reasons:
            canvas.shade(bar, 0, 2 * bar, canvas.width)
            canvas.text("; ".join(note.reasons), self._px(8), bar + base, self.letters, WHITE)

    def _draw_action(self, canvas: Canvas, note: Note) -> None:
        """Name, bar and value of each entry, from the bottom left."""
        row, bar, left, base = self._px(19), self._px(110), self.name_width, self._px(17)
        top = canvas.height - row * len(note.action) - self._px(10)
        canvas.shade(top, 0, canvas.height, left + bar + self._px(110))
        spec = self.spec
        entries = zip(spec.names, spec.units, spec.low, spec.high, note.action, strict=True)
        for number, (name, unit, low, high, value) in enumerate(entries):
            y = top + row * number
            canvas.text(name, self._px(8), y + base, self.letters, WHITE)
            canvas.text(_shown(value, unit), left + bar + self._px(10), y + base, self.letters, WHITE)
            above, below = y + self._px(8), y + row + self._px(2)
            canvas.box(above, left, below, left + bar, DARK)
            zero, tip = (min(max((x - low) / (high - low), 0.0), 1.0) * bar for x in (0.0, float(value)))
            if np.isfinite(value):
                canvas.box(above, left + min(zero, tip), below, left + max(zero, tip), BLUE)
            canvas.box(above - self._px(2), left + zero - 1, below + self._px(2), left + zero + 1, WHITE)

    def _px(self, length: float) -> int:
        """A length at BASE, in px of this picture."""
        return max(1, round(length * self.scale))


def _word(note: Note) -> str:
    return "HOLD" if note.hold else "LIMITED" if note.reasons else "SEND"


def _colour(note: Note) -> Colour:
    return {"HOLD": RED, "LIMITED": AMBER, "SEND": GREEN}[_word(note)]


def _shown(value: float, unit: str) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{value * 1e3:+.1f} {MILLI[unit]}" if unit in MILLI else f"{value:+.3f} {unit}"
