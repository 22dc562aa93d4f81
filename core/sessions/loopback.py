"""A WhatsApp on loopback in the place of the real one: where it is, and what a session process needs to trust it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

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


async def fetch(url: str, ca_file: Path) -> Loopback:
    """Ask a running sandbox. Raises CommandError: only loopback addresses are taken, and it has to answer."""
    if not _is_loopback(urlsplit(url).hostname or ""):
        raise CommandError(f"--sandbox takes a loopback URL, such as http://127.0.0.1:3100, and not {url}")
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
            http.get(f"{url.rstrip('/')}/attach") as answer,
        ):
            told = await answer.json()
            ca_file.write_text(told["ca"])  # noqa: ASYNC240 - two kilobytes, before anything runs
            return Loopback(url, told["proxy"], told["root_key"], ca_file)
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"no sandbox answers at {url} ({error}); start one with: run.py sandbox") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
