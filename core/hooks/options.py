"""A YAML mapping becomes a frozen dataclass: the one way for the settings and for every plugin's options.

Types are strict: an int will do for a float, a bool is no int, "3" is no number; null is an empty mapping where
a dataclass is wanted. A text that came from the environment (`yaml_files.FromEnvironment`) may stand for a
number or a bool.
"""

from __future__ import annotations

import datetime
import difflib
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from core.errors import ConfigError
from core.yaml_files import FromEnvironment

T = TypeVar("T")

_WORDS = {"`object`": "a mapping", "`array`": "a list", "`null`": "null (nothing)", "`bool`": "`bool` (true or false)"}


@dataclass(frozen=True, slots=True)
class Checked:
    """Put into `Annotated`: `check(value)` raises ValueError, which is reported at the value's own path."""

    check: Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class _Place:
    file: object
    path: str

    def below(self, key: object) -> _Place:
        return _Place(self.file, f"{self.path}[{key}]" if isinstance(key, int) else f"{self.path}.{key}")

    def error(self, problem: str) -> ConfigError:
        return ConfigError(self.file, self.path, problem)


def convert(mapping: Mapping[str, Any] | None, cls: type[T], *, file: object, path: str = "$") -> T:
    """An instance of the dataclass `cls`; raises ConfigError with `file`, the culprit's path and the valid choices."""
    return _dataclass(mapping, cls, _Place(file, path))


@cache
def option_types(cls: Any) -> dict[str, Any]:
    """The fields of a dataclass with their types; raises NameError when an annotation cannot be resolved."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in fields(cls) if field.init}


def unknown(what: str, name: object, choices: Iterable[str], none: str = "there are none") -> str:
    """`unknown option 'mni'; did you mean 'min'? Valid: max, min`"""
    choices = sorted(choices)
    close = difflib.get_close_matches(str(name), choices, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"unknown {what} {name!r}{hint} {'Valid: ' + ', '.join(choices) if choices else none}"


def _dataclass(value: Any, cls: type[T], place: _Place) -> T:
    value = {} if value is None else value
    if not isinstance(value, Mapping):
        raise place.error(f"expected a mapping, got {_shown(value)}")
    kinds = option_types(cls)  # type: ignore[arg-type]  # mypy: a type is hashable
    for key in value:
        if key not in kinds:
            raise place.below(key).error(unknown("key", key, kinds))
    for field in fields(cls):  # type: ignore[arg-type]
        if field.init and field.name not in value and _required(field):
            raise place.error(f"{field.name!r} is missing: it has no default")
    given = {key: _value(item, kinds[key], place.below(key)) for key, item in value.items()}
    try:
        return cls(**given)
    except (ValueError, TypeError) as error:  # of __post_init__
        raise place.error(str(error)) from error


def _value(value: Any, kind: Any, place: _Place) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated and any(isinstance(note, Checked) for note in inner):
        return _checked(value, inner, place)
    if origin in {Union, types.UnionType} and type(None) in inner:
        rest = [item for item in inner if item is not type(None)]
        return None if value is None else _value(value, Union[tuple(rest)], place)  # noqa: UP007 - built at run time
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(value, inner[1], place)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return _sequence(value, origin, inner, place)
    return _single(value, kind, place)


def _single(value: Any, kind: Any, place: _Place) -> Any:
    if is_dataclass(kind):
        return _dataclass(value, kind, place)  # type: ignore[arg-type]
    if get_origin(kind) is Literal:
        return _literal(value, get_args(kind), place)
    if kind is datetime.time:
        return _time(value, place)
    return _leaf(value, kind, place)


def _checked(value: Any, inner: tuple[Any, ...], place: _Place) -> Any:
    result = _value(value, inner[0], place)
    for note in inner[1:]:
        if isinstance(note, Checked):
            try:
                note.check(result)
            except ValueError as error:
                raise place.error(str(error)) from error
    return result


def _literal(value: Any, choices: tuple[Any, ...], place: _Place) -> Any:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
        if isinstance(value, FromEnvironment) and value == str(choice):
            return choice
    if isinstance(value, FromEnvironment):
        raise place.error(f"{value!r} holds none of: {', '.join(map(str, choices))}")
    raise place.error(unknown("value", value, map(str, choices)))


def _time(value: Any, place: _Place) -> datetime.time:
    if isinstance(value, datetime.time):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", value):
        try:
            return datetime.time.fromisoformat(value.zfill(len(value) + value.index(":") % 2))
        except ValueError as error:
            raise place.error(str(error)) from error
    raise place.error(f"expected a time of day such as 21:30, got {_shown(value)}")


def _mapping(value: Any, kind: Any, place: _Place) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise place.error(f"expected a mapping, got {_shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise place.below(key).error(f"expected a text as key, got {_shown(key)}; put it in quotes")
    return {key: _value(item, kind, place.below(key)) for key, item in value.items()}


def _sequence(value: Any, origin: type, inner: tuple[Any, ...], place: _Place) -> Any:
    if not isinstance(value, list | tuple):
        raise place.error(f"expected a list, got {_shown(value)}")
    fixed = origin is tuple and inner[-1] is not Ellipsis
    if fixed and len(value) != len(inner):
        raise place.error(f"expected a list of {len(inner)}, got {len(value)}")
    kinds = inner if fixed else (inner[0],) * len(value)
    items = [_value(item, kind, place.below(at)) for at, (item, kind) in enumerate(zip(value, kinds, strict=True))]
    return tuple(items) if origin is tuple else items


def _leaf(value: Any, kind: Any, place: _Place) -> Any:
    if kind is Any:
        return value
    from_environment = isinstance(value, FromEnvironment)
    try:
        return msgspec.convert(str(value) if from_environment else value, kind, strict=not from_environment)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$")
        inside = _Place(place.file, place.path + where.removesuffix("`"))
        for word, plain in _WORDS.items():
            problem = problem.replace(word, plain)
        if from_environment:
            problem = f"{value!r} does not hold what is wanted here: {problem.split(',')[0].lower()}"
        raise inside.error(problem[:1].lower() + problem[1:]) from error


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, FromEnvironment) else f"{type(value).__name__} {value!r}"[:80]
