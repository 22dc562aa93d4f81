"""Frames: what a websocket's messages carry is a stream of 3-byte lengths and frames, after a prologue."""

from __future__ import annotations

_ROUTING, _HEAD, _PROLOGUE = b"ED", 7, 4


def framed(data: bytes) -> bytes:
    """One frame; a websocket message must hold it whole, as whatsmeow miscounts one that is split."""
    return len(data).to_bytes(3, "big") + data


class Frames:
    """Cuts the client's stream. Its first bytes are "WA" and two version bytes, which the handshake mixes in.

    Before them may come routing information: "ED", 0, 1, a 3-byte length and that many bytes.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self.prologue: bytes | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now."""
        self._buffer += data
        if self.prologue is None and not self._read_prologue():
            return []
        frames = []
        while len(self._buffer) >= 3 and len(self._buffer) >= (end := 3 + int.from_bytes(self._buffer[:3], "big")):
            frames.append(self._buffer[3:end])
            self._buffer = self._buffer[end:]
        return frames

    def _read_prologue(self) -> bool:
        start = 0
        if self._buffer[:2] == _ROUTING:
            if len(self._buffer) < _HEAD:
                return False
            start = _HEAD + int.from_bytes(self._buffer[4:_HEAD], "big")
        if len(self._buffer) < start + _PROLOGUE:
            return False
        self.prologue = self._buffer[start : start + _PROLOGUE]
        self._buffer = self._buffer[start + _PROLOGUE :]
        return True
