"""Who asks? The tenant whose API key the request carries.

The key comes as `X-API-Key: sk_…` or as `Authorization: Bearer sk_…`; a request that carries two different keys
is refused. Keys are made by `run.py tenant add`; only their digests are kept, so `gateway.find_key` hashes what
was presented and looks that up. `None` means "not mine": the next plugin with this hook is asked, and if none
knows the caller it is a 401.
"""

from core import AuthRequest, Gateway, Principal, Unauthorized, hookimpl


@hookimpl
async def authenticate(request: AuthRequest, gateway: Gateway) -> Principal | None:
    key = presented_key(request)
    return await gateway.find_key(key) if key else None


def presented_key(request: AuthRequest) -> str | None:
    """The one key in the request's headers; raises Unauthorized when there are two that differ."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    header = request.headers.get("X-API-Key", "").strip()
    if bearer and header and bearer != header:
        raise Unauthorized("two_keys", "X-API-Key and Authorization carry different keys; send one of them")
    return header or bearer or None
