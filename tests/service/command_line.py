"""run.py's commands in this process: quick, and as strict about stdout as a program that reads it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from core.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return json.loads(self.out)

    @property
    def code(self) -> str:
        """The code of the error that --json answered."""
        return str(self.answer["error"]["code"])


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Commands on the configuration and the data below `home`, and on the database of `database_url` if given."""

    home: Path
    database_url: str | None = None

    def __post_init__(self) -> None:
        (self.home / "config" / "tenants").mkdir(parents=True)

    def write(self, file: str, text: str) -> Path:
        """A file below `home`: `config/tenants/shop.yaml`."""
        path = self.home / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def __call__(self, *arguments: str) -> Done:
        """Carry out a command; stdin is no terminal."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self._environment(), clear=True),
            mock.patch("sys.stdin", io.StringIO()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _logging_kept(),
        ):
            status = main(arguments)
        return Done(status, out.getvalue(), err.getvalue())

    def _environment(self) -> dict[str, str]:
        ours = {"GAPURA_CONFIG": str(self.home / "config"), "GAPURA_DATA": str(self.home / "var"), "COLUMNS": "200"}
        if self.database_url is not None:
            ours["DATABASE_URL"] = self.database_url
        others = {n: v for n, v in os.environ.items() if not n.startswith(("GAPURA_", "DATABASE_URL", "DEMO_ONCE"))}
        return others | ours


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    """A command sets logging up for its whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    try:
        yield
    finally:
        root.handlers, root.level = handlers, level
