"""Addresses: what people paste becomes one *recipient key* per person or group.

    628123456789      a phone number: country code and number, digits only
    123456789012@lid  a person whose number is unknown (WhatsApp's hidden-user id)
    12036300@g.us     a group (also the old form 628123456789-1600000000@g.us)

A key is what counters, lists and ordering go by, so every spelling of a number must give the same one. A number is held
against the world's numbering plans; an address in WhatsApp's own spelling is taken as it is: WhatsApp knows who exists.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType, shortnumberinfo

from core.errors import Unprocessable

LONGEST_TEXT = 100
"""Longer texts are refused before anything is done with them; it bounds the cache as well."""

SHORTEST_NUMBER, LONGEST_NUMBER = 7, 15
"""Digits of an international number, country code included."""

_CACHED = 65_536
_EDGES = " \t\r\n"
_SEPARATORS = str.maketrans("", "", " \u00a0().-/")
_DASHES = "\u2212\u2043"  # minus sign, hyphen bullet: not of category Pd

_WHATSAPP = re.compile(r"([0-9]+)(?:\.[0-9]{1,3})?(?::[0-9]{1,5})?@(?:s\.whatsapp\.net|c\.us)", re.IGNORECASE)
_LID = re.compile(r"([0-9]{5,20})(?:\.[0-9]{1,3})?(?::[0-9]{1,5})?@lid", re.IGNORECASE)
_GROUP = re.compile(r"([0-9]{10,25}|[0-9]{7,15}-[0-9]{8,12})@g\.us", re.IGNORECASE)
_NOBODY = ("broadcast", "newsletter")
_SERVERS = ("s.whatsapp.net", "c.us", "lid", "g.us")

# WhatsApp writes accounts of two countries as their numbers once were, and callers send back what they were told:
# Mexico with a 1 after the country code, Brazil without the ninth digit.
_OLD_PLANS = re.compile(r"521[1-9][0-9]{9}|55[1-9][0-9][6-9][0-9]{7}")

_SERVICES = {
    PhoneNumberType.TOLL_FREE: "a toll-free number",
    PhoneNumberType.PREMIUM_RATE: "a premium-rate number",
    PhoneNumberType.SHARED_COST: "a shared-cost number",
    PhoneNumberType.UAN: "a company's service number",
    PhoneNumberType.VOICEMAIL: "a voicemail number",
}

_LENGTH_CODES = {
    phonenumbers.ValidationResult.TOO_SHORT: ("number_too_short", "too short"),
    phonenumbers.ValidationResult.TOO_LONG: ("number_too_long", "too long"),
}


@dataclass(frozen=True, slots=True)
class Address:
    """A person or a group. `key` is the recipient key, a person's repeated as `phone` (digits) or `lid` (`…@lid`)."""

    key: str
    phone: str | None = None
    lid: str | None = None
    is_group: bool = False


def parse(text: str, region: str, *, field: str = "number") -> Address:
    """The address that `text` means to somebody in `region` (ISO 3166, `ID`).

    `+` or `00` is international; a leading `0` is national; other digits are tried as international first. Every key
    comes back unchanged through `parse(to_jid(key), …)`, and a key made from a number through `parse(key, …)` as well,
    in any region.

    Raises core.errors.Unprocessable, and nothing else, for any text: `field` is passed on, the codes are
    `number_empty`, `number_letters`, `number_characters`, `number_too_short`, `number_too_long`, `number_not_valid`,
    `number_no_country`, `number_service`, `number_unknown_suffix`, `number_broadcast`.
    """
    try:
        if len(text) > LONGEST_TEXT:
            _refuse("number_too_long", f"a number has at most {LONGEST_NUMBER} digits; this has {len(text)} characters")
        return _parse(text, region)
    except Unprocessable as refused:
        refused.field = field
        raise


def to_jid(key: str) -> str:
    """The JID that WhatsApp knows a recipient key by."""
    return key if "@" in key else f"{key}@s.whatsapp.net"


@lru_cache(maxsize=_CACHED)
def _parse(text: str, region: str) -> Address:
    if "@" in text:
        return _from_jid(_without_format_characters(text).strip(_EDGES))
    digits = _digits(text)
    number = _international(digits) if digits.startswith(("+", "00")) else _local(digits, region.upper())
    return Address(key=number, phone=number)


def _from_jid(jid: str) -> Address:
    user, _, server = jid.rpartition("@")
    if server.lower() in _NOBODY:
        _refuse("number_broadcast", f"@{server.lower()} is not a person or a group that can be written to")
    if server.lower() not in _SERVERS:
        _refuse(
            "number_unknown_suffix",
            "after the @ only s.whatsapp.net, c.us, lid or g.us is known; a plain phone number will do as well",
        )
    if group := _GROUP.fullmatch(jid):
        return Address(key=f"{group[1]}@g.us", is_group=True)
    if person := _LID.fullmatch(jid):
        return Address(key=f"{person[1]}@lid", lid=f"{person[1]}@lid")
    if phone := _WHATSAPP.fullmatch(jid):
        return _from_whatsapp_digits(phone[1])
    if not user:
        _refuse("number_empty", f"there is nothing before @{server.lower()}")
    return _refuse("number_not_valid", f"what stands before @{server.lower()} is not a WhatsApp id")


