"""`run.py serve`, in a process of its own: it says one line, lives through accidents and ends cleanly."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.service.gateway_process import PATIENCE, ROOT, Installation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Installation:
    """On a database of this test's own."""
    return Installation(tmp_path, database_url)


def call(url: str, key: str | None = None, body: object = None) -> tuple[int, Any]:
    """(HTTP status, JSON answer)"""
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    data = None if body is None else msgspec.json.encode(body)
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, msgspec.json.decode(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, msgspec.json.decode(error.read())


def test_one_line_on_stdout_and_status_zero(installation: Installation) -> None:
    """stdout gets the line of readiness and nothing else, whatever happens; SIGTERM is a clean end."""
    key = installation.add_tenant("shop")
    with installation.serve() as gateway:
        assert call(f"{gateway.url}/readyz")[0] == 200
        status, answer = call(f"{gateway.url}/api/send-message", key, {"number": "081234567890", "message": "hi"})
        assert (status, answer["status"]) == (202, "queued")
        gateway.logs("send.sent")
        assert gateway.stop() == 0
        assert gateway.stdout == f"gapura ready {gateway.url}\n"


def test_logs_as_json(installation: Installation) -> None:
    """With --log-format json every line on stderr is an object with time, level, action and message."""
    with installation.serve("--log-format", "json") as gateway:
        gateway.stop()
        lines = [msgspec.json.decode(line) for line in gateway.stderr.splitlines()]
    assert lines
    assert all({"time", "level", "action", "message"} <= line.keys() for line in lines)


def test_port_in_use(installation: Installation) -> None:
    """A port that somebody else has is told in one line, without a traceback; the exit status is 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = installation.run("serve", "--port", str(port))
    assert done.returncode == 1
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if line.startswith("gapura: ")] == [
        f"gapura: cannot listen on 127.0.0.1 port {port}: address already in use; see --host and --port"
    ]
    assert "Traceback" not in done.stderr


def test_unknown_host(installation: Installation) -> None:
    """An address that is not ours is told in one line."""
    done = installation.run("serve", "--host", "192.0.2.1", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "gapura: cannot listen on 192.0.2.1 port 0: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("service.yaml", "server: [", "service.yaml:2:1: broken YAML"),
        ("service.yaml", "sever: {}", "service.yaml: $.sever: unknown key 'sever'; did you mean 'server'?"),
        ("service.yaml", "server: { port: '3000' }", "service.yaml: $.server.port: expected `int`"),
        ("tenants/shop.yaml", "plugins: { delya: }", "shop.yaml: $.plugins.delya: unknown plugin 'delya'"),
        ("tenants/shop.yaml", "plugins: { delay: { mni: 1 } }", "shop.yaml: $.plugins.delay.mni: unknown key 'mni'"),
        ("tenants/Shop.yaml", "", "Shop.yaml: 'Shop' cannot be a tenant's id"),
    ],
)
def test_broken_configuration(tmp_path: Path, file: str, text: str, told: str) -> None:
    """It does not start, before any database is touched: one message with file and path, exit status 2."""
    installation = Installation(tmp_path)
    installation.write(file, text)
    done = installation.run("serve", "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not installation.data.exists()


def test_two_files_for_one_tenant(tmp_path: Path) -> None:
    """shop.yaml and shop.yml: nobody can tell which holds."""
    installation = Installation(tmp_path)
    installation.write("tenants/shop.yaml", "")
    installation.write("tenants/shop.yml", "")
    done = installation.run("serve", "--port", "0")
    assert done.returncode == 2
    assert "two files for one name" in done.stderr


def test_no_database(tmp_path: Path) -> None:
    """A server that does not answer is one line and exit status 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, and nobody else can take it
        port = taken.getsockname()[1]
        done = Installation(tmp_path, f"postgres://nobody:secret@127.0.0.1:{port}/x").run("serve", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gapura: the database is out of reach: ")
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_warns_of_a_file_without_a_tenant(installation: Installation) -> None:
    """YAML without a row in api_keys is a warning that names the file, and no obstacle."""
    installation.write("tenants/ghost.yaml", "transport: dry_run\n")
    with installation.serve() as gateway:
        gateway.stop()
        warned = [line for line in gateway.stderr.splitlines() if "config.no_such_tenant" in line]
    assert len(warned) == 1
    assert "ghost.yaml" in warned[0]


def test_killed_and_started_again(tmp_path: Path) -> None:
    """After kill -9 of the gateway, and with it of its PostgreSQL, the next start has everything that was accepted."""
    installation = Installation(tmp_path)
    key = installation.add_tenant("shop", plugins="{api_key: , daily_limit: {limit: 5}}")
    with installation.serve() as gateway:
        body = {"number": "081234567890", "message": "hi"}
        status, accepted = call(f"{gateway.url}/api/send-message", key, body)
        assert status == 202
        assert gateway.kill() == -signal.SIGKILL
    with installation.serve() as gateway:
        status, message = call(f"{gateway.url}/api/messages/{accepted['id']}", key)
        assert (status, message["id"]) == (200, accepted["id"])
        status, answer = call(f"{gateway.url}/api/send-message", key, body)
        assert (status, answer["quota"]["used"]) == (202, 2)
        assert gateway.stop() == 0


def test_a_second_serve_joins(tmp_path: Path) -> None:
    """Two gateways on one GAPURA_DATA share one database, and the one that stays outlives the one that started it."""
    installation = Installation(tmp_path)
    key = installation.add_tenant("shop")
    with installation.serve() as first, installation.serve() as second:
        body = {"number": "081234567890", "message": "hi"}
        status, accepted = call(f"{first.url}/api/send-message", key, body)
        assert status == 202
        assert call(f"{second.url}/api/messages/{accepted['id']}", key)[0] == 200
        assert first.stop() == 0
        second.logs("postgres_back")
        status = 503
        while status == 503:
            status, answer = call(f"{second.url}/api/messages/{accepted['id']}", key)
        assert (status, answer["id"]) == (200, accepted["id"])
        assert second.stop() == 0


def test_stopped_before_it_is_ready(tmp_path: Path) -> None:
    """SIGTERM while PostgreSQL is still being set up is a clean end too, and the next start is none the worse."""
    installation = Installation(tmp_path)
    command = [sys.executable, str(ROOT / "run.py"), "--config", str(installation.config)]
    process = subprocess.Popen([*command, "--data", str(installation.data), "serve", "--port", "0"])
    while not (installation.data / "pg18").exists():
        assert process.poll() is None
    process.terminate()
    assert process.wait(PATIENCE) == 0
    with installation.serve() as gateway:
        assert gateway.stop() == 0
