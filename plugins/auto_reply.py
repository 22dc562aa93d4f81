"""Answers to what people write, from the YAML: the first rule that matches is the answer.

A pattern is compared with the whole message, whatever its capitals and spaces; `*` stands for any text. There are no
regular expressions: a slow one would stop the gateway for everybody. Who needs more writes a plugin like this one.
"""

import unicodedata
from dataclasses import dataclass
from fnmatch import fnmatchcase

from core import Incoming, Reply, hookimpl


@dataclass(frozen=True)
class Rule:
    match: tuple[str, ...]
    reply: str

    def __post_init__(self) -> None:
        if not self.match or not all(map(plain, self.match)) or not self.reply.strip():
            raise ValueError('a rule has a `match`, such as ["price", "*how much*"], and a `reply`, neither empty')


@dataclass(frozen=True)
class Options:
    rules: tuple[Rule, ...] = ()
    quote: bool = False
    groups: bool = False


@hookimpl
def on_message(message: Incoming, options: Options) -> Reply | None:
    if message.chat.endswith("@g.us") and not options.groups:
        return None
    said = plain(message.content)
    for rule in options.rules:
        if any(matches(plain(pattern), said) for pattern in rule.match):
            name = message.push_name or message.phone or ""
            return message.reply(rule.reply.replace("{name}", name), quote=options.quote)
    return None


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern` is the whole of `text`. Time grows with their lengths' product at most: fnmatch never goes back
    over what a `*` has taken."""
    return fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))


def plain(text: str) -> str:
    """Small letters, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
