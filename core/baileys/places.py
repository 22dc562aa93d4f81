"""Reading JSON that somebody else wrote: every value knows where it stands, and what it was to be."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from core.errors import GapuraError

if TYPE_CHECKING:
    from collections.abc import Iterator

Code = Literal["bad_json", "missing", "bad_length", "key_mismatch", "bad_base64", "bad_buffer"]

UINT32 = 2**32 - 1
INT64 = 2**63 - 1
KEY_TYPE = b"\x05"
"""What Signal writes before a public key of Curve25519."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


class Damaged(GapuraError):
    """A value that cannot be used. `path` (`$.noiseKey.private`) tells where it stands; what it holds is never told."""

    def __init__(self, code: Code, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.code, self.path, self.problem = code, path, problem


@dataclass(frozen=True, slots=True)
class Place:
    """A value of a JSON document and its path. What is found there may be secret, keys of mappings too: a path holds
    only names that were asked for, and numbers."""

    value: Any = field(repr=False)
    path: str = "$"

    def __getitem__(self, name: str | int) -> Place:
        """The value below `name`. Raises Damaged (`missing`) when there is none, or null."""
        found = self.get(name)
        if found is None:
            raise Damaged("missing", self._below(name), "is missing")
        return found

    def get(self, name: str | int) -> Place | None:
        """As above; None when there is none, or null."""
        if isinstance(name, str):
            value = self.mapping().get(name)
        else:
            value = self.sequence()[name] if name < len(self.sequence()) else None
        return None if value is None else Place(value, self._below(name))

    def mapping(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            self.refuse("bad_json", "is not a mapping")
        return self.value

    def sequence(self) -> list[Any]:
        if not isinstance(self.value, list):
            self.refuse("bad_json", "is not a list")
        return self.value

    def items(self) -> Iterator[tuple[str, Place]]:
        """Of a mapping whose keys may be secret: their paths are numbered."""
        for number, (name, value) in enumerate(self.mapping().items()):
            yield name, Place(value, self._below(number))

    def elements(self) -> Iterator[Place]:
        for number, value in enumerate(self.sequence()):
            yield Place(value, self._below(number))

    def number(self, least: int = 0, most: int = UINT32) -> int:
        """A whole number."""
        if type(self.value) is not int or not least <= self.value <= most:
            self.refuse("bad_json", f"is not a whole number from {least} to {most}")
        return self.value

    def long(self) -> int:
        """A whole number of 64 bits from 0 on: a number, its digits as a text, or protobufjs's {low, high}."""
        if isinstance(self.value, dict):
            low, high = self["low"].number(-(2**31)), self["high"].number(-(2**31))
            found = (high & UINT32) << 32 | low & UINT32
        elif isinstance(self.value, str) and re.fullmatch("[0-9]{1,19}", self.value, re.ASCII):
            found = int(self.value)
        else:
            return self.number(0, INT64)
        return Place(found, self.path).number(0, INT64)

    def text(self) -> str:
        """A text that PostgreSQL can hold."""
        if not isinstance(self.value, str):
            self.refuse("bad_json", "is not a text")
        if not is_storable(self.value):
            self.refuse("bad_json", "has characters that cannot be stored")
        return self.value

    def data(self, *lengths: int) -> bytes:
        """A Buffer in any of the forms in which it was ever written; `lengths`: those it may have, none: any."""
        found = self._data()
        if lengths and len(found) not in lengths:
            self.refuse("bad_length", f"has {len(found)} bytes in place of {' or '.join(map(str, lengths))}")
        return found

    def public_key(self) -> bytes:
        """The 32 bytes of a public key, written with its type or without."""
        found = self.data(32, 33)
        if len(found) == 33 and found[:1] != KEY_TYPE:
            self.refuse("bad_length", "has 33 bytes and is not a Curve25519 key with its type")
        return found[-32:]

    def refuse(self, code: Code, problem: str) -> NoReturn:
        raise Damaged(code, self.path, problem)

    def _below(self, name: str | int) -> str:
        return f"{self.path}.{name}" if isinstance(name, str) else f"{self.path}[{name}]"

    def _data(self) -> bytes:
        value = self.value
        if isinstance(value, dict):
            if value.get("type") == "Buffer" or value.get("buffer") is True:
                value = value.get("data", value.get("value"))
                if not isinstance(value, str | list):
                    self.refuse("bad_buffer", "is a Buffer without its bytes")
            else:
                value = self._numbered(value)
        if isinstance(value, str):
            return self._from_base64(value)
        if isinstance(value, list) and all(type(one) is int and 0 <= one <= 255 for one in value):
            return bytes(value)
        return self.refuse("bad_buffer", "is none of the forms of a Buffer")

    def _numbered(self, value: dict[str, Any]) -> list[Any]:
        """A Uint8Array that went through plain JSON: {"0": 7, "1": 9}."""
        if not value or set(value) != {str(number) for number in range(len(value))}:
            self.refuse("bad_buffer", "is none of the forms of a Buffer")
        return [value[str(number)] for number in range(len(value))]

    def _from_base64(self, text: str) -> bytes:
        if _BASE64.fullmatch(text):
            try:
                return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
            except binascii.Error:
                pass
        return self.refuse("bad_base64", "is not base64")


def parse_json(text: str | bytes | None) -> Place:
    """The document. Raises Damaged: `missing` when there is none, `bad_json` when it is not JSON."""
    if text is None:
        raise Damaged("missing", "$", "is missing")
    try:
        return Place(json.loads(text, parse_constant=_no_json))
    except (ValueError, RecursionError):
        raise Damaged("bad_json", "$", "is not JSON") from None


def is_storable(text: str) -> bool:
    """Whether PostgreSQL takes it: no NUL, and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _no_json(constant: str) -> NoReturn:
    raise ValueError(constant)
