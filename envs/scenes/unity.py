"""A Unity scene with ML-Agents: its behaviours and agents, stepped from here. It knows no task.

Each step is one exchange: Unity tells which agents wait for an action and which episodes ended, and we answer with
actions. Unity begins the next episode by itself as one ends, so that an ending and the next decision may come in one
message; `reset` is for the first episode, and for breaking one off.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..geometry import Array
from .unity_channels import Heard, SideChannels, heard
from .unity_link import PlayerError, UnityLink
from .unity_player import Player, command_of
from .unity_sight import Observed, decode, observed
from .unity_wire import API, CONTINUOUS, OK, RESET, STEP, TRAINER, UnityMessage

LAYOUTS = {"auto": None, "hwc": False, "chw": True}
ABILITIES = ("base", "concatenated_png", "channel_mapping", "hybrid_actions", "variable_length", "groups")
CHANNELS_FIRST = 3      # package version from which pictures travel colours first; the API's version does not tell
MOST_ACTIONS = 10_000   # numbers or choices; more is a damaged message


class Behaviour(NamedTuple):
    """What the agents of one name observe, and how they act."""

    name: str                       # with its team, e.g. "Colon?team=0"
    observations: tuple[Observed, ...]
    continuous: int                 # numbers in [-1, 1]
    branches: tuple[int, ...]       # choices of each discrete branch


class Sight(NamedTuple):
    """What one agent is told at a decision, or at the end of its episode."""

    agent: int                      # its id
    behaviour: Behaviour
    message: Any                    # AgentInfo, checked but for its observations
    allowed: tuple[Array, ...]      # of each branch, (choices,) bool

    @property
    def reward(self) -> float:
        """Since the last decision, of the agent itself and of its group."""
        return self.message.reward + self.message.group_reward

    @property
    def truncated(self) -> bool:
        """Of an ending: whether it was a limit of steps, or broken off; the world went on."""
        return self.message.max_step_reached

    def observation(self, k: int) -> Array:
        """The k-th: see unity_sight.decode. PlayerError where it is damaged."""
        try:
            return decode(self.message.observations[k], self.behaviour.observations[k])
        except ValueError as error:
            raise PlayerError(f"Unity's behaviour {self.behaviour.name}: {error}") from error


class Action(NamedTuple):
    """Of one agent."""

    continuous: Sequence[float] = ()    # each in [-1, 1]
    discrete: Sequence[int] = ()        # the choice of each branch


class UnityScene:
    """Decisions and endings of the last message, by behaviour. To be used from one thread."""

    def __init__(self, player: Any = None, *, port: int = 0, arguments: Sequence[str] = (), layout: str = "auto",
                 seed: int = 0, start_time: float = 60.0, answer_time: float = 60.0):
        """Start the player, or without one wait for the editor (whose port is 5004), until it has said hello.

        port: 0 chooses a free one. layout: of pictures: hwc, chw, or auto, by the package's version. seed: of Unity's
        own random numbers. start_time, answer_time: s, to wait for the player to start, and for each of its messages.
        """
        if layout not in LAYOUTS:
            raise ValueError(f"layout {layout!r} is unknown; allowed: {', '.join(LAYOUTS)}")
        words = None if player is None else command_of(player)
        self.side, self.heard, self.behaviours = SideChannels(), Heard({}, {}, ()), {}
        self.decisions: dict[str, list[Sight]] = {}
        self.endings: dict[str, list[Sight]] = {}
        self._answer_time, self._brains, self._player = answer_time, {}, None
        self._link = UnityLink(port, alive=self._gone)
        try:
            if words:
                self._player = Player(words, self._link.port, arguments)
            self._greet(seed, start_time, layout)
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> int:
        """On which we listen."""
        return self._link.port

    def reset(self) -> None:
        """Begin new episodes of all agents, with what `side` holds; until one of them decides.

        In the midst of an episode Unity then lets each agent act once with an action of zeros before it observes.
        """
        self._exchange(RESET, {})
        self.wait()

    def step(self, actions: Mapping[str, Sequence[Action]]) -> None:
        """Answer the decisions: by behaviour, an action for each, in their order. What comes next may be anything:
        decisions, endings, both, or neither of a behaviour."""
        self._exchange(STEP, actions)

    def wait(self) -> None:
        """Let Unity go on until an agent decides or ends."""
        while not (any(self.decisions.values()) or any(self.endings.values())):
            self._exchange(STEP, {})

    def close(self) -> None:
        """Unity quits, and the player's process ends. May be called again."""
        self._link.close()
        if self._player is not None:
            self._player.close()

    def _gone(self) -> str:
        return "" if self._player is None else self._player.gone()

    def _greet(self, seed: int, start_time: float, layout: str) -> None:
        """Hello; then Unity's second, empty call, which waits for the first reset."""
        what = "player" if self._player else f"player or editor (press Play; it looks on port {self.port})"
        hello = self._link.receive(start_time, what).init
        self.api, self.package = hello.api, hello.package
        if self.api.split(".")[0] != "1":
            self._link.fail(f"Unity speaks version {self.api or 'none'} of ML-Agents' API; we speak 1.0.0 to {API}: "
                            "use com.unity.ml-agents 1.0.0 to 3.x")
        major = self.package.split(".")[0]
        wanted = LAYOUTS[layout]
        self.channels_first = (major.isdigit() and int(major) >= CHANNELS_FIRST) if wanted is None else wanted
        message = UnityMessage()
        message.header.status = OK
        init = message.input.init
        init.seed, init.api, init.package, init.areas = seed, API, TRAINER, 1
        for name in ABILITIES:
            setattr(init.abilities, name, True)
        self._link.answer(message)
        self._link.receive(self._answer_time, "readiness")

    def _exchange(self, command: int, actions: Mapping[str, Sequence[Action]]) -> None:
        message = UnityMessage()
        message.header.status = OK
        rl = message.input.rl
        rl.command = command
        for name, chosen in actions.items():
            waiting = self.decisions.get(name, ())
            if len(chosen) != len(waiting):     # Unity would take one agent's action for another's
                raise ValueError(f"{len(chosen)} actions for behaviour {name!r}; {len(waiting)} of its agents wait")
            if not chosen:
                continue
            entry = rl.actions.add(key=name)
            for sight, action in zip(waiting, chosen, strict=True):
                _write(entry.value.value.add(), action, sight.behaviour)
        rl.side_channel = self.side.flush()         # not before: an action that is refused takes nothing with it
        self._link.answer(message)
        output = self._link.receive(self._answer_time, "answer")
        try:
            self._read(output)
        except ValueError as error:
            self._link.fail(f"Unity's message makes no sense: {error}")

    def _read(self, output: Any) -> None:
        """Sort out what came. ValueError where it is damaged."""
        self.heard = heard(output.rl.side_channel)
        for brain in output.init.brains:
            self._brains.setdefault(brain.name, brain)
        self.decisions, self.endings = {}, {}
        for entry in output.rl.agents:
            if entry.key in self.decisions:
                raise ValueError(f"behaviour {entry.key!r} comes twice")
            ending, deciding = self.endings.setdefault(entry.key, []), self.decisions.setdefault(entry.key, [])
            for info in entry.value.value:
                (ending if info.done else deciding).append(self._sight(entry.key, info))

    def _sight(self, name: str, info: Any) -> Sight:
        behaviour = self.behaviours.get(name)
        if behaviour is None:
            if name not in self._brains:
                raise ValueError(f"an agent of behaviour {name!r}, which was not announced")
            sights = tuple(observed(entry, self.channels_first) for entry in info.observations)
            behaviour = self.behaviours[name] = Behaviour(name, sights, *_acting(self._brains[name]))
        if len(info.observations) != len(behaviour.observations):
            raise ValueError(f"an agent of behaviour {name!r} has {len(info.observations)} observations, "
                             f"the first had {len(behaviour.observations)}")
        if not np.isfinite(info.reward + info.group_reward):
            raise ValueError(f"an agent of behaviour {name!r} has the reward {info.reward} + {info.group_reward}")
        return Sight(info.id, behaviour, info, _allowed(behaviour, info.action_mask))


