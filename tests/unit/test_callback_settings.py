"""Endpoints in YAML are read strictly: whatever would fail at night refuses to start by day."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook

from core.callback_settings import Endpoint
from core.errors import ConfigError
from core.settings import load_settings
from tests.unit.test_settings import load, refusal

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "whsec_" + base64.b64encode(b"x" * 32).decode()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An empty configuration directory."""
    (tmp_path / "tenants").mkdir()
    return tmp_path


def test_an_endpoint_has_defaults(config: Path) -> None:
    """A URL and a secret are enough: all events, the name of the host; the secret may stand in the environment."""
    text = "callbacks: [{url: 'https://Erp.Example.com:8443/in?x=1', secret: {$env: HOOK}}]"
    [endpoint] = load(config, shop=text, env={"HOOK": SECRET}).tenant("shop").callbacks
    assert (endpoint.name, endpoint.events, endpoint.headers) == ("erp-example-com", ("*",), {})
    assert (endpoint.secret, endpoint.origin) == (SECRET, "https://Erp.Example.com:8443")
    assert SECRET not in repr(endpoint)
    assert "x=1" not in repr(endpoint)


def test_everything_can_be_said(config: Path) -> None:
    """Several endpoints; those of a tenant replace those of `defaults`."""
    service = f"""
callbacks: {{ allow: [10.0.0.0/8, "fd00::/8"] }}
keep_events: 7
defaults: {{ callbacks: [{{ url: "http://a/", secret: {SECRET} }}] }}
"""
    shop = """
callbacks:
  - name: erp
    url: "https://erp.example/"
    events: ["message.*", session.banned]
    secret: { $env: S }
    headers: { X-Shop: a }
  - { name: log, url: "http://10.0.0.5/log", unsigned: true }
"""
    settings = load(config, service, shop=shop, env={"S": SECRET})
    assert settings.callbacks.allow == ("10.0.0.0/8", "fd00::/8")
    assert settings.keep_events == 7
    assert [endpoint.name for endpoint in settings.tenant("nobody").callbacks] == ["a"]
    erp, log = settings.tenant("shop").callbacks
    assert (erp.events, erp.headers, erp.unsigned) == (("message.*", "session.banned"), {"X-Shop": "a"}, False)
    assert (log.secret, log.unsigned) == (None, True)
    assert settings.has_callbacks
    assert not load_settings(config / "tenants", {}).has_callbacks


@pytest.mark.parametrize(
    ("endpoint", "path", "complaint"),
    [
        ("{secret: S}", "[0]", "'url' is missing"),
        ("{url: 'ftp://a/', secret: S}", "[0].url", "expected https://HOST/PATH"),
        ("{url: 'https:///x', secret: S}", "[0].url", "expected https://HOST/PATH"),
        ("{url: 'https://a:99999/', secret: S}", "[0].url", "is no URL"),
        ("{url: 'https://me:pass@a/', secret: S}", "[0].url", "a password does not belong"),
        ("{url: 'https://a/#x', secret: S}", "[0].url", "what follows a #"),
        ("{url: 'https://a/ b', secret: S}", "[0].url", "without spaces"),
        ("{url: 'https://a/é', secret: S}", "[0].url", "ASCII"),
        ("{url: 'https://a/'}", "[0]", "'secret' is missing"),
        ("{url: 'https://a/', secret: S, unsigned: true}", "[0]", "has a secret and is `unsigned: true`"),
        ("{url: 'https://a/', secret: abc}", "[0].secret", "a signing secret begins with whsec_"),
        ("{url: 'https://a/', secret: 'whsec_*'}", "[0].secret", "is not base64"),
        ("{url: 'https://a/', secret: whsec_c2hvcnQ=}", "[0].secret", "has 24 to 64 bytes, and this one 5"),
        ("{url: 'https://a/', secret: S, events: []}", "[0].events", "is empty"),
        ("{url: 'https://a/', secret: S, events: [messages.*]}", "[0].events", "'messages.*' chooses no event"),
        ("{url: 'https://a/', secret: S, name: 'A b'}", "[0].name", "expected 1 to 60 of a-z"),
        ("{url: 'https://a/', secret: S, headers: {Host: x}}", "[0].headers", "the header Host is Gapura's own"),
        ("{url: 'https://a/', secret: S, headers: {Webhook-Id: x}}", "[0].headers", "is Gapura's own"),
        ("{url: 'https://a/', secret: S, headers: {'a b': x}}", "[0].headers", "is no header's name"),
        ('{url: "https://a/", secret: S, headers: {A: "x\\r\\nB: y"}}', "[0].headers", "characters that no header"),
        ("{url: 'https://a/', secret: S, headers: {A: KEY}}", "[0].headers", "looks like an API key of Gapura"),
        ("{url: 'https://a/', secret: S, retries: 5}", "[0].retries", "unknown key 'retries'"),
        ("{url: 'https://a/x', secret: S}, {url: 'https://a/y', secret: S}", "", "two endpoints are called 'a'"),
    ],
)
def test_what_cannot_be_is_refused(config: Path, endpoint: str, path: str, complaint: str) -> None:
    """With file and path; no secret is repeated."""
    text = endpoint.replace("secret: S", f"secret: {SECRET}").replace("KEY", "sk_" + "a" * 43)
    said = refusal(config, shop=f"callbacks: [{text}]")
    assert said.startswith(f"tenants/shop.yaml: $.callbacks{path}: "), said
    assert complaint in said
    assert SECRET not in said


@pytest.mark.parametrize("network", ["10.0.0.1/8", "intranet", "10.0.0.0/33", ""])
def test_networks_are_networks(config: Path, network: str) -> None:
    """One that is not refuses to start."""
    said = refusal(config, f"callbacks: {{allow: ['{network}']}}")
    assert said.startswith("service.yaml: $.callbacks.allow[0]: expected a network")


@pytest.mark.parametrize("size", [24, 32, 64])
def test_the_secrets_that_are_taken_can_sign(size: int) -> None:
    """As the package understands them."""
    secret = "whsec_" + base64.b64encode(b"k" * size).decode()
    endpoint = Endpoint(url="https://a/", secret=secret)
    assert Webhook(endpoint.secret or "")


def test_a_name_too_long_or_empty_is_not_made_up(config: Path) -> None:
    """A host without letters has no name to derive."""
    options: dict[str, Any] = {"url": "https://[::1]/", "unsigned": True}
    assert Endpoint(**options).name == "1"
    with pytest.raises(ConfigError):
        load(config, shop="callbacks: [{url: 'https://-/', unsigned: true, name: ''}]")
