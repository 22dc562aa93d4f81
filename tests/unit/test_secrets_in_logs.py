"""The search that goes through all logs at the end of a run finds what it is for."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from tests.secrets_in_logs import secrets_below, secrets_in

if TYPE_CHECKING:
    from pathlib import Path

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (f"key sk_{'aB3-_' * 8}abc", "an API key"),
        (f"GET /api/qr?token=pl_{'x' * 43}", "a pairing link's token"),
        ("Emitting https://wa.me/settings/linked_devices#abc", "a QR code"),
        (f"qr {'r' * 32},{KEY},{KEY},{KEY},1", "a QR code"),
        ("connect postgres://gapura:geheim@127.0.0.1:5432/x", "a database password"),
        (f"noise key {KEY} made", "a key in base64"),
    ],
)
def test_each_kind_of_secret_is_found(line: str, kind: str) -> None:
    """Where it stands in a line does not matter."""
    assert kind in list(secrets_in(f"12:00 INFO {line} and so on\n".encode()))


def test_what_logs_may_say_is_no_secret() -> None:
    """Message ids, shortened keys, jids, digests, URLs without passwords."""
    line = (
        "sent 01a2048f-cee9-7404-9ff1-5e7fcb5efb7f to 628123456789 as 628111:1@s.whatsapp.net sk_… "
        f"sha256:{'ab' * 32} http://127.0.0.1:3000/api/qr postgres://gapura:***@127.0.0.1/x 3EB0DCFE89CF89C959CD18\n"
    )
    assert list(secrets_in(line.encode())) == []


def test_all_logs_below_a_folder_are_searched(tmp_path: Path) -> None:
    """However deep they lie; what is no log is not read."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    log = tmp_path / "a" / "b" / "serve-0.log"
    log.write_text(f"sk_{'a' * 43}\n")
    (tmp_path / "a" / "keys.txt").write_text(f"sk_{'a' * 43}\n")
    found = secrets_below(tmp_path)
    log.unlink()  # the same search goes through this folder at the end of the run
    assert found == [f"{log}: an API key"]
