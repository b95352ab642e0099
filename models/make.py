"""Names to agents, objectives and augmentations, their options checked. A new method is one file and one line here."""

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch

from .agent import Agent
from .augment import Augment
from .augments.place import see_the_middle
from .learnt import Embedding, entry_of, read_learnt
from .objective import Objective
from .ranges import within
from .sight import Sight

AGENTS = {"drqv2": "agents.drqv2:DrQv2", "sac": "agents.sac:Sac", "bc": "agents.bc:Bc", "dvc": "agents.dvc:Dvc",
          "observer": "agents.observer:Observer"}
ENCODERS = {"drqv2": "encoder:Encoder", "simple": "encoder:Simple", "impala": "encoders.impala:Impala",
            "frozen": "encoders.frozen:Frozen", "surgical": "encoders.surgical:surgical", "c4": "encoders.c4:C4"}
AUGMENTS = {"shift": "augment:RandomShift", "crop": "augments.place:Crop", "translate": "augments.place:Translate",
            "window": "augments.hide:Window", "cutout": "augments.hide:Cutout",
            "cutout_colour": "augments.hide:CutoutColour", "grayscale": "augments.colour:Grayscale",
            "jitter": "augments.colour:Jitter", "conv": "augments.texture:Conv", "overlay": "augments.texture:Overlay",
            "flip": "augments.turn:Flip", "rotate": "augments.turn:Rotate"}
OBJECTIVES = {
    "dear": "objectives.dear:Dear",
    "curl": "objectives.curl:Curl",
    "ted": "objectives.ted:Ted",
    "dbc": "objectives.dbc:Dbc",
    "triplet": "objectives.triplet:Triplet",
    "tcn": "objectives.tcn:Tcn",
    "scvrl": "objectives.scvrl:Scvrl",
    "autoencoder": "objectives.autoencoder:Autoencoder",
    "vae": "objectives.vae:Vae",
    "darla": "objectives.darla:Darla",
    "forward": "objectives.forward:Forward",
    "inverse": "objectives.inverse:Inverse",
    "icm": "objectives.icm:Icm",
    "stadie": "objectives.stadie:Stadie",
    "counts": "objectives.counts:Counts",
    "latent_k": "objectives.latent_k:LatentK",
}


def make_agent(name: str, options: Mapping[str, Any], *, objectives: Sequence[Mapping[str, Any]] = (),
               image_shape: tuple[int, int, int], action_dim: int, proprio_dim: int = 0,
               encoder: Mapping[str, Any] | None = None, seed: int = 0, device: str | torch.device = "cpu",
               channels: Sequence[tuple[str, str, float, float]] = ()) -> Agent:
    """An agent for images (C, h, w). The same arguments give the same weights, bit for bit.

    objectives: each a mapping of name, weight (default 1) and the objective's own options.
    encoder: its name (default drqv2) and options, or `init`, where one was learnt before (see models/learnt.py); and
    `freeze`, whether it stays as it is. channels: name, unit, and what -1 and 1 stand for, of each entry of
    the action: augmentations that turn the image turn these too. ValueError names an unknown name or option, or a
    value of the wrong type.
    """
    build = _resolve(AGENTS, "agent", name)
    _, height, width = image_shape
    device = torch.device(device)
    options = check_options(f"agent {name}", build, options)
    size = height, width
    for link in make_augments(options.get("augment"), torch.Generator(), shift=options.get("shift", 0)):
        size = link.left(size)
    eyes = make_encoder(encoder or {}, (image_shape[0], *size), seed=seed)
    if size != (height, width):
        see_the_middle(eyes)
    chosen = []
    for place, entry in enumerate(objectives):
        entry = dict(entry)
        which = entry.pop("name", None)
        weight = _coerce(f"objective {which}", "weight", entry.pop("weight", 1.0), float)
        if which in [other.get("name") for other in objectives[:place]]:
            raise ValueError(f"objective {which!r} is listed twice; give it one entry and one weight")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight of objective {which!r} is {weight}; it must be finite and >= 0")
        objective = _resolve(OBJECTIVES, "objective", which)
        checked = check_options(f"objective {which}", objective, entry)
        if weight > 0:
            if objective.reads_images and eyes.cached:
                raise ValueError(f"objective {which!r} reads pictures, and with encoder.cached the memory holds an "
                                 "encoder's features in their place: set encoder.cached to false")
            if objective.bonus is Objective.bonus and not any(part.requires_grad for part in eyes.parameters()):
                raise ValueError(f"objective {which!r} shapes the encoder, but in this one nothing learns: leave the "
                                 "objective out, or give the encoder a latent_dim, a projection that it can shape")
            with _seeded(seed + 1):     # of its own, so that one objective does not change another's weights
                chosen.append((objective(eyes, action_dim, **checked), weight))
    with _seeded(seed):
        return build(eyes, action_dim, proprio_dim, chosen, seed, device, tuple(channels), **options)


