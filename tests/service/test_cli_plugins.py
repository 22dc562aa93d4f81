"""`check`, `plugins`, `plugin new` and `plugin try`: no database, and every failure is told in words."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import psycopg2
import pytest

from tests.service.command_line import CommandLine
from tests.service.gateway_process import ROOT

TALKER = """
from dataclasses import dataclass, replace
from core import hookimpl

@dataclass(frozen=True)
class Options:
    sign: str = "!"

@hookimpl
def prepare_outgoing(message, options):
    return replace(message, content=message.content + options.sign)

@hookimpl
async def admit(message, gateway, now):
    if "boom" in message.content:
        raise LookupError("no such thing")
    await gateway.store.set("seen", 1)
    await gateway.send("0811", "told the boss")

@hookimpl
def on_message(message):
    return message.reply("heard " + message.content)
"""


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """Commands on a configuration with a plugins_dir; there is no database at all."""
    cli = CommandLine(tmp_path, "postgres://nobody@127.0.0.1:1/x")
    cli.write("config/service.yaml", "plugins_dir: ../mine")
    return cli


def test_check(cli: CommandLine) -> None:
    """Without faults: status 0 and what was looked at, as text and as JSON."""
    cli.write("config/tenants/shop.yaml", "transport: dry_run")
    assert cli("check").out == f"ok: 1 tenant file, 6 plugins in {cli.home / 'config'}\n"
    assert cli("check", "--json").answer == {
        "ok": True,
        "tenants": ["shop"],
        "plugins": ["api_key", "whitelist", "daily_limit", "delay", "opt_out", "auto_reply"],
        "warnings": [],
    }


def test_check_warns(cli: CommandLine) -> None:
    """What is valid but hardly meant is a warning and no failure."""
    cli.write("config/tenants/shop.yaml", "plugins: {}")
    done = cli("check")
    assert done.status == 0
    assert "warning: " in done.err
    assert "shop.yaml: $.plugins" in done.err
    assert len(cli("check", "--json").answer["warnings"]) == 1


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("config/tenants/shop.yaml", "plugins: [", "broken YAML"),
        ("config/tenants/shop.yaml", "plugins: {daily_limit: {limit: x}}", "$.plugins.daily_limit.limit: expected"),
        ("config/tenants/shop.yaml", "plugins: {lunch: }", "$.plugins.lunch: unknown plugin 'lunch'"),
        ("mine/bad.py", "import nothing_of_that_name", "bad.py:1: cannot be imported: ModuleNotFoundError"),
        ("mine/bad.py", "from core import hookimpl\n@hookimpl\ndef admit(mesage): ...", "mesage"),
    ],
)  # fmt: skip
def test_check_finds(cli: CommandLine, file: str, text: str, told: str) -> None:
    """The first fault is one message that names the file and what is wrong; the status is 1."""
    cli.write(file, text)
    done = cli("check")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("gapura: ")
    assert Path(done.err.removeprefix("gapura: ").partition(":")[0]).resolve() == cli.home / file
    assert told in done.err
    assert "Traceback" not in done.err
    assert cli("check", "--json").code == "config_error"


def test_no_configuration_at_all(cli: CommandLine) -> None:
    """A directory that is not there is named."""
    done = cli("check", "--config", str(cli.home / "nowhere"))
    assert done.status == 1
    assert f"{cli.home / 'nowhere'}: no such directory" in done.err


def test_plugins(cli: CommandLine) -> None:
    """What is loaded, from where, with which hooks and options."""
    file = cli.write("mine/talker.py", TALKER)
    found = {one["name"]: one for one in cli("plugins", "--json").answer["plugins"]}
    assert list(found) == ["api_key", "whitelist", "daily_limit", "delay", "opt_out", "auto_reply", "talker"]
    assert found["api_key"]["origin"] == "built-in"
    assert Path(found["talker"]["origin"]).resolve() == file
    assert sorted(found["talker"]["hooks"]) == ["admit", "on_message", "prepare_outgoing"]
    assert found["talker"]["options"] == [{"name": "sign", "type": "str", "default": "'!'"}]
    [line] = [line for line in cli("plugins").out.splitlines() if line.startswith("talker")]
    assert str(file) in line
    assert "sign: str = '!'" in line


def test_new_writes_a_plugin_whose_test_is_green(cli: CommandLine) -> None:
    """The command that it prints runs the test that it wrote, and that passes; the plugin can be tried at once."""
    done = cli("plugin", "new", "office_hours")
    assert done.status == 0
    [line] = [line for line in done.out.splitlines() if line.startswith("test ")]
    command = line.removeprefix("test").split()
    assert command[:3] == [".venv/bin/python", "-m", "pytest"]
    tested = subprocess.run(
        [sys.executable, *command[1:], "-p", "no:cacheprovider"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout
    tried = cli("plugin", "try", "office_hours", "--tenant", "shop", "--at", "21:30", "hello")
    assert tried.status == 0
    assert "Deny office_hours: open 8:00 to 20:00" in tried.out


@pytest.mark.parametrize(
    ("name", "told"), [("Office", "small letters"), ("delay", "built-in"), ("json", "Python module")]
)
def test_new_refuses(cli: CommandLine, name: str, told: str) -> None:
    """Names that will not do are refused with the reason, and nothing is written."""
    done = cli("plugin", "new", name)
    assert done.status == 1
    assert told in done.err
    assert not (cli.home / "mine").exists()


def test_new_overwrites_nothing(cli: CommandLine) -> None:
    """A plugin that is there stays as it is."""
    file = cli.write("mine/talker.py", TALKER)
    done = cli("plugin", "new", "talker")
    assert done.status == 1
    assert "exists already" in done.err
    assert file.read_text("utf-8") == TALKER


def test_new_without_a_place(cli: CommandLine) -> None:
    """Without plugins_dir the error says what to write where."""
    cli.write("config/service.yaml", "")
    assert "plugins_dir: ../my_plugins" in cli("plugin", "new", "office_hours").err


def test_try_shows_everything(cli: CommandLine) -> None:
    """What changed, who said what, the gap, the verdict, the answer, and what it would have done; nothing is done."""
    cli.write("mine/talker.py", TALKER)
    cli.write(
        "config/tenants/shop.yaml", "timezone: Asia/Makassar\nplugins: {daily_limit: , delay: , talker: {sign: '?'}}"
    )
    done = cli("plugin", "try", "talker", "--tenant", "shop", "--at", "2026-01-05T21:30", "hello", "--json")
    assert done.status == 0
    told = done.answer
    assert told["enabled"] is True
    assert told["at"] == "2026-01-05T21:30:00+08:00"
    assert told["to"] == "628123456789"
    assert (told["changed_by"], told["prepared"]) == (["talker"], "hello?")
    assert [(said["plugin"], said["decision"]) for said in told["admit"]] == [("daily_limit", "quota")]
    assert 2 <= told["pace"]["delay"] <= 5
    assert told["verdict"] == "accepted within daily_limit: at most 3 per recipient and day"
    assert told["on_message"] == [{"plugin": "talker", "to": "628123456789", "content": "heard hello"}]
    assert told["effects"] == ["talker would send to 0811: told the boss"]
    text = cli("plugin", "try", "talker", "--tenant", "shop", "hello")
    assert "not in the plugins" not in text.err
    for line in ("talker made it: hello?", "Quota 3 per recipient and day", "answers 628123456789: heard hello"):
        assert line in text.out


def test_try_enables_for_the_try(cli: CommandLine) -> None:
    """A plugin that the tenant does not enable is tried all the same, with its defaults, and that is said."""
    cli.write("mine/talker.py", TALKER)
    done = cli("plugin", "try", "talker", "--tenant", "shop", "hello")
    assert done.status == 0
    assert "talker is not in the plugins of shop: it is enabled" in done.err
    assert "hello!" in done.out
    assert cli("plugin", "try", "talker", "--tenant", "shop", "hello", "--json").answer["enabled"] is False


def test_try_shows_a_failure(cli: CommandLine) -> None:
    """A plugin that raises is named with its error; the others are shown, and the status is 1."""
    cli.write("mine/talker.py", TALKER)
    done = cli("plugin", "try", "talker", "--tenant", "shop", "boom")
    assert done.status == 1
    assert "503: a plugin failed, so nothing is accepted" in done.out
    assert "'talker'" in done.err
    assert "LookupError: no such thing" in done.err
    assert "heard boom" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("tlker",), "unknown plugin 'tlker'; did you mean 'talker'?"),
        (("talker", "--at", "25:00"), "--at '25:00' is no time"),
        (("talker", "--at", "tomorrow"), "--at 'tomorrow' is no time"),
        (("talker", "--to", "12"), "[number_too_short]"),
    ],
)
def test_try_refuses(cli: CommandLine, arguments: tuple[str, ...], told: str) -> None:
    """What cannot be tried is told in one line, with status 1."""
    cli.write("mine/talker.py", TALKER)
    done = cli("plugin", "try", *arguments, "--tenant", "shop", "hello")
    assert (done.status, done.out) == (1, "")
    assert told in done.err
    assert len(done.err.splitlines()) == 1


def test_try_needs_what_has_no_default(cli: CommandLine) -> None:
    """An option without a default cannot be guessed: the error names it."""
    cli.write("mine/talker.py", TALKER.replace('sign: str = "!"', "sign: str"))
    done = cli("plugin", "try", "talker", "--tenant", "shop", "hello")
    assert done.status == 2
    assert "'sign' is missing" in done.err


def test_db_migrate(tmp_path: Path, empty_database_url: str) -> None:
    """Applies what is missing and names it; a second time there is nothing to do."""
    cli = CommandLine(tmp_path, empty_database_url)
    assert cli("db", "url").out == f"{empty_database_url}\n"
    first = cli("db", "migrate", "--json").answer["applied"]
    assert first[0].startswith("0001")
    assert cli("db", "migrate", "--json").answer == {"applied": []}
    assert cli("db", "migrate").out == "The schema is up to date.\n"


def test_a_server_of_ones_own_that_is_away(tmp_path: Path) -> None:
    """Its URL is shown all the same, and nobody is sent to the embedded one."""
    done = CommandLine(tmp_path, "postgres://me@127.0.0.1:1/x")("db", "url")
    assert (done.status, done.out) == (0, "postgres://me@127.0.0.1:1/x\n")
    assert done.err == "PostgreSQL does not run there now.\n"


def test_the_enabling_lines_are_yaml(cli: CommandLine) -> None:
    """What `plugin new` says to write into a tenant's file can be pasted there, and `check` is content."""
    done = cli("plugin", "new", "evening_hours")
    lines = done.out[done.out.index("    plugins:") :]
    cli.write("config/tenants/pasted.yaml", textwrap.dedent(lines))
    assert cli("check").status == 0


