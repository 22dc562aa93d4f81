"""A conversation that would end the whole session process, found before the real library meets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.wire.logins import disagreements, talk
from tests.wire.processes import session_processes
from tests.wire.town import until

if TYPE_CHECKING:
    from tests.wire.town import Town

SHOP, BUDI, SITI = "628111111111", "628222222222", "628333333333"

NO_SENDER_CHAIN = """
UPDATE whatsmeow_sessions SET session = convert_to(
  jsonb_set(convert_from(session, 'UTF8')::jsonb, '{SessionState,SenderChain}', 'null')::text, 'UTF8')
 WHERE their_id LIKE %s RETURNING their_id
"""
OTHERS = "SELECT their_id, session FROM whatsmeow_sessions WHERE their_id NOT LIKE %s ORDER BY 1"


async def test_one_damaged_conversation_ends_no_process(town: Town) -> None:
    """The library would end its process, and everybody's session in it, at the next message to that person. It begins
    anew, both ways, with a warning; all other conversations are untouched, and nothing dies."""
    await town.add("shop")
    await town.serve()
    await town.pair("shop", SHOP)
    budi, siti = town.sandbox.phone(BUDI, "Budi"), town.sandbox.phone(SITI, "Siti")
    await talk(town, ("shop", SHOP), budi, 2, "first")
    await talk(town, ("shop", SHOP), siti, 2, "first too")
    await town.stop()
    theirs = f"100{BUDI}%"
    assert len(town.query(NO_SENDER_CHAIN, theirs)) == 1
    others = town.query(OTHERS, theirs)
    await town.serve()
    await town.until_state("shop", "connected")
    await until(lambda: town.gateway.stderr.count("login.conversation_damaged"), lambda count: count == 1)
    assert town.query(OTHERS, theirs) == others
    process = await town.session_process()
    await talk(town, ("shop", SHOP), budi, 3, "anew")
    await talk(town, ("shop", SHOP), siti, 2, "as before")
    assert session_processes(town.gateway.pid) == [process]
    assert "child.aborted" not in town.gateway.stderr
    assert disagreements(town) == []
