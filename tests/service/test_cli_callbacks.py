"""`callbacks list` and `callbacks retry`, as an operator types them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg2
import pytest

from tests.service.gateway_process import Installation

if TYPE_CHECKING:
    from pathlib import Path

NOBODYS = "01970000-0000-4000-8000-000000000000"


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Installation:
    """With deliveries of two tenants: a dead one, a delivered one and a pending one of shop's, a dead one of cafe's."""
    installation = Installation(tmp_path, database_url)
    to = "{{name: {0}, url: 'https://{0}/', unsigned: true}}"
    installation.add_tenant("shop", callbacks=f"[{to.format('erp')}, {to.format('log')}]")
    installation.add_tenant("cafe", callbacks=f"[{to.format('erp')}]")
    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for tenant, endpoint, seq, status, error in (
            ("shop", "erp", 1, "dead", "no thanks"),
            ("shop", "erp", 2, "delivered", None),
            ("shop", "log", 2, "pending", None),
            ("cafe", "erp", 1, "dead", "gone"),
        ):
            cursor.execute(
                "INSERT INTO callback_cursors (tenant_id, endpoint, seq) VALUES (%s, %s, 2) ON CONFLICT DO NOTHING",
                (tenant, endpoint),
            )
            cursor.execute(
                "INSERT INTO callback_deliveries (tenant_id, endpoint, seq, type, chat, at, status, held, tries,"
                " last_status, last_error) VALUES (%s, %s, %s, 'message.sent', '62', now(), %s, false, 1, 500, %s)",
                (tenant, endpoint, seq, status, error),
            )
    connection.close()
    return installation


def ids(installation: Installation, *options: str) -> list[str]:
    return [one["id"] for one in installation.answer("callbacks", "list", *options)["deliveries"]]


def test_list_shows_endpoints_and_deliveries(installation: Installation) -> None:
    """Of one tenant or of all; the newest event first; those that are dead, or pending, or of one endpoint."""
    told = installation.answer("callbacks", "list", "--tenant", "shop")
    assert [(one["endpoint"], one["pending"], one["dead"]) for one in told["endpoints"]] == [
        ("erp", 0, 1),
        ("log", 1, 0),
    ]
    assert [(one["seq"], one["endpoint"], one["status"]) for one in told["deliveries"]] == [
        (2, "log", "pending"), (2, "erp", "delivered"), (1, "erp", "dead"),
    ]  # fmt: skip
    assert [len(ids(installation, *options)) for options in (
        (), ("--dead",), ("--pending",), ("--endpoint", "erp"), ("--tenant", "cafe", "--dead"), ("--limit", "1"),
    )] == [4, 2, 1, 3, 1, 1]  # fmt: skip
    shown = installation.run("callbacks", "list", "--tenant", "shop")
    assert "shop  erp  0 pending  1 dead  ok" in shown.stdout
    assert "dead, 1 tries: 500 no thanks" in shown.stdout


def test_retry_one(installation: Installation) -> None:
    """A dead one, once: then it is pending; what is none, or is on its way, is said to be so."""
    [dead] = ids(installation, "--tenant", "shop", "--dead")
    assert installation.answer("callbacks", "retry", dead) == {"retried": 1}
    assert dead in ids(installation, "--tenant", "shop", "--pending")
    for name, problem in (
        (dead, "is on its way already"),
        (NOBODYS, "there is no delivery"),
        ("x", "is no delivery's id"),
    ):
        done = installation.run("callbacks", "retry", name, "--json")
        assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (1, "command_failed")
        assert problem in json.loads(done.stdout)["error"]["detail"]


def test_retry_all_that_are_dead(installation: Installation) -> None:
    """Of a tenant, or of one of its endpoints; another tenant's stay dead."""
    assert installation.answer("callbacks", "retry", "--tenant", "shop", "--endpoint", "log") == {"retried": 0}
    assert installation.run("callbacks", "retry", "--tenant", "shop").stdout == "1 delivery is tried again.\n"
    assert [len(ids(installation, "--tenant", tenant, "--dead")) for tenant in ("shop", "cafe")] == [0, 1]


def test_what_nobody_would_post_is_not_said_to_be_tried(installation: Installation) -> None:
    """An endpoint that the tenant's YAML does not name (any more) is refused with those that it names, also where the
    delivery is; all that are dead are those of endpoints that are there. A tenant that is not there is named."""
    installation.write("tenants/cafe.yaml", "transport: dry_run\n")
    [dead] = ids(installation, "--tenant", "cafe", "--dead")
    for options, problem in (
        (("retry", dead), "'erp' is posted to by nobody: the configuration of 'cafe' names no callbacks"),
        (("retry", "--tenant", "shop", "--endpoint", "epr"), "the configuration of 'shop' names erp, log"),
        (("retry", "--tenant", "nobody"), "there is no tenant 'nobody'"),
        (("list", "--tenant", "nobody"), "there is no tenant 'nobody'"),
    ):
        done = installation.run("callbacks", *options)
        assert (done.returncode, done.stdout) == (1, "")
        assert problem in done.stderr
    assert installation.answer("callbacks", "retry", "--tenant", "cafe") == {"retried": 0}
    assert ids(installation, "--tenant", "cafe", "--dead") == [dead]


@pytest.mark.parametrize(
    "options",
    [
        ("retry",),
        ("retry", NOBODYS, "--tenant", "shop"),
        ("retry", "--endpoint", "erp"),
        ("list", "--dead", "--pending"),
    ],
)
def test_what_makes_no_sense_is_refused(installation: Installation, options: tuple[str, ...]) -> None:
    """Nothing is retried by mistake."""
    done = installation.run("callbacks", *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(ids(installation, "--dead")) == 2
