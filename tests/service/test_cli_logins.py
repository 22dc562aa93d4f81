"""`session check` and `session restore`, as an operator types them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from core.transport.whatsapp.database import STORE_VERSION
from db.login_store import MIRRORED
from tests.db.whatsmeow_store import Store
from tests.service.gateway_process import ROOT, Installation

if TYPE_CHECKING:
    from pathlib import Path

JID = "628111111111:7@s.whatsapp.net"


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Installation:
    """A gateway with whatsmeow's tables and the login of `shop` in its database."""
    made = Installation(tmp_path, database_url)
    made.add_tenant("shop", transport="whatsapp")
    store = Store(database_url, "shop")
    store.run((ROOT / "db" / "whatsmeow" / f"v{STORE_VERSION}.sql").read_text(encoding="utf-8"))
    for table in MIRRORED:
        store.run("SELECT wa_install_v1(%s)", (table,))
    store.link(JID)
    store.put("sessions", JID, "1:1", b"{}")
    return made


def test_check_names_what_differs(installation: Installation, database_url: str) -> None:
    """Status 0 and the device when both agree; 1, and every row by name, when not; no value is ever shown."""
    assert installation.answer("session", "check") == {
        "logins": [{"tenant": "shop", "device": JID, "differences": []}],
        "unmirrored": [],
    }
    Store(database_url, None).run("UPDATE auth_keys SET value = 'hidden'")
    Store(database_url, None).run('DROP TRIGGER "Mirror_v1" ON whatsmeow_pre_keys')
    done = installation.run("session", "check", "shop")
    assert done.returncode == 1
    assert "session-1.1 differs" in done.stdout
    assert "whatsmeow_pre_keys is not mirrored" in done.stdout
    assert "hidden" not in done.stdout
    told = json.loads(installation.run("session", "check", "--json").stdout)
    assert told["logins"][0]["differences"] == [{"row": "session-1.1", "problem": "different"}]


def drop(store: Store, tables: str) -> None:
    """Those of whatsmeow's tables whose names match."""
    for (table,) in store.run("SELECT tablename FROM pg_tables WHERE tablename ~ %s", (tables,)):
        store.run(f"DROP TABLE {table} CASCADE")


@pytest.mark.parametrize("lost", ["rows", "tables", "all but the mirror"])
def test_check_does_not_call_the_only_copy_wrong(installation: Installation, database_url: str, lost: str) -> None:
    """A login that only auth_creds and auth_keys have left agrees with nothing, and what is told is that it is restored
    from them: neither that there is none, nor that a row of it should not be there."""
    store = Store(database_url, None)
    if lost == "rows":
        store.run("TRUNCATE whatsmeow_device CASCADE")
    else:
        drop(store, "^whatsmeow_")
    if lost == "all but the mirror":
        store.run("DELETE FROM wa_devices")
    told = installation.run("session", "check", "--json")
    assert told.returncode == 1
    differences = [{"row": "whatsmeow_device", "problem": "missing"}]
    assert json.loads(told.stdout)["logins"] == [{"tenant": "shop", "device": JID, "differences": differences}]
    done = installation.run("session", "check", "shop")
    assert done.returncode == 1
    assert "session restore" in done.stdout
    assert "should not be there" not in done.stdout
    assert installation.answer("session", "restore", "shop")["restored"] is True
    assert installation.run("session", "check").returncode == 0


def test_check_says_what_to_do_about_tables_of_which_some_are_gone(
    installation: Installation, database_url: str
) -> None:
    """The library makes its tables only where there is none: what is left of them has to go, and is not called a login
    that agrees, nor none at all."""
    drop(Store(database_url, None), "^whatsmeow_sessions$")
    done = installation.run("session", "check")
    assert done.returncode == 1
    assert "drop those that are left" in done.stdout
    assert JID in done.stdout


def test_restore_makes_tables_and_login(installation: Installation, database_url: str) -> None:
    """Without whatsmeow's tables and without a session's row, the two tables of the login are enough; a second time
    there is nothing to restore, and --afresh lets conversations begin anew."""
    store = Store(database_url, None)
    drop(store, "^whatsmeow_")
    answer = installation.answer("session", "restore", "shop")
    assert answer == {"tenant": "shop", "device": JID, "restored": True, "afresh": False}
    assert store.run("SELECT jid, number FROM sessions") == [(JID, "628111111111")]
    assert store.run("SELECT our_jid, their_id FROM whatsmeow_sessions") == [(JID, "1:1")]
    assert store.differences("shop") == []
    assert installation.answer("session", "restore", "shop", "--afresh")["restored"] is False
    assert store.run("SELECT count(*) FROM whatsmeow_sessions") == [(0,)]
    assert store.differences("shop") == []


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("DELETE FROM auth_creds", "tenant pair shop"),
        ("UPDATE auth_creds SET data = '{'", "bad_json: $"),
        ("UPDATE auth_creds SET data = '{\"me\":{}}'", "missing: $.me.id"),
    ],
)
def test_restore_says_why_it_cannot(installation: Installation, database_url: str, harm: str, words: str) -> None:
    """Status 1 and what to do, or the place that is damaged; nothing is changed."""
    Store(database_url, None).run(harm)
    done = installation.run("session", "restore", "shop")
    assert done.returncode == 1
    assert words in done.stderr
    assert Store(database_url, None).run("SELECT count(*) FROM sessions") == [(0,)]
