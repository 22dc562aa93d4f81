"""Stanzas: WhatsApp's XML, as a tree of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sandbox.wire.protobuf import Malformed

PN, LID = "s.whatsapp.net", "lid"
"""The servers of a JID: of a phone number, and of a LID, the number's opaque alias."""


@dataclass(frozen=True, slots=True)
class JID:
    """An address: user, server and device number; device 0 is the phone itself."""

    user: str
    server: str = PN
    device: int = 0

    @property
    def bare(self) -> JID:
        """The account's address: this one without its device."""
        return JID(self.user, self.server)

    def __str__(self) -> str:
        return f"{self.user}{f':{self.device}' if self.device else ''}@{self.server}"


SERVER = JID("")
"""The server itself. whatsmeow compares types: `from` must be this JID, a text "s.whatsapp.net" is ignored."""

Attributes: TypeAlias = Mapping[str, "str | JID | None"]
Content: TypeAlias = "bytes | str | Sequence[Node] | None"


@dataclass(frozen=True, slots=True)
class Node:
    """A stanza or a part of one. Attributes that are None or "" are not written."""

    tag: str
    attrs: Attributes = field(default_factory=dict)
    content: Content = None

    @property
    def children(self) -> Sequence[Node]:
        return () if self.content is None or isinstance(self.content, bytes | str) else self.content

    def child(self, *path: str) -> Node | None:
        """The first node down this path of tags."""
        node: Node | None = self
        for tag in path:
            node = next((child for child in (node.children if node else ()) if child.tag == tag), None)
        return node

    def need(self, *path: str) -> Node:
        """As `child`, but raises Malformed when there is none."""
        node = self.child(*path)
        if node is None:
            raise Malformed(f"<{self.tag}> has no <{'><'.join(path)}>")
        return node

    @property
    def data(self) -> bytes:
        """The content as bytes; raises Malformed when there are children or nothing."""
        if isinstance(self.content, str):
            return self.content.encode()
        if not isinstance(self.content, bytes):
            raise Malformed(f"<{self.tag}> holds no bytes")
        return self.content

    def get(self, name: str) -> str:
        """An attribute as text; "" when it is missing."""
        value = self.attrs.get(name)
        return "" if value is None else str(value)

    def jid(self, name: str) -> JID:
        """An attribute that must be an address; raises Malformed."""
        value = self.attrs.get(name)
        if not isinstance(value, JID):
            raise Malformed(f"<{self.tag}> has no address {name!r}")
        return value

    def with_attrs(self, **attrs: str | JID | None) -> Node:
        return Node(self.tag, {**self.attrs, **attrs}, self.content)

    def __str__(self) -> str:
        """Readable, and safe to log: of bytes, which may be keys, only the length is shown."""
        attrs = "".join(f' {name}="{value}"' for name, value in sorted(self.attrs.items()) if value not in (None, ""))
        if self.content is None:
            return f"<{self.tag}{attrs}/>"
        if isinstance(self.content, bytes | str):
            return f"<{self.tag}{attrs}>[{len(self.content)} B]</{self.tag}>"
        return f"<{self.tag}{attrs}>{''.join(map(str, self.content))}</{self.tag}>"
