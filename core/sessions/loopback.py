"""A WhatsApp on loopback in the place of the real one: where it is, and what a session process needs to trust it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import msgspec

from core.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Loopback:
    """`proxy` leads every connection to WhatsApp's hosts to the sandbox; `ca_file` holds its certificate authority."""

    url: str
    proxy: str
    root_key: str = field(repr=False)
    ca_file: Path


class _Told(msgspec.Struct):
    """What a sandbox answers to /attach."""

    proxy: str
    root_key: str
    ca: str


async def fetch(url: str, ca_file: Path) -> Loopback:
    """Ask a running sandbox. Raises CommandError: only loopback addresses are taken, and a sandbox has to answer."""
    if not _is_on_loopback(url):
        raise CommandError(f"--sandbox takes a loopback URL, such as http://127.0.0.1:3100, and not {url}")
    told = await _ask(url)
    # Else whatever listens on that port could lead sessions to anywhere.
    if not _is_on_loopback(told.proxy):
        raise CommandError(f"what answers at {url} leads to {told.proxy!r}, which is not on loopback: it is not used")
    ca_file.write_text(told.ca)  # noqa: ASYNC240 - two kilobytes, before anything runs
    return Loopback(url, told.proxy, told.root_key, ca_file)


async def _ask(url: str) -> _Told:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
            http.get(f"{url.rstrip('/')}/attach", allow_redirects=False) as answer,
        ):
            return msgspec.json.decode(await answer.read(), type=_Told)
    except msgspec.DecodeError:
        raise CommandError(f"what answers at {url} is no sandbox; start one with: run.py sandbox") from None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise CommandError(f"no sandbox answers at {url} ({error}); start one with: run.py sandbox") from error


def _is_on_loopback(url: str) -> bool:
    """Whether it can be read as an http or https URL of this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        return parts.scheme in ("http", "https") and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
