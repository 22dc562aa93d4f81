"""`send` and `inject`: a message out, and one that looks as if it came in."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.arguments import WAIT_SECONDS
from core.cli.invocation import invocation_of
from core.cli.output import note, say, say_json
from core.cli.tenant import AsJson, TenantId, no_such_tenant
from core.model import Incoming, Priority

if TYPE_CHECKING:
    from core.app import Gateway
    from core.clock import Clock
    from core.paths.admission import SendRequest
    from db.database import Database
    from db.store import Store

ANSWER_WITHIN = 10.0
"""Seconds in which the plugins of a running gateway should have seen an incoming message."""

NO_GATEWAY = "No gateway is running on this database"

_ON_ITS_WAY = ("sent", "delivered", "read", "played")
_POLL = 0.05

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="As people write it: 0812…, +62 812…, …@g.us.")]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="What it says. Put -- before a text that begins with -.")]


def send(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    tenant: TenantId,
    number: Number,
    text: Text,
    wait: Annotated[
        float | None,
        typer.Option(metavar="[SECONDS]", min=0, help=f"Wait until it is sent, {WAIT_SECONDS} s if not told how long."),
    ] = None,
    priority: Annotated[Priority, typer.Option(help="urgent passes normal, normal passes bulk.")] = "normal",
    client_ref: Annotated[
        str | None, typer.Option(metavar="REF", help="Your own reference: the same one never sends twice.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a message as a tenant, by the same rules as over HTTP.

    The exit status is 0 only when it was accepted; with --wait only when it was sent.
    """
    from core.cli.opened import with_gateway
    from core.paths.admission import SendRequest

    request = SendRequest(number=number, message=text, client_ref=client_ref, priority=priority)
    sent = with_gateway(invocation_of(context), lambda gateway: _send(gateway, tenant, request, wait))
    if as_json:
        say_json(sent.stored or sent.admitted)
    else:
        _tell(sent, wait)
    if sent.stored is not None and sent.stored["status"] not in _ON_ITS_WAY:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Sent:
    """`stored`: the message after waiting, if that was asked for; `obstacle`: why it does not go out now."""

    admitted: dict[str, Any]
    stored: dict[str, Any] | None
    obstacle: str | None


async def _send(gateway: Gateway, tenant: str, request: SendRequest, wait: float | None) -> _Sent:
    from core.channels import OUTBOX
    from core.web import answers

    if not await gateway.store.tenant_exists(tenant):
        raise no_such_tenant(tenant)
    admitted = await gateway.way_out.admission.send(tenant, None, request)
    await gateway.store.notify(OUTBOX, tenant)
    stored = None
    if wait is not None:
        stored = answers.message(await gateway.way_out.outbound.wait_until_sent(tenant, admitted.id, wait))
    return _Sent(answers.admitted(admitted), stored, await _obstacle(gateway, tenant))


async def _obstacle(gateway: Gateway, tenant: str) -> str | None:
    session = gateway.session_of(tenant)
    if session.state != "connected":
        return f"WhatsApp is {session.state}: {session.reason}."
    if not await gateway.store.live_processes():
        return f"{NO_GATEWAY}: what is queued goes out when one starts (run.py serve)."
    return None


def _tell(sent: _Sent, wait: float | None) -> None:
    message = sent.stored or sent.admitted
    cause = f" ({message['cause']})" if message.get("cause") else ""
    say(f"{message['status']}{cause}: {message['id']} to {message['to']}")
    if sent.stored is not None and message["status"] not in _ON_ITS_WAY:
        note(f"It was not sent within {wait:g} s.")
    elif message["status"] == "queued" and message["expected_at"]:
        say(f"expected at {message['expected_at']:%Y-%m-%d %H:%M:%S}Z, {message['ahead']} ahead of it")
    if quota := message["quota"]:
        say(f"{quota['used']} of {quota['limit']} messages to this number today")
    if message["status"] == "queued" and sent.obstacle:
        note(sent.obstacle)


def inject(context: typer.Context, tenant: TenantId, number: Number, text: Text, as_json: AsJson = False) -> None:
    """Play an incoming message from NUMBER, so that bots can be tried without WhatsApp."""
    from core.cli.opened import with_database
    from core.jid import parse

    invocation = invocation_of(context)
    sender = parse(number, invocation.settings().tenant(tenant).region).key
    message_id, replies, gateways = with_database(invocation, lambda database: _inject(database, tenant, sender, text))
    if as_json:
        say_json({"id": message_id, "from": sender, "gateways": gateways, "replies": replies})
        return
    say(f"{message_id} from {sender}")
    if replies is None and gateways:
        note(f"No plugin has seen it within {ANSWER_WITHIN:g} s; a gateway goes on trying.")
    elif replies is None:
        note(f"{NO_GATEWAY}: the message is kept, and shown to the plugins when one starts (run.py serve).")
    elif not replies:
        say("No plugin answered.")
    for reply in replies or ():
        say(f"{reply['plugin']} {_outcome(reply)}")


def _outcome(reply: dict[str, Any]) -> str:
    if "id" in reply:
        return f"answered with {reply['id']}"
    return str(reply.get("failed") or f"was refused: {reply['detail']} [{reply['refused']}]")


async def _inject(
    database: Database, tenant: str, sender: str, text: str
) -> tuple[str, list[dict[str, Any]] | None, int]:
    """(id, what came of it or None, how many gateways run)"""
    from core.clock import Clock
    from db.session_store import SessionStore
    from db.store import Store

    store = Store(database)
    if not await store.tenant_exists(tenant):
        raise no_such_tenant(tenant)
    clock = Clock()
    message_id = await add_incoming(store, clock, tenant, sender, text)
    # Not live_processes: session processes are among them, and the lock of whoever is claiming just now.
    gateways = len(await SessionStore(database).supervisors())
    replies = await replies_to(store, clock, tenant, message_id) if gateways else None
    return message_id, replies, gateways


async def add_incoming(store: Store, clock: Clock, tenant: str, sender: str, text: str) -> str:
    """Keep a message from `sender` (a recipient key) as if it had come in, and wake who shows it to plugins; its id."""
    message_id = f"INJECT-{uuid.uuid4()}"
    await store.add_incoming(
        Incoming(
            id=message_id,
            tenant=tenant,
            chat=sender,
            sender=sender,
            phone=None if "@" in sender else sender,
            lid=sender if sender.endswith("@lid") else None,
            push_name="inject",
            content=text,
            at=clock.now(),
        )
    )
    return message_id


async def replies_to(store: Store, clock: Clock, tenant: str, message_id: str) -> list[dict[str, Any]] | None:
    """What came of an incoming message; None when nobody has shown it to the plugins within ANSWER_WITHIN."""
    end = clock.monotonic() + ANSWER_WITHIN
    while (replies := await store.incoming_replies(tenant, message_id)) is None and clock.monotonic() < end:
        await clock.sleep(_POLL)
    return replies
