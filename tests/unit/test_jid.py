"""core.jid: whatever people paste becomes one key per person, or a refusal with a reason."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Unprocessable
from core.jid import Address, parse, to_jid

REGIONS = ("ID", "US", "IT", "BR", "MX", "JP", "DE", "", "XX")
PHONE = "6281234567890"


def refusal(text: str, region: str = "ID", field: str = "number") -> Unprocessable:
    with pytest.raises(Unprocessable) as caught:
        parse(text, region, field=field)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "+62 812-3456-7890",
        "+6281234567890",
        "081234567890",
        "0812 3456 7890",
        "(0812) 3456-7890",
        "(+62) 812 3456 7890",
        "+62 (0)812 3456 7890",
        "0812.3456.7890",
        "0812/34567890",
        "6281234567890",
        "62 812 3456 7890",
        "006281234567890",
        "  081234567890\r\n",
        "+62\u00a0812\u20113456\u20137890",  # no-break space, no-break hyphen, en dash
        "\u202a+62 812 3456 7890\u202c",  # direction marks, as phones copy them
        "+62\u2212812\u2212345\u221267890",  # minus signs
        "\uff0b\uff16\uff12\uff08812\uff093456\uff0f7890",  # full-width signs
        "\u0660\u0668\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0660",  # Arabic-Indic digits
        "6281234567890@c.us",
        "6281234567890@s.whatsapp.net",
        "6281234567890@S.WhatsApp.Net",
        "6281234567890:5@s.whatsapp.net",
        "6281234567890.0:12@s.whatsapp.net",
        " 6281234567890@c.us\n",
        "\u200e6281234567890@c.us",
    ],
)
def test_one_person_has_one_key_in_every_spelling(text: str) -> None:
    """Every spelling of one number gives one key, so that a counter cannot be passed by writing it differently."""
    assert parse(text, "ID") == Address(key=PHONE, phone=PHONE)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("100628111111111@lid", "100628111111111@lid"),
        ("100628111111111:7@lid", "100628111111111@lid"),
        ("100628111111111@LID", "100628111111111@lid"),
    ],
)
def test_a_lid_is_a_person_without_a_number(text: str, key: str) -> None:
    """A hidden-user id is taken as it is, its device dropped, and no number is claimed."""
    assert parse(text, "ID") == Address(key=key, lid=key)


@pytest.mark.parametrize("text", ["120363041234567890@g.us", "6281234567890-1600000000@g.us"])
def test_a_group_is_its_own_key(text: str) -> None:
    """Groups, also of the old form, are taken as they are and are no person."""
    assert parse(text, "ID") == Address(key=text, is_group=True)


def test_country_code_without_plus_is_international_first() -> None:
    """62817066907 is +62 817…: read as an Indonesian national number it exists as well, and is somebody else."""
    assert parse("62817066907", "ID").key == "62817066907" == parse("+62817066907", "ID").key


@pytest.mark.parametrize(
    ("text", "region", "key"),
    [
        ("(212) 555-1234", "US", "12125551234"),
        ("12125551234", "ID", "12125551234"),
        ("07911 123456", "GB", "447911123456"),
        ("06 1234 5678", "IT", "390612345678"),  # Italy keeps the 0
        ("612345678", "ES", "34612345678"),
        ("+2250700000000", "ID", "2250700000000"),
        ("0812 3456 7890", "id", PHONE),
    ],
)
def test_national_numbers_belong_to_the_region(text: str, region: str, key: str) -> None:
    """A national number is completed by its region's rules, in whatever case the region is written."""
    assert parse(text, region).key == key


@pytest.mark.parametrize("text", ["5215512345678", "+52 1 55 1234 5678", "5215512345678@c.us"])
def test_mexico_as_whatsapp_writes_it(text: str) -> None:
    """The 1 that WhatsApp keeps after 52 is accepted from callers who send back what they were told."""
    assert parse(text, "ID").key == "5215512345678"


@pytest.mark.parametrize("text", ["553187654321", "+55 31 8765-4321", "553187654321@s.whatsapp.net"])
def test_brazil_as_whatsapp_writes_it(text: str) -> None:
    """A Brazilian account of the time before the ninth digit is accepted as WhatsApp writes it."""
    assert parse(text, "ID").key == "553187654321"


