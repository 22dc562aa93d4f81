"""auto_reply: patterns in YAML."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import ConfigError
from core.hooks.registry import Plugins
from core.model import Reply
from plugins import auto_reply
from tests.plugin_kit import compile_hooks, incoming

RULES = [
    {"match": ["price", "*how much*"], "reply": "Tea is Rp 4.000, {name}."},
    {"match": ["order *"], "reply": "Noted."},
    {"match": ["*"], "reply": "Pardon?"},
]


async def answer(text: str, rules: Any = RULES, message: dict[str, Any] | None = None, **options: Any) -> Reply | None:
    """What the plugin answers, loaded and configured as from YAML."""
    plugins = Plugins.load(None, entry_points=False)
    hooks = compile_hooks(plugins, "auto_reply", auto_reply={"rules": rules, **options})
    said, failures = await hooks.collect_settled("on_message", message=incoming(content=text, **(message or {})))
    assert not failures
    return said[0][1] if said else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, "Tea is Rp 4.000, Ani.") for text in ("price", " PRICE ", "so how much is it?", "How\n much")),
        *(("order 7", "Noted."), ("Order  two teas", "Noted."), ("prices", "Pardon?"), ("my order 7", "Pardon?")),
        ("order price", "Noted."),
    ],
)
async def test_the_first_rule_that_matches_answers(text: str, expected: str) -> None:
    """The whole message, whatever its capitals and spaces; `*` is any text."""
    reply = await answer(text, message={"push_name": "Ani"})
    assert reply == Reply(to=incoming().chat, content=expected)


async def test_nothing_matches_nothing_is_said() -> None:
    """Without a last rule for everything, and without any rule."""
    assert await answer("hello", RULES[:2]) is None
    assert await answer("hello", []) is None


async def test_signs_stand_for_themselves() -> None:
    """Only `*` is special: neither ? nor [ ] nor . nor { } are."""
    rules = [{"match": ["[a]?", "a.c"], "reply": "{0} {name} {x}"}]
    assert [await answer(text, rules) for text in ("a?", "a!", "abc", "ab")] == [None] * 4
    for text in ("[A]?", "a.c"):
        reply = await answer(text, rules, message={"push_name": "{0}"})
        assert reply is not None
        assert reply.content == "{0} {0} {x}"


async def test_whoever_has_no_name_is_called_by_number() -> None:
    """And by nothing when that is not known either."""
    for phone, expected in (("628111", "Tea is Rp 4.000, 628111."), (None, "Tea is Rp 4.000, .")):
        reply = await answer("price", message={"phone": phone})
        assert reply is not None
        assert reply.content == expected


async def test_quoting() -> None:
    """The answer cites the message."""
    reply = await answer("price", quote=True)
    assert reply is not None
    assert reply.reply_to == incoming().id


async def test_groups_are_left_alone_unless_asked_for() -> None:
    """A bot that answers everybody in a group is soon out of it."""
    group = {"chat": "1203630@g.us"}
    assert await answer("price", message=group) is None
    reply = await answer("price", message=group, groups=True)
    assert reply is not None
    assert reply.to == group["chat"]


async def test_no_pattern_is_slow() -> None:
    """A pattern and a message that would keep a backtracking search busy for longer than the sun lasts."""
    assert not auto_reply.matches("*a" * 30 + "b", "a" * 5_000)
    assert auto_reply.matches("*a" * 30 + "*", "a" * 5_000)


@pytest.mark.parametrize(
    "rule", [{"match": [], "reply": "x"}, {"match": [" "], "reply": "x"}, {"match": ["x"], "reply": " "}], ids=str
)
async def test_an_empty_rule_is_refused(rule: dict[str, Any]) -> None:
    """At the start, with the path to it."""
    with pytest.raises(ConfigError, match=r"rules\[0\]: a rule has a `match`"):
        await answer("x", [rule])
