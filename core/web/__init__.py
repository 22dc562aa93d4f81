"""The HTTP door: `make_app` builds it."""

from core.web.app import make_app

__all__ = ["make_app"]
