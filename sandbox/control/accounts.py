"""Routes that make trouble for linked devices, logins and sends of an account, and that tell what devices did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web

from sandbox.control.answers import answer
from sandbox.control.refusals import Refusal
from sandbox.control.requests import body, digits
from sandbox.control.views import device_views

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox import Sandbox

    Handler = Callable[[web.Request], Awaitable[web.Response]]

Code = Annotated[int, msgspec.Meta(ge=0, le=999)]
Times = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Device = Annotated[int, msgspec.Meta(ge=1, le=99)]


class Which(msgspec.Struct, forbid_unknown_fields=True):
    """POST /accounts/{number}/unlink, drop, replace. Without `device`: all of them, of those that it can be done to."""

    device: Device | None = None


class RefuseLogins(msgspec.Struct, forbid_unknown_fields=True):
    """POST /accounts/{number}/refuse-logins. Without `times`: until `reason` 0 ends it.

    `code` and `expire` (seconds) tell more of reason 402, a ban for some time.
    """

    reason: Code
    times: Times | None = None
    code: Code = 101
    expire: Times = 3600


class RefuseSends(msgspec.Struct, forbid_unknown_fields=True):
    """POST /accounts/{number}/refuse-sends. Without `times`: until `code` 0 ends it."""

    code: Code
    times: Times | None = None


class HoldAcks(msgspec.Struct, forbid_unknown_fields=True):
    """POST /accounts/{number}/hold-acks."""

    on: bool


def routes(sandbox: Sandbox) -> list[web.RouteDef]:
    """The routes, for this sandbox."""
    room = Accounts(sandbox)
    return [
        web.post("/accounts/{number}/unlink", room.to_devices(sandbox.unlink, connected=False)),
        web.post("/accounts/{number}/drop", room.to_devices(sandbox.drop, connected=True)),
        web.post("/accounts/{number}/replace", room.to_devices(sandbox.replace, connected=True)),
        web.post("/accounts/{number}/refuse-logins", room.refuse_logins),
        web.post("/accounts/{number}/refuse-sends", room.refuse_sends),
        web.post("/accounts/{number}/hold-acks", room.hold_acks),
        web.get("/logins", room.logins),
        web.get("/receipts/{message}", room.receipts),
    ]


class Accounts:
    """The handlers."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def to_devices(self, act: Callable[[str, int], Awaitable[None]], *, connected: bool) -> Handler:
        """The handler that does `act` to one linked device, or to all (`connected`: that are connected); it answers
        with their numbers."""

        async def handler(request: web.Request) -> web.Response:
            number, asked = _number(request), await body(request, Which)
            devices = [asked.device] if asked.device is not None else self._linked(number, connected)
            for device in devices:
                await act(number, device)
            return answer({"devices": devices})

        return handler

    async def refuse_logins(self, request: web.Request) -> web.Response:
        """Logins fail with `reason` from now on."""
        number, asked = self._account(request), await body(request, RefuseLogins)
        self._sandbox.refuse_logins(number, asked.reason, asked.times, code=asked.code, expire=asked.expire)
        return answer({"reason": asked.reason, "times": asked.times})

    async def refuse_sends(self, request: web.Request) -> web.Response:
        """Messages of its linked devices are refused with `code` from now on."""
        number, asked = self._account(request), await body(request, RefuseSends)
        self._sandbox.refuse_sends(number, asked.code, asked.times)
        return answer({"code": asked.code, "times": asked.times})

    async def hold_acks(self, request: web.Request) -> web.Response:
        """Messages of its linked devices get no answer while this is on."""
        number, asked = self._account(request), await body(request, HoldAcks)
        self._sandbox.hold_acks(number, asked.on)
        return answer({"on": asked.on})

    async def logins(self, _: web.Request) -> web.Response:
        """When linked devices were connected."""
        return answer({"logins": self._sandbox.logins})

    async def receipts(self, request: web.Request) -> web.Response:
        """Which receipts for a message linked devices have acknowledged, and how many wait for them."""
        message = request.match_info["message"]
        done, waiting = self._sandbox.acknowledged(message), self._sandbox.unacknowledged(message)
        return answer({"acknowledged": done, "waiting": waiting})

    def _account(self, request: web.Request) -> str:
        """Raises UnknownNumber: what shall happen to a mistyped number would never happen."""
        number = _number(request)
        self._sandbox.devices(number)
        return number

    def _linked(self, number: str, connected: bool) -> list[int]:
        devices = [view.device for view in device_views(self._sandbox, number) if view.online or not connected]
        if not devices:
            what = "connected" if connected else "linked"
            raise Refusal(409, "no_device", f"{number} has no {what} device")
        return devices


def _number(request: web.Request) -> str:
    return digits(request.match_info["number"])
