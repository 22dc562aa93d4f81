"""The way most gateways do it, and the one this project began with: six questions to the database for every request,
each its own round trip and its own commit. It is quick and it is wrong: two requests at once both read the same count.

It uses the same pool, server and disk as the gateway, the seed's tables, and a table of messages that is lighter than
the gateway's (two indexes, no pacing, no explanation), so that the comparison errs in its favour. Numbers are read as
the gateway reads them: a count needs one spelling.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime

from aiohttp import web

from benchmarks.announced import serve
from core.jid import parse
from db.database import Database

LIMIT = 1_000_000
COUNTED_AS = "naive"
"""Its counters stand beside the gateway's, under a tenant of their own."""
TABLE = """
CREATE TABLE IF NOT EXISTS naive_messages (
  id uuid PRIMARY KEY, tenant_id text NOT NULL, recipient text NOT NULL, content text NOT NULL, client_ref text,
  status text NOT NULL DEFAULT 'queued', created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (tenant_id, client_ref))
"""
DATABASE = web.AppKey("database", Database)


async def post(request: web.Request) -> web.Response:
    """202, 401, 429, or the message that the same key stored."""
    db, body = request.app[DATABASE], await request.json()
    tenant = await tenant_of(db, request.headers["X-API-Key"])
    if tenant is None:
        return web.json_response({"code": "unauthorized"}, status=401)
    to, message_id, today = parse(body["number"], "ID").key, str(uuid.uuid4()), datetime.now(UTC).date()
    key = body.get("client_ref", message_id)
    listed = await db.fetch_one("SELECT 1 FROM whitelist WHERE tenant_id = %s AND phone_number = %s", (tenant, to))
    counted = await db.fetch_one(
        "SELECT count FROM daily_limits WHERE tenant_id = %s AND phone_number = %s AND date = %s",
        (COUNTED_AS, to, today),
    )
    if not listed and counted and counted[0] >= LIMIT:
        return web.json_response({"code": "limit_reached"}, status=429)
    earlier = await db.fetch_one(
        "SELECT id FROM naive_messages WHERE tenant_id = %s AND client_ref = %s", (tenant, key)
    )
    if earlier:
        return web.json_response({"id": str(earlier[0]), "status": "queued", "to": to}, status=202)
    await db.execute(
        "INSERT INTO daily_limits (tenant_id, phone_number, date, count) VALUES (%s, %s, %s, 1)"
        " ON CONFLICT (tenant_id, phone_number, date) DO UPDATE SET count = daily_limits.count + 1",
        (COUNTED_AS, to, today),
    )
    await db.execute(
        "INSERT INTO naive_messages (id, tenant_id, recipient, content, client_ref) VALUES (%s, %s, %s, %s, %s)",
        (message_id, tenant, to, body["message"], key),
    )
    return web.json_response({"id": message_id, "status": "queued", "to": to}, status=202)


async def tenant_of(db: Database, api_key: str) -> str | None:
    """Whose key it is."""
    digest = "sha256:" + hashlib.sha256(api_key.encode()).hexdigest()
    row = await db.fetch_one("SELECT tenant_id FROM api_keys WHERE api_key = %s", (digest,))
    return row[0] if row else None


async def begin(app: web.Application) -> None:
    """Connect and make the table."""
    app[DATABASE] = database = await Database.open(os.environ["DATABASE_URL"])
    await database.execute(TABLE)


def make_app() -> web.Application:
    """One route, no middleware."""
    app = web.Application()
    app.router.add_post("/api/send-message", post)
    return app


if __name__ == "__main__":
    serve(make_app(), begin)
