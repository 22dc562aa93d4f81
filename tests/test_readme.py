"""README.md and README.id.md do not lie: what they say to type is typed here, in order, and works.

WhatsApp is played by a sandbox from the first `serve` on, and the phones by it as well.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.gateway_process import PATIENCE, ROOT, GatewayProcess, Installation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READMES = ["README.md", "README.id.md"]
PHONES = {"shop": "628111111111", "lab": "628333333333"}
"""Who links which tenant."""

CUSTOMER = "628123456789"

A_PAIRING = 3 * PATIENCE
"""Seconds until a phone is linked and its session has been opened in another process."""


def blocks(readme: str) -> list[tuple[str, str]]:
    """(kind, text) of the fenced blocks, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / readme).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(readme: str) -> list[str]:
    """Every line that is to be typed."""
    return [line for kind, text in blocks(readme) if not kind for line in text.splitlines() if line]


@contextlib.contextmanager
def running_sandbox() -> Iterator[str]:
    """Its URL; the customer has a phone."""
    command = [sys.executable, str(ROOT / "run.py"), "sandbox", "--port", "0", "--json"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = str(json.loads(process.stdout.readline())["url"])
            asked(f"{url}/phones", {"number": CUSTOMER, "name": "Budi"})
            yield url
        finally:
            process.terminate()


def asked(url: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """What a JSON API answers. Raises HTTPError."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


@dataclass
class Reader:
    """Somebody who follows the README: `typed` are the commands that worked."""

    house: Installation
    sandbox: str
    gateway: GatewayProcess | None = None
    keys: dict[str, str] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)

    def write(self, text: str) -> None:
        """A YAML file, whose first line names it."""
        found = re.match(r"# config/(\S+)\n", text)
        assert found, text
        self.house.write(found[1], text)

    def types(self, line: str) -> None:
        """One line. Raises AssertionError when it does not work."""
        words = shlex.split(line)
        if words[0] == "curl":
            self._curls(words)
        elif words[0] == "psql":
            assert words[1:] == ["$(.venv/bin/python run.py db url)"]
        elif "pytest" in words:
            self._tests(words[-1])
        else:
            assert words[:2] == [".venv/bin/python", "run.py"], line
            self._runs(words[2:], line)

    def _runs(self, words: list[str], line: str) -> None:
        self.typed.append(" ".join(words[:2]))
        if words[0] == "serve":
            self.stop()
            self.gateway = self.house.serve("--sandbox", self.sandbox)
        elif words[:2] == ["tenant", "pair"]:
            self._pairs(words[2])
        elif words[0] != "sandbox":  # it runs from the beginning
            done = self.house.run(*words)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            if words[:2] == ["tenant", "add"]:
                self.keys[words[2]] = re.findall(r"sk_\S+", done.stdout)[0]

    def _pairs(self, tenant: str) -> None:
        """The command waits while somebody scans what it shows."""
        done: list[subprocess.CompletedProcess[str]] = []
        command = threading.Thread(
            target=lambda: done.append(self.house.run("tenant", "pair", tenant, patience=A_PAIRING))
        )
        command.start()
        deadline = time.monotonic() + PATIENCE
        while not (shown := self._status("/api/qr?start=0", tenant))["qr"]:
            assert command.is_alive(), done
            assert time.monotonic() < deadline, shown
            time.sleep(0.05)
        asked(f"{self.sandbox}/scan", {"number": PHONES[tenant], "qr": shown["qr"], "name": tenant})
        command.join(A_PAIRING)
        assert (done[0].returncode, done[0].stdout) == (0, f"connected as +{PHONES[tenant]}\n"), done[0].stderr

    def _status(self, path: str, tenant: str) -> Any:
        assert self.gateway is not None
        return asked(self.gateway.url + path, headers={"X-API-Key": self.keys[tenant]})

    def _curls(self, words: list[str]) -> None:
        assert self.gateway is not None
        url = next(word for word in words if word.startswith("http"))
        headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
        assert headers.pop("X-API-Key") == "sk_…"
        body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
        own = url.replace("http://127.0.0.1:3000", self.gateway.url)
        answer = asked(own, body, {**headers, "X-API-Key": self.keys["shop"]})
        assert answer.get("status") == "queued" or answer["state"] == "connected", answer

    def _tests(self, file: str) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(self.house.home / file)]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0

    def stop(self) -> None:
        """Ctrl-C in the gateway's terminal."""
        if self.gateway is not None:
            assert self.gateway.stop() == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("readme", READMES)
def test_what_it_says_to_type_works(readme: str, tmp_path: Path, database_url: str) -> None:
    """Every command, from the first tenant to the first plugin, succeeds in the order in which it stands there; the
    shop's messages arrive on a phone, and the plugin answers one."""
    house = Installation(tmp_path, database_url)
    house.write("service.yaml", (ROOT / "config" / "service.yaml").read_text("utf-8"))
    with running_sandbox() as sandbox:
        reader = Reader(house, sandbox)
        try:
            for kind, text in blocks(readme):
                if kind == "yaml":
                    reader.write(text)
                for line in text.splitlines() if not kind else ():
                    if not line.startswith("make "):
                        reader.types(line)
            # Both of the shop's: this waits for one behind the first.
            assert asked(f"{sandbox}/phones/{CUSTOMER}/inbox?wait=50&after=1")["messages"]
            asked(f"{sandbox}/phones", {"number": "628777777777"})
            asked(f"{sandbox}/phones/628777777777/messages", {"to": PHONES["lab"], "text": "Are you open?"})
            [answer] = asked(f"{sandbox}/phones/628777777777/inbox?wait=50&after=0")["messages"]
            assert answer["text"] == "We are open 8:00 to 17:00."
        finally:
            reader.stop()
    names = {"tenant add", "serve", "tenant pair", "send shop", "tenant list", "plugin new", "plugin try", "check"}
    assert {*names, "sandbox", "serve --sandbox", "inject lab", "plugins"} == set(reader.typed)


@pytest.mark.parametrize("readme", READMES)
def test_every_command_exists(readme: str) -> None:
    """Every `run.py …` of the text, in blocks or not, is a command."""
    text = (ROOT / readme).read_text("utf-8")
    names = set(re.findall(r"run\.py ([a-z]+)", text))
    assert {"serve", "sandbox", "tenant", "send", "plugin", "check"} <= names
    helped = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert all(f" {name} " in helped.stdout for name in names)


def test_both_say_the_same() -> None:
    """The Indonesian page has the English one's commands and policy; only words in quotation marks differ."""

    def bare(readme: str) -> list[str]:
        lines = [line for kind, text in blocks(readme) for line in [kind, *text.splitlines()]]
        return [
            re.sub(r'"[^"]*"', '""', line if line.startswith("# ") else line.partition("#")[0].rstrip())
            for line in lines
        ]

    assert bare("README.md") == bare("README.id.md")


@pytest.mark.parametrize(
    ("readme", "words"),
    [
        ("README.md", ("break WhatsApp's terms of service", "may be banned", "has not been tried")),
        ("README.id.md", ("melanggar ketentuan layanan WhatsApp", "dapat diblokir", "belum pernah dicoba")),
    ],
)
def test_it_says_so_plainly(readme: str, words: tuple[str, ...]) -> None:
    """What an operator risks, and what nobody has tried, is told in so many words."""
    text = " ".join((ROOT / readme).read_text("utf-8").split())
    assert [said for said in words if said not in text] == []


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme: str) -> None:
    """Every relative link is a file of the checkout, and its anchor a heading there."""
    links = re.findall(r"\]\(([^):]+)\)", (ROOT / readme).read_text("utf-8"))
    assert links
    for file, _, anchor in (link.partition("#") for link in links):
        text = (ROOT / (file or readme)).read_text("utf-8")
        headings = [
            re.sub(r"[^\w -]", "", found.lower()).replace(" ", "-") for found in re.findall(r"^#+ (.*)$", text, re.M)
        ]
        assert not anchor or anchor in headings, (file, anchor, headings)
