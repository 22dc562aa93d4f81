"""run.py's guard: a wrong place or a missing package is one sentence, and --help is quick because it imports little."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.service.gateway_process import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """run.py with this Python."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_command() -> None:
    """`run.py --help` lists all commands."""
    done = run(str(ROOT / "run.py"), "--help")
    assert done.returncode == 0
    commands = ("serve", "worker", "demo", "tenant", "send", "inject", "db", "check", "plugins", "plugin")
    assert all(f" {name} " in done.stdout for name in commands)


def test_help_imports_neither_the_database_nor_http() -> None:
    """What takes long to import is imported by the commands that need it."""
    program = (
        "import sys; from core.cli.main import main; main(['--help']); print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = run("-c", program, PYTHONPATH=str(ROOT))
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "typer" in loaded
    assert not loaded & {"aiohttp", "aiopg", "psycopg2", "yaml", "phonenumbers", "neonize"}


def test_from_another_directory(tmp_path: Path) -> None:
    """run.py works from anywhere, and its defaults lie beside it."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "check"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(ROOT / "config") in done.stdout


@pytest.mark.parametrize("package", ["typer", "msgspec"])
def test_a_missing_package(package: str) -> None:
    """A package that is not installed is named with the way out, without a traceback."""
    program = (
        f"import sys, runpy; sys.modules[{package!r}] = None; sys.argv = ['run.py', 'check'];"
        f" sys.path.insert(0, {str(ROOT)!r}); runpy.run_path({str(ROOT / 'run.py')!r}, run_name='__main__')"
    )
    done = run("-c", program)
    assert done.returncode == 1
    assert f"gapura: the package {package} is missing in " in done.stderr
    assert "make demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_core_in_the_way(tmp_path: Path) -> None:
    """A `core` that is somebody else's is named, and not run."""
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("")
    program = (
        f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['run.py', 'check'];"
        f" runpy.run_path({str(ROOT / 'run.py')!r}, run_name='__main__')"
    )
    done = run("-c", program)
    assert done.returncode == 1
    assert f"another package called core is in the way: {tmp_path}" in done.stderr


def test_another_python(tmp_path: Path) -> None:
    """A Python that is too old or too new is told in one line."""
    for version in ((3, 10, 1), (3, 14, 0)):
        program = (
            f"import sys, runpy; sys.version_info = {version}; sys.argv = ['run.py', 'check'];"
            f" runpy.run_path({str(ROOT / 'run.py')!r}, run_name='__main__')"
        )
        done = run("-c", program)
        assert done.returncode == 1
        assert done.stderr.startswith("gapura: Python 3.11, 3.12 or 3.13 is needed")
        assert len(done.stderr.splitlines()) == 1
