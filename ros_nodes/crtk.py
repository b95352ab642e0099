"""CRTK's operating states: which command leads where, and when an arm may be moved. Knows no ROS.

  enable    DISABLED, FAULT -> ENABLED        pause     ENABLED -> PAUSED
  disable   any -> DISABLED                   resume    PAUSED -> ENABLED
  home      ENABLED: homed after a while      unhome    no longer homed
"""

from surgrl.policy.errors import UserError

from .messages import DISABLED, ENABLED, FAULT, PAUSED

# command -> the states that it is heard in, and the one that it leads to
CHANGES = {"enable": ((DISABLED, FAULT, ENABLED), ENABLED), "disable": ((DISABLED, ENABLED, PAUSED, FAULT), DISABLED),
           "pause": ((ENABLED, PAUSED), PAUSED), "resume": ((PAUSED, ENABLED), ENABLED)}
COMMANDS = (*CHANGES, "home", "unhome")


class OperatingState:
    """The state of one arm."""

    def __init__(self, *, ready: bool, homing: float):
        """ready: whether it begins ENABLED and homed, else DISABLED. homing: s that `home` takes."""
        self.word, self.homed = (ENABLED, True) if ready else (DISABLED, False)
        self._homing, self._left = homing, 0.0      # s, until it is homed; 0 while it is not homing
        self._interrupted = False

    @property
    def busy(self) -> bool:
        """Whether it is homing."""
        return self._left > 0

    @property
    def ready(self) -> bool:
        """Whether it may be moved."""
        return self.word == ENABLED and self.homed and not self.busy

    def command(self, word: str) -> None:
        """Follow a state_command. UserError for one that is unknown, or means nothing in this state."""
        if word not in COMMANDS:
            raise UserError(f"state_command {word!r} is unknown; allowed: {', '.join(COMMANDS)}")
        heard, after = CHANGES.get(word, ((ENABLED,) if word == "home" else CHANGES["disable"][0], self.word))
        if self.word not in heard:
            raise UserError(f"state_command {word!r} means nothing while {self.word}; it needs {' or '.join(heard)}")
        self.word, self._interrupted = after, False
        if word == "home":
            self._left = self._homing
        if word == "unhome" or self.word != ENABLED:
            self.homed, self._left = self.homed and word != "unhome", 0.0

    def fail(self) -> None:
        """Go to FAULT: nothing moves until `enable`."""
        self.word, self._left = FAULT, 0.0

    def interrupt(self) -> None:
        """PAUSED, if it was ENABLED, until `go_on`: what a console does, not who moves the arm."""
        if self.word == ENABLED:
            self.word, self._interrupted = PAUSED, True

    def go_on(self) -> None:
        """End what `interrupt` began; a state that was commanded since then stays."""
        if self._interrupted:
            self.word, self._interrupted = ENABLED, False

    def pass_time(self, seconds: float) -> None:
        """Let homing get on."""
        if self.busy:
            self._left -= seconds
            self.homed = self.homed or not self.busy
