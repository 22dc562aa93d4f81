"""Where this gateway may connect to when somebody else chose the address: not into its own network.

A name is resolved and its addresses are checked; the connection goes to the address that was checked, and is checked
once more when its socket is made. So neither a name that changes its mind nor a bare address gets past.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import AddrInfoType

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_KEPT_OPEN = 4.0
"""Seconds for which an idle connection may be used again: fewer than common servers wait before they close it, because
a request that meets the closing would count as failed."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/8", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16"),
        *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)
"""Loopback, private, link-local, shared (CGNAT), documentation, benchmarking, multicast, reserved, and the tunnels that
could lead to one of them. What Python's own `is_global` does not call global is refused as well."""


class AddressRefused(OSError):
    """This gateway does not connect to that host. Its words are for whoever chose the host; `address` is for the
    operator: what a name means in this network is nobody else's business."""

    def __init__(self, address: str) -> None:
        super().__init__(
            "the host is not allowed: it has no public address, and `callbacks.allow` names no such network"
        )
        self.address = address


class AddressGuard:
    """Knows the addresses that may be connected to: public ones, and those in the networks `allowed`."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = tuple(ipaddress.ip_network(network) for network in allowed)

    def check(self, address: str) -> None:
        """Raise AddressRefused for an address that may not be connected to."""
        given = ipaddress.ip_address(address.partition("%")[0])
        meant = _embedded(given) or given
        if any(one in network for network in self._allowed for one in (given, meant)):
            return
        if not meant.is_global or any(meant in network for network in _NOT_PUBLIC):
            raise AddressRefused(address)

    def connector(self) -> aiohttp.TCPConnector:
        """Connections to checked addresses, as many as are wanted. To be called while the event loop runs."""
        return aiohttp.TCPConnector(
            limit=0,
            resolver=_Resolver(self),
            use_dns_cache=False,
            keepalive_timeout=_KEPT_OPEN,
            socket_factory=self._checked_socket,
        )

    def _checked_socket(self, info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        self.check(str(address[0]))
        return socket.socket(family, kind, protocol)


def _embedded(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


class _Resolver(AbstractResolver):
    """Gives only addresses that may be connected to. Each look-up has a thread of its own that nobody waits for at the
    end: name servers that do not answer must hold up neither other look-ups nor the shutdown."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError: there is no such name, or AddressRefused."""
        found: list[ResolveResult] = []
        refused: AddressRefused | None = None
        for kind, _, protocol, _, address in await _look_up(host, port, family):
            try:
                self._guard.check(str(address[0]))
            except AddressRefused as refusal:
                refused = refusal
                continue
            found.append(
                ResolveResult(
                    hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )  # fmt: skip
        if refused is not None and not found:
            raise refused
        return found

    async def close(self) -> None:
        """There is nothing to close."""


async def _look_up(host: str, port: int, family: int) -> list[tuple[Any, ...]]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

    def tell(found: list[tuple[Any, ...]] | None, error: OSError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found or [])

    def ask() -> None:
        found, error = None, None
        try:
            found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except OSError as failure:
            error = failure
        except UnicodeError:
            error = OSError(f"{host[:100]!r} can be no host's name")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            loop.call_soon_threadsafe(tell, found, error)

    threading.Thread(target=ask, name="name look-up", daemon=True).start()
    return await answer
