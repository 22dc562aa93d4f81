"""SQL by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db import sql

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of queries of this test's own."""
    monkeypatch.setattr(sql, "QUERIES", tmp_path)
    sql.load.cache_clear()
    return tmp_path


def test_a_query_is_read_once(queries: Path) -> None:
    """The text of the file, from the disk only the first time."""
    (queries / "ask.sql").write_text("SELECT 'ü'", encoding="utf-8")
    assert sql.load("ask") == "SELECT 'ü'"
    (queries / "ask.sql").unlink()
    assert sql.load("ask") == "SELECT 'ü'"


def test_a_missing_query_is_named_with_those_that_exist(queries: Path) -> None:
    """The error tells what was asked for and what there is."""
    (queries / "ask.sql").write_text("SELECT 1")
    with pytest.raises(LookupError, match=r"db/queries/aks\.sql does not exist; there are: ask"):
        sql.load("aks")
