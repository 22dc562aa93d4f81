"""The servers that are compared, each a process of its own, on one PostgreSQL: the gateway's own, as shipped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from db.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
TENANT = "shop"
_START_WITHIN = 60.0
_END_WITHIN = 30.0
_NOT_OURS = ("GAPURA_", "DATABASE_URL", "PYTHONPATH")

SERVICE = """\
defaults:
  plugins:
    api_key:
    whitelist:
    daily_limit: { limit: 1000000 }
    delay: { min: 2, max: 5 }
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that takes `POST /api/send-message` on 127.0.0.1."""

    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class Servers:
    """Everything that runs. `api_key` is good for the gateway and the naive server, and ignored by the bare one."""

    bare: Server
    gateway: Server
    naive: Server
    api_key: str
    database_url: str


@contextlib.contextmanager
def running() -> Iterator[Servers]:
    """All three with an empty database; nothing is left of them afterwards. RuntimeError when one does not start."""
    with temporary_home() as home, contextlib.ExitStack() as stack:
        yield _start(home, stack)


@contextlib.contextmanager
def temporary_home() -> Iterator[Path]:
    """A folder for configuration and data."""
    home = Path(tempfile.mkdtemp(prefix="gapura-bench-"))
    home.chmod(0o711)  # as root, PostgreSQL runs as somebody else and has to get through
    try:
        yield home
    finally:
        shutil.rmtree(home)


def _start(home: Path, stack: contextlib.ExitStack) -> Servers:
    _configure(home / "config")
    environment = clean_environment(home)
    log = stack.enter_context((home / "log").open("wb"))
    api_key = add_tenant(environment)
    gateway = stack.enter_context(started(["run.py", "serve", "--port", "0"], environment, log.fileno()))
    url = EmbeddedPostgres(home / "var").url
    assert url is not None, "the gateway has started it"
    environment["DATABASE_URL"] = url
    return Servers(
        bare=stack.enter_context(started(["-m", "benchmarks.bare"], environment, log.fileno())),
        gateway=gateway,
        naive=stack.enter_context(started(["-m", "benchmarks.naive"], environment, log.fileno())),
        api_key=api_key,
        database_url=url,
    )


def _configure(config: Path) -> None:
    (config / "tenants").mkdir(parents=True)
    (config / "service.yaml").write_text(SERVICE, encoding="utf-8")
    (config / "tenants" / f"{TENANT}.yaml").write_text("transport: dry_run\n", encoding="utf-8")


def clean_environment(home: Path) -> dict[str, str]:
    """This process's, with configuration and data below `home` and nothing else of Gapura's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    return {**environment, "GAPURA_CONFIG": str(home / "config"), "GAPURA_DATA": str(home / "var")}


def add_tenant(environment: Mapping[str, str], tenant: str = TENANT) -> str:
    """Its API key. RuntimeError when it cannot be added."""
    command = [sys.executable, "run.py", "tenant", "add", tenant, "--json"]
    added = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, timeout=_START_WITHIN, check=False, text=True
    )
    if added.returncode:
        raise RuntimeError(f"no tenant could be added:\n{added.stdout}{added.stderr}")
    return str(json.loads(added.stdout)["api_key"])


@contextlib.contextmanager
def started(arguments: list[str], environment: Mapping[str, str], log: int) -> Iterator[Server]:
    """A program whose first line ends with its URL, stopped at the end. RuntimeError when it does not start."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().decode().strip().rpartition(":")[2]
        if not port.isdigit():
            raise RuntimeError(f"{' '.join(arguments)} does not start:\n{_last_words(log)}")
        yield Server(process.pid, int(port))
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=_END_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _last_words(log: int) -> str:
    lines = Path(f"/proc/self/fd/{log}").read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-20:])
