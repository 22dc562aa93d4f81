"""`run.py worker`: it says one line, wants somebody else's database, and ends cleanly."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tests.service.gateway_process import Installation

if TYPE_CHECKING:
    from pathlib import Path


def test_one_line_on_stdout_and_status_zero(tmp_path: Path, database_url: str) -> None:
    """Ready, and SIGTERM is a clean end; it brings an empty database up to date as a gateway does, and needs no tenant
    to begin with."""
    with Installation(tmp_path, database_url).work(data=tmp_path / "other") as worker:
        assert worker.stop() == 0
        assert worker.stdout == "gapura worker ready\n"
        assert "listening to gapura_commands, gapura_sessions, gapura_forgotten" in worker.stderr


def test_it_wants_the_database_of_a_gateway(tmp_path: Path) -> None:
    """Without an address it says what is missing, and makes no embedded PostgreSQL that nobody else could reach."""
    installation = Installation(tmp_path)
    done = installation.run("worker")
    assert (done.returncode, done.stdout) == (1, "")
    assert "DATABASE_URL" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not installation.data.exists()


def test_no_database(tmp_path: Path) -> None:
    """A server that does not answer is one line and exit status 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, and nobody else can take it
        port = taken.getsockname()[1]
        done = Installation(tmp_path, f"postgres://nobody:secret@127.0.0.1:{port}/x").run("worker")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gapura: the database is out of reach: ")
    assert "secret" not in done.stderr
