"""The docs do not lie: their examples run, every hook has its heading, every key and option its row."""

import dataclasses
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from core import Deny, Exempt, Listed, Quota
from core.callback_settings import CallbackSettings
from core.hooks.discovery import GROUP
from core.hooks.inspection import HOOKS, hook_arguments
from core.hooks.options import option_types
from core.hooks.registry import Plugins
from core.model import AuthRequest, SessionChange, SessionState, StatusChange
from core.settings import DatabaseSettings, KeySettings, ServerSettings, SessionSettings, TenantSettings, load_settings
from tests.plugin_kit import NOON, StoppedClock, compile_hooks, gateway_for, incoming, outgoing

ROOT = Path(__file__).parents[1]
PLUGINS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
BUILT_INS = {plugin.name: plugin for plugin in Plugins.load(None, entry_points=False).info()}


def examples(text: str, language: str) -> dict[str, str]:
    """File name -> the example that begins with it as a comment."""
    blocks = re.findall(rf"^```{language}\n# (\S+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == len(re.findall(rf"^```{language}$", text, flags=re.MULTILINE)), (
        "an example without a file name"
    )
    return dict(blocks)


@pytest.fixture
def examples_dir(tmp_path: Path) -> Path:
    """All examples of docs/plugins.md, written down as their first lines say."""
    (tmp_path / "my_plugins").mkdir()
    for name, source in examples(PLUGINS, "python").items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    return tmp_path / "my_plugins"


@pytest.fixture
def plugins(examples_dir: Path) -> Plugins:
    """The examples, loaded."""
    return Plugins.load(examples_dir, entry_points=False)


# docs/plugins.md


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_heading_an_example_and_a_test(hook: str) -> None:
    """The heading names the hook's own arguments."""
    own = [name for name in hook_arguments(hook) if name not in {"tenant", "options", "gateway", "now"}]
    assert f"\n### `{hook}({', '.join(own)})`\n" in PLUGINS
    assert any(f"def {hook}(" in source for source in examples(PLUGINS, "python").values())
    assert f'"{hook}"' in inspect.getsource(sys.modules[__name__]).split("# every hook is called below", 1)[1]


# every hook is called below


async def test_the_first_plugin_denies_at_night(plugins: Plugins) -> None:
    """And its YAML is valid beside it; ten lines that do what they say."""
    hooks = compile_hooks(plugins, "office_hours", office_hours={"open": 13})
    [(_, answer)] = await hooks.collect("admit", message=outgoing())
    assert answer == Deny("office_hours", "open 13:00 to 20:00")
    assert await compile_hooks(plugins, "office_hours").collect("admit", message=outgoing()) == []


async def test_the_weekly_quota(plugins: Plugins) -> None:
    """A limit and its exception."""
    said = await compile_hooks(plugins, "weekly").collect("admit", message=outgoing())
    assert [answer for _, answer in said] == [Quota(10, period="week"), Exempt(("weekly",), when=Listed.REPLY)]


async def test_the_plugin_that_keeps_something(plugins: Plugins) -> None:
    """It knows the price after startup, and no more after shutdown."""
    service = plugins.compile_service(gateway_for, StoppedClock())
    await service.notify("startup")
    said, _ = await compile_hooks(plugins, "prices").collect_settled("on_message", message=incoming(content="Tea?"))
    assert said[0][1].content == "Tea is Rp 4000"
    await service.notify("shutdown")
    assert plugins.found["prices"].plugin.tea is None  # type: ignore[attr-defined]


async def test_the_proxy_says_who_asks(plugins: Plugins) -> None:
    """Only the proxy is believed."""
    service = plugins.compile_service(gateway_for, StoppedClock())
    for remote, expected in (("10.0.0.2", ("behind_proxy", "shop")), ("10.0.0.3", None)):
        asking = AuthRequest(method="GET", path="/", headers={"X-Tenant": "shop"}, remote=remote)
        said = await service.first("authenticate", request=asking)
        assert (said and (said[0], said[1].tenant)) == expected


async def test_the_footer(plugins: Plugins) -> None:
    """It is added below; its text must be given."""
    hooks = compile_hooks(plugins, "footer", footer={"text": "Toko Maju"})
    made = await hooks.pipe("prepare_outgoing", "message", outgoing(content="hello"))
    assert made.content == "hello\n\nToko Maju"


async def test_nights_are_slow(plugins: Plugins) -> None:
    """For bulk only."""
    hooks = compile_hooks(plugins, "slow_nights")
    night, bulk = NOON.replace(hour=23), outgoing(priority="bulk")
    assert await hooks.collect_settled("pace", message=bulk, previous=None, now=night) == ([("slow_nights", 60.0)], [])
    assert await hooks.collect_settled("pace", message=outgoing(), previous=None, now=night) == ([], [])


async def test_ping(plugins: Plugins) -> None:
    """It quotes."""
    said, _ = await compile_hooks(plugins, "ping").collect_settled("on_message", message=incoming(content="ping"))
    assert said == [("ping", incoming().reply("pong", quote=True))]


async def test_events_are_told(plugins: Plugins, caplog: pytest.LogCaptureFixture) -> None:
    """The alarm rings; what is no failure is passed over."""
    hooks = compile_hooks(plugins, "alarm", "failures")
    change = SessionChange(tenant="shop", state="banned", at=NOON, reason="402")
    assert await hooks.notify("on_session", change=change) == []
    assert "shop: banned (402)" in caplog.text
    sent = StatusChange(tenant="shop", message_id="1", to="62", status="sent", at=NOON)
    assert await hooks.notify("on_status", change=sent) == []


async def test_ten_lines_of_yaml_answer(tmp_path: Path) -> None:
    """The example of auto_reply, as it stands there."""
    yaml = examples(PLUGINS, "yaml")["config/tenants/warung.yaml"]
    assert len(yaml.splitlines()) < 10
    warung = load_settings(written(tmp_path, PLUGINS), {}).tenant("warung")
    hooks = compile_hooks(Plugins.load(None, entry_points=False), "auto_reply", **dict(warung.plugins))
    for text, expected in (
        ("Menu", "Nasi goreng 20.000, teh manis 4.000"),
        ("What do you sell?", "Nasi goreng 20.000, teh manis 4.000"),
        ("jam berapa buka?", "Hello Ani, we are open from 7:00 to 21:00."),
    ):
        message = incoming(content=text, push_name="Ani")
        said, _ = await hooks.collect_settled("on_message", message=message)
        assert said == [("auto_reply", message.reply(expected, quote=True))]


class Answer:
    """An HTTP answer with this status."""

    def __init__(self, status: int) -> None:
        self.status = status

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def raise_for_status(self) -> None:
        assert self.status < 400


class World(dict[str, Any]):
    """The outside of a gateway: a durable dictionary, and a shop that knows one customer."""

    async def get(self, key: str) -> Any:  # type: ignore[override]
        return super().get(key)

    async def set(self, key: str, value: Any) -> None:
        self[key] = value

    def ask(self, _: str, params: dict[str, str]) -> Answer:
        return Answer(200 if params["phone"] == "628123456789" else 404)


async def test_what_asks_the_world(plugins: Plugins) -> None:
    """The counter counts, and strangers are denied."""
    world = World()
    shop = SimpleNamespace(get=world.ask)
    gateway = dataclasses.replace(gateway_for("x", "shop"), store=world, http=shop)  # type: ignore[arg-type]
    failed = StatusChange(tenant="shop", message_id="1", to="62", status="failed", at=NOON, cause="x")
    failures, customers = plugins.found["failures"].plugin, plugins.found["customers_only"]
    await failures.on_status(failed, gateway)  # type: ignore[attr-defined]
    await failures.on_status(failed, gateway)  # type: ignore[attr-defined]
    assert world == {"failed": 2}
    for to, code in (("628123456789", None), ("62800", "no_customer")):
        said = await customers.plugin.admit(outgoing(to=to), customers.options("http://shop"), gateway)  # type: ignore[attr-defined, operator]
        assert (said and said.code) == code


async def test_the_wrapper_is_lenient_with_the_urgent(plugins: Plugins) -> None:
    """And with nobody else."""
    hooks = compile_hooks(plugins, "lenient", "office_hours", office_hours={"open": 13})
    assert len(await hooks.collect("admit", message=outgoing())) == 1
    assert await hooks.collect("admit", message=outgoing(priority="urgent")) == []


def test_the_example_test_is_green(examples_dir: Path) -> None:
    """As an author would run it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(examples_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_the_entry_point_is_of_our_group() -> None:
    """What the example offers would be found."""
    [source] = examples(PLUGINS, "toml").values()
    assert list(tomllib.loads(source)["project"]["entry-points"]) == [GROUP]


def test_the_yaml_beside_the_first_plugin_is_valid(tmp_path: Path, plugins: Plugins) -> None:
    """Names and options are checked against the plugins of the docs."""
    plugins.check(load_settings(written(tmp_path, PLUGINS), {}))


# docs/configuration.md


def written(directory: Path, text: str) -> Path:
    """The config directory with the YAML examples of `text`."""
    (directory / "config" / "tenants").mkdir(parents=True)
    for name, source in examples(text, "yaml").items():
        (directory / name).write_text(source, encoding="utf-8")
    return directory / "config"


def test_the_examples_are_valid(tmp_path: Path) -> None:
    """Together, and with the plugins they name."""
    settings = load_settings(written(tmp_path, CONFIGURATION), {"SHOP_DATABASE": "postgres://x@y/z"})
    assert list(settings.tenants) == ["shop"]
    plugins = Plugins.load(settings.plugins_dir, entry_points=False)
    plugins.check(settings)
    assert plugins.warnings(settings) == []


def rows(heading: str) -> dict[str, list[str]]:
    """Key -> type, default and meaning, of the table under a heading."""
    section = CONFIGURATION.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {key.strip(" `"): [cell.strip() for cell in rest] for key, *rest in cells}


def shown(value: Any) -> str:
    """A default as the docs write it."""
    if isinstance(value, tuple):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    return "none" if value is None else f"`{value}`"


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of a dataclass field."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def test_every_key_of_the_service_has_its_row() -> None:
    """With its default; and no row speaks of a key that is not there."""
    found = rows("service.yaml")
    expected = {"plugins_dir": "none", "defaults": "see below"}
    expected |= {"keep_daily_limits": "`7`", "keep_events": "`30`", "keep_messages": "`30`"}
    sections = {
        "server": ServerSettings,
        "database": DatabaseSettings,
        "keys": KeySettings,
        "sessions": SessionSettings,
        "callbacks": CallbackSettings,
    }
    for section, cls in sections.items():
        expected |= {f"{section}.{field.name}": shown(default_of(field)) for field in dataclasses.fields(cls)}
    assert {key: row[1] for key, row in found.items()} == expected
    assert found["keys.store"][0] == "`digest` or `plain`"


def test_every_key_of_a_tenant_has_its_row() -> None:
    """With its choices and its default."""
    found = rows("tenants/ID.yaml")
    fields = {field.name: field for field in dataclasses.fields(TenantSettings)}
    assert list(found) == list(fields)
    for name, (kind, default, _) in found.items():
        if choices := [choice for choice in get_args(option_types(TenantSettings)[name]) if isinstance(choice, str)]:
            assert kind == " or ".join(map(shown, choices))
        if name != "plugins":
            assert default == shown(default_of(fields[name]))


def test_every_option_of_every_built_in_plugin_has_its_row() -> None:
    """With its type and its default; every built-in plugin is named."""
    found = rows("The built-in plugins")
    kinds = {"tuple[str, ...]": "list of text", "tuple[plugins.auto_reply.Rule, ...]": "list of rules", "str": "text"}
    plugins = Plugins.load(None, entry_points=False)
    expected = {}
    for name, plugin in BUILT_INS.items():
        assert f"`{name}" in CONFIGURATION.split("## The built-in plugins", 1)[1]
        options = plugins.found[name].options
        for option in plugin.options:
            default = getattr(options() if isinstance(options, type) else None, option.name)
            expected[f"{name}.{option.name}"] = [kinds.get(option.type, option.type), shown(default)]
    assert {key: row[:2] for key, row in found.items()} == expected


@pytest.mark.parametrize("page", ["sessions.md", "api.md"])
def test_every_state_of_a_session_is_explained(page: str) -> None:
    """Each has its place in the table of states, and no other has."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    table = re.search(r"^\| state \|.*?\n\n", text, flags=re.DOTALL | re.MULTILINE)
    assert table
    rows = re.findall(r"^\| (`[^|]+`) \|", table[0], flags=re.MULTILINE)
    assert sorted(state for row in rows for state in re.findall(r"`(\w+)`", row)) == sorted(get_args(SessionState))
