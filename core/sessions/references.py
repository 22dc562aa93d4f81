"""What has to be looked up about a message before and after it is sent: whom it quotes, and whether its recipient is
known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import SendFailed, StatementRejected, Unavailable
from core.transport.wire import Quote

if TYPE_CHECKING:
    from core.model import Outgoing
    from db.session_store import SessionStore


async def quote_of(message: Outgoing, store: SessionStore, own_number: str) -> Quote | None:
    """What is to be quoted. A message whose quote cannot be looked up has not left. Raises SendFailed."""
    try:
        found = await store.quoted(message.tenant, message.reply_to) if message.reply_to else None
    except (Unavailable, StatementRejected) as error:
        raise SendFailed("database", retry=isinstance(error, Unavailable), detail=str(error)) from error
    if message.reply_to is None or found is None:
        return None
    sender, content = found
    return Quote(message.reply_to, sender or own_number, content)


async def is_known(message: Outgoing, store: SessionStore) -> bool:
    """Whether WhatsApp takes the message while it refuses new conversations; in doubt that it does."""
    try:
        return message.answers is not None or await store.has_heard_from(message.tenant, message.to)
    except (Unavailable, StatementRejected):
        return True
