"""Routes of the simulated phones: what a person does with one, and what it shows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web

from sandbox.control.answers import answer
from sandbox.control.refusals import Refusal
from sandbox.control.requests import body, counted, digits, mentioned, patience
from sandbox.control.views import InboxView, chats_view, phone_view

if TYPE_CHECKING:
    from sandbox import Phone, Sandbox

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]
Name = Annotated[str, msgspec.Meta(max_length=100)]


class NewPhone(msgspec.Struct, forbid_unknown_fields=True):
    """POST /phones."""

    number: str
    name: Name = ""


class PhoneChange(msgspec.Struct, forbid_unknown_fields=True):
    """PATCH /phones/{number}. `online: false` is a phone without a network; `auto_read` reads at once what comes."""

    name: Name | None = None
    online: bool | None = None
    auto_read: bool | None = None


class NewMessage(msgspec.Struct, forbid_unknown_fields=True):
    """POST /phones/{number}/messages."""

    to: str
    text: Text
    reply_to: str | None = None
    mentions: list[str] = []


class Reading(msgspec.Struct, forbid_unknown_fields=True):
    """POST /phones/{number}/read."""

    id: str


class Typing(msgspec.Struct, forbid_unknown_fields=True):
    """POST /phones/{number}/typing."""

    to: str
    on: bool = True


def routes(sandbox: Sandbox) -> list[web.RouteDef]:
    """The routes, for this sandbox."""
    room = Phones(sandbox)
    return [
        web.get("/phones", room.all),
        web.post("/phones", room.add),
        web.get("/phones/{number}", room.show),
        web.patch("/phones/{number}", room.change),
        web.get("/phones/{number}/changes", room.changes),
        web.get("/phones/{number}/inbox", room.inbox),
        web.post("/phones/{number}/messages", room.send),
        web.post("/phones/{number}/read", room.read),
        web.post("/phones/{number}/typing", room.typing),
    ]


class Phones:
    """The handlers."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def all(self, _: web.Request) -> web.Response:
        """Every phone, without its chats."""
        return answer({"phones": [phone_view(self._sandbox, phone) for phone in self._sandbox.phones.values()]})

    async def add(self, request: web.Request) -> web.Response:
        """A phone for a number: 201 when it is new, 200 when it was there."""
        asked = await body(request, NewPhone)
        number = digits(asked.number)
        status = 200 if number in self._sandbox.phones else 201
        phone = self._sandbox.phone(number, asked.name)
        return answer(phone_view(self._sandbox, phone), status)

    async def show(self, request: web.Request) -> web.Response:
        """A phone with its chats."""
        return answer(chats_view(self._sandbox, self._phone(request)))

    async def change(self, request: web.Request) -> web.Response:
        """Its name (told to its linked devices), its network, its habit of reading."""
        phone, asked = self._phone(request), await body(request, PhoneChange)
        if asked.name is not None:
            await phone.set_name(asked.name)
        if asked.online is not None:
            phone.online = asked.online
        if asked.auto_read is not None:
            phone.auto_read = asked.auto_read
        return answer(phone_view(self._sandbox, phone))

    async def changes(self, request: web.Request) -> web.Response:
        """A phone with its chats as soon as its version is another, or after `wait` seconds as it is."""
        phone, known, wait = self._phone(request), counted(request, "version"), patience(request)
        if phone.version == known:
            await phone.wait_changed(known, wait)
        return answer(chats_view(self._sandbox, phone))

    async def inbox(self, request: web.Request) -> web.Response:
        """What the phone received from message number `after` on; waits for the first one."""
        phone, after, wait = self._phone(request), counted(request, "after"), patience(request)
        await self._received(phone, after, wait)
        messages = phone.received[after:]
        return answer(InboxView(messages, after + len(messages)))

    async def send(self, request: web.Request) -> web.Response:
        """Its message's id."""
        phone, asked = self._phone(request), await body(request, NewMessage)
        to, mentions = digits(asked.to, "to"), [mentioned(mention) for mention in asked.mentions]
        message = await phone.send(to, asked.text, reply_to=asked.reply_to or None, mentions=mentions)
        return answer({"id": message}, 201)

    async def read(self, request: web.Request) -> web.Response:
        """The message's sender gets a read receipt."""
        phone, asked = self._phone(request), await body(request, Reading)
        await phone.read(asked.id)
        return answer({"id": asked.id})

    async def typing(self, request: web.Request) -> web.Response:
        """The other one sees "typing…", or no more."""
        phone, asked = self._phone(request), await body(request, Typing)
        await phone.typing(digits(asked.to, "to"), asked.on)
        return answer({"on": asked.on})

    def _phone(self, request: web.Request) -> Phone:
        number = digits(request.match_info["number"])
        if number not in self._sandbox.phones:
            raise Refusal(404, "unknown_phone", f"there is no phone {number}; make it with: POST /phones")
        return self._sandbox.phones[number]

    @staticmethod
    async def _received(phone: Phone, after: int, wait: float) -> None:
        """Return when more than `after` messages were received, or after `wait` seconds."""
        end = time.monotonic() + wait
        while len(phone.received) <= after and (left := end - time.monotonic()) > 0:
            await phone.wait_changed(phone.version, left)
            await asyncio.sleep(0)
