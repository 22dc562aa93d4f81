"""WhatsApp binary XML: a node to bytes and back.

A node is a list: its head counts the tag, twice the attributes, and the content if any. Frequent words are one byte or
two (the tables of `tokens`); any text may also be written out, so tables are needed only to read what clients send.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from sandbox.wire.node import JID, Node
from sandbox.wire.protobuf import Malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.wire.node import Content

LIST_EMPTY, DICTIONARY_0, AD_JID, LIST_8, LIST_16, JID_PAIR = 0, 236, 247, 248, 249, 250
HEX_8, BINARY_8, BINARY_20, BINARY_32, NIBBLE_8 = 251, 252, 253, 254, 255
DOMAINS = {"s.whatsapp.net": 0, "lid": 1, "hosted": 128, "hosted.lid": 129}
_SERVERS = {number: server for server, number in DOMAINS.items()}
_ALPHABETS = {NIBBLE_8: "0123456789-.\0\0\0\0", HEX_8: "0123456789ABCDEF"}
_COMPRESSED = 2


class Codec:
    """Writes and reads nodes with the given tables of words: one byte each, and four dictionaries of two bytes each."""

    def __init__(self, single: Sequence[str] = (), double: Sequence[Sequence[str]] = ()) -> None:
        self._single, self._double = single, double
        self._tokens = {
            word: bytes([DICTIONARY_0 + number, at]) for number, row in enumerate(double) for at, word in enumerate(row)
        }
        self._tokens |= {word: bytes([at]) for at, word in enumerate(single) if word}

    def encode(self, node: Node) -> bytes:
        return b"\0" + self._node(node)

    def decode(self, data: bytes) -> Node:
        """Raises Malformed."""
        try:
            body = zlib.decompress(data[1:]) if data[0] & _COMPRESSED else data[1:]
            return _Reader(body, self._single, self._double).node()
        except (IndexError, KeyError, UnicodeDecodeError, zlib.error) as error:
            raise Malformed(f"not a stanza: {error!r}") from error

    def _node(self, node: Node) -> bytes:
        attrs = {name: value for name, value in node.attrs.items() if value is not None and value != ""}
        parts = [_list_head(1 + 2 * len(attrs) + (node.content is not None)), self._text(node.tag)]
        for name, value in attrs.items():
            parts += [self._text(name), self._jid(value) if isinstance(value, JID) else self._text(value)]
        parts.append(self._content(node.content))
        return b"".join(parts)

    def _content(self, content: Content) -> bytes:
        if content is None:
            return b""
        if isinstance(content, bytes):
            return _binary(content)
        if isinstance(content, str):
            return self._text(content)
        return _list_head(len(content)) + b"".join(map(self._node, content))

    def _text(self, text: str) -> bytes:
        return self._tokens.get(text) or _binary(text.encode())

    def _jid(self, jid: JID) -> bytes:
        if jid.device or jid.server.startswith("hosted"):
            return bytes([AD_JID, DOMAINS[jid.server], jid.device]) + self._text(jid.user)
        return bytes([JID_PAIR]) + (self._text(jid.user) if jid.user else bytes([LIST_EMPTY])) + self._text(jid.server)


def _list_head(size: int) -> bytes:
    if size == 0:
        return bytes([LIST_EMPTY])
    return bytes([LIST_8, size]) if size < 1 << 8 else bytes([LIST_16]) + size.to_bytes(2, "big")


def _binary(data: bytes) -> bytes:
    size = len(data)
    if size < 1 << 8:
        return bytes([BINARY_8, size]) + data
    if size < 1 << 20:
        return bytes([BINARY_20]) + size.to_bytes(3, "big") + data
    return bytes([BINARY_32]) + size.to_bytes(4, "big") + data


class _Reader:
    def __init__(self, data: bytes, single: Sequence[str], double: Sequence[Sequence[str]]) -> None:
        self._data, self._at = data, 0
        self._single, self._double = single, double

    def node(self) -> Node:
        size = self._list_size(self._number(1))
        if size == 0:
            raise Malformed("a node without a tag")
        tag = self._word()
        attrs = {self._word(): self._attribute() for _ in range((size - 1) // 2)}
        return Node(tag, attrs, None if size % 2 else self._content())

    def _content(self) -> Content:
        tag = self._number(1)
        if tag in (LIST_8, LIST_16):
            return [self.node() for _ in range(self._list_size(tag))]
        if tag in (BINARY_8, BINARY_20, BINARY_32):
            return self._blob(tag)
        value = self._value(tag)
        return str(value) if isinstance(value, JID) else value

    def _word(self) -> str:
        value = self._attribute()
        if not isinstance(value, str):
            raise Malformed(f"a word was due, not {value!r}")
        return value

    def _attribute(self) -> str | JID | None:
        return self._value(self._number(1))

    def _value(self, tag: int) -> str | JID | None:
        if tag == LIST_EMPTY:
            return None
        if tag in (BINARY_8, BINARY_20, BINARY_32):
            return self._blob(tag).decode()
        if tag in _ALPHABETS:
            return self._packed(_ALPHABETS[tag])
        if tag in (JID_PAIR, AD_JID):
            return self._jid(tag)
        if DICTIONARY_0 <= tag < DICTIONARY_0 + len(self._double):
            return self._double[tag - DICTIONARY_0][self._number(1)]
        return self._single[tag]

    def _jid(self, tag: int) -> JID:
        if tag == AD_JID:
            domain, device = self._take(2)
            return JID(self._word(), _SERVERS[domain], device)
        user = self._attribute()
        return JID(user if isinstance(user, str) else "", self._word())

    def _packed(self, alphabet: str) -> str:
        head = self._number(1)
        digits = self._take(head & 127).hex()
        return "".join(alphabet[int(digit, 16)] for digit in (digits[:-1] if head & 128 else digits))

    def _blob(self, tag: int) -> bytes:
        if tag == BINARY_20:
            return self._take(self._number(3) & 0xFFFFF)
        return self._take(self._number(1 if tag == BINARY_8 else 4))

    def _list_size(self, tag: int) -> int:
        if tag == LIST_EMPTY:
            return 0
        if tag not in (LIST_8, LIST_16):
            raise Malformed(f"a list was due, not {tag}")
        return self._number(1 if tag == LIST_8 else 2)

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _take(self, size: int) -> bytes:
        chunk = self._data[self._at : self._at + size]
        if len(chunk) != size:
            raise Malformed("the stanza is cut short")
        self._at += size
        return chunk