def _from_whatsapp_digits(digits: str) -> Address:
    if len(digits) < SHORTEST_NUMBER:
        _refuse("number_too_short", f"a WhatsApp number has at least {SHORTEST_NUMBER} digits with its country code")
    if len(digits) > LONGEST_NUMBER:
        _refuse("number_too_long", f"a WhatsApp number has at most {LONGEST_NUMBER} digits with its country code")
    if digits[0] == "0":
        _refuse("number_not_valid", "a WhatsApp id begins with the country code, never with 0")
    return Address(key=digits, phone=digits)


def _digits(text: str) -> str:
    """`text` without its decoration: ASCII digits, after a `+` if there was one."""
    plain = text.strip(_EDGES).translate(_SEPARATORS)
    if not (plain.isascii() and plain.isdigit()):
        plain = "".join(map(_ascii, plain))
        _check_characters(plain)
    digits = plain.removeprefix("+")
    if not digits:
        _refuse("number_empty", "a phone number is needed, for example +62 812 3456 7890")
    if len(digits.removeprefix("00")) > LONGEST_NUMBER:
        _refuse("number_too_long", f"a number has at most {LONGEST_NUMBER} digits; this one has {len(digits)}")
    return plain


def _ascii(character: str) -> str:
    """The digit or sign that a character stands for, nothing for a separator, else the character itself."""
    if character.isascii():
        return character
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category in ("Zs", "Pd", "Cf") or character in _DASHES:
        return ""
    same = unicodedata.normalize("NFKC", character)
    return "" if same in ("(", ")", ".", "/") else "+" if same == "+" else character


def _check_characters(plain: str) -> None:
    strange = plain.removeprefix("+").lstrip("0123456789")
    if any(map(str.isalpha, strange)):
        _refuse("number_letters", "a phone number has digits, not letters")
    if strange:
        sign = strange[0] if strange[0].isprintable() else f"U+{ord(strange[0]):04X}"
        _refuse("number_characters", f"a phone number cannot contain {sign!r} here")


def _without_format_characters(text: str) -> str:
    """`text` without invisible marks, such as the direction marks that phones copy along with a contact's number."""
    return text if text.isascii() else "".join(c for c in text if unicodedata.category(c) != "Cf")


def _international(digits: str) -> str:
    written = digits.removeprefix("+") if digits[0] == "+" else digits[2:]
    if _OLD_PLANS.fullmatch(written):
        return written
    number = _read("+" + written, None)
    return _valid(number) or _refuse_number(written, number)


def _local(digits: str, region: str) -> str:
    known = region in phonenumbers.SUPPORTED_REGIONS
    if digits[0] != "0":
        if _OLD_PLANS.fullmatch(digits):
            return digits
        # First, because the region's plan reads "62817066907" as a national number that exists, though it is +62 817….
        if found := _valid(_read("+" + digits, None)):
            return found
    if not known:
        _refuse("number_no_country", "begin with + and the country code: it is not known which country this is in")
    number = _read(digits, region)
    if number and len(digits) < SHORTEST_NUMBER and shortnumberinfo.is_valid_short_number_for_region(number, region):
        _refuse("number_service", f"{digits} is a short service or emergency number, which WhatsApp cannot reach")
    return _valid(number) or _refuse_number(digits, number)


def _read(digits: str, region: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None


def _valid(number: PhoneNumber | None) -> str | None:
    """The key of a number that exists in its country's plan, None if it does not; refuses service numbers."""
    if number is None:
        return None
    kind = phonenumbers.number_type(number)
    if kind == PhoneNumberType.UNKNOWN:
        return None
    if service := _SERVICES.get(kind):
        _refuse("number_service", f"this is {service}, which is not a WhatsApp recipient")
    key = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
    # Some plans (Germany's) know numbers that are longer than E.164, and so WhatsApp, allows.
    return key if SHORTEST_NUMBER <= len(key) <= LONGEST_NUMBER else None


def _refuse_number(digits: str, number: PhoneNumber | None) -> NoReturn:
    """Say as precisely as possible why no numbering plan has the number."""
    if len(digits) < SHORTEST_NUMBER:
        _refuse("number_too_short", f"{digits or '00'} is too short for a phone number")
    if number is None:
        _refuse("number_not_valid", f"no country has the code that {digits[:3]}… begins with")
    code, why = _LENGTH_CODES.get(
        phonenumbers.is_possible_number_with_reason(number), ("number_not_valid", "not a number that can exist there")
    )
    _refuse(code, f"read as +{number.country_code} {number.national_number}, this is {why}")


def _refuse(code: str, detail: str) -> NoReturn:
    raise Unprocessable(code, detail)
