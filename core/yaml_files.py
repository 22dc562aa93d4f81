"""Reads one YAML file into a mapping, with the surprises of YAML 1.1 taken out.

`NO` is Norway and not false, `21:30` is a text and not 1290, `0812` keeps its zero, a date stays a text; only
true and false are bools. A key that is written twice is an error. `{ $env: NAME }` becomes the environment
variable NAME.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """The resolver of YAML 1.2's core schema, and `<<` merges."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute


for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.inf|\.nan",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), list(first))


class FromEnvironment(str):
    """A text that `{ $env: NAME }` stands for. Its repr shows the name and not the value, which may be a secret."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, name: str, value: str) -> FromEnvironment:
        text = super().__new__(cls, value)
        text.name = name
        return text

    def __repr__(self) -> str:
        return f"${self.name}"


def read_yaml(file: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The mapping that `file` holds; an empty file is an empty one. Raises ConfigError with file, line and column."""
    try:
        value = _parse(file)
        mapping = {} if value is None else value
        if not isinstance(mapping, dict):
            raise ConfigError(file, "$", f"expected a mapping (`key: value` lines), got {type(value).__name__}")
        return {key: _with_environment(item, environ, file, f"$.{key}") for key, item in mapping.items()}
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_spot(file, error.problem_mark), "", f"broken YAML: {error.problem or error}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(file, "", f"broken YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(file, "", "broken YAML: nested too deeply, or a part of itself") from error
    except OSError as error:
        raise ConfigError(file, "", f"cannot be read: {error.strerror or error}") from error


def _parse(file: Path) -> Any:
    loader = _Loader(file.read_bytes())
    try:
        node = loader.get_single_node()
        _refuse_duplicates(node, file, set())
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_duplicates(node: yaml.Node | None, file: Path, walked: set[int]) -> None:
    if not isinstance(node, yaml.CollectionNode) or id(node) in walked:
        return
    walked.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, file, walked)
        return
    seen: set[tuple[str, str]] = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                raise ConfigError(_spot(file, key.start_mark), "", f"the key {key.value!r} is written twice")
            seen.add((key.tag, key.value))
        _refuse_duplicates(value, file, walked)


def _spot(file: Path, mark: Any) -> str:
    return f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)


def _with_environment(value: Any, environ: Mapping[str, str], file: Path, path: str) -> Any:
    if isinstance(value, list):
        return [_with_environment(item, environ, file, f"{path}[{at}]") for at, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "$env" not in value:
        return {key: _with_environment(item, environ, file, f"{path}.{key}") for key, item in value.items()}
    name = value["$env"]
    if len(value) != 1 or not isinstance(name, str) or not name:
        raise ConfigError(
            file, path, "expected { $env: NAME } with the name of an environment variable and nothing else"
        )
    if name not in environ:
        raise ConfigError(file, path, f"the environment variable {name} is not set")
    return FromEnvironment(name, environ[name])