def test_trying_a_stop(cli: CommandLine) -> None:
    """What would happen to the list and to messages is told, and nothing happens."""
    tried = cli("plugin", "try", "opt_out", "--tenant", "shop", "STOP", "--json").answer
    assert [reply["plugin"] for reply in tried["on_message"]] == ["opt_out"]
    assert tried["effects"] == [f"opt_out would send {tried['to']} no more messages"]
    assert tried["verdict"] == (
        "accepted within daily_limit: at most 3 per recipient and day;"
        " waived if on whitelist: daily_limit, delay; refused with opted_out if on opt_out"
    )
    back = cli("plugin", "try", "opt_out", "--tenant", "shop", "start", "--json").answer
    assert back["effects"] == [f"opt_out would send {back['to']} messages again"]


def test_try_says_on_which_condition(cli: CommandLine) -> None:
    """What holds only for people on a list is shown with that list, so that nothing reads as if it held for all."""
    shown = cli("plugin", "try", "opt_out", "--tenant", "shop", "hello").out
    assert "opt_out: Deny opted_out: this person asked for no more messages, if on: opt_out\n" in shown
    quota = "from core import Listed, Quota, hookimpl\n@hookimpl\ndef admit():\n    return Quota(1, when=Listed.REPLY)"
    cli.write("mine/asked.py", quota)
    cli.write("config/tenants/shop.yaml", "plugins: {asked: }")
    tried = cli("plugin", "try", "asked", "--tenant", "shop", "hello", "--json").answer
    assert tried["verdict"] == "accepted within asked: at most 1 per recipient and day if on reply"
    cli.write("config/tenants/shop.yaml", "plugins: {opt_out: }")
    tried = cli("plugin", "try", "opt_out", "--tenant", "shop", "hello", "--json").answer
    assert tried["verdict"] == "accepted; refused with opted_out if on opt_out"


def test_cleanup_deletes_the_counters_of_long_past_days(tmp_path: Path, empty_database_url: str) -> None:
    """As many days back as the configuration says; the number is told to people and programs."""
    cli = CommandLine(tmp_path, empty_database_url)
    cli.write("config/service.yaml", "keep_daily_limits: 2")
    cli("db", "migrate")
    connection = psycopg2.connect(empty_database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO daily_limits (tenant_id, phone_number, date, count)"
            " SELECT 'shop', '628', current_date - n, 1 FROM generate_series(0, 5) n"
        )
    connection.close()
    assert cli("db", "cleanup", "--json").answer == {
        "daily_limits": 3,
        "events": 0,
        "callbacks": 0,
        "messages": 0,
        "incoming": 0,
        "keep_daily_limits": 2,
        "keep_events": 30,
        "keep_messages": 30,
    }
    assert cli("db", "cleanup").out == (
        "deleted 0 counters of days more than 2 days ago\ndeleted 0 events and 0 callbacks of more than 30 days ago\n"
        "deleted 0 messages and 0 incoming ones of more than 30 days ago\n"
    )
