"""The tests' end of a `client_process`: a real neonize client whose events are awaited and whose calls are made."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import signal

    from sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0
"""Seconds: neonize takes a second to load, and more on a machine that has other things to do."""


class CallFailed(Exception):
    """neonize raised; the text is its."""


class Client:
    """One neonize client in a process of its own. With the same `database` it is the same client again."""

    def __init__(self, sandbox: Sandbox, folder: Path, database: str = "client.db") -> None:
        self._sandbox, self._folder, self._database = sandbox, folder, database
        self._events: defaultdict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> Client:
        """Start the process and connect; the first events are "qr" or "Connected"."""
        ca = self._folder / "ca.pem"
        ca.write_text(self._sandbox.ca_pem, "utf-8")
        mine, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.wire.sandbox.client_process", str(theirs.fileno())),
                *(self._sandbox.proxy_url, self._sandbox.root_key.hex(), str(self._folder / self._database), "client"),
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env={**os.environ, "SSL_CERT_FILE": str(ca)},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        reader, self._writer = await asyncio.open_connection(sock=mine)
        self._listener = asyncio.ensure_future(self._listen(reader))
        await self.call("connect")
        return self

    async def pair(self, number: str, name: str = "") -> int:
        """Start, scan with this number's phone, and wait until it is online; the device's number."""
        await self.start()
        device = await self._sandbox.scan((await self.event("qr"))["text"], number, name)
        await self.event("Connected")
        return device

    async def call(self, name: str, *arguments: object) -> Any:
        self._writer.write(json.dumps({"call": name, "arguments": arguments}).encode() + b"\n")
        answer = await asyncio.wait_for(self._answers.get(), PATIENCE)
        if "error" in answer:
            raise CallFailed(answer["error"])
        return answer["answer"]

    async def event(self, kind: str) -> dict[str, Any]:
        """The next event of this kind that was not taken yet."""
        return await asyncio.wait_for(self._events[kind].get(), PATIENCE)

    def count(self, kind: str) -> int:
        """How many events of this kind wait to be taken."""
        return self._events[kind].qsize()

    def signal(self, number: signal.Signals) -> None:
        """To its process: SIGSTOP and SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """End the process at once, as a crash does."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            self._process = None
            self._writer.close()
        if self._listener is not None:
            await asyncio.wait([self._listener])

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                what = json.loads(line)
                queue = self._events[what["event"]] if "event" in what else self._answers
                queue.put_nowait(what)
        except ConnectionError:
            return
        self._answers.put_nowait({"error": "the client's process has ended"})
