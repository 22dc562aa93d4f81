"""App state: the keys by which a phone shares contacts, mutes and archived chats, and how far we have read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.baileys.places import INT64, Damaged, Place
from core.whatsmeow_rows import AppStateKeyRow, AppStateMacRow, AppStateVersionRow

if TYPE_CHECKING:
    from collections.abc import Iterator

_RAW_ID, _CURRENT_INDEX, _DEVICE_INDEXES = 0x08, 0x10, 0x1A  # fields 1 and 2 as varints, 3 packed


def app_state_key(name: str, place: Place) -> AppStateKeyRow:
    """The row of a key; `name` is what its own name ends with. Raises Damaged."""
    stamp, fingerprint = place.get("timestamp"), place.get("fingerprint")
    return AppStateKeyRow(
        key_id=Place(name, "$.name").data(),
        key_data=place["keyData"].data(32),
        timestamp=stamp.long() if stamp else 0,
        fingerprint=_packed(fingerprint) if fingerprint else b"",
    )


def app_state_version(name: str, place: Place) -> tuple[AppStateVersionRow, list[AppStateMacRow]] | None:
    """The rows of one collection; None while nothing of it was read, which whatsmeow wants no row for. All its MACs
    get the present version. Raises Damaged."""
    version = place["version"].number(0, INT64)
    if version == 0:
        return None
    row = AppStateVersionRow(name, version, place["hash"].data(128))
    macs = place.get("indexValueMap")
    return row, list(_macs(name, version, macs)) if macs else []


def _macs(name: str, version: int, places: Place) -> Iterator[AppStateMacRow]:
    for index, place in places.items():
        mac = Place(index, f"{place.path}.name").data(32)
        yield AppStateMacRow(name, version, mac, place["valueMac"].data(32))


def _packed(place: Place) -> bytes:
    """Byte for byte as protobufjs writes it: what is there is written, also when it is zero."""
    out = bytearray()
    for tag, field in ((_RAW_ID, "rawId"), (_CURRENT_INDEX, "currentIndex")):
        if (number := place.get(field)) is not None:
            out += bytes([tag]) + _varint(number.number())
    indexes = place.get("deviceIndexes")
    packed = b"".join(_varint(one.number()) for one in indexes.elements()) if indexes else b""
    if packed:
        out += bytes([_DEVICE_INDEXES]) + _varint(len(packed)) + packed
    return bytes(out)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def fingerprint(data: bytes) -> dict[str, Any]:
    """What `_packed` packed. Raises Damaged."""
    found: dict[str, Any] = {}
    at = 0
    while at < len(data):
        tag, at = data[at], at + 1
        number, at = _read_varint(data, at)
        if tag in (_RAW_ID, _CURRENT_INDEX):
            found["rawId" if tag == _RAW_ID else "currentIndex"] = number
        elif tag == _DEVICE_INDEXES:
            end, indexes = at + number, found.setdefault("deviceIndexes", [])
            while at < min(end, len(data)):
                index, at = _read_varint(data, at)
                indexes.append(index)
        else:
            raise Damaged("bad_buffer", "$.fingerprint", "is no fingerprint of an app state key")
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data):
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    raise Damaged("bad_buffer", "$.fingerprint", "is cut short")
