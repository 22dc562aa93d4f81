"""YAML mappings become options, strictly, and every error names file, path and what would do."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import pytest

from core.errors import ConfigError
from core.hooks.options import convert
from core.yaml_files import FromEnvironment


@dataclass(frozen=True)
class Window:
    start: datetime.time = datetime.time(8)
    days: tuple[int, ...] = ()


@dataclass(frozen=True)
class Options:
    name: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1)] = 1
    gap: float = 1.0
    on: bool = False
    mode: Literal["soft", "hard", 3] = "soft"
    window: Window = Window()
    pair: tuple[int, str] = (1, "a")
    names: list[str] = field(default_factory=list)
    by_name: Mapping[str, Window] = field(default_factory=dict)
    maybe: int | None = None
    either: int | str = 0
    anything: Any = None

    def __post_init__(self) -> None:
        if self.gap < 0:
            raise ValueError("gap must not be negative")


@dataclass(frozen=True)
class Needs:
    url: str


def refusal(mapping: Any, cls: type = Options) -> str:
    """What convert complains about; the file is always named."""
    with pytest.raises(ConfigError) as caught:
        convert(mapping, cls, file="a.yaml", path="$.plugins.x")
    text = str(caught.value)
    assert text.startswith("a.yaml: $.plugins.x")
    return text.removeprefix("a.yaml: $.plugins.x")


def test_converts_nested_types() -> None:
    """Dataclasses, lists, tuples, mappings and times of day come out as their types say."""
    given = {
        "limit": 3,
        "gap": 2,
        "window": {"start": "21:30", "days": [1, 2]},
        "pair": [7, "b"],
        "names": ["x"],
        "by_name": {"a": {"start": "7:05:01"}, "b": None},
        "either": "text",
        "mode": 3,
    }
    made = convert(given, Options, file="a.yaml")
    assert made == Options(
        limit=3,
        gap=2.0,
        window=Window(datetime.time(21, 30), (1, 2)),
        pair=(7, "b"),
        names=["x"],
        by_name={"a": Window(datetime.time(7, 5, 1)), "b": Window()},
        either="text",
        mode=3,
    )
    assert type(made.gap) is float


def test_null_is_an_empty_mapping_where_options_are_wanted() -> None:
    """`delay:` with nothing below means all defaults."""
    assert convert(None, Options, file="a.yaml") == Options()
    assert convert({"window": None}, Options, file="a.yaml") == Options()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"limit": "3"}, ".limit: expected `int`, got `str`"),
        ({"limit": True}, ".limit: expected `int`, got `bool` (true or false)"),
        ({"limit": 1.0}, ".limit: expected `int`, got `float`"),
        ({"limit": 0}, ".limit: expected `int` >= 1"),
        ({"gap": True}, ".gap: expected `float`, got `bool` (true or false)"),
        ({"gap": -1}, ": gap must not be negative"),
        ({"on": "yes"}, ".on: expected `bool` (true or false), got `str`"),
        ({"name": None}, ".name: expected `str`, got null (nothing)"),
        ({"lmit": 3}, ".lmit: unknown key 'lmit'; did you mean 'limit'? Valid: anything, by_name, either, gap, limit"),
        ({1: 3}, "[1]: unknown key 1;"),
        ({"mode": "sotf"}, ".mode: unknown value 'sotf'; did you mean 'soft'? Valid: 3, hard, soft"),
        ({"mode": [1]}, ".mode: unknown value [1]"),
        ({"window": 3}, ".window: expected a mapping, got int 3"),
        ({"window": {"strat": 1}}, ".window.strat: unknown key 'strat'; did you mean 'start'? Valid: days, start"),
        ({"window": {"start": "25:00"}}, ".window.start: hour must be in 0..23"),
        ({"window": {"start": 480}}, ".window.start: expected a time of day such as 21:30, got int 480"),
        ({"window": {"days": [1, "x"]}}, ".window.days[1]: expected `int`, got `str`"),
        ({"names": "x"}, ".names: expected a list, got str 'x'"),
        ({"pair": [1]}, ".pair: expected a list of 2, got 1"),
        ({"by_name": {"a": {"x": 1}}}, ".by_name.a.x: unknown key 'x'"),
        ({"by_name": {7: {}}}, ".by_name[7]: expected a text as key, got int 7; put it in quotes"),
        ({"either": 1.5}, ".either: expected `int | str`, got `float`"),
        ([], ": expected a mapping, got list []"),
    ],
)
def test_refuses_with_the_path_of_the_culprit(given: Any, complaint: str) -> None:
    """A wrong value is named by its path, with what is expected there."""
    assert refusal(given).startswith(complaint)


def test_names_a_missing_option() -> None:
    """An option without a default must be given."""
    assert refusal({}, Needs) == ": 'url' is missing: it has no default"


def test_environment_texts_become_numbers_but_never_show() -> None:
    """`{ $env: NAME }` may stand for an int or a bool; a wrong one is complained about without its value."""
    made = convert({"limit": FromEnvironment("L", "5"), "on": FromEnvironment("O", "true")}, Options, file="a.yaml")
    assert (made.limit, made.on) == (5, True)
    for wrong in ("limit", "mode", "window", "names"):
        text = refusal({wrong: FromEnvironment("SECRET", "hunter2")})
        assert "$SECRET" in text
        assert "hunter2" not in text


def test_environment_texts_end_as_plain_strings() -> None:
    """A plugin gets a str, not our marker."""
    assert type(convert({"url": FromEnvironment("U", "x")}, Needs, file="a.yaml").url) is str
