"""The words of binary XML, read out of the installed neonize library: no table is shipped here.

Go keeps a table of texts as an array of (pointer, length) pairs. In a shared object each pointer is an
R_X86_64_RELATIVE (8) or R_AARCH64_RELATIVE (1027) relocation whose addend is the text's address. So a table is found
from two neighbouring words: the text of one, the relocation that points at it, and beside it that of the other.
"""

from __future__ import annotations

import struct
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.errors import SandboxError
from sandbox.wire.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Iterator

_RELATIVE = {62: 8, 183: 1027}  # e_machine: relocation type
_PT_LOAD, _PT_DYNAMIC, _DT_RELA, _DT_RELASZ = 1, 2, 7, 8
_TEXT_HEADER, _SLICE_HEADER = 16, 24
_SINGLES, _DICTIONARIES, _LONGEST_WORD = 236, 4, 200


@cache
def codec() -> Codec:
    """The codec of the installed neonize; read once (about 0.1 s), then remembered. Raises SandboxError."""
    found = find_spec("neonize")
    folders = found.submodule_search_locations if found else None
    library = next((path for folder in folders or () for path in Path(folder).glob("neonize-*.so")), None)
    if library is None:
        raise SandboxError("the sandbox reads WhatsApp's word tables from neonize, which is not installed: make test")
    try:
        return Codec(*_Library(library.read_bytes()).tables())
    except (LookupError, struct.error) as error:
        raise SandboxError(f"{library.name} holds no word tables where neonize 0.5.2 has them: {error!r}") from error


class _Library:
    """A little-endian 64-bit ELF shared object."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._segments: list[tuple[int, int, int]] = []  # address, offset, size
        self._dynamic = (0, 0)  # offset, size
        self._read_segments()
        self._target: dict[int, int] = {}  # address of a pointer: where it points
        self._pointers: dict[int, list[int]] = {}  # the other way round
        self._read_relocations()

    def tables(self) -> tuple[list[str], list[list[str]]]:
        """The single-byte words and the four dictionaries of two-byte words."""
        start = self._slot_of("xmlstreamstart", "xmlstreamend") - _TEXT_HEADER  # entry 0 is the empty text
        single = [self._word(start + _TEXT_HEADER * at) for at in range(_SINGLES)]
        first = self._slot_of("read-self", "active")
        for header in self._pointers[first]:
            if all(header + _SLICE_HEADER * at in self._target for at in range(_DICTIONARIES)):
                return single, [self._dictionary(header + _SLICE_HEADER * at) for at in range(_DICTIONARIES)]
        raise LookupError("dictionaries")

    def _dictionary(self, header: int) -> list[str]:
        start = self._target[header]
        return [self._word(start + _TEXT_HEADER * at) for at in range(self._number(header + 8))]

    def _read_segments(self) -> None:
        (table,) = struct.unpack_from("<Q", self._data, 32)
        size, count = struct.unpack_from("<HH", self._data, 54)
        for at in range(count):
            kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", self._data, table + at * size)
            if kind == _PT_LOAD:
                self._segments.append((address, offset, length))
            elif kind == _PT_DYNAMIC:
                self._dynamic = (offset, length)

    def _read_relocations(self) -> None:
        (machine,) = struct.unpack_from("<H", self._data, 18)
        relative = _RELATIVE[machine]
        offset, length = self._dynamic
        tags: dict[int, int] = dict(struct.iter_unpack("<qQ", self._data[offset : offset + length]))
        start = self._offset(tags[_DT_RELA])
        for slot, info, addend in struct.iter_unpack("<QQq", self._data[start : start + tags[_DT_RELASZ]]):
            if info & 0xFFFFFFFF == relative:
                self._target[slot] = addend
                self._pointers.setdefault(addend, []).append(slot)

    def _offset(self, address: int) -> int:
        for base, offset, size in self._segments:
            if base <= address < base + size:
                return offset + address - base
        raise LookupError(hex(address))

    def _number(self, address: int) -> int:
        start = self._offset(address)
        return int.from_bytes(self._data[start : start + 8], "little")

    def _word(self, slot: int) -> str:
        size = self._number(slot + 8)
        if size == 0:
            return ""
        if size > _LONGEST_WORD:
            raise LookupError(f"{size} bytes are no word")
        start = self._offset(self._target[slot])
        return self._data[start : start + size].decode()

    def _slot_of(self, word: str, following: str) -> int:
        """The address of the array entry that holds `word` and is followed by one that holds `following`."""
        for address in self._addresses(word.encode()):
            for slot in self._pointers.get(address, ()):
                if self._holds(slot, word) and self._holds(slot + _TEXT_HEADER, following):
                    return slot
        raise LookupError(word)

    def _addresses(self, text: bytes) -> Iterator[int]:
        at = self._data.find(text)
        while at >= 0:
            yield from (base + at - offset for base, offset, size in self._segments if offset <= at < offset + size)
            at = self._data.find(text, at + 1)

    def _holds(self, slot: int, word: str) -> bool:
        try:
            return self._word(slot) == word
        except (LookupError, UnicodeDecodeError):
            return False
