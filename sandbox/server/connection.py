"""One client's socket after the handshake: stanzas out in the order they are sent, and questions with answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from sandbox.errors import UnknownDevice
from sandbox.server.world import stamp
from sandbox.wire.frames import framed
from sandbox.wire.node import SERVER, Node
from sandbox.wire.protobuf import Malformed

if TYPE_CHECKING:
    from aiohttp.web import WebSocketResponse

    from sandbox.server.accounts import Device
    from sandbox.server.paircode import CodeRequest
    from sandbox.server.pairing import Registration
    from sandbox.wire.codec import Codec
    from sandbox.wire.node import Attributes
    from sandbox.wire.noise import Cipher

log = logging.getLogger("sandbox.wire")

LAST_WORDS = 1.0
"""Seconds between a last stanza that was read and the close: whatsmeow forgets what it has not handled when the socket
closes."""
READ_WITHIN = 10.0
"""Seconds for a client that stands still to read its last stanza."""
ANSWER_WITHIN = 30.0


class Connection:
    """A client that finished the handshake; unpaired, or logged in as a device.

    `send` never waits: a task of the connection's own seals and writes, so stanzas leave in the order of the calls.
    """

    def __init__(
        self, socket: WebSocketResponse, transport: asyncio.Transport, codec: Codec, client: bytes, cipher: Cipher
    ) -> None:
        self.client = client  # its static Noise key, which names the device
        self.device: Device | None = None
        self.active = False  # it has logged in and wants its messages
        self.registration: Registration | None = None
        self.ref = ""
        self.code_request: CodeRequest | None = None
        self._socket, self._transport, self._codec, self._cipher = socket, transport, codec, cipher
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: ask whether all before it was read
        self._answers: dict[str, asyncio.Future[Node]] = {}
        self._asked = 0
        self._writer = asyncio.get_running_loop().create_task(self._write(), name="sandbox: connection")
        self._closer: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        return f"{self.device.account.number}:{self.device.id}" if self.device else "unpaired"

    @property
    def ended(self) -> bool:
        """Its last word is said."""
        return self._closer is not None

    def owner(self) -> Device:
        """The device that is logged in; raises Malformed before a login, when few stanzas are allowed."""
        if self.device is None:
            raise Malformed("this is answered after a login only")
        return self.device

    def send(self, node: Node) -> None:
        log.debug("to %s: %s", self.name, node, extra={"action": "sandbox_send"})
        self._out.put_nowait(self._codec.encode(node))

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                if (data := await self._out.get()) is None:
                    await self._socket.ping()
                else:
                    await self._socket.send_bytes(framed(self._cipher.seal(data)))

    async def ask(self, child: Node) -> Node:
        """The client's answer to a question of the server. Raises UnknownDevice when it does not answer or is gone."""
        self._asked += 1
        key = f"srv-{self._asked}"
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        attrs: Attributes = {"from": SERVER, "type": "set", "id": key, "xmlns": "md", "t": stamp()}
        self.send(Node("iq", attrs, [child]))
        try:
            return await asyncio.wait_for(answer, ANSWER_WITHIN)
        except TimeoutError:
            raise UnknownDevice(f"the client did not answer <{child.tag}>") from None
        finally:
            self._answers.pop(key, None)

    def answered(self, node: Node) -> None:
        answer = self._answers.get(node.get("id"))
        if answer is not None and not answer.done():
            answer.set_result(node)

    def end(self, *last: Node) -> None:
        """Say a last word, and close when the client has had time to hear it."""
        self.active = False
        for node in last:
            self.send(node)
        if self._closer is None:
            self._out.put_nowait(None)
            self._closer = asyncio.get_running_loop().call_later(READ_WITHIN, self.drop)

    def was_read(self) -> None:
        """The client has answered a ping, and so has read what came before it."""
        if self._closer is not None:
            self._closer.cancel()
            self._closer = asyncio.get_running_loop().call_later(LAST_WORDS, self.drop)

    def drop(self) -> None:
        """Cut the line, as a network does: no goodbye."""
        self.active = False
        self._transport.abort()

    async def gone(self) -> None:
        """The socket is closed: forget the device, tell those who wait for an answer."""
        self.active = False
        if self._closer is not None:
            self._closer.cancel()
        if self.device is not None and self.device.connection is self:
            self.device.connection = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(UnknownDevice("the client went away"))
        self._writer.cancel()
        await asyncio.wait([self._writer])
