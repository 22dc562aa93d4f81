"""`run.py tenant …`: customers are made, shown, given another key, and removed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg2
import pytest

from core.tenants import key_digest
from tests.service.command_line import CommandLine
from tests.service.gateway_process import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> CommandLine:
    """Commands on a database of this test's own."""
    return CommandLine(tmp_path, database_url)


def stored_keys(cli: CommandLine) -> dict[str, str]:
    """The table api_keys."""
    connection = psycopg2.connect(cli.database_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT tenant_id, api_key FROM api_keys")
            return dict(cursor.fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize("tenant", ["Shop", "", "a b", "a" * 101, "../x", "toko;", "é"])
def test_an_id_that_will_not_do(cli: CommandLine, tenant: str) -> None:
    """Ids are 1 to 100 of a-z, 0-9, _ and -; anything else is refused, and nothing is stored."""
    done = cli("tenant", "add", tenant, "--json")
    assert (done.status, done.code) == (1, "tenant_id_not_valid")
    assert stored_keys(cli) == {}


def test_add_shows_the_key_once_and_stores_its_digest(cli: CommandLine) -> None:
    """--json answers {tenant, api_key}; the table holds the digest and never the key."""
    done = cli("tenant", "add", "shop", "--json")
    assert (done.status, done.err) == (0, "")
    assert done.answer.keys() == {"tenant", "api_key"}
    assert done.answer["tenant"] == "shop"
    assert stored_keys(cli) == {"shop": key_digest(done.answer["api_key"])}


def test_add_for_people(cli: CommandLine) -> None:
    """Without --json the key stands on a line of its own, and stderr warns that it is shown once."""
    done = cli("tenant", "add", "shop")
    [line] = [line for line in done.out.splitlines() if line.startswith("api key")]
    assert stored_keys(cli) == {"shop": key_digest(line.split()[-1])}
    assert "shown this once" in done.err


def test_add_twice(cli: CommandLine) -> None:
    """A tenant that exists keeps its key; the error names the way to another one."""
    cli("tenant", "add", "shop")
    before = stored_keys(cli)
    done = cli("tenant", "add", "shop", "--json")
    assert (done.status, done.code) == (1, "tenant_exists")
    assert "rotate-key" in done.answer["error"]["detail"]
    assert stored_keys(cli) == before


def test_plain_keys(cli: CommandLine) -> None:
    """With `keys: {store: plain}` the table holds what other programs' SQL looks for."""
    cli.write("config/service.yaml", "keys: { store: plain }")
    key = cli("tenant", "add", "shop", "--json").answer["api_key"]
    assert stored_keys(cli) == {"shop": key}
    rotated = cli("tenant", "rotate-key", "shop", "--json").answer["api_key"]
    assert rotated != key
    assert stored_keys(cli) == {"shop": rotated}


def test_rotate(cli: CommandLine) -> None:
    """Another key takes the place of the old one; an unknown tenant is told so."""
    key = cli("tenant", "add", "shop", "--json").answer["api_key"]
    other = cli("tenant", "rotate-key", "shop", "--json").answer["api_key"]
    assert other != key
    assert stored_keys(cli) == {"shop": key_digest(other)}
    done = cli("tenant", "rotate-key", "shopp", "--json")
    assert (done.status, done.code) == (1, "tenant_not_found")


def test_list(cli: CommandLine) -> None:
    """Every tenant with its transport, its queue and its file; none is said in words."""
    assert "no tenants yet" in cli("tenant", "list").out
    assert cli("tenant", "list", "--json").answer == {"tenants": [], "alarms": []}
    file = cli.write("config/tenants/shop.yaml", "transport: dry_run")
    cli("tenant", "add", "shop")
    cli("tenant", "add", "bank")
    bank, shop = cli("tenant", "list", "--json").answer["tenants"]
    assert (bank["tenant"], bank["transport"], bank["file"], bank["queued"]) == ("bank", "whatsapp", None, 0)
    assert (shop["tenant"], shop["transport"], shop["file"]) == ("shop", "dry_run", str(file))
    assert [line.split()[0] for line in cli("tenant", "list").out.splitlines()] == ["TENANT", "bank", "shop"]


def test_remove_asks_first(cli: CommandLine) -> None:
    """Where nobody can be asked, --yes is needed; without it nothing happens."""
    cli("tenant", "add", "shop")
    done = cli("tenant", "remove", "shop", "--json")
    assert (done.status, done.code) == (1, "command_failed")
    assert "--yes" in done.answer["error"]["detail"]
    assert stored_keys(cli).keys() == {"shop"}


def test_remove(cli: CommandLine) -> None:
    """The key is gone, what was queued is cancelled and the messages stay; a second time there is nothing to remove."""
    cli("tenant", "add", "shop")
    cli("send", "shop", "081234567890", "hi")
    assert cli("tenant", "remove", "shop", "--yes", "--json").answer == {"tenant": "shop", "removed": True}
    assert stored_keys(cli) == {}
    connection = psycopg2.connect(cli.database_url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id, status FROM messages")
        assert cursor.fetchall() == [("shop", "cancelled")]
    connection.close()
    done = cli("tenant", "remove", "shop", "--yes", "--json")
    assert (done.status, done.code) == (1, "tenant_not_found")


def test_broken_configuration_is_status_2(cli: CommandLine) -> None:
    """A configuration that cannot be read is one message with file and path, for people and for programs."""
    file = cli.write("config/service.yaml", "sever: {}")
    done = cli("tenant", "list")
    assert (done.status, done.out) == (2, "")
    assert done.err == f"gapura: {file}: $.sever: unknown key 'sever'; did you mean 'server'? Valid: " + (
        "callbacks, database, defaults, keep_daily_limits, keep_events, keep_messages, keys, plugins_dir, server, "
        "sessions\n"
    )
    told = cli("tenant", "list", "--json").answer["error"]
    assert (told["code"], told["file"], told["path"]) == ("config_error", str(file), "$.sever")


@pytest.mark.parametrize(
    "arguments",
    [("tenant",), ("tenant", "add"), ("tenant", "ad", "x"), ("--log-level", "loud", "check"), ("serve", "--port", "x")],
)
def test_a_wrong_command_line_is_status_2(cli: CommandLine, arguments: tuple[str, ...]) -> None:
    """What the parser does not understand ends with status 2 and says something on stderr or shows the help."""
    done = cli(*arguments)
    assert done.status == 2
    assert done.err or "Usage" in done.out


def test_the_embedded_database_is_started_and_stopped(tmp_path: Path) -> None:
    """Without a URL each command starts the embedded PostgreSQL and stops it again; what was written stays."""
    cli = CommandLine(tmp_path)
    assert "no database" in cli("db", "url").err
    key = cli("tenant", "add", "shop", "--json").answer["api_key"]
    assert [t["tenant"] for t in cli("tenant", "list", "--json").answer["tenants"]] == ["shop"]
    done = cli("db", "url")
    assert "does not run" in done.err
    assert done.out.startswith("postgres://")
    assert len(done.out.splitlines()) == 1
    assert key not in done.out
    assert not (tmp_path / "var" / "pg18" / "cluster" / "postmaster.pid").exists()


def in_a_shell(cli: CommandLine, behind: str) -> subprocess.CompletedProcess[str]:
    """`run.py tenant list` and what stands behind it."""
    command = f"{sys.executable} {ROOT / 'run.py'} --config {cli.home / 'config'} tenant list {behind}"
    return subprocess.run(
        ["bash", "-c", command],
        env={"PATH": "/usr/bin:/bin", "DATABASE_URL": str(cli.database_url)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_reader_that_leaves(cli: CommandLine) -> None:
    """`run.py tenant list | head -0` is no traceback."""
    cli("tenant", "add", "shop")
    done = in_a_shell(cli, "--json | true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_full_disk_is_said(cli: CommandLine) -> None:
    """`run.py tenant list > /dev/full` is no traceback: status 1, and one line that says what could not be done."""
    done = in_a_shell(cli, "> /dev/full")
    words = "gapura: the answer cannot be written to stdout: No space left on device\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", words)


def test_json_is_one_document(cli: CommandLine) -> None:
    """Also when there is no database, stdout is one JSON document and the status is 1."""
    lost = CommandLine(cli.home / "lost", "postgres://nobody:hushhush@127.0.0.1:1/x")
    done = lost("tenant", "list", "--json")
    assert (done.status, done.code) == (1, "database_unavailable")
    assert "hushhush" not in json.dumps(done.answer) + done.err
