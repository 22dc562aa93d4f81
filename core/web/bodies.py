"""JSON bodies: read, checked against their types, and refused with the field and the reason.

msgspec does it in one pass; only a body that it refuses is looked at a second time, slowly, for a good reason to give.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from aiohttp import web

from core.errors import BadRequest, TooLarge, Unprocessable, WrongContentType
from core.model import Priority  # noqa: TC001
from core.paths.admission import SendRequest
from core.web.refusals import explain

T = TypeVar("T", bound=msgspec.Struct)

LARGEST = 2 * 1024 * 1024
"""Bytes of a body."""

PATIENCE = 30.0
"""Seconds in which a body must have come in."""

LONGEST_KEY = 255
"""Characters of an idempotency key."""

_NUL = b"\\u0000"

Message = Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Mentions = Annotated[tuple[str, ...], msgspec.Meta(max_length=1024)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class SendBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What POST /api/send-message takes. An optional field that is null is a field that is not there."""

    number: str
    message: Message
    client_ref: Id | None = None
    priority: Priority | None = None
    send_at: Moment | None = None
    expires_in: float | None = None
    reply_to: Id | None = None
    mentions: Mentions | None = None
    transactional: bool | None = None


class LegacySendBody(SendBody, kw_only=True, forbid_unknown_fields=False, gc=False):
    """The same for `api: legacy`: unknown fields are ignored, and a number may be a JSON number."""

    number: str | Annotated[int, msgspec.Meta(ge=0)]  # type: ignore[assignment]


class NumberBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What /api/whitelist takes."""

    number: str


class LegacyNumberBody(NumberBody, kw_only=True, forbid_unknown_fields=False, gc=False):
    """The same for `api: legacy`."""

    number: str | Annotated[int, msgspec.Meta(ge=0)]  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Bodies(Generic[T]):
    """One kind of body, in its strict and in its legacy form."""

    strict: msgspec.json.Decoder[T]
    legacy: msgspec.json.Decoder[Any]

    async def read(self, request: web.Request, api: str) -> T:
        """The body of a request to a tenant whose option `api` this is. Raises WrongContentType, TooLarge, BadRequest
        (not JSON) and Unprocessable (JSON, but not what is asked for)."""
        check_content_type(request)
        if (request.content_length or 0) > LARGEST:
            raise TooLarge("body_too_large", "a body has at most 2 MiB")
        return self.decode(await _all_of(request), api)

    def decode(self, raw: bytes, api: str = "v1") -> T:
        """The body that these bytes are."""
        decoder = self.legacy if api == "legacy" else self.strict
        try:
            body: T = decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise explain(raw, error) from None
        if _NUL in raw:
            _refuse_nul(body)
        return body


SEND: Bodies[SendBody] = Bodies(msgspec.json.Decoder(SendBody), msgspec.json.Decoder(LegacySendBody))
NUMBER: Bodies[NumberBody] = Bodies(msgspec.json.Decoder(NumberBody), msgspec.json.Decoder(LegacyNumberBody))


async def _all_of(request: web.Request) -> bytes:
    if request.content.is_eof():  # it came together with its header, as most do
        raw = request.content.read_nowait()
        if len(raw) > LARGEST:
            raise TooLarge("body_too_large", "a body has at most 2 MiB")
        return raw
    try:
        async with asyncio.timeout(PATIENCE):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except ConnectionResetError:
        raise BadRequest("body_unreadable", "the body is cut off") from None


def check_content_type(request: web.Request) -> None:
    """Raise WrongContentType for what does not say that it is JSON in UTF-8."""
    if request.headers.get("Content-Type") == "application/json":
        return
    kind = request.content_type.lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise WrongContentType("content_type", "the body must be JSON: Content-Type: application/json, in UTF-8")


def check_key(key: str | None, where: str) -> str | None:
    """An idempotency key as it is; `where` names it in the refusal."""
    if key is None or (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        return key
    detail = f"{where} has 1 to {LONGEST_KEY} printable characters"
    if where == "client_ref":
        raise Unprocessable("field_invalid", detail, field=where)
    raise BadRequest("idempotency_key_invalid", detail)


def to_request(body: SendBody, client_ref: str | None) -> SendRequest:
    """What admission is asked for."""
    return SendRequest(
        number=str(body.number),
        message=body.message,
        client_ref=client_ref,
        priority=body.priority or "normal",
        send_at=_in_utc(body.send_at) if body.send_at else None,
        expires_in=body.expires_in,
        reply_to=body.reply_to,
        mentions=body.mentions or (),
        transactional=body.transactional or False,
    )


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Unprocessable("field_invalid", "send_at lies outside the calendar", field="send_at") from None


def _refuse_nul(body: msgspec.Struct) -> None:
    """PostgreSQL keeps no NUL, and one would spoil the statement of a whole batch."""
    for name in body.__struct_fields__:
        value = getattr(body, name)
        texts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise BadRequest("nul_character", f"{name} contains a NUL character", field=name)