def test_whatsapp_knows_numbers_that_the_plans_do_not() -> None:
    """A JID is not held against numbering plans: a new range or a business's toll-free account is taken as it is."""
    assert parse("628001234567@s.whatsapp.net", "ID").phone == "628001234567"
    assert parse("999123456789@c.us", "ID").phone == "999123456789"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "number_empty"),
        (" \t\r\n", "number_empty"),
        ("\u00a0", "number_empty"),
        ("+", "number_empty"),
        ("()-", "number_empty"),
        ("@c.us", "number_empty"),
        ("budi", "number_letters"),
        ("0812-BUDI", "number_letters"),
        ("+62 812 345 ext 7", "number_letters"),
        ("'; DROP TABLE messages; --", "number_letters"),
        ("0812' OR '1'='1", "number_letters"),
        ("1;2", "number_characters"),
        ("+62,812", "number_characters"),
        ("++6281234567890", "number_characters"),
        ("62+81234567890", "number_characters"),
        ("0812\x003456", "number_characters"),
        ("081234567890\x00", "number_characters"),
        ("0812\t34567890", "number_characters"),
        ("0812\x1b[31m34567890", "number_letters"),
        ("\ud800", "number_characters"),
        ("62\u00bd", "number_characters"),
        ("0", "number_too_short"),
        ("12345", "number_too_short"),
        ("+62812", "number_too_short"),
        ("1" * 30, "number_too_long"),
        ("+" + "6" * 16, "number_too_long"),
        ("0" * 101, "number_too_long"),
        ("0812345", "number_not_valid"),
        ("+999123456789", "number_not_valid"),
        ("+06281234567", "number_not_valid"),
        ("110", "number_service"),
        ("112", "number_service"),
        ("14045", "number_service"),
        ("0800 1234567", "number_service"),
        ("+1 800 555 1234", "number_service"),
        ("+62 809 1234567", "number_service"),
        ("1500888", "number_service"),
        ("somebody@example.com", "number_unknown_suffix"),
        ("6281234567890@", "number_unknown_suffix"),
        ("6281234567890@c.us@evil", "number_unknown_suffix"),
        ("6281234567890@hosted", "number_unknown_suffix"),
        ("status@broadcast", "number_broadcast"),
        ("1600000000@broadcast", "number_broadcast"),
        ("120363041234567890@newsletter", "number_broadcast"),
        ("0812@c.us", "number_too_short"),
        ("081234567890@c.us", "number_not_valid"),
        ("+6281234567890@c.us", "number_not_valid"),
        ("\u0666\u0662812345678@c.us", "number_not_valid"),
        ("1234567890123456@c.us", "number_too_long"),
        ("12@lid", "number_not_valid"),
        ("12@g.us", "number_not_valid"),
        ("0812\x00@c.us", "number_not_valid"),
    ],
)
def test_refused_with_a_stable_code(text: str, code: str) -> None:
    """What is no recipient is refused with a code for programs and a printable sentence for people."""
    refused = refusal(text)
    assert refused.code == code
    assert refused.detail.isprintable()


@pytest.mark.parametrize("region", ["", "XX"])
def test_a_national_number_needs_a_region(region: str) -> None:
    """Without a usable region a national number is refused, an international one is not."""
    assert refusal("081234567890", region).code == "number_no_country"
    assert parse(PHONE, region).key == PHONE


def test_no_key_is_longer_than_whatsapp_allows() -> None:
    """A national plan may know a number of more than 15 digits with its country code: it is refused all the same."""
    assert refusal("20100000000000", "DE").code == "number_not_valid"


def test_the_refusal_names_the_field() -> None:
    """`field` is the caller's name of the value, also for a text that was refused before under another name."""
    assert refusal("abc").field == "number"
    assert refusal("abc", field="to").field == "to"
    assert refusal("0" * 101, field="to").field == "to"


def test_to_jid_is_what_whatsapp_calls_a_key() -> None:
    """A number becomes a phone JID, a LID and a group are JIDs already."""
    assert to_jid(PHONE) == "6281234567890@s.whatsapp.net"
    assert to_jid("100628111111111@lid") == "100628111111111@lid"
    assert to_jid("120363041234567890@g.us") == "120363041234567890@g.us"


# A region's plan is loaded when first needed: no example may be judged by its time.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
numbers = st.from_regex(r"\A(\+|00|0|)[1-9][0-9 ()./-]{4,18}\Z")
jids = st.from_regex(r"\A[0-9]{1,20}(-[0-9]{10})?(:[0-9])?@(c\.us|s\.whatsapp\.net|lid|g\.us|broadcast)\Z")


@untimed
@given(st.text() | numbers | jids, st.sampled_from(REGIONS))
def test_any_text_is_an_address_or_a_refusal(text: str, region: str) -> None:
    """No text whatever makes parse raise anything but Unprocessable; a key reads back as itself by its JID."""
    try:
        address = parse(text, region)
    except Unprocessable as refused:
        assert refused.code.startswith("number_")
    else:
        assert parse(to_jid(address.key), region) == address
        assert len(address.key) <= 50, "the tables' column for numbers holds 50 characters"


@untimed
@given(
    numbers
    | st.from_regex(r"\A(0|62|\+62|)8[1-9][0-9]{6,10}\Z")
    | jids.filter(lambda j: j.endswith(("@lid", "@g.us"))),
    st.sampled_from(REGIONS),
    st.sampled_from(REGIONS),
)
def test_a_key_reads_back_as_itself(text: str, region: str, elsewhere: str) -> None:
    """The key of a number, a LID or a group is a fixed point of parse, in every region."""
    try:
        address = parse(text, region)
    except Unprocessable:
        return
    assert parse(address.key, elsewhere) == address
