"""What a sandbox keeps over a restart, a kill, and a second one on the same folder."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from sandbox import Sandbox, SandboxError, StateInUse
from sandbox.attach import TRUE_ROOT
from tests.wire.sandbox.client import PATIENCE, Client

if TYPE_CHECKING:
    from pathlib import Path

TOKO, CAROL, DAVE = "628111111111", "628777777777", "628888888888"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where a sandbox keeps its state; not there yet."""
    return tmp_path / "state"


async def test_a_client_survives_a_restart(state: Path, tmp_path: Path) -> None:
    """A client that is away, or only loses its line, finds its device, its messages and its sessions as they were."""
    async with Sandbox(state) as first:
        client, carol = Client(first, tmp_path), first.phone(CAROL, "Carol")
        await client.pair(TOKO)
        await carol.send(TOKO, "before")
        await client.event("Message")
    try:
        await client.event("Disconnected")
        async with Sandbox(state) as second:
            assert (second.ca_pem, second.proxy_url) == (first.ca_pem, first.proxy_url)
            carol = second.phones[CAROL]
            await carol.send(TOKO, "in between")
            assert (await client.event("Message"))["text"] == "in between"
            sent = await client.call("send", CAROL, "after")
            assert (await carol.next()).id == sent
            assert [line.text for line in carol.chats[TOKO]] == ["before", "in between", "after"]
            assert (second.unhandled, second.errors, carol.failures) == ([], [], [])
    finally:
        await client.kill()


async def test_what_waits_survives_a_restart(state: Path) -> None:
    """Stanzas for a phone that is off, and its being off, are kept; so are chats, names and contacts."""
    async with Sandbox(state) as first:
        carol, dave = first.phone(CAROL, "Carol"), first.phone(DAVE, "Dave")
        dave.online = False
        sent = await carol.send(DAVE, "halo")
    async with Sandbox(state) as second:
        dave = second.phone(DAVE)
        assert (dave.name, dave.online, second.waiting(DAVE, 0), dave.received) == ("Dave", False, 1, [])
        dave.online = True
        assert (await dave.next()).id == sent
        await second.phone(CAROL).receipt(sent, "delivered")
        assert [line.status for line in second.phone(CAROL).chats[DAVE]] == ["delivered"]


async def test_a_kill_leaves_whole_files(state: Path, tmp_path: Path) -> None:
    """What is on disk while a sandbox runs is enough to go on from, without its last words."""
    async with Sandbox(state) as first:
        await first.phone(CAROL).send(first.phone(DAVE).number, "halo")
        await first.phone(DAVE).next()
        async with asyncio.timeout(PATIENCE):
            while any(account.changed for account in first._world.accounts()):
                await asyncio.sleep(0.05)
        shutil.copytree(state, tmp_path / "left")
    async with Sandbox(tmp_path / "left") as second:
        await second.phone(DAVE).send(CAROL, "still there?")
        assert (await second.phone(CAROL).next()).text == "still there?"
        assert second.phone(CAROL).failures == []


async def test_files_are_private(state: Path) -> None:
    """Keys are in them: only the owner reads them."""
    async with Sandbox(state) as sandbox:
        sandbox.phone(CAROL)
    found = everything(state)
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}
    assert {path.name for path in found} == {"state", "accounts", CAROL, "authority", "lock", "port"}


def everything(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


async def test_a_folder_has_one_sandbox(state: Path) -> None:
    """A second sandbox on the same folder is refused, and may have it when the first has stopped."""
    async with Sandbox(state):
        with pytest.raises(StateInUse):
            await Sandbox(state).start()
    async with Sandbox(state):
        pass


async def test_a_broken_file_is_named(state: Path) -> None:
    """A file that is no account's ends the start with its name, and the folder is free again."""
    (state / "accounts").mkdir(parents=True)
    broken = state / "accounts" / CAROL
    broken.write_bytes(b"halo")
    with pytest.raises(SandboxError, match=str(broken)):
        await Sandbox(state).start()
    broken.unlink()
    async with Sandbox(state):
        pass


async def test_a_port_that_is_taken(state: Path) -> None:
    """A remembered port that another has taken is given up for a free one; a port that was asked for is not."""
    async with Sandbox(state) as first:
        port = int(first.proxy_url.rpartition(":")[2])
    taken = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
    async with taken:
        async with Sandbox(state) as second:
            assert second.proxy_url != first.proxy_url
        with pytest.raises(OSError, match="in use"):
            await Sandbox().start(port)


async def test_attaching_again(tmp_path: Path) -> None:
    """A process that was pointed at one sandbox can be pointed at another, and back at WhatsApp."""
    async with Sandbox() as sandbox:
        client = Client(sandbox, tmp_path)
        try:
            await client.start()
            for key in (bytes(range(32)), TRUE_ROOT, TRUE_ROOT, sandbox.root_key):
                await client.call("attach", key.hex())
        finally:
            await client.kill()
