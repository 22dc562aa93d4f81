"""docs/callbacks.md does not lie: its YAML is valid, and its receiver receives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from core.settings import load_settings
from tests.service.gateway_process import PATIENCE, ROOT, Installation
from tests.service.receiver import SECRET
from tests.test_docs import examples, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLBACKS = (ROOT / "docs" / "callbacks.md").read_text("utf-8")


def test_the_yaml_is_valid(tmp_path: Path) -> None:
    """Two endpoints, one of which has the name of its host, and a network of one's own."""
    settings = load_settings(written(tmp_path, CALLBACKS), {"ERP_SECRET": SECRET, "OPS_SECRET": SECRET})
    erp, alarm = settings.tenant("shop").callbacks
    assert (erp.name, erp.events, alarm.name) == ("erp-example-com", ("message.*",), "alarm")
    assert settings.callbacks.allow == ("10.20.0.0/16", "127.0.0.1/32")


def test_the_commands_exist(tmp_path: Path, database_url: str) -> None:
    """As they are typed there, but for the id, for a tenant that has such an endpoint."""
    installation = Installation(tmp_path, database_url)
    installation.add_tenant("shop", callbacks="[{url: 'https://erp.example.com/whatsapp', unsigned: true}]")
    lines = re.findall(r"^python run\.py (callbacks .*)$", CALLBACKS, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        done = installation.run(*line.split())
        known = done.returncode == 0 or "there is no delivery" in done.stderr
        assert known, done.stderr


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(the URL, the output) of the example of docs/callbacks.md, run as its reader would."""
    (tmp_path / "receiver.py").write_text(examples(CALLBACKS, "python")["receiver.py"], encoding="utf-8")
    output = tmp_path / "received"
    environment = {"ERP_SECRET": SECRET, "PORT": "0", "PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
    with output.open("wb") as out:
        process = subprocess.Popen([sys.executable, str(tmp_path / "receiver.py")], env=environment, stdout=out)
    try:
        [address] = until(output, r"http://127\.0\.0\.1:\d+")
        yield f"{address}/whatsapp", output
    finally:
        process.terminate()
        process.wait(PATIENCE)


def until(output: Path, pattern: str, count: int = 1) -> list[str]:
    """What of the output looks like that, as soon as there is so much of it."""
    deadline = time.monotonic() + PATIENCE
    while len(found := re.findall(pattern, output.read_text("utf-8"))) < count:
        assert time.monotonic() < deadline, output.read_text("utf-8")
        time.sleep(0.02)
    return found


def all_deliveries(installation: Installation) -> list[dict[str, Any]]:
    """What `callbacks list` tells of shop's."""
    return list(installation.answer("callbacks", "list", "--tenant", "shop")["deliveries"])


def test_the_receiver_receives(tmp_path: Path, database_url: str, receiver: tuple[str, Path]) -> None:
    """What the gateway posts is taken for genuine, and told once; what somebody else posts is refused."""
    url, output = receiver
    installation = Installation(tmp_path, database_url)
    installation.write("service.yaml", "callbacks: {allow: [127.0.0.1/32]}")
    installation.add_tenant("shop", plugins="{api_key: }", callbacks=json.dumps([{"url": url, "secret": SECRET}]))
    with installation.serve():
        installation.answer("inject", "shop", "0812-3456-789", "Are you open?")
        until(output, r"message\.received .*Are you open\?")
        # What the receiver has heard is noted a moment after that.
        deadline = time.monotonic() + PATIENCE
        while any(one["status"] != "delivered" for one in all_deliveries(installation)):
            assert time.monotonic() < deadline, all_deliveries(installation)
        deliveries = all_deliveries(installation)
    assert {one["last_status"] for one in deliveries} == {204}
