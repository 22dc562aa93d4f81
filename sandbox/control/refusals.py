"""What the control API says no to."""

from __future__ import annotations


class Refusal(Exception):
    """A request that is refused with `status`; `error` is a stable code, `detail` a sentence that says what to do."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.error, self.detail = status, error, detail
