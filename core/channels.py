"""The channels on which PostgreSQL tells processes that something has happened."""

KEYS = "gapura_keys"
"""API keys have changed."""

OUTBOX = "gapura_outbox"
"""Something was queued by a process that does not send it. Payload: the tenant."""

INCOMING = "gapura_incoming"
"""A message came in."""

SESSIONS = "gapura_sessions"
"""A session's row has changed. Payload: the tenant."""

COMMANDS = "gapura_commands"
"""A command was left or answered."""

FORGOTTEN = "gapura_forgotten"
"""A row of auth_creds was deleted by hand. Payload: the tenant."""

EVENTS = "gapura_events"
"""Something has happened to a tenant (db/migrations/0010_events.sql). Payload: the tenant."""
