"""`run.py import …` and `run.py export auth`: tenants of the old gateway move in, and out."""

from __future__ import annotations

import json
import re
import stat
from typing import TYPE_CHECKING, Any, get_args

import psycopg2
import pytest

from core.baileys.moving_in import Reason
from core.baileys.places import Code
from core.settings import load_settings
from core.tenants import key_digest
from tests.baileys_vectors import creds_and_keys, login, secrets, vector
from tests.service.command_line import CommandLine
from tests.service.gateway_process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import PostgresServer

JID = "6281211110007:7@s.whatsapp.net"


@pytest.fixture
def cli(tmp_path: Path, database_url: str) -> CommandLine:
    """Commands on a database of this test's own."""
    return CommandLine(tmp_path, database_url)


def query(url: str | None, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
    """The rows of a statement on a connection of its own."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def everything(cli: CommandLine) -> Any:
    """Every row of every table, and every file."""
    tables = query(
        cli.database_url,
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1",
    )
    rows = {name: query(cli.database_url, f"SELECT to_jsonb(x) FROM {name} x ORDER BY x::text") for (name,) in tables}
    return rows, {file: file.read_bytes() for file in sorted(cli.home.rglob("*")) if file.is_file()}


def folder(cli: CommandLine, tenant: str, **replaced: str | None) -> None:
    """auth_info/TENANT with the paired login; files replaced, or (None) left out."""
    for name, text in {**vector("e")["files"], **replaced}.items():
        if text is not None:
            cli.write(f"auth_info/{tenant}/{name}", text)


def rows(url: str | None, tenant: str, creds: str | None = None) -> None:
    """The same login as rows of the old gateway."""
    written, keys = creds_and_keys("b")
    query(url, "INSERT INTO auth_creds (tenant_id, data) VALUES (%s, %s)", (tenant, creds or written))
    for key, value in keys.items():
        query(url, "INSERT INTO auth_keys (tenant_id, key, value) VALUES (%s, %s, %s)", (tenant, key, value))


def sessions(cli: CommandLine) -> dict[str, str]:
    """Tenant -> its device."""
    return dict(query(cli.database_url, "SELECT tenant_id, jid FROM sessions WHERE jid IS NOT NULL"))


# Keys


def test_keys_move_in(cli: CommandLine) -> None:
    """Each makes its tenant, under the id that the old gateway gave it, with its callers' habits; no key is told."""
    file = cli.write("data/api_keys.json", json.dumps({"sk_one": "Toko Maju!", "sk_two": "***", "sk_three": "b_2-x"}))
    done = cli("import", "keys", str(file), "--json")
    assert done.status == 0
    stored = dict(query(cli.database_url, "SELECT tenant_id, api_key FROM api_keys"))
    assert stored == {
        "tokomaju": key_digest("sk_one"),
        "default": key_digest("sk_two"),
        "b_2-x": key_digest("sk_three"),
    }
    settings = load_settings(cli.home / "config", {})
    assert [(settings.tenant(name).answer, settings.tenant(name).api) for name in stored] == [("sent", "legacy")] * 3
    assert "sk_" not in done.out + done.err
    assert [line["tenant"] for line in done.answer["done"] if "what" not in line] == ["tokomaju", "default", "b_2-x"]


def test_keys_a_second_time(cli: CommandLine) -> None:
    """Nothing changes, and a file that was written meanwhile stays."""
    file = cli.write("data/api_keys.json", json.dumps({"sk_one": "shop"}))
    cli.write("config/tenants/shop.yaml", "answer: queued\n")
    cli("import", "keys", str(file))
    before = everything(cli)
    done = cli("import", "keys", str(file), "--json")
    assert (done.status, len(done.answer["present"]), done.answer["done"]) == (0, 1, [])
    assert everything(cli) == before
    assert load_settings(cli.home / "config", {}).tenant("shop").answer == "queued"


def test_keys_that_stay_behind(cli: CommandLine) -> None:
    """A tenant with another key, a key of another tenant, two ids that become one, entries that are none: each is
    named, and what exists stays as it is."""
    cli("tenant", "add", "shop")
    first = cli.write("first.json", json.dumps({"sk_a": "a"}))
    cli("import", "keys", str(first))
    found = {"sk_new": "shop", "sk_a": "b", "sk_c": "c", "sk_d": "C", "": "d", "sk_e": 7, "sk_f": "x" * 101}
    done = cli("import", "keys", str(cli.write("keys.json", json.dumps(found))), "--json")
    assert done.status == 1
    codes = {line["tenant"][:9]: line["code"] for name in ("skipped", "refused") for line in done.answer[name]}
    assert codes == {
        "shop": "tenant_exists", "b": "key_taken", "c": "same_tenant", "d": "bad_json", "?": "bad_json",
        "xxxxxxxxx": "tenant_id_too_long",
    }  # fmt: skip
    assert [line["path"] for line in done.answer["refused"] if line["code"] == "bad_json"] == ["$[4]", "$[5]"]
    assert {name for (name,) in query(cli.database_url, "SELECT tenant_id FROM api_keys")} == {"shop", "a", "c"}


def test_plain_keys_stay_plain(cli: CommandLine) -> None:
    """Where operators look keys up by SQL; a key that looks like a digest is not stored so that it would be one."""
    cli.write("config/service.yaml", "keys: { store: plain }")
    odd = "sha256:" + "0" * 64
    cli("import", "keys", str(cli.write("keys.json", json.dumps({"sk_one": "a", odd: "b"}))))
    stored = dict(query(cli.database_url, "SELECT tenant_id, api_key FROM api_keys"))
    assert stored == {"a": "sk_one", "b": key_digest(odd)}


@pytest.mark.parametrize("text", ["[]", "{", ""])
def test_a_file_that_is_none(cli: CommandLine, text: str) -> None:
    """One clear line, and nothing of the content."""
    done = cli("import", "keys", str(cli.write("keys.json", text)), "--json")
    assert (done.status, done.code) == (1, "command_failed")
    assert cli("import", "keys", str(cli.home / "nowhere.json")).status == 1


# Whitelists


def test_whitelists_move_in(cli: CommandLine) -> None:
    """Numbers in any writing become the one spelling that limits go by; what is none is named with its place."""
    cli.write("data/whitelist_Toko.json", json.dumps(["+62 812-3456-789", 628123450000, "0812 3456 789", "x", None]))
    cli.write("data/whitelist_b.json", json.dumps(["120363000000000001@g.us"]))
    cli.write("data/other.json", "[]")
    done = cli("import", "whitelist", str(cli.home / "data"), "--json")
    assert done.status == 0
    assert [line["what"] for line in done.answer["skipped"]] == ["whitelist_Toko.json[3]", "whitelist_Toko.json[4]"]
    listed = query(cli.database_url, "SELECT tenant_id, phone_number FROM whitelist ORDER BY 1, 2")
    assert listed == [("b", "120363000000000001@g.us"), ("toko", "628123450000"), ("toko", "628123456789")]
    before = everything(cli)
    again = cli("import", "whitelist", str(cli.home / "data"), "--json")
    assert (again.answer["done"], len(again.answer["present"])) == ([], 2)
    assert everything(cli) == before


def test_whitelists_that_fall_together(cli: CommandLine) -> None:
    """Two tenants' lists are never mixed: the one that is written as the tenant is taken."""
    cli.write("data/whitelist_ab.json", '["628123456789"]')
    cli.write("data/whitelist_A.B.json", '["628123450000"]')
    cli.write("data/whitelist_c.json", "{}")
    done = cli("import", "whitelist", str(cli.home / "data"), "--json")
    assert (done.status, [line["code"] for line in done.answer["refused"]]) == (1, ["same_tenant", "bad_json"])
    assert query(cli.database_url, "SELECT tenant_id, phone_number FROM whitelist") == [("ab", "628123456789")]


# Logins


def test_a_folder_moves_in(cli: CommandLine) -> None:
    """The login is the tenant's, and a second run leaves it alone, whatever has happened to it meanwhile."""
    cli("tenant", "add", "shop")
    folder(cli, "shop")
    done = cli("import", "auth", str(cli.home / "auth_info"), "--json")
    assert done.status == 0, done.out
    [moved, habits] = done.answer["done"]
    assert (moved["tenant"], moved["jid"], moved["rows"]["sessions"]) == ("shop", JID, 4)
    assert habits["what"] == "configuration"
    assert done.answer["skipped"] == []
    assert sessions(cli) == {"shop": JID}
    query(cli.database_url, "UPDATE whatsmeow_sessions SET session = 'newer'")
    before = everything(cli)
    again = cli("import", "auth", str(cli.home / "auth_info" / "shop"), "--json")
    assert (again.status, again.answer["done"], len(again.answer["present"])) == (0, [], 1)
    assert everything(cli) == before


def test_rows_move_in_where_they_stand(cli: CommandLine) -> None:
    """Also under an id in the old spelling. They stay, marked; a copy as they were is kept; a second run passes them
    over, also when the login is gone again."""
    rows(cli.database_url, "Toko.A")
    done = cli("import", "sessions", "--json")
    assert done.status == 0, done.out
    assert sessions(cli) == {"tokoa": JID}
    assert [line["code"] for line in done.answer["skipped"]] == ["no_key"]
    [(data,)] = query(cli.database_url, "SELECT data FROM auth_creds")
    assert "movedIn" in json.loads(data)
    assert query(cli.database_url, "SELECT data FROM gapura_backup_auth_creds") == [(creds_and_keys("b")[0],)]
    query(cli.database_url, "DELETE FROM whatsmeow_device; DELETE FROM sessions")
    again = cli("import", "sessions", "--json")
    assert (again.answer["done"], len(again.answer["present"])) == ([], 1)
    assert sessions(cli) == {}


def test_rows_of_another_database(cli: CommandLine, postgres: PostgresServer) -> None:
    """It is only read, and needs to have nothing but the two tables."""
    with postgres.database() as other:
        query(other, "CREATE TABLE auth_creds (tenant_id varchar(100), data text)")
        query(other, "CREATE TABLE auth_keys (tenant_id varchar(100), key varchar(255), value text)")
        rows(other, "shop")
        before = query(other, "SELECT data FROM auth_creds")
        done = cli("import", "sessions", "--from", other, "--json")
        assert (done.status, sessions(cli)) == (0, {"shop": JID})
        assert query(other, "SELECT data FROM auth_creds") == before
        assert cli("import", "sessions", "--from", other, "--json").answer["done"] == []
    lost = cli("import", "sessions", "--from", "postgres://a:hushhush@127.0.0.1:1/x", "--json")
    assert (lost.status, lost.code) == (1, "database_unavailable")
    assert "hushhush" not in lost.out + lost.err
    assert "--from" in lost.out + lost.err


def test_a_database_that_is_not_the_old_gateways_is_called_so(cli: CommandLine, postgres: PostgresServer) -> None:
    """Which of the two databases it is, and what it lacks; the same of what is no URL."""
    with postgres.database() as other:
        done = cli("import", "sessions", "--from", other)
    assert (done.status, "auth_creds (tenant_id, data)" in done.err) == (1, True)
    assert cli("import", "sessions", "--from", "mysql://x").err.startswith("gapura: --from: ")


def test_rows_that_mirror_a_login_of_ours_are_no_logins(cli: CommandLine) -> None:
    """They are not even spoken of."""
    query(cli.database_url, "INSERT INTO auth_creds (tenant_id, data) VALUES ('shop', '{\"format\": \"whatsmeow\"}')")
    done = cli("import", "sessions", "--json")
    assert done.answer == {"dry_run": False, "done": [], "present": [], "skipped": [], "refused": []}


def test_every_refusal_has_its_reason(cli: CommandLine) -> None:
    """Damaged creds with code and path, none at all, never paired, a number that another tenant has, ids that fall
    together; each stops its own tenant only."""
    folder(cli, "good")
    folder(cli, "Good")
    folder(cli, "zz-same-number")
    folder(cli, "bad", **{"creds.json": vector("e")["files"]["creds.json"].replace('"keyId":1', '"keyId":"1"')})
    folder(cli, "cut", **{"creds.json": "{"})
    folder(cli, "none", **{"creds.json": None})
    folder(cli, "fresh", **{"creds.json": vector("a")["auth_creds"][0]["data"]})
    done = cli("import", "auth", str(cli.home / "auth_info"), "--json")
    assert done.status == 1
    assert {line["tenant"]: (line["code"], line.get("path")) for line in done.answer["refused"]} == {
        "bad": ("bad_json", "$.signedPreKey.keyId"),
        "cut": ("bad_json", "$"),
        "good": ("same_tenant", None),
        "none": ("missing", "$"),
        "zz-same-number": ("number_taken", None),
    }
    assert ("fresh", "never_paired") in {(line["tenant"], line["code"]) for line in done.answer["skipped"]}
    assert sessions(cli) == {"good": JID}


def test_a_login_that_postgresql_refuses_stops_no_other(cli: CommandLine) -> None:
    """Whatever is wrong with whatsmeow's tables; nothing of it is left."""
    folder(cli, "first")
    cli("import", "auth", str(cli.home / "auth_info"))
    query(cli.database_url, "ALTER TABLE whatsmeow_device ADD CHECK (jid NOT LIKE '62855%%')")
    creds = vector("e")["files"]["creds.json"]
    folder(cli, "bad", **{"creds.json": creds.replace("6281211110007:7", "6285511112222:7")})
    folder(cli, "good", **{"creds.json": creds.replace("6281211110007:7", "6285611112222:7")})
    done = cli("import", "auth", str(cli.home / "auth_info"), "--json")
    assert [(line["tenant"], line["code"]) for line in done.answer["refused"]] == [("bad", "database_refused")]
    assert sessions(cli).keys() == {"first", "good"}


def test_damaged_keys_are_named_and_the_rest_moves(cli: CommandLine) -> None:
    """Code and name of each; people see the same."""
    folder(cli, "shop", **{"pre-key-5.json": "{", "session-6282222222222.0.json": "{}", "odd.json": "1"})
    done = cli("import", "auth", str(cli.home / "auth_info"), "--dry-run")
    assert done.status == 0
    for line in ("pre-key-5", "[bad_json]", "session-6282222222222.0", "[bad_buffer]", "odd", "[unknown_kind]", JID):
        assert line in done.out
    told = cli("import", "auth", str(cli.home / "auth_info"), "--json").answer
    assert [(line["what"], line["code"]) for line in told["skipped"] if line["what"] != "API key"] == [
        ("odd", "unknown_kind"), ("pre-key-5", "bad_json"), ("session-6282222222222.0", "bad_buffer"),
    ]  # fmt: skip
    assert told["done"][0]["rows"]["sessions"] == 3


def test_people_are_told_where_creds_are_damaged(cli: CommandLine) -> None:
    """The path stands in the line that people read, as it does in JSON; and what has no creds is said to have none."""
    folder(cli, "bad", **{"creds.json": vector("e")["files"]["creds.json"].replace('"keyId":1', '"keyId":"1"')})
    folder(cli, "none", **{"creds.json": None})
    done = cli("import", "auth", str(cli.home / "auth_info"), "--dry-run")
    assert done.status == 1
    assert "refused  bad: $.signedPreKey.keyId: " in done.out
    assert "refused  none: $: there are no creds, or they cannot be read [missing]" in done.out


def test_a_dry_run_sees_two_logins_of_one_number(cli: CommandLine) -> None:
    """As the real run, which has the first one in the database by then: the same is done, the same refused."""
    folder(cli, "first")
    creds = vector("e")["files"]["creds.json"]
    folder(cli, "second", **{"creds.json": creds.replace("6281211110007:7", "6281211110007:9")})
    told = [cli("import", "auth", str(cli.home / "auth_info"), *dry, "--json") for dry in (("--dry-run",), ())]
    for one in told:
        assert [line["tenant"] for line in one.answer["done"] if "what" not in line] == ["first"]
        assert [(line["tenant"], line["code"]) for line in one.answer["refused"]] == [("second", "number_taken")]
    assert [one.status for one in told] == [1, 1]


def test_a_dry_run_changes_nothing(cli: CommandLine) -> None:
    """Neither a row nor a file, and tells what the real run does."""
    folder(cli, "shop")
    rows(
        cli.database_url,
        "other",
        json.dumps({**json.loads(creds_and_keys("b")[0]), "me": {"id": "6285511112222:4@s.whatsapp.net"}}),
    )
    keys = cli.write("data/api_keys.json", json.dumps({"sk_one": "shop"}))
    cli.write("data/whitelist_shop.json", '["628123456789"]')
    before = everything(cli)
    commands = (
        ("keys", str(keys)), ("whitelist", str(keys.parent)), ("auth", str(cli.home / "auth_info")), ("sessions",),
    )  # fmt: skip
    for command in commands:
        promised = cli("import", *command, "--dry-run", "--json")
        assert promised.status == 0
        assert promised.answer["dry_run"]
        assert promised.answer["done"]
        assert everything(cli) == before
    for command in commands:
        assert cli("import", *command, "--json").answer["done"]


def test_a_dry_run_makes_no_database(tmp_path: Path, empty_database_url: str) -> None:
    """Nor a schema: it says how to."""
    (tmp_path / "auth_info").mkdir()
    for home, url in ((tmp_path / "embedded", None), (tmp_path / "empty", empty_database_url)):
        cli = CommandLine(home, url)
        done = cli("import", "auth", str(tmp_path / "auth_info"), "--dry-run")
        assert done.status == 1
        assert "db migrate" in done.err
        assert not (home / "var").exists()
    assert query(empty_database_url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


# Out again


def test_a_login_goes_out_as_a_folder(cli: CommandLine) -> None:
    """Owner's eyes only; what comes back in is the same login."""
    folder(cli, "shop")
    cli("import", "auth", str(cli.home / "auth_info"))
    out = cli.home / "out" / "shop"
    done = cli("export", "auth", "shop", str(out), "--json")
    assert (done.status, done.answer["lost_message_keys"], done.answer["skipped"]) == (0, 4, [])
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in out.iterdir()} == {0o600}
    names = {file.name for file in out.iterdir()}
    # There are more: of our own phone and number, and of sessions that had none. Baileys makes the index again.
    assert set(vector("e")["files"]) - names == {"tctoken-__index.json"}
    creds = json.loads((out / "creds.json").read_text())
    before = json.loads(vector("e")["files"]["creds.json"])
    assert creds == before
    query(cli.database_url, "DELETE FROM whatsmeow_device; DELETE FROM sessions; DELETE FROM whatsmeow_lid_map")
    assert cli("import", "auth", str(out), "--json").answer["done"][0]["jid"] == JID
    identities = query(cli.database_url, "SELECT their_id, identity FROM whatsmeow_identity_keys ORDER BY 1")
    assert [(their_id, bytes(identity)) for their_id, identity in identities] == [
        (row.their_id, row.identity) for row in login("b").rows.identities
    ]


def test_whoever_moves_out_hears_what_would_spoil_it(cli: CommandLine) -> None:
    """A gateway that runs would unlink the device of a tenant that is removed, and with it what was exported."""
    folder(cli, "shop")
    cli("import", "auth", str(cli.home / "auth_info"))
    done = cli("export", "auth", "shop", str(cli.home / "out"))
    assert (done.status, "before `serve` starts again, run.py tenant remove shop" in done.err) == (0, True)


def test_a_folder_is_written_whole_or_not_at_all(cli: CommandLine) -> None:
    """A folder with something in it is refused, and stays as it is; a tenant without a login has nothing to export."""
    folder(cli, "shop")
    cli("import", "auth", str(cli.home / "auth_info"))
    cli.write("taken/file", "mine")
    before = everything(cli)
    done = cli("export", "auth", "shop", str(cli.home / "taken"), "--json")
    assert (done.status, done.code) == (1, "command_failed")
    assert everything(cli) == before
    assert [path.name for path in cli.home.iterdir() if path.name.startswith(".")] == []
    missing = cli("export", "auth", "nobody", str(cli.home / "new"), "--json")
    assert (missing.status, missing.code) == (1, "not_paired")
    assert not (cli.home / "new").exists()


def test_no_secret_is_told(cli: CommandLine) -> None:
    """On the way in or out, by people's or programs' output."""
    folder(cli, "shop", **{"pre-key-5.json": vector("e")["files"]["pre-key-8.json"][:-9]})
    told = ""
    for arguments in (
        ("import", "auth", str(cli.home / "auth_info"), "--dry-run"),
        ("import", "auth", str(cli.home / "auth_info"), "--json"),
        ("export", "auth", "shop", str(cli.home / "out")),
    ):
        done = cli(*arguments, "--log-level", "debug")
        assert done.status == 0, done.out
        told += done.out + done.err
    assert [secret for secret in secrets() if secret in told] == []


# docs/moving-in.md

DOCS = (ROOT / "docs" / "moving-in.md").read_text(encoding="utf-8")


def test_every_code_has_its_row() -> None:
    """Those of damage, of keys that are left out, and of everything else that the commands and the database say."""
    listed = set(re.findall(r"^\| `([a-z0-9_]+)` \|", DOCS, flags=re.MULTILINE))
    sources = ("core/cli/importing.py", "core/cli/moving.py", "db/import_store.py")
    text = "".join((ROOT / file).read_text(encoding="utf-8") for file in sources)
    said = set(re.findall(r"""(?:code=|Conflict\(\s*|return |_refuse\(found, )"([a-z_]+)",?""", text))
    said -= {"added", "known", "taken", "has_key"}
    assert listed == {*get_args(Code), *get_args(get_args(Reason)[1]), *said}


def test_the_commands_of_the_docs_exist(cli: CommandLine) -> None:
    """Each is understood as it stands there, with its options."""
    commands = re.findall(r"^ *python run\.py (.+)$", DOCS, flags=re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        assert cli(*command.split(), "--help").status == 0
