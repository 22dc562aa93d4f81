"""Pages for people: one file each when they arrive, with a policy that lets nothing else in.

Their sources are core/web/pages/*.html; a page's style and script lie beside it and are put in where it says
`{style}` and `{script}`, under a nonce of that one answer.
"""

from __future__ import annotations

import html
import secrets
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.web.problems import Problem

_PAGES = Path(__file__).with_name("pages")

_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def wanted(request: web.Request) -> bool:
    """Whether a person with a browser asks."""
    return "text/html" in request.headers.get("Accept", "")


def pairing() -> web.Response:
    """The page that shows how to link a phone. It holds no secret: its script asks for them."""
    return _respond(_source("pairing"), 200)


def sorry(problem: Problem) -> web.Response:
    """A problem for people."""
    told = {"title": problem.title, "detail": problem.detail, "code": problem.code}
    page = _source("sorry")
    for name, text in told.items():
        page = page.replace(f"{{{name}}}", html.escape(text))
    return _respond(page, problem.status, problem.headers)


def _respond(page: str, status: int, more: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    nonce = secrets.token_urlsafe(16)
    headers = {"Content-Security-Policy": _POLICY.format(nonce), "X-Content-Type-Options": "nosniff", **more}
    page = page.replace("{nonce}", nonce)
    return web.Response(text=page, status=status, content_type="text/html", charset="utf-8", headers=headers)


@cache
def _source(name: str) -> str:
    page = (_PAGES / f"{name}.html").read_text("utf-8")
    for place, file in (("{style}", "page.css"), ("{script}", f"{name}.js")):
        if place in page:
            page = page.replace(place, (_PAGES / file).read_text("utf-8"))
    return page
