"""The HTTP door: `make_app` builds it, a `Runner` runs it."""

from core.web.app import make_app
from core.web.server import Runner

__all__ = ["Runner", "make_app"]
