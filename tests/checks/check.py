"""What the check of a method finds: one figure, and the same figure where it must fail."""

from typing import NamedTuple


class Check(NamedTuple):
    """A method's proof in a few seconds; each in a file of the method's name, from `measure()`."""

    figure: float           # with the method
    control: float          # without what makes it work: this must not pass
    bound: float            # between the two
    what: str               # in a short phrase: what was measured, and what the control is
    higher: bool = True     # whether the figure must lie above the bound

    def passes(self, value: float) -> bool:
        """Whether a value is good enough; NaN never is."""
        return value > self.bound if self.higher else value < self.bound
