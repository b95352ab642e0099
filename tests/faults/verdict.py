"""Whether any command was outside the limits: of every motion that the gate wrote down, and all that the arm heard."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from stage import Log

from surgrl.policy.gate import STOOD

ROUNDING = 1e-6         # of a limit
TICK = 0.01             # s
PAUSE = 0.1             # s between commands, after which the gate starts from rest


class Count(NamedTuple):
    """Of all commands."""

    sent: int
    heard: int
    unlogged: int           # heard as the gate was killed, or its disk full
    belated: int            # left in the middle of a stop of the gate, one step from rest: nothing else can be done
    outside: list[str]      # what is wrong, where


def judge(audit: Path, log: Log, unlogged: list[tuple[float, float]]) -> Count:
    """Every log in the folder, and every command that the driver heard. unlogged: s, when the log could not be."""
    sent, belated, outside, known = 0, 0, [], set()
    places = [(line["t"], line["at"]) for line in log.read() if line["what"] == "place"]
    heard = {tuple(line["at"]): line["t"] for line in log.read() if line["what"] == "command"}
    last: list[list[float]] = []
    for path in sorted(audit.glob("*.jsonl")):
        *lines, _ = path.read_text().split("\n")
        records = [json.loads(line) for line in lines]
        limits = records[0]["about"]["limits"]
        for motion in motions(records, heard):
            sent += len(motion)
            known |= {_key(record["sent"]) for record in motion}
            first = motion[0]["t_mono"] * 1e-9
            # Where it was told to be before, or where a test has put it since.
            froms = last + [at for when, at in places if first - 30 < when < first]
            start = min(froms, key=lambda at: np.linalg.norm(np.subtract(at, _key(motion[0]["sent"]))))
            if is_belated(motion, limits, start, records):
                belated += 1
            else:
                outside += [f"{path.name}, record {motion[0]['n']}: {text}" for text in breaches(motion, limits, start)]
            last = [list(_key(motion[-1]["sent"]))]
    told = [line for line in log.read() if line["what"] == "command"]
    unknown = [line for line in told if tuple(line["at"]) not in known]
    excused = [line for line in unknown if any(begin < line["t"] < end for begin, end in unlogged)]
    outside += [f"the arm was told {line['at']}, which no log knows" for line in unknown if line not in excused]
    return Count(sent, len(told), len(excused), belated, outside)


def motions(records: list[dict[str, Any]], heard: dict[tuple[float, ...], float]) -> list[list[dict[str, Any]]]:
    """Records with commands, from each start to each rest. heard: s, monotonic, when the arm heard what place."""
    found: list[list[dict[str, Any]]] = [[]]
    for record in records:
        last = found[-1][-1] if found[-1] else None
        if record.get("sent"):
            # By the log and to the arm: a busy gate may write late what it has sent in time, a busy arm hear it late.
            if last and min((record["t_mono"] - last["t_mono"]) * 1e-9,
                            heard.get(_key(record["sent"]), np.inf) - heard.get(_key(last["sent"]), -np.inf)) > PAUSE:
                found.append([])
            found[-1].append(record)
        if record.get("hold") or record.get("audit") == "end":
            found.append([])
    return [motion for motion in found if motion]


def is_belated(motion: list[dict[str, Any]], limits: dict[str, Any], start: list[float],
               records: list[dict[str, Any]]) -> bool:
    """Whether it is one command that the gate was about to send as it was stopped: one step further, then hold."""
    after = next((record for record in records if record["n"] > motion[0]["n"]), {})
    way = np.linalg.norm(np.subtract(_key(motion[0]["sent"]), start))
    return (len(motion) == 1 and any(reason.startswith(STOOD) for reason in after.get("reasons", ()))
            and bool(way <= limits["speed"] * TICK * (1 + ROUNDING)))


def breaches(motion: list[dict[str, Any]], limits: dict[str, Any], start: list[float]) -> list[str]:
    """What of it is faster, harder or further than allowed. start: where the arm was before."""
    at = np.array([[record["sent"][axis] for axis in "xyz"] for record in motion])
    jaw = np.array([record["sent"]["jaw"] for record in motion if record["sent"]["jaw"] is not None])
    at = np.vstack([start, at])
    velocity = np.vstack([np.zeros(3), np.diff(at, axis=0) / TICK])
    acceleration = np.vstack([np.zeros(3), np.diff(velocity, axis=0) / TICK])
    jerk = np.diff(acceleration, axis=0) / TICK
    found = []
    for name, values, slack in (("speed", velocity, 1e-9), ("acceleration", acceleration, 1e-6), ("jerk", jerk, 1e-4)):
        most = float(np.linalg.norm(values, axis=1).max(initial=0.0))
        if not most <= limits[name] * (1 + ROUNDING) + slack:
            found.append(f"{name} {most:.6g}, limit {limits[name]:g}")
    if not ((at >= np.array(limits["box_low"]) - 1e-8) & (at <= np.array(limits["box_high"]) + 1e-8)).all():
        found.append("outside the box")
    if limits["rcm.use"]:
        shaft = at - limits["rcm.centre"]
        depth = np.linalg.norm(shaft, axis=1)
        if not (depth.min() >= limits["rcm.depth_low"] - 1e-8 and depth.max() <= limits["rcm.depth_high"] + 1e-8):
            found.append(f"depth {depth.min():.5f} to {depth.max():.5f} m")
        along = shaft @ limits["rcm.axis"] / np.linalg.norm(limits["rcm.axis"])
        if not (along >= depth * np.cos(limits["rcm.angle"]) - 1e-8).all():
            found.append(f"the shaft {np.arccos(along / depth).max():.4f} rad off the cone's axis")
    first = jaw[:1].tolist()        # it may have stood beyond its range
    if not ((jaw >= min([limits["jaw_low"], *first])) & (jaw <= max([limits["jaw_high"], *first]))).all():
        found.append(f"the jaw from {jaw.min():.3f} to {jaw.max():.3f} rad")
    if not np.abs(np.diff(jaw)).max(initial=0.0) <= limits["jaw_speed"] * TICK * (1 + ROUNDING):
        found.append("the jaw is too fast")
    return found


def _key(sent: dict[str, float]) -> tuple[float, float, float]:
    return sent["x"], sent["y"], sent["z"]
