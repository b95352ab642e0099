"""What a robot did and was told, out of a bag: poses, joints and a policy's actions, as record_node writes them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from .policy.spec import Array
from .recordings import Track

POSE, JOINTS = "geometry_msgs/msg/PoseStamped", "sensor_msgs/msg/JointState"
POSE_NAMES, POSE_UNITS = ("x", "y", "z", "qx", "qy", "qz", "qw"), ("m", "m", "m", "1", "1", "1", "1")
POLICY_ACTION = "/policy_node/action"
STATE, ACTION = "/recording/state", "/recording/action"     # of what is no arm's pose; values by name
# Places of a robot's motion, in order: the first that the bag has counts. A pose's topic, and its jaw's beside it.
MEASURED = (("measured_cp", "jaw/measured_js"),)
COMMANDED = (("servo_cp", "jaw/servo_jp"), ("interpolate_cp", "jaw/interpolate_jp"), ("move_cp", "jaw/move_jp"))
TOGETHER = 5e-3     # s, within which what arms measure counts as one moment
DRY_RUN = "/gate_node/dry_run/"     # what a gate would have sent


def read_tracks(reader: AnyReader, began: int) -> tuple[Track | None, Track | None]:
    """State and action; began: ns, time 0. Errors of the bag as `reader` raises them."""
    topics: dict[str, list[Connection]] = {}
    for connection in reader.connections:
        if connection.msgtype in (POSE, JOINTS):
            topics.setdefault(connection.topic, []).append(connection)
    state = _joints(reader, topics.get(STATE), began) or _arms(reader, topics, MEASURED, began)
    action = (_joints(reader, topics.get(POLICY_ACTION), began) or _joints(reader, topics.get(ACTION), began)
              or _arms(reader, topics, COMMANDED, began))
    return state, action


def _arms(reader: AnyReader, topics: dict[str, list[Connection]], kinds: tuple[tuple[str, str], ...],
          began: int) -> Track | None:
    """The first kind of motion that is there, of all arms side by side, at the times of the first arm's poses."""
    for pose, jaw in kinds:
        places = sorted(name.removesuffix(pose) for name in topics if name.endswith(f"/{pose}"))
        if any(place != DRY_RUN for place in places):
            places = [place for place in places if place != DRY_RUN]
        parts: list[tuple[str, tuple[str, ...], tuple[str, ...], Array, Array]] = []
        for place in places:
            prefix = f"{place.strip('/')}/" if len(places) > 1 else ""
            times, values = _values(reader, topics[place + pose], began)
            if len(times):
                parts.append((prefix, POSE_NAMES, POSE_UNITS, times, values))
            times, values = _values(reader, topics.get(place + jaw, []), began)
            if len(times) and values.shape[1] == 1:
                parts.append((prefix, ("jaw",), ("rad",), times, values))
        if parts:
            return _side_by_side(parts)._replace(arm=places[0].strip("/") if len(places) == 1 else "")
    return None


def _side_by_side(parts: list[tuple[str, tuple[str, ...], tuple[str, ...], Array, Array]]) -> Track:
    """At the times of the first part, from when on all are known; of the others the newest value by then."""
    begin = max(times[0] for _, _, _, times, _ in parts) - TOGETHER
    clock = parts[0][3][parts[0][3] >= begin]
    if not len(clock):
        clock = parts[0][3][-1:]
    columns = [values[np.maximum(np.searchsorted(times, clock, side="right") - 1, 0)] for *_, times, values in parts]
    return Track(tuple(prefix + name for prefix, names, *_ in parts for name in names),
                 tuple(unit for _, _, units, *_ in parts for unit in units), clock, np.hstack(columns))


def _joints(reader: AnyReader, connections: list[Connection] | None, began: int) -> Track | None:
    """Positions of joints by their names, which are those of the first message."""
    if not connections:
        return None
    names: tuple[str, ...] = ()
    times, rows = list[float](), list[Any]()
    for time, message in _messages(reader, connections, began):
        names = names or tuple(message.name)
        if tuple(message.name) == names and len(message.position) == len(names) and (not times or time > times[-1]):
            times.append(time)
            rows.append(message.position)
    return Track(names, ("",) * len(names), np.array(times), np.array(rows, float)) if names and times else None


def _values(reader: AnyReader, connections: list[Connection], began: int) -> tuple[Array, Array]:
    """(N,) s, ascending, and (N, 7) of poses or (N, 1) of a jaw."""
    times, rows = list[float](), list[Any]()
    for time, message in _messages(reader, connections, began):
        if hasattr(message, "pose"):
            point, turn = message.pose.position, message.pose.orientation
            row = [point.x, point.y, point.z, turn.x, turn.y, turn.z, turn.w]
        else:
            row = list(message.position)
        if row and (not times or (time > times[-1] and len(row) == len(rows[0]))):
            times.append(time)
            rows.append(row)
    return np.array(times), np.array(rows, float)


def _messages(reader: AnyReader, connections: list[Connection], began: int) -> Iterator[tuple[float, Any]]:
    for connection, received, data in reader.messages(connections) if connections else ():
        message: Any = reader.deserialize(data, connection.msgtype)
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec or received
        yield (stamp - began) * 1e-9, message
