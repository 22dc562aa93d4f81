"""The yardstick: aiohttp as its tutorial has it, reading the same JSON and answering with JSON. It keeps nothing."""

from __future__ import annotations

from aiohttp import web

from benchmarks.announced import serve


async def post(request: web.Request) -> web.Response:
    """202 for any body with a number and a message."""
    body = await request.json()
    return web.json_response({"status": "queued", "to": body["number"], "message": body["message"]}, status=202)


def make_app() -> web.Application:
    """One route, no middleware."""
    app = web.Application()
    app.router.add_post("/api/send-message", post)
    return app


if __name__ == "__main__":
    serve(make_app())
