"""README.md and README.id.md do not lie: what they say to type is typed here, in order, and works."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.service.gateway_process import PATIENCE, ROOT, Installation

if TYPE_CHECKING:
    from pathlib import Path

READMES = ["README.md", "README.id.md"]
STAYS_UP = ("serve", "demo")


def blocks(readme: str, kind: str = "") -> list[str]:
    """The fenced blocks of one kind, in order."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / readme).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [text for found, text in fenced if found == kind]


def commands(readme: str) -> list[str]:
    """Every line that is to be typed."""
    return [line for block in blocks(readme) for line in block.splitlines() if line]


@pytest.mark.parametrize("readme", READMES)
def test_what_it_says_to_type_works(readme: str, tmp_path: Path, database_url: str) -> None:
    """Every command, from the first tenant to the first plugin, succeeds in the order in which it stands there."""
    house = Installation(tmp_path, database_url)
    house.write("service.yaml", (ROOT / "config" / "service.yaml").read_text("utf-8"))
    [tenant_file] = blocks(readme, "yaml")
    house.write("tenants/shop.yaml", tenant_file)
    key, ran = "", set()
    typed = [line for line in commands(readme) if not line.startswith("make ")]
    with house.serve() as gateway:
        for line in typed:
            words = shlex.split(line)
            if words[0] == "curl":
                assert post(words, gateway.url, key) == 202
            elif words[1] == "run.py" and words[2] not in STAYS_UP:
                done = house.run(*words[2:])
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                key = found[0] if (found := re.findall(r"sk_\S+", done.stdout)) else key
                ran.add(words[2])
            elif "pytest" in words:
                file = house.home / words[-1]
                tested = subprocess.run(
                    [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)], cwd=ROOT, check=False
                )
                assert tested.returncode == 0
    assert ran == {"tenant", "send", "plugin", "check", "plugins", "inject"}


def post(words: list[str], url: str, key: str) -> int:
    """The HTTP status of a curl line, sent to `url` with `key`."""
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    path = next(word for word in words if word.startswith("http")).removeprefix("http://127.0.0.1:3000")
    data = words[words.index("-d") + 1]
    json.loads(data)
    request = urllib.request.Request(url + path, data.encode(), {**headers, "X-API-Key": key})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return int(answer.status)


@pytest.mark.parametrize("readme", READMES)
def test_every_command_exists(readme: str) -> None:
    """Every `run.py …` of the text, in blocks or not, is a command."""
    text = (ROOT / readme).read_text("utf-8")
    names = set(re.findall(r"run\.py ([a-z]+)", text))
    assert {"serve", "tenant", "send", "plugin", "check"} <= names
    helped = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert all(f" {name} " in helped.stdout for name in names)


def test_both_say_the_same() -> None:
    """The Indonesian page has the English one's commands and policy; only words in quotation marks differ."""

    def bare(readme: str) -> list[str]:
        lines = [*commands(readme), *"".join(blocks(readme, "yaml")).splitlines()]
        return [re.sub(r'"[^"]*"', '""', line.partition("#")[0].rstrip()) for line in lines]

    assert bare("README.md") == bare("README.id.md")


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme: str) -> None:
    """Every relative link is a file of the checkout."""
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / readme).read_text("utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
