"""What happens to a tenant, as the table `events` tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the annotations are read at run time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `seq` counts a tenant's events from 1; `type` is `message.<status>`, `message.received`,
    `session.<state>` or another dotted name; `chat` is the recipient key of the chat that it concerns, `about` the
    message's id; `data` is ready for JSON:

    - of an outgoing message {id, to, status, kind, client_ref?, wa_id?, cause?}
    - message.received {id, chat, sender, phone, lid, push_name, kind, content, at, reply_to, mentions, backlog}
    - of another incoming one {id, chat, …}, such as message.reply_refused {…, plugin, refused, detail}
    - of a session {state, reason?}
    """

    seq: int
    type: str
    at: datetime
    chat: str | None
    about: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in order. `next`: after which number to go on reading; `first`: the oldest that is kept, or will be the
    next; `last`: the newest, 0 when there was none ever."""

    events: tuple[Event, ...]
    next: int
    first: int
    last: int
