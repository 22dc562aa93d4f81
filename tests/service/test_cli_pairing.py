"""`tenant pair` as a person and a program have it: a gateway in one process, the command in another."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import segno

from core.cli.pairing_screen import Drawing, drawing
from core.session_rows import Pairing
from core.transport.base import SessionStatus
from core.web import qr
from tests.service.command_line import CommandLine
from tests.service.conftest import ALPHA
from tests.service.fake_sessions import PHONE, FakeSessions, fake_sessions
from tests.service.gateway_process import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.service.conftest import House


@pytest.fixture
async def house(open_house: Callable[..., Awaitable[House]]) -> House:
    """A gateway whose tenant alpha sends through WhatsApp."""
    return await open_house(alpha={"transport": "whatsapp"})


@pytest.fixture
async def phones(house: House) -> AsyncIterator[FakeSessions]:
    """Its session process."""
    async with fake_sessions(house.database_url) as fake:
        yield fake


@pytest.fixture
def cli(tmp_path: Path, house: House) -> CommandLine:
    """Commands for that gateway."""
    cli = CommandLine(tmp_path, house.database_url)
    cli.write("config/service.yaml", f"server: {{ port: {urlsplit(house.url).port} }}")
    return cli


async def started(cli: CommandLine, *arguments: str) -> Process:
    """`run.py tenant pair alpha …` in a process of its own, logging all it can."""
    environment = {**cli._environment(), "GAPURA_LOG_LEVEL": "debug"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "run.py"), "tenant", "pair", ALPHA, *arguments),
        env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip


async def event(command: Process) -> dict[str, Any]:
    """The next line of a command with --json."""
    assert command.stdout is not None
    async with asyncio.timeout(60):
        told: dict[str, Any] = json.loads(await command.stdout.readline())
        return told


async def ended(command: Process) -> tuple[int | None, str, str]:
    """(status, the rest of stdout, stderr)"""
    async with asyncio.timeout(60):
        out, err = await command.communicate()
    return command.returncode, out.decode(), err.decode()


async def test_events_for_programs(cli: CommandLine, house: House, phones: FakeSessions) -> None:
    """One JSON object per line: the link, each QR code, and the end. Status 0 means connected. Nothing of it is logged,
    however loudly."""
    command = await started(cli, "--json")
    told = {(found := await event(command))["event"]: found for _ in range(3)}
    shown = phones.shown[ALPHA]
    assert (told["qr"]["qr"], told["state"]["state"]) == (shown.qr, "pairing")
    assert datetime.fromisoformat(told["qr"]["expires_at"]) == shown.qr_until
    page = await house.call("GET", told["link"]["url"].removeprefix(house.url), key=None)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    second = await phones.pairs(ALPHA, "ABCDEFGH")
    changed = await event(command)
    assert changed.get("qr") == second.qr, changed
    assert (await event(command))["code"] == "ABCDEFGH"
    await phones.connects(ALPHA)
    status, out, err = await ended(command)
    assert (status, json.loads(out)["phone"], json.loads(out)["event"]) == (0, PHONE, "connected")
    for secret in (shown.qr, second.qr, "ABCDEFGH", told["link"]["url"].partition("token=")[2]):
        assert str(secret) not in err


async def test_for_people(cli: CommandLine, phones: FakeSessions) -> None:
    """The code is drawn on stderr with the page's address; stdout says in the end as whom."""
    command = await started(cli)
    assert command.stderr is not None
    drawn = b""
    async with asyncio.timeout(60):
        while b"scan this" not in drawn:
            drawn += await command.stderr.read(4096)
    await phones.connects(ALPHA)
    status, out, _ = await ended(command)
    assert (status, out) == (0, f"connected as +{PHONE}\n")
    assert drawing(phones.shown[ALPHA].qr or "", colours=False) in drawn.decode()
    assert re.search(r"http://127\.0\.0\.1:\d+/api/qr/page\?token=pl_", drawn.decode())


async def test_a_code_to_type(cli: CommandLine, phones: FakeSessions) -> None:
    """With --code the phone's number may be written as people do, and what is shown is the code."""
    command = await started(cli, "--code", "0812-0000-0001", "--json")
    told = {(found := await event(command))["event"]: found for _ in range(4)}
    assert told["code"]["code"] == "ABCDEFGH"
    assert phones.asked[0].arguments == {"number": PHONE}
    command.send_signal(signal.SIGTERM)
    assert (await ended(command))[0] == 1


async def test_the_codes_run_out(cli: CommandLine, phones: FakeSessions) -> None:
    """Status 1, why, and what to do; trying again at once says how long to wait."""
    command = await started(cli)
    while ALPHA not in phones.shown:
        await asyncio.sleep(0.02)
    await phones.ends(ALPHA, "nobody scanned the code in time")
    status, out, err = await ended(command)
    assert (status, out) == (1, "")
    assert "nobody scanned the code in time; to try again: run.py tenant pair alpha" in err
    status, _, err = await ended(await started(cli))
    assert status == 1
    assert re.search(r"once a minute: try again in \d+ s", err)


async def test_ctrl_c(cli: CommandLine, phones: FakeSessions) -> None:
    """Leaves at once, without a traceback, and not as if the phone were linked."""
    command = await started(cli, "--json")
    while (await event(command))["event"] != "qr":
        pass
    command.send_signal(signal.SIGINT)
    status, out, err = await ended(command)
    assert status == 1
    assert json.loads(out)["error"]["code"] == "command_failed"
    assert "Traceback" not in err


