"""What a policy sees and does, as one picture for the operator: state, reason, direction, depth, jaw."""

from collections.abc import Mapping

import cv2
import numpy as np

from .spec import Array

Colour = tuple[int, int, int]           # RGB, 0..255

WIDEST, NARROWEST = 640, 400            # px; a smaller frame is enlarged, so that words stay legible
WHITE, GREY, DARK, BLACK = (255, 255, 255), (150, 156, 162), (58, 62, 66), (18, 20, 22)
GREEN, AMBER, RED, BLUE = (70, 225, 130), (255, 190, 50), (255, 75, 65), (95, 190, 255)
STATES = {"active": GREEN, "hold": AMBER, "waiting": BLUE, "latched": RED}      # any other: GREY
JAW = (-0.35, 1.4)                      # rad, closed and open of a dVRK's jaw
FONT = cv2.FONT_HERSHEY_SIMPLEX
LETTER, LINE = 0.44, 19                 # size of the letters; px from one line to the next
LINES = 2                               # of the reason, at most: the picture keeps its size
MARGIN = 8                              # px


def draw(frame: Array, *, state: str, reason: str, action: Mapping[str, float], speed_limit: float) -> Array:
    """(H, W, 3) uint8 RGB -> (h, w, 3) uint8 RGB, w from 400 to 640: below a bar of the state the frame, marked.

    state: "active", "hold", ...; its colour is the bar's. action: v_x, v_y, v_z in m/s in the camera's optical
    frame (x right, y down, z away), jaw in rad; what it lacks, or is not finite, is not drawn. speed_limit: m/s,
    that fills arrow and gauge. A frame of one shape gives pictures of one shape, whatever is told.
    """
    picture = _fit(frame)
    _draw_motion(picture, action, speed_limit, STATES.get(state, GREY))
    _draw_gauges(picture, action, speed_limit, STATES.get(state, GREY))
    return np.concatenate([_header(picture.shape[1], state, reason), picture])


def _fit(frame: Array) -> Array:
    """A copy whose width is within bounds."""
    height, width = frame.shape[:2]
    wide = min(max(width, NARROWEST), WIDEST)
    if wide == width:
        return np.array(frame)
    size = (wide, max(1, round(height * wide / width)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA if wide < width else cv2.INTER_LINEAR))


