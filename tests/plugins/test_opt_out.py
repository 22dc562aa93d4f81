"""opt_out: which words mean it, and who may still write."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from core.decisions import Deny, Listed
from core.hooks.registry import Plugins
from core.model import Reply
from plugins import opt_out
from tests.plugin_kit import compile_hooks, gateway_for, incoming, outgoing

if TYPE_CHECKING:
    from core.hooks.gateway import Gateway
    from core.model import Incoming

OPTIONS = opt_out.Options(confirmation="bye", welcome_back="hello again")
DENIED = Deny("opted_out", "this person asked for no more messages", when=Listed.OPT_OUT)


class People(set[str]):
    """Who is out."""

    async def add(self, message: Incoming) -> bool:  # type: ignore[override]
        is_new = message.sender not in self
        super().add(message.sender)
        return is_new

    async def remove(self, message: Incoming) -> bool:  # type: ignore[override]
        was_there = message.sender in self
        self.discard(message.sender)
        return was_there


def gateway(people: People) -> Gateway:
    return dataclasses.replace(gateway_for("opt_out", "shop"), opt_outs=people)


async def answer(people: People, text: str, **more: Any) -> str | None:
    reply = await opt_out.on_message(incoming(content=text, **more), OPTIONS, gateway(people))
    assert reply is None or reply == Reply(to=incoming().chat, content=reply.content)
    return reply.content if reply else None


@pytest.mark.parametrize(
    "text",
    [
        *("STOP", "stop", " Stop! ", "*STOP*", "STOP.", "\u201cstop\u201d", "\ufeffstop\u200e", "st\uff4fp", "STOP 🛑"),
        *("Berhenti", "BERHENTI!!!", "berhenti\n", "Unsubscribe", "opt-out", "Opt  Out", "stop all", "UNREG"),
    ],
)
async def test_these_opt_out(text: str) -> None:
    """Whatever the capitals, signs and spaces around them."""
    assert await answer(people := People(), text) == "bye"
    assert people == {incoming().sender}


@pytest.mark.parametrize(
    "text",
    [
        *("stop it", "please stop", "nonstop", "don't stop!", "jangan berhenti", "s t o p", "cancel", "batal", "end"),
        *("🛑", "!", "stop " * 100, "start", "hello"),
    ],
)
async def test_these_do_not(text: str) -> None:
    """The whole message counts; what else might be said in a shop is no opt-out; START of somebody who is in, is
    nothing."""
    assert await answer(people := People(), text) is None
    assert people == set()


async def test_one_confirmation() -> None:
    """The second STOP is not answered."""
    people = People()
    assert [await answer(people, text) for text in ("stop", "STOP", "berhenti")] == ["bye", None, None]


@pytest.mark.parametrize("text", ["START", "Mulai.", "unstop", "subscribe"])
async def test_back_with_start(text: str) -> None:
    """And greeted once."""
    people = People({incoming().sender})
    assert [await answer(people, text), await answer(people, text)] == ["hello again", None]
    assert people == set()


async def test_in_a_group_nobody_opts_out() -> None:
    """Nor comes back."""
    people = People()
    assert await answer(people, "stop", chat="1203630@g.us") is None
    assert people == set()


async def test_old_messages_count() -> None:
    """A STOP that came while the gateway was away is a STOP."""
    await answer(people := People(), "stop", backlog=True)
    assert people == {incoming().sender}


async def test_words_and_answers_of_ones_own() -> None:
    """They replace the list; an empty text is no answer."""
    options = opt_out.Options(stop=("Genug!",), confirmation="", welcome_back="")
    people = People()
    for text in ("stop", "GENUG", "start"):
        assert await opt_out.on_message(incoming(content=text), options, gateway(people)) is None
        assert bool(people) == (text == "GENUG")


@pytest.mark.parametrize(
    "words", [{"stop": ("ok",), "start": ("OK!",)}, {"stop": ("",)}, {"start": ("🛑",)}], ids=str
)  # fmt: skip
def test_words_that_cannot_be_told_apart_are_refused(words: dict[str, Any]) -> None:
    """In both lists, or no words at all."""
    with pytest.raises(ValueError, match="stop and start need words"):
        opt_out.Options(**words)


def test_whom_it_denies() -> None:
    """Everybody on the list, but for its own confirmation, and the transactional where the option allows it."""
    strict, kind = opt_out.Options(), opt_out.Options(allow_transactional=True)
    message, own = outgoing(), outgoing(author="opt_out")
    invoice, bot = outgoing(transactional=True), outgoing(author="auto_reply", answers="3EB0")
    assert [opt_out.admit(m, strict) for m in (message, own, invoice, bot)] == [DENIED, None, DENIED, DENIED]
    assert [opt_out.admit(m, kind) for m in (message, own, invoice, bot)] == [DENIED, None, None, DENIED]


async def test_it_looks_before_all_others() -> None:
    """Wherever it stands in the YAML: a person is out before another plugin sees the message."""
    seen: list[str] = []
    rules = {"rules": [{"match": ["*"], "reply": "moo"}]}
    hooks = compile_hooks(
        Plugins.load(None, entry_points=False),
        *("auto_reply", "opt_out"),
        trace=lambda plugin, hook, *_: seen.append(f"{plugin}.{hook}"),
        auto_reply=rules,
    )
    await hooks.collect_settled("on_message", message=incoming(content="hi"))
    assert seen == ["opt_out.on_message", "auto_reply.on_message"]
