"""Events to the URLs that tenants name: signed, in order per chat, until they arrive or a day has passed.

engine.py    which endpoints there are, and which of them have something to be sent
endpoint.py  one endpoint: takes deliveries, posts them, writes down what came of it
posting.py   one post: the request, its signature, and what the answer means
backoff.py   how long to wait; pure
"""

from core.paths.callbacks.engine import Callbacks

__all__ = ["Callbacks"]
