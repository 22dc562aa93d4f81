"""Every path there is, what a caller must be allowed to do there, and who answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from core.paths.quota import Quotas
from core.web.bodies import LARGEST
from core.web.callbacks import CallbackRoutes
from core.web.events import Events
from core.web.gate import Gate, Rule, accept_expectation
from core.web.health import Health
from core.web.messages import Messages
from core.web.opt_outs import OptOuts
from core.web.pairing import PAGE, PairingRoutes
from core.web.quota import RecipientQuotas
from core.web.sending import Sending
from core.web.server import STRAIGHT
from core.web.status import SessionState
from core.web.whitelist import Whitelist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.services import Services

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Route = tuple[str, str, Handler, Rule]


def make_app(services: Services) -> web.Application:
    """The HTTP application of one gateway, to be run by a `Runner`. docs/api.md describes its answers."""
    sending, events = Sending(services), Events(services)
    rules: dict[web.AbstractRoute, Rule] = {}
    gate = Gate(services, rules)
    app = web.Application(client_max_size=LARGEST, middlewares=[gate.pass_through])
    app[STRAIGHT] = straight = {}
    app.on_shutdown.extend((sending.stop_waiting, events.stop_waiting))
    for method, path, handler, rule in _routes(services, sending, events):
        resource = app.router.add_resource(path)
        for name in ("GET", "HEAD") if method == "GET" else (method,):
            rules[resource.add_route(name, handler, expect_handler=accept_expectation)] = rule
            if "{" not in path:
                straight[name, path] = partial(gate.answer, rule, handler)
    return app


def _routes(services: Services, sending: Sending, events: Events) -> list[Route]:
    messages, whitelist, health = Messages(services), Whitelist(services), Health(services)
    quotas = RecipientQuotas(Quotas(services.store, services.tenants, services.clock))
    send, read, manage, public = Rule("send"), Rule("read"), Rule("manage"), Rule(None)
    session, callbacks = SessionState(services), CallbackRoutes(services)
    return [
        # The admission statement checks the key again, so that the hot path needs no question of its own.
        ("POST", "/api/send-message", sending.post, Rule("send", asks_table=False)),
        ("GET", "/api/messages/{id}", messages.get, read),
        ("DELETE", "/api/messages/{id}", messages.delete, send),
        ("GET", "/api/events", events.get, read),
        ("GET", "/api/callbacks", callbacks.get, read),
        ("POST", "/api/callbacks/{id}/redeliver", callbacks.redeliver, manage),
        ("GET", "/api/status", session.get, read),
        ("POST", "/api/logout", session.logout, manage),
        ("POST", "/api/reconnect", session.reconnect, manage),
        *_pairing(PairingRoutes(services)),
        ("GET", "/api/whitelist", whitelist.get, read),
        ("POST", "/api/whitelist", whitelist.post, manage),
        ("DELETE", "/api/whitelist", whitelist.delete, manage),
        ("GET", "/api/opt-outs", OptOuts(services).get, read),
        ("GET", "/api/quota/{number}", quotas.get, read),
        ("GET", "/healthz", health.alive, public),
        ("GET", "/readyz", health.ready, public),
    ]


def _pairing(pairing: PairingRoutes) -> list[Route]:
    shown = Rule("manage", secret=True, link=True)
    return [
        ("GET", "/api/qr", pairing.get, shown),
        ("GET", "/api/qr/image", pairing.image, shown),
        ("GET", PAGE, pairing.page, Rule("manage", secret=True, link=True, page=True)),
        ("POST", "/api/pair-code", pairing.code, shown),
        ("POST", "/api/pair-link", pairing.link, Rule("manage", secret=True)),
    ]
