"""The SQL of this room lives in files; this reads them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

QUERIES = Path(__file__).with_name("queries")


@cache
def load(name: str) -> str:
    """The text of db/queries/<name>.sql, read once. LookupError, naming those that exist, when there is none."""
    try:
        return (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in QUERIES.glob("*.sql"))) or "none yet"
        raise LookupError(f"db/queries/{name}.sql does not exist; there are: {known}") from None
