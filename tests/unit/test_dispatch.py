"""Plugins are called in order and in time; a failure is kept to the plugin that failed."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.clock import Clock
from core.decisions import Deny, Exempt, Quota
from core.errors import PluginFailed, Refused, Unavailable
from core.hooks.dispatch import Hooks
from core.model import Reply
from tests.plugin_kit import StoppedClock, compile_hooks, gateway_for, incoming, load, outgoing, request

HEAD = """\
import asyncio
from dataclasses import dataclass, replace
from core import *
"""

Make = Callable[..., Hooks]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Hooks of these sources, enabled in the order in which they are given."""

    def of(*, timeout: float = 5.0, trace: Any = None, clock: Clock | None = None, **sources: str) -> Hooks:
        plugins = load(tmp_path, **{name: HEAD + source for name, source in sources.items()})
        return compile_hooks(plugins, *sources, timeout=timeout, trace=trace, clock=clock)

    return of


def deny(code: str, decoration: str = "@hookimpl") -> str:
    """A plugin that denies."""
    return f"{decoration}\ndef admit(): return Deny('{code}', '')\n"


async def codes(hooks: Hooks) -> list[str]:
    """The codes of all that was denied, in order."""
    return [answer.code for _, answer in await hooks.collect("admit", message=outgoing())]


async def test_order_is_tryfirst_yaml_trylast(make: Make) -> None:
    """Within each of the three, the order of the YAML holds, whatever the files are called."""
    hooks = make(
        z=deny("z"),
        late=deny("late", "@hookimpl(trylast=True)"),
        a=deny("a"),
        early=deny("early", "@hookimpl(tryfirst=True)"),
    )
    assert await codes(hooks) == ["early", "z", "a", "late"]


async def test_def_and_async_def_are_equal(make: Make) -> None:
    """None says nothing; lists are flattened; each answer has its plugin's name."""
    hooks = make(
        one="@hookimpl\nasync def admit():\n    await asyncio.sleep(0)\n    return [Quota(1), Exempt(('x',))]\n",
        two="@hookimpl\ndef admit(): return None\n",
        three="@hookimpl\nasync def admit(): return None\n",
        four="@hookimpl\ndef admit(): return (Deny('d', ''),)\n",
    )
    said = await hooks.collect("admit", message=outgoing())
    assert said == [("one", Quota(1)), ("one", Exempt(("x",))), ("four", Deny("d", ""))]


async def test_each_gets_what_it_asks_for(tmp_path: Path) -> None:
    """Options and gateway are the plugin's own, `now` is noon where the tenant lives, and is looked up once."""
    source = HEAD + (
        "@dataclass(frozen=True)\nclass Options:\n    word: str = ''\n"
        "@hookimpl\ndef admit(now, gateway, options, tenant, message):\n"
        "    return Deny(f'{now:%H:%M} {gateway.log.name} {options.word} {tenant} {message.to}', '')\n"
    )
    clock = StoppedClock()
    hooks = compile_hooks(load(tmp_path, a=source, b=source), "a", "b", clock=clock, a={"word": "x"}, b={"word": "y"})
    assert await codes(hooks) == [f"12:00 test.{p}.shop {w} shop 628123456789" for p, w in (("a", "x"), ("b", "y"))]
    assert clock.asked == 1


@pytest.mark.parametrize("arguments", ["", "message", "tenant", "message, tenant", "tenant, message", "now, message"])
async def test_arguments_come_in_the_order_asked_for(make: Make, arguments: str) -> None:
    """Whatever of them changes from message to message; each call gets its own message's."""
    hooks = make(a=f"@hookimpl\ndef admit({arguments}): return Deny('x', str([{arguments}]))\n")
    for message in (outgoing(), outgoing(content="another")):
        known = {"message": message, "tenant": "shop", "now": "noon"}
        [(_, answer)] = await hooks.collect("admit", message=message, now="noon")
        assert answer.message == str([known[name] for name in arguments.split(", ") if name])


async def test_now_is_not_looked_up_for_nobody_and_may_be_given(make: Make) -> None:
    """`plugin try --at` plays another moment."""
    clock = StoppedClock()
    await codes(make(a=deny("a"), clock=clock))
    assert clock.asked == 0
    hooks = make(b="@hookimpl\ndef admit(now): return Deny(now, '')\n")
    [(_, answer)] = await hooks.collect("admit", message=outgoing(), now="half past nine")
    assert answer.code == "half past nine"


async def test_a_plugin_of_one_tenant_is_unseen_by_the_other(tmp_path: Path) -> None:
    """Both compiled of the same plugins; each has its own options."""
    plugins = load(tmp_path, no=HEAD + deny("no"))
    assert await codes(compile_hooks(plugins, "no", tenant="shop")) == ["no"]
    assert await codes(compile_hooks(plugins, "api_key", tenant="bank")) == []


