"""The traps of neonize 0.5.2, each with a test that falls into it when the guard is taken away."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.wire.conftest import Refused, result

if TYPE_CHECKING:
    from tests.wire.conftest import Wire

SHOP, CAROL = "628111111111", "628777777777"


def printed_by(program: str) -> str:
    """What a Python program prints that runs beside core."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    return done.stdout.strip()


async def paired(wire: Wire, count: int) -> dict[str, str]:
    """`count` tenants paired in one database, each by a process of its own, as pairing is done: their jids."""
    jids = {}
    for number in range(count):
        process = await wire.process()
        jids[f"t{number}"] = await wire.pair(process, f"t{number}", f"62811{number:07d}")
        await process.end()
    return jids


async def test_a_new_tenant_on_a_shared_database_gets_a_code_and_nobody_is_disturbed(wire: Wire) -> None:
    """Left to itself the library would log in as the first device in the database, and throw its owner out."""
    process = await wire.process()
    await wire.pair(process, "first", SHOP)
    pairing = await wire.process()
    await pairing.ask("open", "second")
    await pairing.event("QrShown", "second")
    assert pairing.kinds("second") == ["QrShown"]
    wire.sandbox.phone(CAROL)
    await process.ask("send", "first", to=CAROL, text="masih di sini")
    assert process.kinds("first")[:3] == ["QrShown", "Paired", "Connected"]
    assert not {"Replaced", "Disconnected", "LoggedOut"} & set(process.kinds("first"))


async def test_two_devices_of_one_number_keep_apart(wire: Wire) -> None:
    """Go keys its state by number unless the device's number is part of the key: the second would overwrite the
    first."""
    jids = []
    for name in ("one", "two"):
        process = await wire.process()
        jids.append(await wire.pair(process, name, SHOP))
        await process.end()
    both = await wire.process()
    for name, jid in zip(("one", "two"), jids, strict=True):
        await both.ask("open", name, device=jid)
        await both.event("Connected", name)
    assert [(await both.ask("identity", name))["jid"] for name in ("one", "two")] == jids


async def test_many_sessions_fit_into_one_process_and_open_at_once(wire: Wire) -> None:
    """asyncio's own thread pool would leave the seventh client of two cores waiting for ever; connects at the same
    moment, with sends in between, would sooner or later abort the process in Go's maps: none ever meets another."""
    jids = await paired(wire, 10)
    process = await wire.process(sessions=10)
    wire.sandbox.phone(CAROL)
    for _ in range(3):
        opening = [process.order("open", tenant, device=jid) for tenant, jid in jids.items()]
        for answer in await asyncio.gather(*opening):
            result(answer)
        for tenant in jids:
            await process.event("Connected", tenant)
        sending = [process.order("send", tenant, to=CAROL, text="halo") for tenant in jids]
        closing = [process.order("close", tenant) for tenant in list(jids)[:5]]
        answers = await asyncio.gather(*sending, *closing)
        assert all(result(answer) is True for answer in answers[len(sending) :])
        assert all(await asyncio.gather(*[process.ask("close", tenant) for tenant in list(jids)[5:]]))
        process.events.clear()
    assert await process.ask("overlaps") == []


async def test_a_device_cannot_be_opened_twice_in_one_process(wire: Wire) -> None:
    """The second client would overwrite the first one's state in Go."""
    process = await wire.process()
    jid = await wire.pair(process, "shop", SHOP)
    await process.ask("close", "shop")
    await process.ask("open", "shop", device=jid)
    with pytest.raises(Refused) as caught:
        await process.ask("open", "other", device=jid)
    assert caught.value.cause == "already_open"


async def test_a_call_for_a_client_that_is_not_open_never_reaches_go(wire: Wire) -> None:
    """Go ends the process at a call for a client it does not have."""
    process = await wire.process()
    jid = await wire.pair(process, "shop", SHOP)
    await process.ask("close", "shop")
    with pytest.raises(Refused) as caught:
        await process.ask("identity", "shop")
    assert (caught.value.cause, caught.value.left, caught.value.retry) == ("not_open", False, True)
    with pytest.raises(Refused):
        await process.ask("open", "shop2", device=jid, proxy="http://127.0.0.1:1")
    with pytest.raises(Refused) as caught:
        await process.ask("send", "shop2", to=CAROL, text="halo")
    assert caught.value.cause == "not_open"