def _acting(brain: Any) -> tuple[int, tuple[int, ...]]:
    """Continuous numbers and discrete branches; before API 1.3 it was either, in other fields."""
    continuous, branches = brain.actions.continuous, tuple(brain.actions.branches)
    if not (continuous or branches):
        sizes = tuple(brain.old_size)
        if brain.old_space == CONTINUOUS:
            continuous = sizes[0] if sizes else 0
        else:
            branches = sizes
    if not 0 <= continuous <= MOST_ACTIONS or min(branches, default=1) < 1 or sum(branches) > MOST_ACTIONS:
        raise ValueError(f"behaviour {brain.name!r} has {continuous} continuous actions and the branches {branches}")
    return continuous, branches


def _allowed(behaviour: Behaviour, mask: Sequence[bool]) -> tuple[Array, ...]:
    """What the mask, true for a choice that is forbidden, leaves of each branch."""
    if not (behaviour.branches or mask):
        return ()
    free = ~np.array(mask, dtype=bool) if len(mask) else np.ones(sum(behaviour.branches), dtype=bool)
    if free.size != sum(behaviour.branches):
        raise ValueError(f"behaviour {behaviour.name!r}: a mask of {free.size} choices; "
                         f"its branches have {sum(behaviour.branches)}")
    parts = tuple(np.split(free, np.cumsum(behaviour.branches)[:-1]))
    if not all(part.any() for part in parts):
        raise ValueError(f"behaviour {behaviour.name!r}: a mask that forbids every choice of a branch")
    return parts


def _write(message: Any, action: Action, behaviour: Behaviour) -> None:
    """Into an AgentAction, in today's fields and in that of API 1.0. ValueError for one that cannot be."""
    numbers = np.asarray(action.continuous, dtype=np.float32)
    choices = np.asarray(action.discrete)
    if numbers.shape != (behaviour.continuous,) or not np.isfinite(numbers).all():
        raise ValueError(f"continuous action {numbers} of {behaviour.name}; it must be {behaviour.continuous} "
                         "finite numbers")
    if choices.shape != (len(behaviour.branches),):
        raise ValueError(f"discrete action {choices} of {behaviour.name}; it must be a choice of each of the branches "
                         f"{behaviour.branches}")
    for k, (choice, size) in enumerate(zip(choices, behaviour.branches, strict=True)):
        if not (float(choice).is_integer() and 0 <= choice < size):     # forbidden ones Unity takes, as it always did
            raise ValueError(f"choice {choice} of branch {k} of {behaviour.name}; it must be from 0 to {size - 1}")
    continuous, discrete = numbers.tolist(), [int(choice) for choice in choices]
    message.continuous.extend(continuous)
    message.discrete.extend(discrete)
    message.old.extend(continuous + discrete)

