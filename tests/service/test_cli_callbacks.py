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
    return Installation(tmp_path, database_url)


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
    assert installation.run("callbacks", "list", "--tenant", "nobody").stdout == ""


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
