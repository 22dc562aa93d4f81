"""`run.py send` and `run.py inject`: by the same rules as over HTTP, with and without a running gateway."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import psycopg2
import pytest

from core.cli import send
from tests.service.command_line import CommandLine
from tests.service.gateway_process import PATIENCE, Installation

if TYPE_CHECKING:
    from pathlib import Path

PARROT = """
from core import hookimpl

@hookimpl
def on_message(message):
    return message.reply("you said " + message.content)
"""


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> CommandLine:
    """Commands on a database with the tenant `shop`, which sends by dry_run."""
    cli = CommandLine(tmp_path, database_url)
    cli.write("config/service.yaml", "plugins_dir: ../plugins")
    cli.write("config/tenants/shop.yaml", "transport: dry_run\nplugins: {api_key: , daily_limit: {limit: 2}, parrot: }")
    cli.write("plugins/parrot.py", PARROT)
    cli("tenant", "add", "shop")
    return cli


@pytest.fixture
def installation(cli: CommandLine) -> Installation:
    """The same configuration and database, for gateways in processes of their own."""
    return Installation(cli.home, cli.database_url)


def test_unknown_tenant(cli: CommandLine) -> None:
    """Both say that there is no such tenant, and how to make it."""
    for command in ("send", "inject"):
        done = cli(command, "nobody", "081234567890", "hi", "--json")
        assert (done.status, done.code) == (1, "tenant_not_found")
        assert "tenant add nobody" in done.answer["error"]["detail"]


@pytest.mark.parametrize(
    ("number", "code"), [("0812", "number_too_short"), ("abc", "number_letters"), ("", "number_empty")]
)
def test_number_that_is_none(cli: CommandLine, number: str, code: str) -> None:
    """A number that cannot be is refused with the same code as over HTTP."""
    for command in ("send", "inject"):
        done = cli(command, "shop", number, "hi", "--json")
        assert (done.status, done.code) == (1, code)


@pytest.mark.parametrize("arguments", [("--priority", "soon"), ("--wait", "--wait=soon"), ("--wait=-1",)])
def test_wrong_option(cli: CommandLine, arguments: tuple[str, ...]) -> None:
    """A wrong value of an option is status 2, and nothing is sent."""
    assert cli("send", "shop", "081234567890", "hi", *arguments).status == 2
    assert cli("tenant", "list", "--json").answer["tenants"][0]["queued"] == 0


def test_refusals(cli: CommandLine) -> None:
    """Over the limit: status 1, code, detail and when to come back, for people on stderr, for programs on stdout."""
    answers = [cli("send", "shop", "081234567890", f"{n}", "--json") for n in range(3)]
    assert [done.status for done in answers] == [0, 0, 1]
    assert answers[1].answer["quota"]["used"] == 2
    assert answers[2].code == "limit_reached"
    assert answers[2].answer["error"]["quota"]["remaining"] == 0
    done = cli("send", "shop", "+62 812-3456-7890", "again")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("gapura: daily_limit: 2 of 2 messages per day are used")
    assert re.search(r"; again in \d{1,2}:\d\d:\d\d \[limit_reached\]\n$", done.err)


def test_client_ref(cli: CommandLine) -> None:
    """The same reference is the same message; with another text it is a conflict."""
    once, again = [cli("send", "shop", "081234567890", "hi", "--client-ref", "a", "--json") for _ in range(2)]
    assert once.answer["id"] == again.answer["id"]
    done = cli("send", "shop", "081234567890", "ho", "--client-ref", "a", "--json")
    assert (done.status, done.code) == (1, "idempotency_key_reused")


def test_nobody_is_there_to_send(cli: CommandLine) -> None:
    """Without a gateway the message is accepted and stays queued, and stderr says so; --wait then ends with 1."""
    done = cli("send", "shop", "081234567890", "hi")
    assert done.status == 0
    assert done.out.startswith("queued: ")
    assert "No gateway is running" in done.err
    waited = cli("send", "shop", "081234567890", "ho", "--wait", "0.1", "--json")
    assert (waited.status, waited.answer["status"]) == (1, "queued")


def test_a_tenant_without_a_linked_number_is_told_so(cli: CommandLine) -> None:
    """Its message waits, and it is told why and what to do."""
    cli("tenant", "add", "bank")
    done = cli("send", "bank", "081234567890", "hi")
    assert done.status == 0
    assert "WhatsApp is unpaired: no WhatsApp number is linked yet: pair it" in done.err


def test_nobody_is_there_to_show(cli: CommandLine) -> None:
    """Without a gateway an incoming message is kept, and stderr says when plugins will see it."""
    done = cli("inject", "shop", "081234567890", "hi")
    assert done.status == 0
    assert "No gateway is running" in done.err
    assert cli("inject", "shop", "081234567890", "hi", "--json").answer["replies"] is None


def test_who_claims_is_no_gateway(cli: CommandLine) -> None:
    """Only gateways are counted, not the lock under which a gateway claims."""
    connection = psycopg2.connect(str(cli.database_url))
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(process_class(), 0)")
        done = cli("inject", "shop", "081234567890", "hi", "--json")
    assert (done.answer["gateways"], done.answer["replies"]) == (0, None)


def test_with_a_gateway(cli: CommandLine, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running gateway sends what the command queued, and its bots answer what the command injected."""
    monkeypatch.setattr(send, "ANSWER_WITHIN", PATIENCE)
    kept = cli("inject", "shop", "081234567899", "before")
    with installation.serve() as gateway:
        done = cli("send", "shop", "081234567890", "hi", "--wait", f"{PATIENCE:g}", "--json")
        assert (done.status, done.answer["status"]) == (0, "sent")
        assert [event["status"] for event in done.answer["history"]] == ["queued", "sending", "sent"]
        injected = cli("inject", "shop", "0812-3456-7890", "ping", "--json")
        assert injected.status == 0
        assert (injected.answer["from"], injected.answer["gateways"]) == ("6281234567890", 1)
        [reply] = injected.answer["replies"]
        assert reply["plugin"] == "parrot"
        gateway.logs("you said ping")
        gateway.logs(kept.out.split()[0])
        gateway.logs("you said before")


def test_a_text_that_begins_with_a_dash(cli: CommandLine) -> None:
    """After -- everything is text, also what looks like an option."""
    done = cli("send", "--client-ref", "dash", "--json", "--", "shop", "081234567890", "--json")
    assert done.answer["status"] == "queued"