def make_encoder(entry: Mapping[str, Any], image: tuple[int, int, int], *, seed: int = 0) -> Sight:
    """The encoder that a config's entry describes, for images (C, h, w)."""
    entry = dict(entry)
    init, freeze = (_coerce("encoder", key, entry.pop(key, value), type(value))
                    for key, value in (("init", ""), ("freeze", False)))
    learnt = read_learnt(init) if init else None
    if learnt is not None:
        entry = entry_of(entry, learnt, init, image)
    see = _resolve(ENCODERS, "encoder", entry.pop("name", "drqv2"))
    options = check_options("encoder", see, entry)
    within("encoder", 1, **{name: options[name] for name in ("width", "pool", "latent_dim")
                            if options.get(name) is not None})
    with _seeded(seed):
        eyes = see(image[0], image[1:], **options)
    if learnt is not None:
        learnt.fill(eyes, init)
    return eyes.requires_grad_(False) if freeze else eyes


def read_embedding(where: str) -> Embedding:
    """What a pretraining learnt to compare. ValueError where it learnt nothing of the kind."""
    learnt = read_learnt(where)
    if not learnt.project:
        raise ValueError(f"{where}: learnt no distance between moments; pretrain with the objective tcn or triplet")
    return Embedding(make_encoder({"init": where}, learnt.image), learnt)


def make_augments(entries: Sequence[Any] | None, generator: torch.Generator, *, shift: int = 4) -> list[Augment]:
    """Augmentations that draw from `generator`, in the order of the entries: each a name, or a mapping of name and
    options. None: shift alone. shift: px, of that one."""
    made = []
    for entry in ["shift"] if entries is None else entries:
        options = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
        name = str(options.pop("name", None))
        build = _resolve(AUGMENTS, "augmentation", name)
        options = check_options(f"augmentation {name}", build, options)
        made.append(build(generator, shift) if name == "shift" else build(generator, **options))
    return made


def describe() -> dict[str, str]:
    """Name -> what it is in a line, for agents, objectives and augmentations."""
    return {name: _first_line(table, kind, name)
            for kind, table in (("agent", AGENTS), ("objective", OBJECTIVES), ("augmentation", AUGMENTS))
            for name in table}


def describe_encoders() -> dict[str, str]:
    """Name -> what it is in a line."""
    return {name: _first_line(ENCODERS, "encoder", name) for name in ENCODERS}


def check_options(what: str, build: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword options of `build`, coerced to its annotations; ValueError lists the valid ones."""
    valid = {name: option for name, option in inspect.signature(build).parameters.items()
             if option.kind is option.KEYWORD_ONLY}
    hints = typing.get_type_hints(build.__init__ if isinstance(build, type) else build)
    for name in given:
        if name not in valid:
            listed = ", ".join(f"{option.name}={option.default!r}" for option in valid.values()) or "none"
            raise ValueError(f"{what} has no option {name!r}; it has: {listed}")
    return {name: _coerce(what, name, value, hints[name]) for name, value in given.items()}


def _coerce(what: str, name: str, value: Any, wanted: Any) -> Any:
    """The value as the wanted type. YAML reads 1e-4 as text, so text that is a number becomes one."""
    if isinstance(wanted, types.UnionType):
        if value is None and types.NoneType in typing.get_args(wanted):
            return None
        wanted = next(kind for kind in typing.get_args(wanted) if kind is not types.NoneType)
    if type(value) is wanted:
        return value
    if wanted in (int, float) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
            if wanted is float or number == int(number):
                return wanted(number)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"{what}: {name} is {value!r}; it must be of type {wanted.__name__}")


def _first_line(table: Mapping[str, str], kind: str, name: str) -> str:
    return inspect.getdoc(_resolve(table, kind, name)).splitlines()[0]


def _resolve(table: Mapping[str, str], kind: str, name: Any) -> Any:
    if name not in table:
        raise ValueError(f"{kind} {name!r} is unknown; there are: {', '.join(table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(f".{module}", __package__), attribute)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Initial weights come from this seed; the caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
