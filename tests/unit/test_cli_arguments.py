"""What people type, in any order, reaches the parser in its own."""

from __future__ import annotations

import pytest

from core.cli.arguments import arranged, wants_json


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ("serve --config c --port 0", "--config c serve --port 0"),
        ("tenant add shop --data=d --json", "--data=d tenant add shop --json"),
        ("--log-level debug serve", "--log-level debug serve"),
        ("send shop 0812 hi --wait", "send shop 0812 hi --wait=30"),
        ("send shop 0812 hi --wait 5", "send shop 0812 hi --wait=5"),
        ("send --wait shop 0812 hi", "send --wait=30 shop 0812 hi"),
        ("send shop 0812 hi --wait=2.5 --json", "send shop 0812 hi --wait=2.5 --json"),
        ("send shop -- 0812 --wait --config", "send shop -- 0812 --wait --config"),
        ("serve --config", "--config serve"),
        ("", ""),
    ],
)
def test_arranged(typed: str, parsed: str) -> None:
    """Global options may stand anywhere, --wait may stand alone, and what follows -- is left alone."""
    assert arranged(typed.split()) == parsed.split()


@pytest.mark.parametrize(("typed", "wanted"), [("check --json", True), ("send a b -- --json", False), ("check", False)])
def test_wants_json(typed: str, wanted: bool) -> None:
    """--json counts only where it is an option."""
    assert wants_json(typed.split()) is wanted
