"""The HTTP door: `make_app` builds it, a `Runner` runs it; `spare_the_collector` is due before the first request."""

from core.web.app import make_app
from core.web.server import Runner, spare_the_collector

__all__ = ["Runner", "make_app", "spare_the_collector"]
