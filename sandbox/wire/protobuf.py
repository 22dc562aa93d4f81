"""The protobuf wire format, for the dozen small messages that the server reads or writes.

    encode({1: b"..", 2: 7, 3: {1: 1}, 4: ["a", "b"]})
    decode(data).data(1)

Integers are varints; bytes and text are length-delimited; mappings are nested messages; sequences repeat their field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = "int | bytes | str | Mapping[int, Value] | Sequence[Value] | None"
Fields: TypeAlias = Mapping[int, Value]

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


class Malformed(ValueError):
    """Bytes or a stanza that do not follow the format."""


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded message: each field's raw values in the order they came. Where a field is due, Malformed is raised."""

    fields: Mapping[int, Sequence[int | bytes]]

    def __contains__(self, field: int) -> bool:
        return field in self.fields

    def get(self, field: int) -> bytes | None:
        value = self.fields.get(field, (None,))[0]
        return value if isinstance(value, bytes) else None

    def data(self, field: int) -> bytes:
        value = self.get(field)
        if value is None:
            raise Malformed(f"field {field} is missing")
        return value

    def text(self, field: int) -> str:
        """The field's text; "" when it is missing."""
        return (self.get(field) or b"").decode()

    def texts(self, field: int) -> tuple[str, ...]:
        return tuple(value.decode() for value in self.fields.get(field, ()) if isinstance(value, bytes))

    def number(self, field: int, default: int = 0) -> int:
        value = self.fields.get(field, (default,))[0]
        return value if isinstance(value, int) else default

    def message(self, field: int) -> Message:
        return decode(self.data(field))

    def messages(self, field: int) -> list[Message]:
        return [decode(value) for value in self.fields.get(field, ()) if isinstance(value, bytes)]


def encode(fields: Fields) -> bytes:
    """The message's bytes. None leaves a field out."""
    out = bytearray()
    for field, value in fields.items():
        repeated = value if isinstance(value, Sequence) and not isinstance(value, bytes | str) else [value]
        for one in repeated:
            if one is not None:
                out += _field(field, one)
    return bytes(out)


def _field(field: int, value: Value) -> bytes:
    if isinstance(value, int):
        return _varint(field << 3 | _VARINT) + _varint(value)
    if isinstance(value, str):
        data = value.encode()
    elif isinstance(value, Mapping):
        data = encode(value)
    elif isinstance(value, bytes):
        data = value
    else:
        raise TypeError(f"field {field} cannot hold {type(value).__name__}")
    return _varint(field << 3 | _DELIMITED) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    if number < 0:
        raise ValueError("negative numbers are not used on this wire")
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode(data: bytes) -> Message:
    """Read a message. Raises Malformed when it is cut short or uses a wire type that nobody sends."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        value, at = _read_value(data, at, key & 7)
        fields.setdefault(key >> 3, []).append(value)
    return Message(fields)


def _read_value(data: bytes, at: int, kind: int) -> tuple[int | bytes, int]:
    if kind == _VARINT:
        return _read_varint(data, at)
    if kind == _DELIMITED:
        size, at = _read_varint(data, at)
    elif kind in _FIXED_SIZES:
        size = _FIXED_SIZES[kind]
    else:
        raise Malformed(f"wire type {kind}")
    if at + size > len(data):
        raise Malformed("the message is cut short")
    return bytes(data[at : at + size]), at + size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("a number is cut short or too long")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
