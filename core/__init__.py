"""What a plugin may import. Nothing else of core is promised to stay."""

from core.decisions import Decision, Deny, Exempt, Listed, Quota
from core.errors import Forbidden, OverLimit, Refused, Unauthorized
from core.hooks.gateway import Gateway
from core.hooks.specs import hookimpl
from core.model import AuthRequest, Incoming, Outgoing, Principal, Reply, SessionChange, StatusChange

__all__ = [
    "AuthRequest",
    "Decision",
    "Deny",
    "Exempt",
    "Forbidden",
    "Gateway",
    "Incoming",
    "Listed",
    "Outgoing",
    "OverLimit",
    "Principal",
    "Quota",
    "Refused",
    "Reply",
    "SessionChange",
    "StatusChange",
    "Unauthorized",
    "hookimpl",
]
