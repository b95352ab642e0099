"""Message types as text, told from the Python classes: crtk_msgs and others come without their .msg files at hand."""

import importlib
import re
from typing import Any

WORDS = {"boolean": "bool", "octet": "byte", "float": "float32", "double": "float64"}     # IDL's -> .msg's


def type_name(kind: Any) -> str:
    """A message class's name: "sensor_msgs/msg/Image"."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"


def definition(kind: Any) -> str:
    """The text of a message class and, after lines of "=", of all that it is made of. Constants are left out."""
    seen: dict[str, str] = {}

    def collect(name: str, part: Any) -> None:
        seen[name] = ""         # its place is before those that it is made of
        lines = []
        for field, told in part.get_fields_and_field_types().items():
            lines.append(f"{_word(told)} {field}")
            inner = re.search(r"(\w+)/(\w+)", told)
            if inner and inner[0] not in seen:
                collect(inner[0], getattr(importlib.import_module(f"{inner[1]}.msg"), inner[2]))
        seen[name] = "\n".join(lines) + "\n"
    collect("", kind)
    return seen.pop("") + "".join(f"{'=' * 80}\nMSG: {name}\n{text}" for name, text in seen.items())


def _word(told: str) -> str:
    """`sequence<double, 3>` -> `float64[<=3]`, `octet[4]` -> `byte[4]`, `string<9>` -> `string<=9`."""
    sequence = re.fullmatch(r"sequence<(.+?)(?:, (\d+))?>", told)
    if sequence:
        return f"{_word(sequence[1])}[{'<=' + sequence[2] if sequence[2] else ''}]"
    array = re.fullmatch(r"(.+)\[(\d+)\]", told)
    if array:
        return f"{_word(array[1])}[{array[2]}]"
    bounded = re.fullmatch(r"(w?string)<(\d+)>", told)
    return f"{bounded[1]}<={bounded[2]}" if bounded else WORDS.get(told, told)
