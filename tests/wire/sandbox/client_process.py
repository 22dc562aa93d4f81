"""A process with one real neonize client, driven by JSON lines over a socket it inherits.

neonize blocks threads and hangs the end of its interpreter, so it never runs in the tests' own process. It prints to
stdout, which is why the lines go elsewhere. In: {"call", "arguments"}. Out: {"answer"} or {"error"} for each, in order,
and {"event", …} as they come. Arguments: the socket's descriptor, the proxy, the root key in hex, the database, the
name.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from neonize._binder import ProxySettings
from neonize.aioze import events
from neonize.aioze.client import NewAClient
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import ContextInfo, ExtendedTextMessage, Message
from neonize.utils.enum import ChatPresence, ChatPresenceMedia, Presence, ReceiptType
from neonize.utils.jid import build_jid

from sandbox.attach import attach


class ClientProcess:
    def __init__(self, writer: asyncio.StreamWriter, proxy: str, database: str, name: str) -> None:
        self._writer, self._proxy = writer, proxy
        self._client = NewAClient(database, uuid=name)
        self._messages: dict[str, Any] = {}
        self._task: Any = None
        self._subscribe()

    def tell(self, **what: Any) -> None:
        self._writer.write(json.dumps(what).encode() + b"\n")

    def _subscribe(self) -> None:
        async def on_qr(_: Any, data: bytes) -> None:
            self.tell(event="qr", text=data.decode())

        self._client.event.qr(on_qr)
        for kind, what in EVENTS.items():
            self._client.event(getattr(events, kind))(self._teller(kind.removesuffix("Ev"), what))
        self._client.event(events.MessageEv)(self._on_message)

    def _teller(self, kind: str, what: Any) -> Any:
        async def on_event(_: Any, event: Any) -> None:
            self.tell(event=kind, **what(event))

        return on_event

    async def _on_message(self, _: Any, event: Any) -> None:
        extended = event.Message.extendedTextMessage
        text = event.Message.conversation or extended.text
        if not text:
            return
        info, context = event.Info, extended.contextInfo
        self._messages[info.ID] = event
        self.tell(
            event="Message",
            id=info.ID,
            text=text,
            sender=info.MessageSource.Sender.User,
            sender_number=info.MessageSource.SenderAlt.User,
            from_me=info.MessageSource.IsFromMe,
            chat=info.MessageSource.Chat.User,
            name=info.Pushname,
            reply_to=context.stanzaID,
            participant=context.participant,
            quoted=context.quotedMessage.conversation,
            mentions=list(context.mentionedJID),
            secret=len(event.Message.messageContextInfo.messageSecret),
        )

    # -- calls -------------------------------------------------------------------------------------------------------
    async def connect(self) -> None:
        self._task = await self._client.connect(ProxySettings(self._proxy))

    async def disconnect(self) -> None:
        await self._client.disconnect()

    async def pair_code(self, number: str) -> str:
        return await self._client.PairPhone(number, False)

    async def send(self, to: str, text: str) -> str:
        return (await self._client.send_message(build_jid(to), text)).ID

    async def mention(self, to: str, text: str, who: str) -> str:
        context = ContextInfo(mentionedJID=[f"{who}@s.whatsapp.net"])
        message = Message(extendedTextMessage=ExtendedTextMessage(text=text, contextInfo=context))
        return (await self._client.send_message(build_jid(to), message)).ID

    async def reply(self, to_message: str, text: str) -> str:
        return (await self._client.reply_message(text, self._messages[to_message])).ID

    async def read(self, message_id: str) -> None:
        source = self._messages[message_id].Info.MessageSource
        await self._client.mark_read(message_id, chat=source.Chat, sender=source.Sender, receipt=ReceiptType.READ)

    async def type(self, to: str, on: bool) -> None:
        state = ChatPresence.CHAT_PRESENCE_COMPOSING if on else ChatPresence.CHAT_PRESENCE_PAUSED
        await self._client.send_chat_presence(build_jid(to), state, ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT)

    async def available(self) -> None:
        await self._client.send_presence(Presence.AVAILABLE)

    async def on_whatsapp(self, *numbers: str) -> list[bool]:
        return [found.IsIn for found in await self._client.is_on_whatsapp(*numbers)]

    async def me(self) -> dict[str, Any]:
        me = await self._client.get_me()
        return {"number": me.JID.User, "device": me.JID.Device, "lid": me.LID.User, "name": me.PushName}

    async def contact(self, number: str) -> str:
        return (await self._client.contact.get_contact(build_jid(number))).FullName

    async def groups(self) -> int:
        return len(await self._client.get_joined_groups())

    async def attach(self, root_key: str) -> None:
        attach(bytes.fromhex(root_key))

    async def logout(self) -> None:
        await self._client.logout()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            order = json.loads(line)
            try:
                self.tell(answer=await getattr(self, order["call"])(*order["arguments"]))
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.tell(error=f"{type(error).__name__}: {error}")


EVENTS = {
    "ConnectedEv": lambda event: {},
    "DisconnectedEv": lambda event: {},
    "StreamReplacedEv": lambda event: {},
    "ClientOutdatedEv": lambda event: {},
    "TemporaryBanEv": lambda event: {"code": event.Code, "expire": event.Expire},
    "LoggedOutEv": lambda event: {"on_connect": event.OnConnect, "reason": event.Reason},
    "ReceiptEv": lambda event: {"ids": list(event.MessageIDs), "type": event.Type},
    "ChatPresenceEv": lambda event: {"state": event.State},
    "OfflineSyncCompletedEv": lambda event: {"count": event.Count},
    "PairStatusEv": lambda event: {"number": event.ID.User},
}


async def main(descriptor: int, proxy: str, root_key: str, database: str, name: str) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16))
    attach(bytes.fromhex(root_key))
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    await ClientProcess(writer, proxy, database, name).serve(reader)


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main(int(sys.argv[1]), *sys.argv[2:]))
    finally:
        os._exit(0)
