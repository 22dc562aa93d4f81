"""QR codes as pictures. What is drawn is a secret: nothing here is logged or kept on disk."""

from __future__ import annotations

import base64
import io
from functools import lru_cache

import segno

_MODULE = 8
"""Pixels of one dark square."""

_QUIET = 4
"""Squares of white around it, which scanners want."""


@lru_cache(maxsize=64)
def png(text: str) -> bytes:
    """A PNG of the QR code that says `text`. A page asks for the same one every second."""
    picture = io.BytesIO()
    segno.make(text, error="l", micro=False).save(picture, kind="png", scale=_MODULE, border=_QUIET)
    return picture.getvalue()


def data_url(text: str) -> str:
    """The same as a URL that holds the whole picture."""
    return "data:image/png;base64," + base64.b64encode(png(text)).decode()