async def test_a_process_that_dies(cli: CommandLine, house: House) -> None:
    """The command does not wait for ever for a session process that says nothing any more."""
    async with fake_sessions(house.database_url) as phones:
        command = await started(cli, "--json")
        while (await event(command))["event"] != "qr":
            pass
        assert phones.asked
    status, out, _ = await ended(command)
    assert (status, "process is gone" in out) == (1, True)


async def test_a_linked_tenant(cli: CommandLine, phones: FakeSessions) -> None:
    """Is told as connected at once; the list shows its state and number."""
    await phones.connects(ALPHA)
    status, out, _ = await ended(await started(cli))
    assert (status, out) == (0, f"connected as +{PHONE}\n")
    assert phones.asked == []
    listed = (await asyncio.to_thread(cli, "tenant", "list", "--json")).answer["tenants"]
    assert [(t["tenant"], t["state"], t["phone"]) for t in listed] == [
        (ALPHA, "connected", PHONE), ("beta", "unpaired", None),
    ]  # fmt: skip


@pytest.mark.parametrize("options", [("--force",), ("--code", "+62 899 9999 9999")])
async def test_another_number_for_a_linked_tenant(
    cli: CommandLine, phones: FakeSessions, options: tuple[str, ...]
) -> None:
    """Whoever asks for another number than the one that is linked is not told that all is well: refused with the
    reason, and with what to do."""
    await phones.connects(ALPHA)
    status, out, _ = await ended(await started(cli, *options, "--json"))
    assert (status, json.loads(out)["error"]["code"]) == (1, "already_paired")
    assert f"+{PHONE} is linked; log out first" in out
    assert phones.asked == []


async def test_the_number_that_is_linked_already(cli: CommandLine, phones: FakeSessions) -> None:
    """Is told as connected, as it is without its code."""
    await phones.connects(ALPHA)
    status, out, _ = await ended(await started(cli, "--code", f"+{PHONE}"))
    assert (status, out) == (0, f"connected as +{PHONE}\n")


def test_what_is_missing(tmp_path: Path, database_url: str) -> None:
    """No gateway, no tenant, no phone needed, no number: each is said, with what to do."""
    cli = CommandLine(tmp_path, database_url)
    cli.write("config/tenants/dry.yaml", "transport: dry_run")
    assert cli("tenant", "pair", "shop", "--json").code == "tenant_not_found"
    cli("tenant", "add", "shop")
    assert cli("tenant", "pair", "Bad Id!", "--json").code == "tenant_id_not_valid"
    alone = cli("tenant", "pair", "shop")
    assert (alone.status, "run.py serve" in alone.err) == (1, True)
    assert cli("tenant", "pair", "dry", "--json").code == "dry_run_tenant"
    assert cli("tenant", "pair", "shop", "--code", "12", "--json").code == "number_too_short"


@pytest.mark.parametrize(("tenant", "text", "status"), [("nobody", "", 1), ("shop", "server: { port: x }", 2)])
def test_a_refusal_is_one_line(tmp_path: Path, database_url: str, tenant: str, text: str, status: int) -> None:
    """With --json, as every event is; the exit status says what kind it is, and stderr nothing."""
    cli = CommandLine(tmp_path, database_url)
    cli.write("config/service.yaml", text)
    done = cli("tenant", "pair", tenant, "--json")
    assert (done.status, done.out.count("\n"), done.err) == (status, 1, "")
    assert done.code


def test_the_drawing() -> None:
    """Two rows of squares a line, white ones being blocks; with colours it is black on white on any terminal."""
    text = "2@" + "A" * 230
    code = segno.make(text, error="l", micro=False)
    lines = drawing(text, colours=False).splitlines()[:-1]
    rows = [[square in half for square in line] for line in lines for half in ("█▀", "█▄")]
    wanted = [[not module for module in row] for row in code.matrix_iter(border=2)]
    assert rows[: len(wanted)] == wanted
    assert len(lines[0]) <= 80
    coloured = drawing(text, colours=True).splitlines()[:-1]
    assert all(line.startswith("\x1b[97;40m") and line.endswith("\x1b[0m") for line in coloured)
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured] == lines


class Terminal(io.StringIO):
    """A stderr that people look at."""

    def isatty(self) -> bool:
        return True


def test_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new code takes the place of the old one, the countdown stays on its line and goes with the state."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    screen, now = Drawing(by_code=False), datetime(2026, 1, 5, tzinfo=UTC)
    first, second = [Pairing(text, now + timedelta(seconds=20)) for text in ("2@first", "2@second")]
    screen.show(first, now)
    screen.show(first, now + timedelta(seconds=1))
    drawn = terminal.getvalue()
    assert drawn.count("scan this") == 1
    assert "\r\x1b[Kgood for 20 s" in drawn
    assert "\r\x1b[Kgood for 19 s" in drawn
    screen.show(second, now)
    height = drawing("2@first", colours=True).count("\n")
    assert terminal.getvalue().removeprefix(drawn).startswith(f"\r\x1b[{height}A\x1b[J")
    screen.state(SessionStatus("connecting", "linked; connecting"))
    assert terminal.getvalue().endswith("\r\x1b[Kconnecting: linked; connecting\n")


def test_pictures_are_pngs() -> None:
    """Of a size that a phone can read from a screen, and equal for equal texts."""
    text = "2@" + "A" * 230
    assert qr.png(text).startswith(b"\x89PNG")
    assert qr.png(text) == qr.png(text) != qr.png(text + "B")
    width = int.from_bytes(qr.png(text)[16:20], "big")
    assert width == segno.make(text, error="l", micro=False).symbol_size(scale=8, border=4)[0] > 400
