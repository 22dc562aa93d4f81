"""`wrapper=True` works as pluggy's users know it, around verbs that are awaited."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from core.decisions import Deny, Quota
from core.errors import PluginFailed, Refused
from core.hooks.dispatch import Hooks
from tests.plugin_kit import StoppedClock, compile_hooks, gateway_for, incoming, load, outgoing, request

HEAD = "import asyncio\nfrom dataclasses import dataclass, replace\nfrom core import *\n"
WRAP = "@hookimpl(wrapper=True)\ndef {hook}({arguments}):\n"
SEEN = "seen = []\n"

Make = Callable[..., Hooks]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Hooks of these sources, enabled in the order in which they are given."""

    def of(**sources: str) -> Hooks:
        plugins = load(tmp_path, **{name: HEAD + source for name, source in sources.items()})
        return compile_hooks(plugins, *sources)

    return of


def wrap(hook: str, body: str, arguments: str = "") -> str:
    """A wrapper with this body."""
    return WRAP.format(hook=hook, arguments=arguments) + "".join(f"    {line}\n" for line in body.splitlines())


SLOW_QUOTA = "@hookimpl\nasync def admit():\n    await asyncio.sleep(0)\n    return [Quota(1), Quota(2)]\n"


async def admitted(hooks: Hooks) -> list[tuple[str, object]]:
    """What is said about some message."""
    return await hooks.collect("admit", message=outgoing())


async def test_a_wrapper_sees_the_awaited_results(make: Make) -> None:
    """It is sent a flat list of plain answers; those it keeps remain their plugins', those it adds are its own."""
    body = "said = yield\nassert said == [Quota(1), Quota(2)]\nreturn [said[1], Deny(message.to, '')]"
    hooks = make(outer=wrap("admit", body, "message"), inner=SLOW_QUOTA)
    assert await admitted(hooks) == [("inner", Quota(2)), ("outer", Deny("628123456789", ""))]


async def test_one_object_said_by_two_plugins_stays_what_each_has_said(make: Make) -> None:
    """A quota goes by its plugin's name: were both taken for one plugin's, one of them would not be counted."""
    say = "@hookimpl\ndef admit():\n    return SAME\n"
    hooks = make(
        outer=wrap("admit", "said = yield\nreturn [*said, said[0]]"),
        one=f"SAME = Quota(3)\n{say}",
        two=f"from gapura_plugins.one import SAME\n{say}",
    )
    assert await admitted(hooks) == [("one", Quota(3)), ("two", Quota(3)), ("outer", Quota(3))]


async def test_wrappers_lie_around_each_other(make: Make) -> None:
    """The first in the YAML is the outermost; tryfirst is further out."""
    body = "said = yield\nreturn [*said, Deny('{}', '')]"
    hooks = make(
        a=wrap("admit", body.format("a")),
        b=wrap("admit", body.format("b")),
        c=wrap("admit", body.format("c")).replace("wrapper=True", "wrapper=True, tryfirst=True"),
    )
    assert [plugin for plugin, _ in await admitted(hooks)] == ["b", "a", "c"]


async def test_now_reaches_a_wrapper(make: Make) -> None:
    """A wrapper asks for arguments like anybody."""
    hooks = make(a=wrap("admit", "said = yield\nreturn [Deny(f'{now:%H}', '')]", "now"))
    assert await admitted(hooks) == [("a", Deny("12", ""))]


