"""What the WhatsApp library's own connections to PostgreSQL are told."""

from urllib.parse import parse_qs, urlsplit

from core.transport.whatsapp.database import library_dsn


def test_its_connections_are_the_tenants_idle_for_a_while_and_compile_nothing() -> None:
    """What a tenant's client writes is its own, under its fence; the URL's own parameters stay."""
    url = library_dsn("postgres://me:pw@db.example/gapura?connect_timeout=3", "shop", 7, idle=1.5)
    assert url.startswith("postgres://me:pw@db.example/gapura?")
    assert parse_qs(urlsplit(url).query) == {
        "connect_timeout": ["3"],
        "application_name": ["gapura-whatsapp"],
        "jit": ["off"],
        "idle_session_timeout": ["1500"],
        "wa.tenant": ["shop"],
        "wa.fence": ["7"],
    }
    assert "sslmode=disable" in library_dsn("postgres://me@localhost/gapura")
