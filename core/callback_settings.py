"""Where a tenant's events are sent to, as its YAML says."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping  # noqa: TC003 - the annotations are read at run time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from core.event_types import EVERYTHING, check_types
from core.hooks.options import Checked

if TYPE_CHECKING:
    from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
_NAME = re.compile(r"[a-z0-9_-]{1,60}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]{0,4096}")
_OUR_KEY = re.compile(r"sk_[A-Za-z0-9_-]{43}")
_OUR_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "expect", "host", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "user-agent"}
)


def _check_url(url: str) -> None:
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > 2000:
        raise ValueError("expected an URL of at most 2000 ASCII characters, without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise ValueError("expected https://HOST/PATH or http://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a password does not belong into an URL; send it in `headers` as Authorization")
    if parts.fragment:
        raise ValueError("what follows a # is never sent; leave it out")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError("expected 1 to 60 of a-z, 0-9, _ and -")


def _check_events(types: Sequence[str]) -> None:
    if not types:
        raise ValueError("is empty; write which events, or leave it out for all")
    check_types(types)


def _check_secret(secret: str) -> None:
    """Its value is in no complaint."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(
            f"a signing secret begins with {SECRET_PREFIX}; make one: echo whsec_$(openssl rand -base64 32)"
        )
    try:
        length = len(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True))
    except binascii.Error:
        raise ValueError(f"what follows {SECRET_PREFIX} is not base64") from None
    if not 24 <= length <= 64:
        raise ValueError(f"a signing secret has 24 to 64 bytes, and this one {length}")


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name[:60]!r} is no header's name")
        if name.lower() in _OUR_HEADERS or name.lower().startswith("webhook-"):
            raise ValueError(f"the header {name} is Gapura's own to set")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} is too long, or has characters that no header can have")
        if _OUR_KEY.search(value):
            raise ValueError(f"the value of {name} looks like an API key of Gapura, which must not be sent anywhere")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One receiver of events. `name` is derived from the URL's host when it is empty; `events`: their types, as in
    `core.event_types`. `url`, `secret` and `headers` may hold secrets and are kept out of the repr."""

    url: Annotated[str, Checked(_check_url)] = field(repr=False)
    name: Annotated[str, Checked(_check_name)] = ""
    events: Annotated[tuple[str, ...], Checked(_check_events)] = (EVERYTHING,)
    secret: Annotated[str, Checked(_check_secret)] | None = field(default=None, repr=False)
    unsigned: bool = False
    headers: Annotated[Mapping[str, str], Checked(_check_headers)] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", _name_of(self.url))
        if self.secret is None and not self.unsigned:
            raise ValueError(
                "'secret' is missing: without it a receiver cannot know who writes; `secret: { $env: NAME }`,"
                " or `unsigned: true` if that shall be so"
            )
        if self.secret is not None and self.unsigned:
            raise ValueError("has a secret and is `unsigned: true`; leave one of them out")

    @property
    def origin(self) -> str:
        """Scheme, host and port: what of the URL may be shown."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def _name_of(url: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", (urlsplit(url).hostname or "").lower()).strip("-")[:60]


def check_names(endpoints: Sequence[Endpoint]) -> None:
    """Raise ValueError when two have one name: it is how deliveries are kept apart."""
    names = [endpoint.name for endpoint in endpoints]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two endpoints are called {name!r}; give each a `name` of its own")


def _check_network(network: str) -> None:
    try:
        ipaddress.ip_network(network)
    except ValueError as error:
        raise ValueError(f"expected a network such as 10.0.0.0/8 or 127.0.0.1/32: {error}") from error


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """`allow`: networks that no public address belongs to, and which callbacks may be sent to all the same."""

    allow: tuple[Annotated[str, Checked(_check_network)], ...] = ()
