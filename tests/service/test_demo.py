"""`run.py demo`: its story is true, it can be told again, and it never touches anybody's database."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.service.gateway_process import PATIENCE, ROOT, Installation

if TYPE_CHECKING:
    from pathlib import Path

NO_DATABASE = "postgres://nobody@127.0.0.1:1/x"
"""DATABASE_URL in the demo's environment: whoever used it would fail."""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """With a DATABASE_URL that leads nowhere."""
    return Installation(tmp_path, NO_DATABASE)


def test_twice_in_a_row(installation: Installation) -> None:
    """Without a terminal it ends by itself: status 0 and a last line that says ok; a second time as well."""
    for _ in range(2):
        done = installation.run("demo")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1].startswith("demo ok: ")
    for said in ("    202 ", "    429 limit_reached", "Idempotency-Replayed: true", "parrot: 'pong', sent", "waived: "):
        assert said in done.stdout
    assert "dry_run demo -> " in done.stderr


def test_two_at_once(installation: Installation) -> None:
    """Each has its own port, folder and database."""
    command = [sys.executable, str(ROOT / "run.py"), "--data", str(installation.data), "demo"]
    both = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
        assert out.splitlines()[-1].startswith("demo ok: ")
    assert {path.name for path in installation.data.glob("*.lock")} == {"demo.lock", "demo-2.lock"}


def test_a_failure_is_the_last_line(installation: Installation) -> None:
    """When it cannot be shown, the last line says why, and the status is not 0."""
    installation.data.write_text("a file where the folder should be")
    done = installation.run("demo")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("demo failed: the data folder cannot be used")
    assert "Traceback" not in done.stderr


def test_it_stays_up_at_a_terminal(installation: Installation) -> None:
    """At a terminal it stays, the URL and the key that it printed work, and Ctrl-C ends it with status 0."""
    import pty

    ours, theirs = pty.openpty()
    with (
        open(ours, "w") as _,  # noqa: PTH123 - closes the terminal at the end
        subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), "--data", str(installation.data), "demo"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        lines = []
        while "stays up" not in (lines or [""])[-1]:
            lines.append(line := process.stdout.readline())
            assert line, lines
        last = process.stdout.readline()
        found = re.search(r"URL=(\S+) KEY=(\S+)", last)
        assert found, last
        assert status_with(found[1], found[2]) == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def status_with(url: str, key: str) -> int:
    """What the gateway answers to the key."""
    import urllib.request

    request = urllib.request.Request(f"{url}/api/status", headers={"X-API-Key": key})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return int(answer.status)
