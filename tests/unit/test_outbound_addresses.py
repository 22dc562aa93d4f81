"""Where a gateway connects to when somebody else chose the address: never into its own network."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from core.outbound_addresses import AddressGuard, AddressRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1",
        "::", "::1", "::7f00:1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "64:ff9b:1::1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "100::1", "5f00::1",
    ],
)  # fmt: skip
def test_what_is_no_public_address_is_refused(address: str) -> None:
    """Loopback, private, link-local (where clouds keep their secrets), shared, multicast, reserved; also in IPv6."""
    with pytest.raises(AddressRefused, match="has no public address") as refused:
        AddressGuard().check(address)
    assert (refused.value.address, address in str(refused.value)) == (address, False)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_public_addresses_pass(address: str) -> None:
    """In every way to write them."""
    AddressGuard().check(address)


def test_the_operator_may_allow_networks() -> None:
    """Those and no others; an IPv4 network also in the clothes of IPv6."""
    guard = AddressGuard(["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"])
    for address in ("10.255.0.1", "127.0.0.1", "::ffff:10.0.0.1", "fd12::1"):
        guard.check(address)
    for address in ("127.0.0.2", "192.168.0.1", "::1", "fc00::1"):
        with pytest.raises(AddressRefused):
            guard.check(address)


@pytest.fixture
async def server(loop: asyncio.AbstractEventLoop) -> AsyncIterator[tuple[int, list[str]]]:
    """(the port on which somebody listens on loopback, the hosts that he was asked for)."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.host)
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1], asked
    await runner.cleanup()


async def connect(guard: AddressGuard, url: str) -> str:
    """What is answered there, over the guard's connections."""
    async with aiohttp.ClientSession(connector=guard.connector()) as session, session.get(url) as response:
        return await response.text()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0"])
async def test_no_way_to_write_loopback_gets_past(server: tuple[int, list[str]], host: str) -> None:
    """Bare addresses, which no resolver sees, and names; nothing reaches the server."""
    port, asked = server
    with pytest.raises(aiohttp.ClientError) as caught:
        await connect(AddressGuard(), f"http://{host}:{port}/")
    refused = isinstance(getattr(caught.value, "os_error", None), AddressRefused)
    assert refused or isinstance(caught.value, aiohttp.InvalidURL)
    assert asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_allowed_addresses_are_reached(server: tuple[int, list[str]], host: str) -> None:
    """By name and by address."""
    port, asked = server
    assert await connect(AddressGuard(["127.0.0.0/8"]), f"http://{host}:{port}/") == "here"
    assert asked == [f"{host}:{port}"]


async def test_a_name_that_changes_its_mind_is_of_no_use(
    server: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is looked up first and private from then on: whatever is connected to has been
    checked, because it is not looked up again."""
    port, asked = server
    answers = iter(["93.184.216.34"])

    def look_up(host: str, to: int, **options: Any) -> list[Any]:
        address = next(answers, "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, to))]

    tried: list[str] = []

    async def connects(self: Any, sock: socket.socket, address: tuple[str, int]) -> None:
        tried.append(address[0])
        raise OSError("nothing leaves this machine")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(type(asyncio.get_running_loop()), "sock_connect", connects)
    errors = []
    for _ in range(2):
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await connect(AddressGuard(), f"http://rebinding.example:{port}/")
        errors.append(isinstance(caught.value.os_error, AddressRefused))
    assert errors == [False, True]
    assert tried == ["93.184.216.34"]
    assert asked == []


async def test_the_public_ones_of_several_addresses_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a public and a private address is connected to by the public one only."""

    def look_up(host: str, to: int, **options: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, to)) for a in ("10.0.0.1", "93.184.216.34", "127.0.0.1")
        ]

    tried: list[str] = []

    async def connects(self: Any, sock: socket.socket, address: tuple[str, int]) -> None:
        tried.append(address[0])
        raise OSError("nothing leaves this machine")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(type(asyncio.get_running_loop()), "sock_connect", connects)
    with pytest.raises(aiohttp.ClientConnectorError):
        await connect(AddressGuard(), "http://both.example/")
    assert tried == ["93.184.216.34"]


async def test_a_name_that_does_not_exist_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that can be no name at all."""

    def fails(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(aiohttp.ClientConnectorError):
        await connect(AddressGuard(), "http://nobody.example/")