async def test_an_unreachable_whatsapp_is_named_and_the_device_opens_later(wire: Wire) -> None:
    """A refused connection is OpenFailed `unreachable`; after a close the same device can be opened."""
    process = await wire.process()
    jid = await wire.pair(process, "shop", SHOP)
    assert await process.ask("close", "shop") is True
    with pytest.raises(Refused) as caught:
        await process.ask("open", "shop", device=jid, proxy="http://127.0.0.1:1")
    assert (caught.value.name, caught.value.cause) == ("OpenFailed", "unreachable")
    assert await process.ask("close", "shop") is True
    await process.ask("open", "shop", device=jid)
    await process.event("Connected", "shop", skip=1)


async def test_a_hung_dial_holds_up_neither_open_nor_close_nor_the_others_sends(wire: Wire) -> None:
    """A proxy that never answers: open gives up at its deadline, close at its own, other sessions send meanwhile; but
    nobody else connects before it ends, as the library will look into its maps then."""
    process = await wire.process()
    jids = await paired(wire, 3)
    await process.ask("open", "t0", device=jids["t0"])
    await process.event("Connected", "t0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Refused) as caught:
            await process.ask("open", "t1", device=jids["t1"], timeout=1, proxy=proxy)
        assert caught.value.cause == "timed_out"
        waiting = process.order("open", "t2", device=jids["t2"])
        wire.sandbox.phone(CAROL)
        await process.ask("send", "t0", to=CAROL, text="tidak terhalang")
        assert await process.ask("close", "t1", timeout=2) is False
        assert not waiting.done()
    result(await waiting)
    await process.event("Connected", "t2")


async def test_a_pairing_that_nobody_scanned_keeps_its_thread_and_the_process_still_ends(wire: Wire) -> None:
    """Go never gives that thread back; close says so at once, and os._exit ends the process all the same."""
    process = await wire.process()
    await process.ask("open", "shop")
    await process.event("QrShown", "shop")
    assert await process.ask("close", "shop", timeout=20) is False
    assert await process.end() == 0


async def test_a_pairing_code_links_the_device(wire: Wire) -> None:
    """Asked for after the first QR code, it is typed on the phone in place of scanning."""
    process = await wire.process()
    await process.ask("open", "shop")
    await process.event("QrShown", "shop")
    code = await process.ask("pair_code", "shop", number=SHOP)
    await wire.sandbox.enter_code(code, SHOP, "Toko")
    await process.event("Connected", "shop")
    assert process.kinds("shop") == ["QrShown", "Paired", "Connected"]
    assert (await process.ask("identity", "shop"))["jid"].startswith(f"{SHOP}:")


async def test_a_login_refused_right_after_the_scan_is_told(wire: Wire) -> None:
    """Paired, but then refused as outdated: both are events, in this order, though the library is still in its
    connect."""
    process = await wire.process()
    await process.ask("open", "shop")
    shown = await process.event("QrShown", "shop")
    wire.sandbox.refuse_logins(SHOP, 405)
    await wire.sandbox.scan(shown["text"], SHOP, "Toko")
    await process.event("ClientOutdated", "shop")
    assert process.kinds("shop") == ["QrShown", "Paired", "ClientOutdated"]


@pytest.mark.parametrize(("reason", "code", "kind"), [(402, 199, "TemporaryBan"), (418, 0, "LoginRefused")])
async def test_what_the_library_cannot_encode_is_told_and_ends_the_session(
    wire: Wire, reason: int, code: int, kind: str
) -> None:
    """At a code it does not know the library's loop ends in silence, while its socket goes on acknowledging messages
    that nobody will see: the event is told all the same, then Ended, and the device opens again."""
    process = await wire.process()
    jid = await wire.pair(process, "shop", SHOP)
    await process.ask("close", "shop")
    process.events.clear()
    wire.sandbox.refuse_logins(SHOP, reason, 1, code=code)
    await process.ask("open", "shop", device=jid)
    assert (await process.event(kind, "shop"))["code"] is None
    await process.event("Ended", "shop")
    assert await process.ask("close", "shop") is True
    await process.ask("open", "shop", device=jid)
    await process.event("Connected", "shop")


async def test_no_code_no_key_and_no_text_gets_into_the_log_or_to_stdout(wire: Wire) -> None:
    """Everything a process logs while it pairs by QR and by code, sends, receives, fails and is refused."""
    process = await wire.process()
    await process.ask("open", "shop")
    qr = (await process.event("QrShown", "shop"))["text"]
    code = await process.ask("pair_code", "shop", number=SHOP)
    await wire.sandbox.scan(qr, SHOP, "Toko")
    await process.event("Connected", "shop")
    carol = wire.sandbox.phone(CAROL, "Carol")
    await carol.send(SHOP, "rahasia pelanggan")
    await process.event("Received", "shop")
    wire.sandbox.refuse_sends(SHOP, 463, 1)
    with pytest.raises(Refused):
        await process.ask("send", "shop", to=CAROL, text="rahasia toko")
    await process.ask("close", "shop")
    assert await process.end() == 0  # every line of stdout was JSON of ours, or reading it would have failed
    logged = process.logged()
    assert "core.transport.whatsapp" in logged
    secrets = [
        "rahasia",
        code,
        code.replace("-", ""),
        *[part for part in qr.replace("#", ",").split(",") if len(part) > 8],
    ]
    assert [secret for secret in secrets if secret in logged] == []
    assert "Login event" not in logged


def test_all_tenants_show_the_same_device_name() -> None:
    """Go keeps the device's name once per process: a tenant's own name would leak to the next one's phone."""
    program = (
        "import asyncio\n"
        "from core.transport.whatsapp.gate import ConnectGate\n"
        "from core.transport.whatsapp.library import Library\n"
        "made = [Library(tenant=t, dsn='postgres://', device=None, key=t, gate=ConnectGate()) for t in 'ab']\n"
        "print(made[0].device_props is made[1].device_props, made[0].device_props.os)"
    )
    assert printed_by(program) == "True Gapura"


@pytest.mark.parametrize("dsn", ["sessions.db", "file:sessions.db", "host=localhost dbname=x", ""])
async def test_a_dsn_that_is_not_postgres_is_refused_and_no_file_is_made(
    wire: Wire, dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The library would silently keep the session in a file of that name."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    process = await wire.process()
    with pytest.raises(Refused) as caught:
        await process.ask("open", "shop", dsn=dsn)
    assert caught.value.name == "ValueError"
    assert list(folder.iterdir()) == []


async def test_an_unpaired_number_cannot_be_opened_by_its_number_alone(wire: Wire) -> None:
    """Only a device's own jid opens a stored one; anything else would miss the store, which aborts the process."""
    process = await wire.process()
    for device in ("", "628111111111", "628111111111@s.whatsapp.net", "628111111111:7@lid"):
        with pytest.raises(Refused) as caught:
            await process.ask("open", "shop", device=device)
        assert caught.value.name == "ValueError"


def test_a_missing_libmagic_is_named_with_what_to_install() -> None:
    """neonize cannot be imported without it; the error says what to install, on each system."""
    program = (
        "import asyncio, sys\n"
        "sys.modules['magic'] = None\n"
        "from core.errors import LibraryMissing\n"
        "from core.transport.whatsapp.process import prepare_process\n"
        "async def main():\n"
        "    try: prepare_process(1)\n"
        "    except LibraryMissing as missing: print(missing)\n"
        "asyncio.run(main())\n"
    )
    done = printed_by(program)
    for line in ("apt install libmagic1", "apk add libmagic", "brew install libmagic"):
        assert line in done


def test_a_second_loop_of_one_process_still_hears_its_events() -> None:
    """The library remembers the first loop for ever; prepare_process tells it of this one, and gives it threads."""
    program = (
        "import asyncio\n"
        "from core.transport.whatsapp.process import load, prepare_process\n"
        "async def main():\n"
        "    prepare_process(5)\n"
        "    loop = asyncio.get_running_loop()\n"
        "    print(load().aioze.events.event_global_loop is loop, loop._default_executor._max_workers)\n"
        "asyncio.run(main()); asyncio.run(main())\n"
    )
    done = printed_by(program)
    assert done.split() == ["True", "26"] * 2


def test_importing_the_library_leaves_the_processes_log_as_it_was() -> None:
    """neonize configures Python's root logger on import."""
    program = (
        "import logging\n"
        "from core.transport.whatsapp.process import load\n"
        "load(); root = logging.getLogger(); print(root.handlers, root.level)"
    )
    done = printed_by(program)
    assert done == "[] 30"


def test_nothing_but_the_clients_room_needs_the_library() -> None:
    """The API process names events, errors and the gate without loading neonize."""
    program = (
        "import sys, core.transport.wire, core.transport.whatsapp, core.transport.whatsapp.gate\n"
        "import core.transport.whatsapp.errors, core.transport.whatsapp.process, core.transport.whatsapp.intake\n"
        "print('neonize' in sys.modules)"
    )
    done = printed_by(program)
    assert done == "False"
