"""`run.py sandbox` as a person runs it: in a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.gateway_process import PATIENCE, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def sandbox(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A started sandbox: the first line that it printed, and its process."""
    command = [sys.executable, str(ROOT / "run.py"), "sandbox", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline(), process
        finally:
            process.kill()


def asked(url: str, body: Any = None) -> Any:
    """What the control API answers."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data, timeout=PATIENCE) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends(number: signal.Signals) -> None:
    """One line with the address and what to do next; SIGTERM and Ctrl-C end it with status 0 and without a word."""
    with sandbox("--port", "0") as (line, process):
        words = line.split()
        assert words[:2] == ["sandbox", "ready"]
        assert f"run.py serve --sandbox {words[2]}" in line
        assert asked(f"{words[2]}/phones") == {"phones": []}
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (0, "", "")


def test_it_keeps_its_state(tmp_path: Path) -> None:
    """With --state its phones and chats are there again after a restart."""
    for phones in ([], ["628222222222"]):
        with sandbox("--port", "0", "--state", str(tmp_path / "state"), "--json") as (line, process):
            said = json.loads(line)
            assert said["state"] == str(tmp_path / "state")
            assert [phone["number"] for phone in asked(f"{said['url']}/phones")["phones"]] == phones
            asked(f"{said['url']}/phones", {"number": "628222222222"})
            process.terminate()
            assert process.wait(PATIENCE) == 0


def test_a_port_that_is_taken() -> None:
    """It is named, also for programs, and nothing is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with sandbox("--port", port) as (line, process):
            assert (line, process.wait(PATIENCE)) == ("", 1)
            assert process.stderr is not None
            assert f"ports {port} and" in (told := process.stderr.read())
            assert len(told.splitlines()) == 1


def test_a_state_that_is_in_use(tmp_path: Path) -> None:
    """Two sandboxes never write one folder."""
    with sandbox("--port", "0", "--state", str(tmp_path)) as (first, _):
        assert first.startswith("sandbox ready")
        with sandbox("--port", "0", "--state", str(tmp_path)) as (line, process):
            assert (line, process.wait(PATIENCE)) == ("", 1)
            assert process.stderr is not None
            assert str(tmp_path) in process.stderr.read()
