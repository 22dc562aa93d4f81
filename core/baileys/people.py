"""Who is who: hidden ids and the numbers they belong to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import phonenumbers

from core.baileys.names import LID
from core.whatsmeow_rows import LidRow

if TYPE_CHECKING:
    from core.baileys.names import SignalAddress

# WhatsApp writes accounts of two countries as their numbers once were: Mexico with a 1, Brazil without a 9.
_OLD_PLANS = re.compile(r"521[1-9][0-9]{9}|55[1-9][0-9][6-9][0-9]{7}", re.ASCII)


@dataclass(slots=True)
class People:
    """One to one: `add` keeps what came first."""

    number_of: dict[str, str] = field(default_factory=dict)
    lid_of: dict[str, str] = field(default_factory=dict)
    own_number: str = ""

    def add(self, lid: str, number: str) -> bool:
        """False when one of the two belongs to another already."""
        if lid in self.number_of or number in self.lid_of:
            return self.number_of.get(lid) == number
        self.number_of[lid], self.lid_of[number] = number, lid
        return True

    def rows(self) -> tuple[LidRow, ...]:
        return tuple(LidRow(lid, number) for lid, number in sorted(self.number_of.items()))

    def settled(self, address: SignalAddress) -> SignalAddress:
        """Baileys before 7 wrote hidden users without their mark. Those that are known decide; of the others, what is
        no phone number anywhere is a hidden id."""
        user = address.user
        is_hidden = user in self.number_of or not (user in self.lid_of or user == self.own_number or is_number(user))
        return replace(address, agent=LID) if address.agent is None and is_hidden else address

    def hidden(self, address: SignalAddress) -> SignalAddress | None:
        """The same device under its hidden id; None when that is not known, or it is that already."""
        lid = self.lid_of.get(address.user)
        return replace(address, user=lid, agent=LID) if lid and address.agent is None else None


def is_number(digits: str) -> bool:
    """Whether these may be a phone number, country code included."""
    try:
        parsed = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(parsed) or bool(_OLD_PLANS.fullmatch(digits))
