"""`run.py demo`: its story is true, it can be told again, it never touches anybody's database, and ends cleanly."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from core.cli.demo.files import zone_for
from tests.service.gateway_process import PATIENCE, ROOT, Installation

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(600)

A_STORY = 4 * PATIENCE
"""Seconds for all of it: eight steps, of which each may take a while on a busy machine."""

NO_DATABASE = "postgres://nobody@127.0.0.1:1/x"
"""DATABASE_URL in the demo's environment: whoever used it would fail."""

OK = "demo ok: paired, sent, repeated, answered, refused, whitelisted, left in peace, explained"

TOLD = (
    "gateway  connected as +628111111111",
    "gateway  202 queued, 1 of 3 today",
    "Budi  gets 'Your order 1042 is packed'",
    "-> delivered ",
    "Idempotency-Replayed: true",
    "Budi  gets 'pong'",
    "gateway  429 limit_reached",
    "Budi  gets 'Free coffee for you'",
    "Budi  gets 'You get no more messages",
    "gateway  403 opted_out",
    "waived: daily_limit, delay",
)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """With a DATABASE_URL that leads nowhere."""
    return Installation(tmp_path, NO_DATABASE)


def test_twice_in_a_row(installation: Installation) -> None:
    """Without a terminal it ends by itself: status 0 and a last line that says ok; a second time as well, with the
    pairing and the daily limit of a new day. Nothing but the story is printed."""
    for _ in range(2):
        done = installation.run("demo", patience=A_STORY)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == OK
        assert done.stderr == ""
        assert [said for said in TOLD if said not in done.stdout] == []
        assert (installation.data / "demo" / "demo.log").stat().st_size


def test_two_at_once(installation: Installation) -> None:
    """Each has its own ports, folder and database."""
    command = [sys.executable, str(ROOT / "run.py"), "--data", str(installation.data), "demo"]
    both = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        out, err = process.communicate(timeout=A_STORY)
        assert process.returncode == 0, out + err
        assert out.splitlines()[-1] == OK
    assert {path.name for path in installation.data.glob("*.lock")} == {"demo.lock", "demo-2.lock"}


def test_a_failure_is_the_last_line(installation: Installation) -> None:
    """When it cannot be shown, the last line says why, and the status is not 0."""
    installation.data.write_text("a file where the folder should be")
    done = installation.run("demo")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("demo failed: the data folder cannot be used")
    assert "Traceback" not in done.stderr


def test_a_story_that_breaks_shows_its_log(installation: Installation) -> None:
    """A port that is taken, say: the last line says why, the end of the log stands on stderr."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = installation.run("demo", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1 port" in done.stdout.splitlines()[-1]
    assert done.stderr.startswith("The end of ")
    assert "sandbox.attached" in done.stderr


class AtATerminal:
    """A demo at a terminal. `text`: what stands on it so far; `pid`: its process."""

    def __init__(self, data: Path) -> None:
        import pty

        self._ours, theirs = pty.openpty()
        command = [sys.executable, str(ROOT / "run.py"), "--data", str(data), "demo"]
        # A session whose terminal is this one: a key press is a signal, as for a person.
        self._process = subprocess.Popen(["setsid", "--ctty", *command], stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.text = ""
        self.pid = self._process.pid

    def read_until(self, words: str) -> None:
        """Fails with what there is when the words do not come."""
        deadline = time.monotonic() + A_STORY
        with selectors.DefaultSelector() as selector:
            selector.register(self._ours, selectors.EVENT_READ)
            while words not in self.text:
                assert selector.select(deadline - time.monotonic()), self.text
                with contextlib.suppress(OSError):  # it has ended
                    self.text += os.read(self._ours, 65536).decode(errors="replace")
                assert self._process.poll() is None, self.text

    def press(self, key: bytes) -> int:
        """Press a key that ends it; its exit status."""
        os.write(self._ours, key)
        status = self._process.wait(PATIENCE)
        with contextlib.suppress(OSError):  # a terminal that nobody has any more
            self.text += os.read(self._ours, 65536).decode(errors="replace")
        return status

    def close(self) -> None:
        """End it if it runs."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)
        os.close(self._ours)


@pytest.fixture
def terminal(installation: Installation) -> Iterator[AtATerminal]:
    """A demo that was just started at a terminal."""
    demo = AtATerminal(installation.data)
    try:
        yield demo
    finally:
        demo.close()


def test_it_stays_up_at_a_terminal(terminal: AtATerminal) -> None:
    """The QR code is drawn, the URLs and the key that it printed work, and Ctrl-C ends all of it, with status 0 and
    without another word. The process that serves HTTP never loads the library that speaks to WhatsApp; its session
    process does."""
    terminal.read_until("stays up until Ctrl-C.")
    assert "█▀▀" in terminal.text or "▄▄▄▄▄" in terminal.text
    found = re.search(r"URL=(\S+) KEY=(\S+)", terminal.text)
    page = re.search(r"phones  (\S+)", terminal.text)
    assert found and page, terminal.text
    assert status_of(f"{found[1]}/api/status", found[2]) == status_of(page[1]) == 200
    family = descendants(terminal.pid)
    assert not loads_neonize(terminal.pid)
    assert any(map(loads_neonize, family))
    before = terminal.text
    assert terminal.press(b"\x03") == 0
    assert terminal.text.removeprefix(before).strip() in ("^C", "")
    deadline = time.monotonic() + PATIENCE
    while left := [pid for pid in family if Path(f"/proc/{pid}").exists()]:  # PostgreSQL's logger is the last to go
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def test_a_story_can_be_broken_off(terminal: AtATerminal) -> None:
    """Ctrl-C in the middle of it ends all of it, too: the last line says so, and nothing else is told."""
    terminal.read_until("\n2. ")
    assert terminal.press(b"\x03") == 1
    assert terminal.text.splitlines()[-1] == "demo failed: it was stopped"
    assert "The end of" not in terminal.text


def descendants(pid: int) -> list[int]:
    """The processes below this one."""
    children = told_of(pid, f"task/{pid}/children").split()
    return [int(child) for child in children] + [below for child in children for below in descendants(int(child))]


def loads_neonize(pid: int) -> bool:
    """Whether its library is in the process's memory."""
    return "neonize-" in told_of(pid, "maps")


def told_of(pid: int, file: str) -> str:
    """What the kernel tells of a process in that file; nothing of one that has ended, as workers of PostgreSQL do."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/{file}").read_text()
    return ""


def status_of(url: str, key: str = "") -> int:
    """How this address answers to the key."""
    request = urllib.request.Request(url, headers={"X-API-Key": key} if key else {})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return int(answer.status)


def test_no_midnight_in_the_story() -> None:
    """Whenever it begins, the tenant's day does not end within the next half hour: a limit must refuse the fourth."""
    for minute in range(24 * 60):
        now = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(minutes=minute)
        zone = ZoneInfo(zone_for(now))
        assert now.astimezone(zone).date() == (now + timedelta(minutes=30)).astimezone(zone).date(), (now, zone)
