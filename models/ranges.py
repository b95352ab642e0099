"""Numbers that a method can work with: refused where it is made, not where training has gone astray."""

from math import inf


def within(what: str, low: float = 0.0, high: float = inf, *, above: bool = False, **values: float) -> None:
    """ValueError that names the first value outside [low, high], or ]low, high] where it must be `above` low."""
    for name, value in values.items():
        if not low <= value <= high or (above and value == low) or value == inf:
            least = f"above {low:g}" if above else f"at least {low:g}"
            raise ValueError(f"{what} {name} is {value}; it must be {least}"
                             + (" and finite" if high == inf else f" and at most {high:g}"))
