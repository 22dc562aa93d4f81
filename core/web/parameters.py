"""What stands behind the question mark of a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import BadRequest

if TYPE_CHECKING:
    from aiohttp import web

_YES = frozenset({"1", "true", "yes"})
_NO = frozenset({"0", "false", "no"})


def only(request: web.Request, *names: str, lenient: bool = False) -> None:
    """Raise BadRequest for a parameter that nobody here knows (a mistyped dry_run would send), and for one given twice.
    `lenient`: the unknown ones are ignored."""
    for name in request.query:
        if name not in names:
            if lenient:
                continue
            raise BadRequest("parameter_unknown", f"there is no parameter {name[:60]!r} here", field=name[:60])
        if len(request.query.getall(name)) > 1:
            raise BadRequest("parameter_twice", f"the parameter {name} is given twice", field=name)


def switched_on(request: web.Request, name: str) -> bool:
    """Whether `?name=1` is given. Raises BadRequest for what is neither yes nor no."""
    value = request.query.get(name, "0").lower()
    if value in _YES:
        return True
    if value in _NO:
        return False
    raise BadRequest("parameter_invalid", f"{name} is 1 or 0", field=name)


def number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    """The whole number `?name=5`. Raises BadRequest for anything else, and for one that is out of bounds."""
    text = request.query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most:
        return int(text)
    raise BadRequest("parameter_invalid", f"{name} is a whole number from {least} to {most}", field=name)
