"""Gapura as its users have it: `python run.py …` in processes of its own.

    installation = Installation(tmp_path, database_url=url)
    key = installation.add_tenant("shop", transport="dry_run")
    with installation.serve() as gateway:
        requests.post(f"{gateway.url}/api/send-message", …)

Without `database_url` each installation starts the embedded PostgreSQL, which takes a second; with it, nothing does.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds that anything may take on a busy machine."""

_OURS = ("GAPURA_", "DATABASE_URL", "TEST_DATABASE_URL", "DEMO_ONCE")


@dataclass(frozen=True)
class Installation:
    """A configuration and a data directory below `home`. `environment` is added to that of every process."""

    home: Path
    database_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.config / "tenants").mkdir(parents=True, exist_ok=True)

    @property
    def config(self) -> Path:
        """Holds service.yaml (which may be missing) and tenants/."""
        return self.home / "config"

    @property
    def data(self) -> Path:
        """What GAPURA_DATA names."""
        return self.home / "var"

    def write(self, file: str, text: str) -> Path:
        """A file of the configuration: `service.yaml`, `tenants/shop.yaml`."""
        path = self.config / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def add_tenant(self, tenant: str, *, transport: str = "dry_run", plugins: str = "", **keys: str) -> str:
        """Its API key. The tenant's YAML gets `transport`, `keys` and `plugins` (YAML, the whole list) if given."""
        lines = [f"transport: {transport}", *(f"{name}: {value}" for name, value in keys.items())]
        self.write(f"tenants/{tenant}.yaml", "\n".join([*lines, *([f"plugins: {plugins}"] if plugins else []), ""]))
        return str(self.answer("tenant", "add", tenant)["api_key"])

    def run(
        self, *arguments: str, text: str | None = None, patience: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end, with `text` on its stdin (which is no terminal)."""
        return subprocess.run(
            [sys.executable, str(ROOT / "run.py"), *arguments],
            env=self._environment(),
            input=text or "",
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )

    def answer(self, *arguments: str) -> dict[str, Any]:
        """What a command that must succeed answers with --json."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def serve(self, *arguments: str) -> GatewayProcess:
        """A started `run.py serve` on a free port. Ends with the `with` block, or with stop() or kill()."""
        return GatewayProcess(("serve", "--port", "0", *arguments), self._environment(), self.home)

    def work(self, *arguments: str, data: Path) -> GatewayProcess:
        """A started `run.py worker` with a GAPURA_DATA of its own, as on another machine."""
        return GatewayProcess(("worker", *arguments), self._environment() | {"GAPURA_DATA": str(data)}, self.home)

    def _environment(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        mine |= {"GAPURA_CONFIG": str(self.config), "GAPURA_DATA": str(self.data), "PYTHONWARNINGS": "default"}
        if self.database_url is not None:
            mine["DATABASE_URL"] = self.database_url
        return {**mine, **self.environment}


class GatewayProcess:
    """A running gateway, or worker. `url`: where it answers; `pid`: its process. Raises AssertionError with its stderr
    when it does not get ready."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], home: Path) -> None:
        number = len(list(home.glob("serve-*.log")))
        self._log = home / f"serve-{number}.log"
        with self._log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "run.py"), *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.pid = self._process.pid
        self.stdout = ""
        try:
            self.url = self._ready()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def stderr(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """SIGTERM, and its exit status. `stdout` holds all that it printed."""
        if self._process.poll() is None:
            self._process.terminate()
        return self._end()

    def kill(self) -> int:
        """SIGKILL, and its exit status."""
        self._process.kill()
        return self._end()

    def logs(self, text: str) -> None:
        """Wait until stderr contains `text`; fail after a minute."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.stderr:
            assert time.monotonic() < deadline, f"{text!r} was never logged:\n{self.stderr}"
            time.sleep(0.02)

    def _end(self) -> int:
        stdout = self._process.stdout
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"it does not end:\n{self.stderr}") from None
        if stdout is not None and not stdout.closed:
            self.stdout += stdout.read().decode()
            stdout.close()
        return status

    def _ready(self) -> str:
        assert self._process.stdout is not None
        deadline, line = time.monotonic() + PATIENCE, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                assert selector.select(deadline - time.monotonic()), f"it does not get ready:\n{self.stderr}"
                piece = os.read(self._process.stdout.fileno(), 4096)
                assert piece, f"it ended ({self._process.wait(PATIENCE)}):\n{self.stderr}"
                line += piece
        self.stdout = line.decode()
        if self.stdout == "gapura worker ready\n":
            return ""
        word, _, url = self.stdout.strip().rpartition(" ")
        assert word == "gapura ready", self.stdout
        return url
