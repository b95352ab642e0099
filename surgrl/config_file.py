"""One YAML is one whole experiment: read top to bottom, checked key by key, no inheritance."""

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from .config import Config, PretrainConfig
from .policy.errors import UserError

C = TypeVar("C", bound=Config | PretrainConfig)


def load_config(source: str, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file (or a config that comes with surgrl, by name), apply `key=value` overrides, check all."""
    return config_of(read_values(source, overrides))


def read_values(source: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What such a file says, with its overrides, not checked yet."""
    path = Path(source)
    if not path.is_file():
        path = configs_folder() / f"{source}.yaml"
    if not path.is_file():
        raise UserError(f"{source}: no such config file, nor a config that comes with surgrl; "
                        f"those are: {', '.join(config_names() + config_names(PretrainConfig))}")
    try:
        values = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: a config is a list of `key: value` lines; found {type(values).__name__}")
    for override in overrides:
        apply_override(values, override)
    values.setdefault("name", path.stem)
    return values


def config_of(values: Any) -> Config:
    """Plain values -> Config; UserError names the key that is unknown or of the wrong type."""
    return built(Config, values)


def built(kind: type[C], values: Any) -> C:
    """Plain values -> a config of that kind; UserError as config_of's, and where they are of the other kind."""
    other, command = (PretrainConfig, "pretrain") if kind is Config else (Config, "train")
    keys = set(values) if isinstance(values, dict) else set()
    if keys - set(_keys(kind)) and keys <= set(_keys(other)):
        raise UserError(f"config: {', '.join(sorted(keys - set(_keys(kind))))}: this is a config of `surgrl {command}`")
    made: C = _build(kind, values, "")
    return made


def plain(config: Config | PretrainConfig) -> dict[str, Any]:
    """Config -> plain values, as YAML can hold them."""
    return dataclasses.asdict(config)


def configs_folder() -> Path:
    """Where the configs lie that come with surgrl."""
    return Path(__file__).parent / "configs"


def config_names(kind: type[Config] | type[PretrainConfig] = Config) -> list[str]:
    """Configs of a kind that come with surgrl; their names tell which."""
    return sorted(path.stem for path in configs_folder().glob("*.yaml")
                  if path.stem.startswith("pretrain-") == (kind is PretrainConfig))


def apply_override(values: dict[str, Any], text: str) -> None:
    """Set what `key=value` or `key.inner=value` says, the value read as YAML; UserError where it says nothing."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise UserError(f"override {text!r} is not of the form key=value, e.g. agent.lr=1e-4")
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UserError(f"override {text!r}: {parent} holds no keys")
        values = inner
    try:
        values[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"override {text!r}: the value is not readable as YAML") from error


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"config: {where.rstrip('.')} is {values!r}; it must hold keys: {', '.join(_keys(kind))}")
    hints = get_type_hints(kind)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise UserError(f"config: unknown key {where}{unknown[0]}; allowed here: {', '.join(_keys(kind))}")
    made = {key: _coerce(hints[key], value, where + key) for key, value in values.items()}
    return kind(**made)


def _keys(kind: type) -> list[str]:
    return [entry.name for entry in dataclasses.fields(kind)]


def _coerce(hint: Any, value: Any, where: str) -> Any:
    """The value as the type that the key wants, or UserError. YAML reads 1e-4 as text, and 1 for 1.0 is fine."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where + ".")
    wanted = get_origin(hint) or hint
    if wanted is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        with suppress(ValueError):
            return float(value)
    if wanted is dict and isinstance(value, dict) and get_args(hint)[1] is not Any:
        return {key: _coerce(get_args(hint)[1], entry, f"{where}.{key}") for key, entry in value.items()}
    entries = value if wanted is list and isinstance(value, list) else []
    inner: Any = get_args(hint)[0] if wanted is list else None
    sound = all(isinstance(entry, get_origin(inner) or inner) for entry in entries)
    if sound and isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    example = {int: "a whole number", float: "a number", str: "text", bool: "true or false",
               dict: "keys with values",
               list: "a list of text" if inner is str else "a list of {name: ..., weight: ...}"}[wanted]
    raise UserError(f"config: {where} is {value!r}; it must be {example}")