def _header(width: int, state: str, reason: str) -> Array:
    """The bar: the state's word on its colour, the reason in words beside it."""
    bar = np.full((LINES * LINE + MARGIN, width, 3), BLACK, np.uint8)
    word, badge = state.upper(), max(92, _width(state.upper(), LETTER * 1.25) + 2 * MARGIN)
    cv2.rectangle(bar, (0, 0), (badge - 1, bar.shape[0]), STATES.get(state, GREY), cv2.FILLED)
    x = (badge - _width(word, LETTER * 1.25)) // 2
    _write(bar, word, x, bar.shape[0] // 2 + 6, BLACK, LETTER * 1.25, weight=2)
    told = _wrap(reason, width - badge - 2 * MARGIN)
    top = (bar.shape[0] - len(told) * LINE) // 2
    for number, line in enumerate(told):
        _write(bar, line, badge + MARGIN, top + number * LINE + 14, WHITE)
    return bar


def _draw_motion(picture: Array, action: Mapping[str, float], speed_limit: float, colour: Colour) -> None:
    """An arrow from the middle: where the tip is to go in the picture's plane."""
    height, width = picture.shape[:2]
    velocity = np.array([action.get("v_x", np.nan), action.get("v_y", np.nan)])
    if not np.isfinite(velocity).all():
        return
    centre, way = np.array([width / 2, height / 2]), velocity / speed_limit * 0.36 * min(height, width)
    length = float(np.hypot(*way))
    longest = 0.45 * min(height, width)
    if length > longest:        # a policy may ask for more than the limit; the arrow stays in the picture
        way, length = way * longest / length, longest
    for rim, paint in ((3, BLACK), (0, colour)):
        if length >= 6:
            along = way / length
            across, head = np.array([-along[1], along[0]]), min(20.0, length)
            neck = centre + along * (length - head)
            cv2.line(picture, _px(centre), _px(neck + along), paint, 5 + 2 * rim, cv2.LINE_AA)
            tip, half = centre + way + along * rim * 1.6, across * (head * 0.55 + rim * 1.4)
            corners = np.rint(np.array([tip, neck - along * rim + half, neck - along * rim - half])).astype(np.int32)
            cv2.fillConvexPoly(picture, corners, paint, cv2.LINE_AA)
        cv2.circle(picture, _px(centre), 4 + rim, paint, cv2.FILLED, cv2.LINE_AA)


def _draw_gauges(picture: Array, action: Mapping[str, float], speed_limit: float, colour: Colour) -> None:
    """Depth as an upright bar at the right: up is away from the camera; the jaw as a lying one below."""
    height, width = picture.shape[:2]
    depth, jaw = action.get("v_z", np.nan), action.get("jaw", np.nan)
    if np.isfinite(depth):
        half, right, middle = min(80, height // 2 - 3 * LINE), width - 14, height // 2
        _shade(picture, middle - half - 26, right - 50, middle + half + 26, width)
        for word, y in (("away", middle - half - 9), ("near", middle + half + 19)):
            _write(picture, word, right - _width(word, LETTER) + 4, y, WHITE)
        cv2.rectangle(picture, (right - 12, middle - half), (right, middle + half), DARK, cv2.FILLED)
        tip = middle - round(float(np.clip(depth / speed_limit, -1, 1)) * half)
        cv2.rectangle(picture, (right - 12, min(tip, middle)), (right, max(tip, middle)), colour, cv2.FILLED)
        cv2.line(picture, (right - 17, middle), (right + 5, middle), WHITE, 2)
    if np.isfinite(jaw):
        left, long, low = MARGIN + 34, 120, height - 20
        _shade(picture, low - 12, 0, height, left + long + 86)
        _write(picture, "jaw", MARGIN, low + 9, WHITE)
        cv2.rectangle(picture, (left, low), (left + long, low + 9), DARK, cv2.FILLED)
        part = float(np.clip((jaw - JAW[0]) / (JAW[1] - JAW[0]), 0, 1))
        cv2.rectangle(picture, (left, low), (left + round(part * long), low + 9), colour, cv2.FILLED)
        shut = left + round(-JAW[0] / (JAW[1] - JAW[0]) * long)       # 0 rad: the jaws just touch
        cv2.line(picture, (shut, low - 3), (shut, low + 12), WHITE, 2)
        _write(picture, f"{jaw:+.2f} rad", left + long + MARGIN, low + 9, WHITE)


def _shade(picture: Array, top: int, left: int, bottom: int, right: int) -> None:
    """Darken a box to a quarter: white is legible on any tissue."""
    box = picture[max(0, top):bottom, max(0, left):right]
    np.right_shift(box, 2, out=box)


def _wrap(text: str, width: int) -> list[str]:
    """Words in at most LINES lines of `width` px; what does not fit ends in three dots."""
    lines = [""]
    for word in text.encode("ascii", "replace").decode().split():      # cv2 4 has no other letters
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer, LETTER) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    rest = lines[LINES:]
    return [_cut(line, width, more=bool(rest) and number == LINES - 1) for number, line in enumerate(lines[:LINES])]


def _cut(line: str, width: int, *, more: bool) -> str:
    """The line, or as much of it as fits; dots where something is left out."""
    shown, dots = line, " ..." if more else ""
    while shown and _width(shown + dots, LETTER) > width:
        shown, dots = shown[:-1], " ..."
    return shown + dots


def _write(picture: Array, words: str, x: int, y: int, colour: Colour, size: float = LETTER, weight: int = 1) -> None:
    cv2.putText(picture, words, (x, y), FONT, size, colour, weight, cv2.LINE_AA)


def _width(words: str, size: float) -> int:
    return int(cv2.getTextSize(words, FONT, size, 1)[0][0])


def _px(point: Array) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
