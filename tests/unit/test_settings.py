"""The configuration is read strictly: one clear message with file and path, or settings to rely on."""

import os
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.settings import DEFAULT_PLUGINS, Settings, load_settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An empty configuration directory."""
    (tmp_path / "tenants").mkdir()
    return tmp_path


def load(config: Path, service: str | None = None, /, *, env: dict[str, str] | None = None, **tenants: str) -> Settings:
    """Settings of these texts."""
    if service is not None:
        (config / "service.yaml").write_text(service, encoding="utf-8")
    for name, text in tenants.items():
        (config / "tenants" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_settings(config, env or {})


def refusal(config: Path, service: str | None = None, /, *, env: dict[str, str] | None = None, **tenants: str) -> str:
    """The complaint, with file names relative to the configuration directory."""
    with pytest.raises(ConfigError) as caught:
        load(config, service, env=env, **tenants)
    return str(caught.value).replace(f"{config}{os.sep}", "")


def test_everything_has_a_default(config: Path) -> None:
    """Without any file: loopback, port 3000, embedded database, five of the built-in plugins."""
    settings = load(config)
    assert (settings.server.host, settings.server.port, settings.database.url) == ("127.0.0.1", 3000, None)
    assert settings.plugins_dir is None
    shop = settings.tenant("shop")
    assert (shop.transport, shop.timezone, shop.region, shop.answer) == ("whatsapp", "Asia/Jakarta", "ID", "queued")
    assert (shop.api, shop.replies, shop.on_unknown) == ("v1", "exempt", "hold")
    assert list(shop.plugins) == list(DEFAULT_PLUGINS) == ["api_key", "whitelist", "daily_limit", "delay", "opt_out"]
    assert str(shop.zone) == "Asia/Jakarta"


@pytest.mark.parametrize("text", ["", "# nothing\n", "server:\ndefaults:\n"])
def test_an_empty_file_or_section_is_all_defaults(config: Path, text: str) -> None:
    """What is commented out does not count."""
    assert load(config, text).tenant("x") == Settings().defaults


def test_a_tenant_overrides_key_by_key(config: Path) -> None:
    """Keys that a tenant's file does not name are those of `defaults`, and others see nothing of it."""
    settings = load(config, "defaults: {region: SG, answer: sent}", shop="timezone: UTC", bank="")
    assert (settings.tenant("shop").timezone, settings.tenant("shop").region) == ("UTC", "SG")
    assert settings.tenant("bank") == settings.tenant("nobody") == settings.defaults
    assert settings.file_of("shop") == config / "tenants" / "shop.yaml"
    assert settings.file_of("nobody") == config / "service.yaml"


def test_plugins_of_a_tenant_replace_the_whole_list(config: Path) -> None:
    """`plugins` is the one key that is not merged; the order of the YAML is kept; null is no options."""
    settings = load(
        config, "defaults: {plugins: {delay: {min: 1}, api_key: }}", shop="plugins: {whitelist: , delay: {}}"
    )
    assert settings.tenant("nobody").plugins == {"delay": {"min": 1}, "api_key": {}}
    assert list(settings.tenant("shop").plugins.items()) == [("whitelist", {}), ("delay", {})]


def test_norway_and_its_like(config: Path) -> None:
    """NO is a region and not false; a time is a text; a number with a leading zero keeps it."""
    settings = load(
        config, "defaults: {region: NO, plugins: {x: {at: 21:30, n: 0812, d: 2026-01-05, on: yes, f: 1e3}}}"
    )
    assert settings.defaults.region == "NO"
    assert settings.defaults.plugins["x"] == {"at": "21:30", "n": "0812", "d": "2026-01-05", "on": "yes", "f": 1000.0}


def test_secrets_come_from_the_environment_and_stay_out_of_sight(config: Path) -> None:
    """`{ $env: NAME }` works anywhere, lists included, and its value is in no repr."""
    env = {"U": "postgres://gapura:hunter2@db/gapura", "T": "hunter2", "PORT": "8080"}
    text = "server: {port: {$env: PORT}}\ndatabase: {url: {$env: U}}\ndefaults: {plugins: {x: {tokens: [{$env: T}]}}}"
    settings = load(config, text, env=env)
    assert settings.database.url == env["U"]
    assert settings.server.port == 8080
    assert settings.defaults.plugins["x"]["tokens"] == ["hunter2"]
    assert "hunter2" not in repr(settings)


def test_database_url_beats_the_file(config: Path) -> None:
    """DATABASE_URL of the environment holds; an empty one does not count."""
    text = "database: {url: postgres://file/db}"
    assert load(config, text, env={"DATABASE_URL": "postgresql://env/db"}).database.url == "postgresql://env/db"
    assert load(config, text, env={"DATABASE_URL": ""}).database.url == "postgres://file/db"


def test_plugins_dir_is_relative_to_service_yaml(config: Path) -> None:
    """It need not exist."""
    assert load(config, "plugins_dir: ../mine").plugins_dir == config.parent / "mine"