async def test_a_failure_is_thrown_through(make: Make) -> None:
    """Each wrapper sees it, its `finally` runs, and who does not handle it hands it on."""
    through = wrap("admit", "try:\n    return (yield)\nfinally:\n    seen.append('b')")
    catching = wrap("admit", "try:\n    return (yield)\nexcept Exception as error:\n    return [Deny(str(error), '')]")
    sick = "@hookimpl\nasync def admit(): raise ValueError('boom')\n"
    hooks = make(a=catching, b=SEEN + through, sick=sick)
    assert await admitted(hooks) == [("a", Deny("plugin 'sick' raised ValueError in hook 'admit'", ""))]
    with pytest.raises(PluginFailed) as caught:
        await admitted(make(b=SEEN + through, sick=sick))
    assert caught.value.plugin == "sick"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("raise ValueError\nyield", "plugin 'w' raised ValueError"),
        ("yield\nraise ValueError", "plugin 'w' raised ValueError"),
        ("return\nyield", "plugin 'w' answered nonsense: a wrapper must yield once"),
        ("yield\nyield", "plugin 'w' answered nonsense: a wrapper must yield once"),
        ("yield", "plugin 'w' answered nonsense: a wrapper must return the list it was sent, or another"),
        ("yield\nreturn [7]", "plugin 'w' answered nonsense: expected Deny, Quota, Exempt"),
    ],
)
async def test_a_sick_wrapper_fails_closed_and_is_named(make: Make, body: str, problem: str) -> None:
    """It is blamed, and not whom it wraps."""
    with pytest.raises(PluginFailed) as caught:
        await admitted(make(w=wrap("admit", body), inner=SLOW_QUOTA))
    assert str(caught.value).startswith(problem)


async def test_a_wrapper_may_refuse(make: Make) -> None:
    """As a gate may."""
    with pytest.raises(Refused, match="closed"):
        await admitted(make(w=wrap("admit", "yield\nraise Refused('closed', 'closed')"), inner=SLOW_QUOTA))
    with pytest.raises(Refused, match="closed"):
        await admitted(make(w=wrap("admit", "raise Refused('closed', 'closed')\nyield"), inner=SLOW_QUOTA))


@pytest.mark.parametrize("body", ["raise ValueError\nyield", "yield\nraise ValueError", "yield"])
async def test_a_sick_wrapper_of_an_event_spoils_nothing(make: Make, body: str) -> None:
    """The answers stay what they were; the failure is among the failures."""
    hooks = make(w=wrap("on_message", body), bot="@hookimpl\ndef on_message(): return 'pong'\n")
    said, [failed] = await hooks.collect_settled("on_message", message=incoming())
    assert [plugin for plugin, _ in said] == ["bot"]
    assert failed.plugin == "w"


async def test_pipe_and_notify_are_wrapped_too(make: Make) -> None:
    """pipe: the value; notify: an empty list, and what is returned is dropped."""
    hooks = make(
        w=wrap("prepare_outgoing", "made = yield\nreturn replace(made, content=made.content + '!')")
        + SEEN
        + wrap("on_status", "seen.append((yield))"),
        a="@hookimpl\nasync def prepare_outgoing(message): return replace(message, content='hi')\n",
    )
    assert (await hooks.pipe("prepare_outgoing", "message", outgoing())).content == "hi!"
    assert await hooks.notify("on_status", change="sent") == []


async def test_a_piped_value_must_be_returned(make: Make) -> None:
    """A wrapper that forgets its `return` would lose the message."""
    hooks = make(w=wrap("prepare_outgoing", "yield"))
    with pytest.raises(PluginFailed, match="expected an Outgoing or None, got NoneType"):
        await hooks.pipe("prepare_outgoing", "message", outgoing())


async def test_authenticate_can_be_wrapped(tmp_path: Path) -> None:
    """The answer keeps its plugin; another one is the wrapper's; None is nobody."""
    inner = "@hookimpl\ndef authenticate(): return Principal(tenant='shop', name='x')\n"
    for body, plugin in (("return (yield)", "b"), ("return replace((yield), name='y')", "a"), ("yield", None)):
        plugins = load(tmp_path, a=HEAD + wrap("authenticate", body), b=HEAD + inner)
        said = await plugins.compile_service(gateway_for, StoppedClock()).first("authenticate", request=request())
        assert (said and said[0]) == plugin


async def test_cancellation_runs_a_wrappers_finally(make: Make, tmp_path: Path) -> None:
    """Nothing stays open when the caller gives up, and the caller's cancellation cannot be swallowed."""
    wrapper = wrap(
        "admit", f"try:\n    yield\nfinally:\n    open({str(tmp_path / 'closed')!r}, 'w').close()\nreturn []"
    )
    hooks = make(w=wrapper, slow="@hookimpl\nasync def admit(): await asyncio.Event().wait()\n")
    task = asyncio.create_task(hooks.collect("admit", message=outgoing()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "closed").exists()
