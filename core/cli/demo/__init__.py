"""`demo`: a gateway, a WhatsApp on loopback and phones, in one process and its session processes.

command.py    starts everything, lets the story be told, keeps it up, ends it
files.py      the folder, and what a user would write: service.yaml, a tenant, a bot
cast.py       who plays: the shop, the gateway as the shop sees it, the phones
story.py      what is told, step by step
"""

from core.cli.demo.command import demo

__all__ = ["demo"]