@pytest.mark.parametrize(
    ("text", "key", "events", "messages"),
    [("keep_messages: 7", "keep_messages", 30, 7), ("keep_events: 31", "keep_events", 31, 30)],
)
def test_events_are_not_kept_longer_than_their_messages(
    config: Path, text: str, key: str, events: int, messages: int
) -> None:
    """It refuses to start, and says what to do."""
    assert refusal(config, text) == (
        f"service.yaml: $.{key}: events are kept for {events} days and the messages that they tell of for {messages};"
        " let keep_messages be as long as keep_events, or longer"
    )
    assert load(config, "{keep_messages: 7, keep_events: 7}").keep_messages == 7


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: ]", "service.yaml:1:4: broken YAML: "),
        ("server:\n  port: 1\n   host: x", "service.yaml:3:8: broken YAML: "),
        ("server:\n  port: 1\n  port: 2", "service.yaml:3:3: the key 'port' is written twice"),
        ("- 1", "service.yaml: $: expected a mapping (`key: value` lines), got list"),
        ("--- {}\n--- {}", "service.yaml:2:1: broken YAML: "),
        ("server: !!python/name:os.system {}", "service.yaml:1:9: broken YAML: could not determine a constructor"),
        ("server: &a [*a]", "service.yaml: broken YAML: nested too deeply, or a part of itself"),
        (
            "server: {prot: 1}",
            "service.yaml: $.server.prot: unknown key 'prot'; did you mean 'port'? Valid: host, port",
        ),
        (
            "sever: {}",
            "service.yaml: $.sever: unknown key 'sever'; did you mean 'server'? Valid: callbacks, database, ",
        ),
        ("server: {port: 70000}", "service.yaml: $.server.port: expected `int` <= 65535"),
        ("server: {port: '1'}", "service.yaml: $.server.port: expected `int`, got `str`"),
        ("server: {host: ' '}", "service.yaml: $.server.host: expected an address or a host name"),
        ("server: {public_url: wa.example.com}", "service.yaml: $.server.public_url: expected http://HOST or https://"),
        ("server: {public_url: 'https://x/'}", "service.yaml: $.server.public_url: expected http://HOST or https://"),
        ("database: {url: mysql://me:hunter2@x/y}", "service.yaml: $.database.url: expected postgres://USER:PASSWORD"),
        ("keys: {store: plane}", "service.yaml: $.keys.store: unknown value 'plane'; did you mean 'plain'?"),
        (
            "defaults: {timezone: Asia/Jakrta}",
            "service.yaml: $.defaults.timezone: unknown time zone 'Asia/Jakrta'; did ",
        ),
        ("defaults: {timezone: ../x}", "service.yaml: $.defaults.timezone: unknown time zone '../x'; "),
        (
            "defaults: {region: id}",
            "service.yaml: $.defaults.region: unknown region 'id'; write a country's two capital",
        ),
        ("defaults: {plugins: }", "service.yaml: $.defaults.plugins: is empty; write `plugins: {}`"),
        ("defaults: {plugins: [delay]}", "service.yaml: $.defaults.plugins: expected a mapping, got list"),
        ("defaults: {plugins: {delay: 3}}", "service.yaml: $.defaults.plugins.delay: expected a mapping, got int 3"),
        (
            "defaults: {answer: {$env: NOPE}}",
            "service.yaml: $.defaults.answer: the environment variable NOPE is not set",
        ),
        ("defaults: {answer: {$env: A, b: 1}}", "service.yaml: $.defaults.answer: expected { $env: NAME }"),
    ],
)
def test_refuses_a_wrong_service_file(config: Path, text: str, complaint: str) -> None:
    """One message, with file and line, or file and path; a secret in it is not repeated."""
    text_of = refusal(config, text)
    assert text_of.startswith(complaint)
    assert "hunter2" not in text_of


def test_refuses_a_wrong_tenant_file(config: Path) -> None:
    """A tenant's file is checked like `defaults`, under its own name."""
    assert refusal(config, shop="answr: sent").startswith(
        "tenants/shop.yaml: $.answr: unknown key 'answr'; did you mean"
    )


def test_refuses_two_files_for_one_tenant(config: Path) -> None:
    """Nobody should have to guess which of them holds."""
    (config / "tenants" / "shop.yml").touch()
    assert (
        refusal(config, shop="") == "tenants/shop.yml: there is shop.yaml beside it: two files for one name; remove one"
    )


@pytest.mark.parametrize("name", ["Shop", "my shop", "x" * 101, "shop.old", "café"])
def test_refuses_a_file_that_no_tenant_can_have(config: Path, name: str) -> None:
    """A file that would never be used is a mistake."""
    assert f"{name!r} cannot be a tenant's id" in refusal(config, **{name: ""})


def test_passes_over_what_is_no_yaml(config: Path) -> None:
    """Notes, hidden files and editors' leftovers may lie about."""
    for name in ("README.md", ".shop.yaml", "shop.yaml~"):
        (config / "tenants" / name).write_text("- no: [mapping", encoding="utf-8")
    assert load(config).tenants == {}


def test_refuses_what_cannot_be_read(config: Path) -> None:
    """A directory in place of a file, bytes that are no UTF-8, a directory that is not there."""
    (config / "tenants" / "shop.yaml").mkdir()
    assert refusal(config).startswith("tenants/shop.yaml: cannot be read: ")
    (config / "tenants" / "shop.yaml").rmdir()
    (config / "tenants" / "bank.yaml").write_bytes(b"region: \xff\xfe")
    assert refusal(config).startswith("tenants/bank.yaml: broken YAML: ")
    with pytest.raises(ConfigError, match="no such directory"):
        load_settings(config / "nowhere", {})


def test_the_shipped_file_is_valid_and_says_the_defaults() -> None:
    """config/service.yaml can be used as it is, and changes nothing."""
    settings = load_settings(Path(__file__).parents[2] / "config", {})
    assert settings.server == Settings().server
    assert list(settings.defaults.plugins) == list(DEFAULT_PLUGINS)