RAISES = "@hookimpl\ndef {hook}(): raise ValueError('boom')\n"
HANGS = "@hookimpl\nasync def {hook}(): await asyncio.Event().wait()\n"
CANCELS = "@hookimpl\nasync def {hook}(): raise asyncio.CancelledError\n"
NONSENSE = "@hookimpl\ndef {hook}(): return object()\n"
QUITS = "@hookimpl\ndef {hook}(): raise SystemExit(3)\n"
QUITS_LATER = "@hookimpl\nasync def {hook}(): raise SystemExit(3)\n"
CANCELS_AT_ONCE = "@hookimpl\ndef {hook}(): raise asyncio.CancelledError\n"
SICK = [
    (RAISES, "plugin 'sick' raised ValueError in hook 'admit'"),
    (HANGS, "plugin 'sick' timed out after 0.01 s in hook 'admit'"),
    (CANCELS, "plugin 'sick' raised RuntimeError in hook 'admit'"),
    (CANCELS_AT_ONCE, "plugin 'sick' raised RuntimeError in hook 'admit'"),
    (QUITS, "plugin 'sick' raised SystemExit in hook 'admit'"),
    (QUITS_LATER, "plugin 'sick' raised SystemExit in hook 'admit'"),
    (NONSENSE, "plugin 'sick' answered nonsense: expected Deny, Quota, Exempt, a list of them or None, got object"),
]


@pytest.mark.parametrize(("source", "problem"), SICK)
async def test_admission_fails_closed(make: Make, source: str, problem: str) -> None:
    """One sick plugin is enough; it is named, and its cause is kept."""
    hooks = make(sick=source.format(hook="admit"), well=deny("well"), timeout=0.01)
    with pytest.raises(PluginFailed) as caught:
        await hooks.collect("admit", message=outgoing())
    assert str(caught.value).startswith(problem)
    assert (caught.value.plugin, caught.value.hook) == ("sick", "admit")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("source", [source for source, _ in SICK])
async def test_the_others_go_on_for_events(make: Make, source: str, caplog: pytest.LogCaptureFixture) -> None:
    """pace and on_message: the failure is logged with plugin, hook and tenant, and everybody else is heard."""
    well = "@hookimpl\ndef on_message(): return 'pong'\n"
    hooks = make(sick=source.format(hook="on_message"), well=well, timeout=0.01)
    said, failures = await hooks.collect_settled("on_message", message=incoming())
    assert said == [("well", Reply(to="628123456789", content="pong"))]
    assert [(failed.plugin, failed.hook) for failed in failures] == [("sick", "on_message")]
    [record] = caplog.records
    assert (record.levelno, record.plugin, record.hook) == (logging.ERROR, "sick", "on_message")  # type: ignore[attr-defined]
    assert (record.action, record.tenant) == ("plugin_failed", "shop")  # type: ignore[attr-defined]


