"""Who asks: the plugins say, and the tenant must have enabled the plugin that said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from core.errors import BadRequest, Unauthorized
from core.filling import filling
from core.model import AuthRequest, Principal

if TYPE_CHECKING:
    from core.sessions.remote import RemoteSessions
    from core.tenants import Tenants

CALLER = web.RequestKey("caller", Principal)
"""Where a request carries its Principal, from the gate on."""

LINK = "token"
"""The parameter that opens a tenant's pairing page: `?token=pl_…`."""

FORCE = "force"
"""The scope of a pairing link with which another number than before may be linked."""

_LINKS, _KEYS = "pl_", "sk_"
_KEY_NAMES = frozenset({"apikey", "key", "token", "accesstoken", "xapikey"})
_auth_request = filling(AuthRequest)
_NO_DASHES = str.maketrans("", "", "-_")


def check_url(request: web.Request, *, link: bool = False) -> None:
    """Raise BadRequest when the query carries what looks like a key: it would end in logs and histories. `link`: this
    path may be opened with a pairing link's token."""
    if not request.query_string:
        return
    for name, value in request.query.items():
        if _is_key(name, value) and not (link and name == LINK and value.startswith(_LINKS)):
            raise BadRequest(
                "key_in_url",
                "an API key must not stand in a URL: send it as the header X-API-Key, and rotate this one, because"
                " proxies and logs may have kept it",
            )


def _is_key(name: str, value: str) -> bool:
    return name.lower().translate(_NO_DASHES) in _KEY_NAMES or value.startswith((_KEYS, _LINKS))


async def by_link(sessions: RemoteSessions, request: web.Request) -> Principal:
    """Whoever holds a pairing link: good for the paths that it opens, without any scope but FORCE, if it was made so.
    Raises Unauthorized."""
    tokens = request.query.getall(LINK)
    found = await sessions.opened_by(tokens[0]) if len(tokens) == 1 else None
    if found is None:
        raise Unauthorized("link_expired", "this pairing link is not valid any more; ask for a new one")
    tenant, force = found
    return Principal(tenant=tenant, name="pairing link", scopes=frozenset({FORCE} if force else ()))


async def authenticate(tenants: Tenants, request: web.Request) -> Principal:
    """The caller. Raises Unauthorized, or what the plugin raises on purpose, or PluginFailed."""
    for name in ("X-API-Key", "Authorization"):
        values = request.headers.getall(name, ())
        if len(values) > 1 and len(set(values)) > 1:
            raise Unauthorized("two_keys", f"{name} is there twice, with different values; send one of them")
    asked = _auth_request(method=request.method, path=request.path, headers=request.headers, remote=request.remote)
    found = await tenants.service_hooks.first("authenticate", request=asked)
    if found is not None:
        plugin, principal = found
        if plugin in tenants.settings(principal.tenant).plugins:
            assert isinstance(principal, Principal)  # noqa: S101 - core.hooks.answers has checked it
            return principal
    raise Unauthorized("unauthorized", "a valid API key is needed: X-API-Key: sk_… or Authorization: Bearer sk_…")


async def confirm(tenants: Tenants, principal: Principal) -> None:
    """Raise Unauthorized when the key has been revoked meanwhile."""
    if not await tenants.is_valid(principal.tenant, principal.key):
        raise Unauthorized("invalid_key", "the API key is not valid")
