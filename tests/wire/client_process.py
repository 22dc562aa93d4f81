"""A process with real WhatsApp clients in it, driven by JSON lines: `python client_process.py SETTINGS`.

Each line of stdin is {"id": 1, "do": "send", "tenant": "a", …}; each line of the stdout that the process was started
with is {"id": 1, "ok": …}, {"id": 1, "error": …} or {"event": "Connected", "tenant": "a", …}. The log goes to stderr.
It ends with os._exit, as a session worker must.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from core.errors import OpenFailed, SendFailed
from core.transport.whatsapp.process import attach, capture_stdout, prepare_process


class Watched:
    """The library's functions, and in `overlaps` every one that began while a connect had not yet had its first
    callback, or while a stop was under way: there Go may abort, seldom and at random."""

    def __init__(self) -> None:
        from core.transport.whatsapp import client, library

        self.functions, library.gocode = library.gocode, self
        self.lock = threading.Lock()
        self.alone: dict[bytes, str] = {}
        self.overlaps: list[str] = []
        taken = client.Client._note_taken

        def note_taken(it: Any) -> None:
            self.alone.pop(it._key.encode(), None)
            taken(it)

        client.Client._note_taken = note_taken  # type: ignore[method-assign]

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.functions, name)

        def call(*args: Any) -> Any:
            key = args[1] if name == "Neonize" else args[0]
            with self.lock:
                self.overlaps += [f"{name} of {key!r} during {what} of {who!r}" for who, what in self.alone.items()]
                if name in ("Neonize", "Stop"):
                    self.alone[key] = name
            try:
                return function(*args)
            finally:
                if name in ("Neonize", "Stop"):
                    self.alone.pop(key, None)

        return call


class Process:
    """The clients of one process, and what a test may do with them."""

    def __init__(self, settings: dict[str, Any], out: int) -> None:
        from core.transport.whatsapp.gate import ConnectGate

        self.settings, self.out = settings, out
        self.gate = ConnectGate()
        self.clients: dict[str, Any] = {}
        self.running = asyncio.Event()
        self.running.set()
        self.watched = Watched()

    def say(self, line: dict[str, Any]) -> None:
        os.write(self.out, json.dumps(line, default=str).encode() + b"\n")

    async def obey(self, order: dict[str, Any]) -> None:
        number, name, tenant = order.pop("id"), order.pop("do"), order.pop("tenant", "")
        try:
            if method := getattr(self, f"do_{name}", None):
                answer = await method(tenant, **order)
            else:
                answer = await getattr(self.clients[tenant], name)(**order)
            if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
                answer = dataclasses.asdict(answer)
            self.say({"id": number, "ok": answer})
        except (OpenFailed, SendFailed) as error:
            fields = {key: getattr(error, key, None) for key in ("cause", "detail", "left", "retry")}
            self.say({"id": number, "error": type(error).__name__, **fields})
        except Exception as error:  # noqa: BLE001 - the test that gave the order is to see it
            self.say({"id": number, "error": type(error).__name__, "detail": str(error)})

    async def do_open(self, tenant: str, device: str | None = None, timeout: float = 30, **more: Any) -> None:
        from core.transport.whatsapp.client import Client

        client = Client(
            tenant=tenant,
            dsn=more.get("dsn", self.settings["dsn"]),
            device=device,
            gate=self.gate,
            on_event=lambda event: self.on_event(tenant, event),
            proxy=more.get("proxy", self.settings["proxy"]),
        )
        self.clients[tenant] = client
        await client.open(timeout)

    async def on_event(self, tenant: str, event: Any) -> None:
        await self.running.wait()
        self.say({"event": type(event).__name__, "tenant": tenant, **dataclasses.asdict(event)})

    async def do_send(self, tenant: str, quote: dict[str, str] | None = None, **fields: Any) -> Any:
        from core.transport.wire import Quote

        fields["mentions"] = tuple(fields.get("mentions", ()))
        return await self.clients[tenant].send(**fields, quote=Quote(**quote) if quote else None)

    async def do_hold(self, _: str) -> None:
        self.running.clear()

    async def do_go_on(self, _: str) -> None:
        self.running.set()

    async def do_overlaps(self, _: str) -> list[str]:
        return self.watched.overlaps

    async def do_tick(self, _: str) -> None:
        """Answers at once when the loop is not blocked."""

    async def do_exit(self, _: str) -> None:
        logging.shutdown()
        os._exit(0)


async def main() -> None:
    out = capture_stdout()
    settings = json.loads(sys.argv[1])
    prepare_process(settings["sessions"])
    if settings.get("root_key"):
        attach(bytes.fromhex(settings["root_key"]))
    process = Process(settings, out)
    process.say({"event": "ready", "tenant": ""})
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = set()
    while line := await reader.readline():
        tasks.add(asyncio.create_task(process.obey(json.loads(line))))
    os._exit(3)


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    asyncio.run(main())
