"""The sandbox's doors for people and programs: an HTTP API and a web page, on loopback only.

async with Sandbox() as sandbox, serve_control(sandbox, 3100) as url: ...
"""

from sandbox.control.server import control_app, serve_control

__all__ = ["control_app", "serve_control"]