async def test_notify_tells_all(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A failing on_status is logged, and the next one is told; whatever is answered is dropped."""
    told = "seen = []\n@hookimpl\ndef on_status(change):\n    seen.append(change)\n    return 'ignored'\n"
    hooks = make(sick=RAISES.format(hook="on_status"), well=told)
    [failed] = await hooks.notify("on_status", change="sent")
    assert failed.plugin == "sick"
    assert "plugin 'sick' raised ValueError in hook 'on_status'" in caplog.text


async def test_startup_refuses_and_shutdown_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A gateway whose plugin cannot start does not start; one whose plugin cannot stop stops."""
    sick = HEAD + RAISES.format(hook="startup") + RAISES.format(hook="shutdown")
    hooks = load(tmp_path, sick=sick).compile_service(gateway_for, StoppedClock())
    with pytest.raises(PluginFailed, match="raised ValueError in hook 'startup'"):
        await hooks.notify("startup")
    assert [failed.plugin for failed in await hooks.notify("shutdown")] == ["sick"]
    assert "in hook 'shutdown'" in caplog.text


async def test_cancellation_is_not_a_failure(make: Make) -> None:
    """When the request itself is given up, it is given up: nothing is blamed on a plugin."""
    hooks = make(slow=HANGS.format(hook="admit"))
    task = asyncio.create_task(hooks.collect("admit", message=outgoing()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_plugins_own_timeout_is_its_own(make: Make) -> None:
    """Only our limit is called a timeout of the plugin."""
    hooks = make(sick="@hookimpl\nasync def admit(): raise TimeoutError\n")
    with pytest.raises(PluginFailed, match="raised TimeoutError"):
        await hooks.collect("admit", message=outgoing())


@pytest.mark.parametrize("hook", ["authenticate", "prepare_outgoing", "admit"])
async def test_refusals_reach_the_caller(tmp_path: Path, hook: str) -> None:
    """What the gates raise on purpose passes as it is; so does a database out of reach, which is nobody's fault."""
    source = HEAD + f"from core.errors import Unavailable\nERROR = None\n@hookimpl\ndef {hook}(): raise ERROR\n"
    plugins = load(tmp_path, gate=source)
    service = plugins.compile_service(gateway_for, StoppedClock())
    tenant = compile_hooks(plugins, "gate")
    for error in (Refused("closed", "closed"), Unavailable("gone")):
        plugins.found["gate"].plugin.ERROR = error  # type: ignore[attr-defined]
        with pytest.raises(type(error)) as caught:
            if hook == "authenticate":
                await service.first(hook, request=request())
            elif hook == "admit":
                await tenant.collect(hook, message=outgoing())
            else:
                await tenant.pipe(hook, "message", outgoing())
        assert caught.value is error


async def test_a_refusal_elsewhere_is_a_failure(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A bot whose own sending is refused must not be able to stop the others."""
    hooks = make(bot="@hookimpl\ndef on_message(): raise Refused('no', 'no')\n")
    _, [failed] = await hooks.collect_settled("on_message", message=incoming())
    assert "raised Refused" in str(failed)


async def test_first_stops_at_the_first_answer(tmp_path: Path) -> None:
    """None is "not mine"; whoever comes later is not asked."""
    plugins = load(
        tmp_path,
        a=HEAD + "@hookimpl\nasync def authenticate(): return None\n",
        b=HEAD + "@hookimpl\ndef authenticate(request): return Principal(tenant='shop', name=request.path)\n",
        c=HEAD + RAISES.format(hook="authenticate"),
    )
    hooks = plugins.compile_service(gateway_for, StoppedClock())
    said = await hooks.first("authenticate", request=request())
    assert said is not None
    assert (said[0], said[1].tenant, said[1].name) == ("b", "shop", "/")


async def test_pipe_hands_on(make: Make) -> None:
    """Each sees what the one before made of it; None leaves it."""
    add = "@hookimpl\ndef prepare_outgoing(message): return replace(message, content=message.content + '{}')\n"
    hooks = make(a=add.format(1), b="@hookimpl\nasync def prepare_outgoing(message): return None\n", c=add.format(2))
    assert (await hooks.pipe("prepare_outgoing", "message", outgoing(content="x"))).content == "x12"


NONSENSES = [
    ("admit", "True", "expected Deny, Quota, Exempt, a list of them or None, got bool True"),
    ("admit", "[Quota(1), None]", "expected Deny, Quota, Exempt, a list of them or None, got NoneType None"),
    ("admit", "Quota(1.5)", "expected whole numbers up to 2147483647"),
    ("admit", "Quota(2**31)", "expected whole numbers up to 2147483647"),
    ("admit", "Quota(1, period='fortnight')", "expected a period of"),
    ("admit", "Quota(1, per='galaxy')", "expected a period of"),
    ("admit", "Quota(1, 'a\\0b')", "expected a name of 1 to 200 printable characters"),
    ("admit", "Quota(1, when=Listed(0))", "expected Listed.WHITELIST, Listed.REPLY, Listed.OPT_OUT or None as when"),
    ("admit", "Quota(1, when='whitelist')", "expected Listed.WHITELIST, Listed.REPLY, Listed.OPT_OUT or None as when"),
    ("admit", "Exempt(['delay'])", "expected a tuple of names"),
    ("admit", "Exempt(('',))", "expected a name of 1 to 200 printable characters"),
    ("admit", "Deny('', 'x')", "expected a name of 1 to 200 printable characters"),
    ("admit", "Deny('x', '\\udc00')", "expected a text as message"),
    ("admit", "Deny('x', 'x', retry_after=float('nan'))", "expected seconds or None as retry_after"),
    ("admit", "Deny('x', 'x', retry_after=True)", "expected seconds or None as retry_after"),
    ("pace", "True", "expected seconds from 0 to 86400 or None, got bool True"),
    ("pace", "-1", "expected seconds from 0 to 86400"),
    ("pace", "float('nan')", "expected seconds from 0 to 86400"),
    ("pace", "float('inf')", "expected seconds from 0 to 86400"),
    ("pace", "'3'", "expected seconds from 0 to 86400"),
    ("on_message", "7", "expected message.reply"),
    ("on_message", "''", "expected 1 to 65536 characters"),
    ("on_message", "'x' * 65537", "expected 1 to 65536 characters"),
    ("on_message", "message.reply('a\\0b')", "expected 1 to 65536 characters"),
    ("on_message", "Reply(to='', content='x')", "expected message.reply"),
    ("on_message", "['a', None]", "expected message.reply"),
    ("prepare_outgoing", "'text'", "expected an Outgoing or None, got str 'text'"),
    (
        "prepare_outgoing",
        "replace(message, to='62800')",
        "'to' must stay as it is; what may change: content, expires_at",
    ),
    ("prepare_outgoing", "replace(message, id='x')", "'id' must stay as it is"),
    ("prepare_outgoing", "replace(message, tenant='bank')", "'tenant' must stay as it is"),
    ("prepare_outgoing", "replace(message, content='')", "expected 1 to 65536 characters"),
    ("prepare_outgoing", "replace(message, content='\\udc00')", "expected 1 to 65536 characters"),
    ("prepare_outgoing", "replace(message, priority='now')", "expected a priority of urgent, normal, bulk"),
    ("prepare_outgoing", "replace(message, mentions=['x'])", "expected a tuple of texts as mentions"),
    ("prepare_outgoing", "replace(message, reply_to=7)", "expected a WhatsApp message id or None"),
    ("prepare_outgoing", "replace(message, expires_at=None)", "expected an aware datetime as 'expires_at'"),
    (
        "prepare_outgoing",
        "replace(message, send_at=message.expires_at.replace(tzinfo=None))",
        "expected an aware datetime as 'send_at'",
    ),
]


@pytest.mark.parametrize(("hook", "answer", "problem"), NONSENSES)
async def test_nonsense_is_caught_at_the_door(make: Make, hook: str, answer: str, problem: str) -> None:
    """What the database would choke on, for other tenants' messages too, does not get that far."""
    hooks = make(sick=f"@hookimpl\ndef {hook}(message): return {answer}\n")
    message = incoming() if hook == "on_message" else outgoing()
    with pytest.raises(PluginFailed) as caught:
        if hook == "prepare_outgoing":
            await hooks.pipe(hook, "message", message)
        else:
            await hooks.collect(hook, message=message)
    assert f"plugin 'sick' answered nonsense: {problem}" in str(caught.value)


async def test_what_was_sound_once_does_not_vouch_for_another(make: Make) -> None:
    """A decision said again holds again; an equal one, and a list that has changed since, are looked at anew."""
    said = "ONE, MANY = Quota(1), [Quota(2)]\nANSWERS = [ONE, ONE, MANY, ONE, MANY, Quota(True), ONE, MANY]\n"
    hooks = make(a=said + "@hookimpl\ndef admit():\n    MANY.append(Quota(3))\n    return ANSWERS.pop(0)\n")
    heard = [[answer.limit for _, answer in await hooks.collect("admit", message=outgoing())] for _ in range(5)]
    assert heard == [[1], [1], [2, 3, 3, 3], [1], [2, 3, 3, 3, 3, 3]]
    with pytest.raises(PluginFailed, match="expected whole numbers"):
        await hooks.collect("admit", message=outgoing())
    assert [answer.limit for _, answer in await hooks.collect("admit", message=outgoing())] == [1]
    assert len(await hooks.collect("admit", message=outgoing())) == 9


async def test_authenticate_answers_a_principal(tmp_path: Path) -> None:
    """A bare tenant id is not enough."""
    plugins = load(tmp_path, sick=HEAD + "@hookimpl\ndef authenticate(): return 'shop'\n")
    with pytest.raises(PluginFailed, match="expected a Principal with a tenant's id or None, got str 'shop'"):
        await plugins.compile_service(gateway_for, StoppedClock()).first("authenticate", request=request())


async def test_what_prepare_outgoing_may_change(make: Make) -> None:
    """Content, mentions, quote, priority and times; all at once."""
    changes = "content='x', mentions=('62800',), reply_to='3E', priority='bulk', send_at=message.expires_at"
    hooks = make(a=f"@hookimpl\ndef prepare_outgoing(message): return replace(message, {changes})\n")
    made = await hooks.pipe("prepare_outgoing", "message", outgoing())
    assert (made.content, made.mentions, made.reply_to, made.priority) == ("x", ("62800",), "3E", "bulk")
    assert made.send_at == made.expires_at


async def test_trace_is_told_of_every_call(make: Make) -> None:
    """Plugin, hook, seconds, outcome."""
    seen: list[tuple[str, str, float, str]] = []
    hooks = make(
        quiet="@hookimpl\ndef admit(): return None\n",
        no=deny("no"),
        sick=RAISES.format(hook="admit"),
        trace=lambda *told: seen.append(told),
    )
    with pytest.raises(PluginFailed):
        await hooks.collect("admit", message=outgoing())
    assert [(plugin, hook, outcome) for plugin, hook, _, outcome in seen] == [
        ("quiet", "admit", "silent"),
        ("no", "admit", "answered"),
        ("sick", "admit", "PluginFailed"),
    ]
    assert all(seconds >= 0 for _, _, seconds, _ in seen)
