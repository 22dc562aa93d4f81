"""The TLS port: websockets of clients, from the handshake to the last stanza."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web
from cryptography.exceptions import InvalidTag

from sandbox.server.connection import Connection
from sandbox.server.login import begin
from sandbox.server.stanzas import handle
from sandbox.wire.frames import Frames, framed
from sandbox.wire.noise import Responder
from sandbox.wire.protobuf import Malformed

if TYPE_CHECKING:
    import asyncio
    import ssl

    from aiohttp import WSMessage

    from sandbox.server.world import World
    from sandbox.wire.codec import Codec
    from sandbox.wire.noise import Cipher, Identity

log = logging.getLogger("sandbox.wire")

_LARGEST = 32 << 20


class Sockets:
    """`port` is known after `start`."""

    def __init__(self, world: World, codec: Codec, identity: Identity) -> None:
        self.port = 0
        self._world, self._codec, self._identity = world, codec, identity
        self._open: set[_Conversation] = set()
        self._runner: web.AppRunner | None = None

    async def start(self, tls: ssl.SSLContext) -> None:
        app = web.Application()
        app.router.add_get("/ws/chat", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        for conversation in list(self._open):
            conversation.transport.abort()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        # Clients do not speak permessage-deflate. Without `autoping` their answers to pings are seen.
        socket = web.WebSocketResponse(compress=False, max_msg_size=_LARGEST, autoping=False)
        await socket.prepare(request)
        if request.transport is None:
            return socket
        conversation = _Conversation(self._world, self._codec, self._identity, socket, request.transport)
        self._open.add(conversation)
        try:
            await conversation.run()
        finally:
            self._open.discard(conversation)
            await conversation.close()
        return socket


class _Conversation:
    """One websocket: a hello, a last word of the handshake, then stanzas."""

    def __init__(
        self,
        world: World,
        codec: Codec,
        identity: Identity,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
    ) -> None:
        self.transport = transport
        self._world, self._codec, self._identity, self._socket = world, codec, identity, socket
        self._frames = Frames()
        self._handshake: Responder | None = None
        self._connection: Connection | None = None
        self._reading: Cipher | None = None

    async def run(self) -> None:
        try:
            async for message in self._socket:
                await self._hear(message)
        except ConnectionError:
            return
        except (InvalidTag, Malformed) as error:
            self._world.failed("reading from a client", error)

    async def close(self) -> None:
        if self._connection is not None:
            self._world.unpaired.pop(self._connection.ref, None)
            self._world.journal.ended(self._connection)
            await self._connection.gone()
        self.transport.abort()

    async def _hear(self, message: WSMessage) -> None:
        if message.type is WSMsgType.PING:
            await self._socket.pong(message.data)
        elif message.type is WSMsgType.PONG and self._connection is not None:
            self._connection.was_read()
        elif message.type is not WSMsgType.BINARY:
            raise Malformed(f"{message.type.name} instead of bytes")
        else:
            for frame in self._frames.feed(message.data):
                await self._take(frame)

    async def _take(self, frame: bytes) -> None:
        if self._handshake is None:
            self._handshake = Responder(self._identity, self._frames.prologue or b"")
            await self._socket.send_bytes(framed(self._handshake.hello(frame)))
        elif self._connection is None or self._reading is None:
            self._finish(self._handshake, frame)
        else:
            self._stanza(self._connection, self._reading.open(frame))

    def _finish(self, handshake: Responder, frame: bytes) -> None:
        done = handshake.finish(frame)
        connection = Connection(self._socket, self.transport, self._codec, done.client, done.writing)
        self._connection, self._reading = connection, done.reading
        begin(self._world, connection, done.payload)

    def _stanza(self, connection: Connection, data: bytes) -> None:
        node = self._codec.decode(data)
        log.debug("from %s: %s", connection.name, node, extra={"action": "sandbox_receive"})
        self._world.guard(f"{connection.name} sent {node}", lambda: handle(self._world, connection, node))
