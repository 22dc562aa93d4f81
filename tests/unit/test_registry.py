"""Plugins are found, checked and refused with words before the first message arrives."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import ConfigError
from core.hooks.inspection import HOOKS
from core.hooks.registry import OptionInfo, Plugins
from core.settings import Settings, TenantSettings
from tests.plugin_kit import StoppedClock, compile_hooks, gateway_for, load, outgoing

DENY = """
    from core import Deny, hookimpl

    @hookimpl
    def admit():
        return Deny("no", "no")
"""


def refusal(directory: Path, **sources: str) -> str:
    """Why these are not loaded, with the paths relative to the directory."""
    with pytest.raises(ConfigError) as caught:
        load(directory, **sources)
    return str(caught.value).replace(f"{directory}/", "")


def test_built_ins_are_always_there() -> None:
    """All of them, in this order, with their options."""
    info = {plugin.name: plugin for plugin in Plugins.load(None, entry_points=False).info()}
    assert list(info) == ["api_key", "whitelist", "daily_limit", "delay", "opt_out", "auto_reply"]
    assert {plugin.origin for plugin in info.values()} == {"built-in"}
    assert info["daily_limit"].hooks == ("admit",)
    assert info["delay"].options == (OptionInfo("min", "float", "2.0"), OptionInfo("max", "float", "5.0"))


def test_finds_files_and_packages(tmp_path: Path) -> None:
    """Files and packages are plugins; tests, underscores and other things lying about are not."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("from .inner import admit\n")
    (tmp_path / "shop" / "inner.py").write_text("from core import hookimpl\n@hookimpl\ndef admit(): return None\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    for name in ("_shared.py", "test_no.py", "conftest.py"):
        (tmp_path / name).write_text("raise SystemExit\n")
    plugins = load(tmp_path, no=DENY)
    assert [plugin.name for plugin in plugins.info()][6:] == ["no", "shop"]
    assert plugins.found["shop"].origin == str(tmp_path / "shop")


def test_a_directory_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """The shipped service.yaml names one that need not exist."""
    assert len(Plugins.load(tmp_path / "nowhere", entry_points=False).found) == 6


def test_neighbours_are_imported_relatively_and_nothing_leaks(tmp_path: Path) -> None:
    """A plugin may share code with its neighbours; sys.path stays as it was, and `json` stays json."""
    before = list(sys.path)
    (tmp_path / "_shared.py").write_text("REASON = 'shared'\n")
    source = "from ._shared import REASON\nfrom core import Deny, hookimpl\n@hookimpl\ndef admit():\n"
    load(tmp_path, json=source + "    return Deny(REASON, REASON)\n")
    assert sys.path == before
    assert "gapura_plugins.json" in sys.modules
    assert __import__("json").__name__ == "json"


def test_instances_are_plugins_too(tmp_path: Path) -> None:
    """`plugin = MyPlugin()` is taken for the module; its state is its own."""
    plugins = load(
        tmp_path,
        counter="""
            from dataclasses import dataclass
            from core import hookimpl

            @dataclass(frozen=True)
            class Options:
                step: int = 1

            class Counter:
                @hookimpl
                def admit(self, options):
                    return None

            plugin = Counter()
        """,
    )
    assert plugins.info()[-1].hooks == ("admit",)
    assert plugins.info()[-1].options == (OptionInfo("step", "int", "1"),)


def entry_point(name: str, loaded: object) -> object:
    """What importlib.metadata would give for an installed package."""

    def load_it() -> object:
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    return SimpleNamespace(name=name, value=f"acme.{name}", dist=SimpleNamespace(name="acme"), load=load_it)


class Instance:
    """An installed plugin."""

    from core import hookimpl

    @hookimpl
    def pace(self) -> None:
        """No opinion."""


def with_entry_points(monkeypatch: pytest.MonkeyPatch, *points: object) -> None:
    """Pretend that these are installed."""
    monkeypatch.setattr("core.hooks.discovery.entry_points", lambda group: points if group == "gapura" else ())


def test_finds_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package's plugin is named by its entry point."""
    with_entry_points(monkeypatch, entry_point("acme_pace", Instance()))
    info = Plugins.load(None).info()[-1]
    assert (info.name, info.origin, info.hooks) == ("acme_pace", "entry point of acme", ("pace",))


def test_finds_a_package_as_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through importlib's own metadata; `entry_points=False` looks away."""
    installed = tmp_path / "gapura_acme-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: gapura-acme\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[gapura]\nacme_hours = gapura_acme_hours\n")
    (tmp_path / "gapura_acme_hours.py").write_text("from core import hookimpl\n@hookimpl\ndef admit(): return None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    info = {plugin.name: plugin for plugin in Plugins.load(None).info()}
    assert info["acme_hours"].origin == "entry point of gapura-acme"
    assert "acme_hours" not in Plugins.load(None, entry_points=False).found


def test_refuses_an_entry_point_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is named."""
    with_entry_points(monkeypatch, entry_point("bad", ImportError("no acme")))
    with pytest.raises(ConfigError, match=r"entry point of acme \(bad = acme.bad\): cannot be imported: ImportError"):
        Plugins.load(None)


def test_refuses_a_name_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both origins are named."""
    assert "delay.py: the name 'delay' is taken: built-in (" in refusal(tmp_path, delay=DENY)
    with_entry_points(monkeypatch, entry_point("api_key", Instance()))
    with pytest.raises(ConfigError, match=r"entry point of acme .*: the name 'api_key' is taken: built-in"):
        Plugins.load(None)


def test_refuses_one_object_under_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """pluggy knows an object once."""
    instance = Instance()
    with_entry_points(monkeypatch, entry_point("a", instance), entry_point("b", instance))
    with pytest.raises(ConfigError, match="already registered"):
        Plugins.load(None)


HEAD = "from core import hookimpl\nfrom dataclasses import dataclass\n"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1\nimport not_there\n", "bad.py:2: cannot be imported: ModuleNotFoundError: No module named 'not_there'"),
        ("def f(:\n", "bad.py:1: cannot be imported: SyntaxError"),
        ("raise SystemExit(3)", "bad.py:1: cannot be imported: SystemExit: 3"),
        ("x = 1", "bad.py: plugin 'bad': has no hook: mark at least one function with @hookimpl; hooks: startup"),
        ("def admit(message): pass", "bad.py:1: plugin 'bad': 'admit' is a hook's name but not marked"),
        (
            HEAD + "@hookimpl\ndef admit(mesage, nwo): pass",
            "bad.py:3: plugin 'bad': hook 'admit': admit(mesage, nwo) asks for 'mesage'; "
            "valid arguments: message, tenant, options, gateway, now",
        ),
        (
            HEAD + "@hookimpl\ndef authenticate(request, tenant): pass",
            "bad.py:3: plugin 'bad': hook 'authenticate': authenticate(request, tenant) asks for 'tenant'; "
            "valid arguments: request, gateway, now",
        ),
        (
            HEAD + "@hookimpl\ndef admit(*args): pass",
            "bad.py:3: plugin 'bad': hook 'admit': name the arguments instead",
        ),
        (HEAD + "@hookimpl\ndef admit(**kw): pass", "bad.py:3: plugin 'bad': hook 'admit': name the arguments instead"),
        (
            HEAD + "@hookimpl\ndef admitt(message): pass",
            "bad.py:3: plugin 'bad': unknown hook 'admitt'; did you mean 'admit'",
        ),
        (
            HEAD + "@hookimpl\nasync def admit():\n    yield",
            "bad.py:3: plugin 'bad': hook 'admit': a wrapper is a `def`",
        ),
        (
            HEAD + "@hookimpl(wrapper=True)\nasync def admit():\n    yield",
            "bad.py:3: plugin 'bad': hook 'admit': a wrapper is a `def` with one `yield`, never an `async def`",
        ),
        (
            HEAD + "@hookimpl(wrapper=True)\nasync def admit():\n    return None",
            "bad.py:3: plugin 'bad': hook 'admit': a wrapper is a `def` with one `yield`, never an `async def`",
        ),
        (HEAD + "@hookimpl(wrapper=True)\ndef admit(): pass", "bad.py:3: plugin 'bad': hook 'admit': a function with"),
        (HEAD + "@hookimpl\ndef admit():\n    yield", "bad.py:3: plugin 'bad': hook 'admit': a function with `yield`"),
        (
            HEAD + "@hookimpl(hookwrapper=True)\ndef admit():\n    yield",
            "bad.py:3: plugin 'bad': hook 'admit': hookwrapper",
        ),
        (
            HEAD + "class P:\n    @hookimpl\n    def admit(self): pass\nplugin = P",
            "bad.py: plugin 'bad': is a class; make an instance of it: `plugin = P()`",
        ),
        (
            HEAD + "@hookimpl\ndef admit(options): pass",
            "bad.py: plugin 'bad': 'admit' asks for `options`, but there is no",
        ),
        (
            HEAD + "@dataclass\nclass Options:\n    x: int = 1\n@hookimpl\ndef admit(options): pass",
            "bad.py: plugin 'bad': `Options` must be a frozen dataclass",
        ),
        (
            HEAD + "class Options:\n    x = 1\n@hookimpl\ndef admit(): pass",
            "bad.py: plugin 'bad': `Options` must be a frozen",
        ),
        (
            HEAD + "@dataclass(frozen=True)\nclass Options:\n    x: 'Nope' = 1\n@hookimpl\ndef admit(): pass",
            "bad.py: plugin 'bad': the types of `Options` cannot be read: name 'Nope' is not defined",
        ),
    ],
)
def test_refuses_what_could_not_work(tmp_path: Path, source: str, complaint: str) -> None:
    """File, line, plugin, hook, and what would do."""
    assert refusal(tmp_path, bad=source).startswith(complaint)


def test_refuses_a_file_name_that_is_no_name(tmp_path: Path) -> None:
    """`my-plugin.py` could not be imported by its own test."""
    (tmp_path / "my-plugin.py").touch()
    assert refusal(tmp_path) == "my-plugin.py: 'my-plugin' cannot be a plugin's name; use letters, digits and _"


async def test_arguments_with_defaults_are_filled_and_others_left(tmp_path: Path) -> None:
    """What the hook offers is passed, also by keyword only; what it does not offer keeps its default."""
    source = """
        from core import Deny, hookimpl

        @hookimpl
        def admit(tenant, extra="left", message=None, *, now):
            return Deny(f"{tenant} {extra} {message.to} {now:%H}", "")
    """
    hooks = compile_hooks(load(tmp_path, odd=source), "odd")
    [(_, deny)] = await hooks.collect("admit", message=outgoing())
    assert deny.code == "shop left 628123456789 12"


def settings(defaults: dict[str, dict[str, object]], **tenants: dict[str, dict[str, object]]) -> Settings:
    """Settings that hold only lists of plugins."""
    return Settings(
        defaults=TenantSettings(plugins=defaults),
        tenants={name: TenantSettings(plugins=plugins) for name, plugins in tenants.items()},
        files={"service.yaml": Path("service.yaml"), **{name: Path(f"{name}.yaml") for name in tenants}},
    )


@pytest.mark.parametrize(
    ("configured", "complaint"),
    [
        (
            settings({"delya": {}}),
            "service.yaml: $.defaults.plugins.delya: unknown plugin 'delya'; did you mean 'delay'?",
        ),
        (
            settings({}, shop={"x": {}}),
            "shop.yaml: $.plugins.x: unknown plugin 'x'; Valid: api_key, auto_reply, daily_limit, ",
        ),
        (
            settings({}, shop={"delay": {"mni": 1}}),
            "shop.yaml: $.plugins.delay.mni: unknown key 'mni'; did you mean 'min'? Valid: max, min",
        ),
        (settings({}, shop={"delay": {"min": 6}}), "shop.yaml: $.plugins.delay: expected 0 <= min <= max <= 86400"),
        (settings({}, shop={"delay": {"max": "5"}}), "shop.yaml: $.plugins.delay.max: expected `float`, got `str`"),
        (
            settings({}, shop={"daily_limit": {"limit": -1}}),
            "shop.yaml: $.plugins.daily_limit: limit must be 0 or more",
        ),
        (settings({}, shop={"api_key": {"x": 1}}), "shop.yaml: $.plugins.api_key: the plugin 'api_key' has no options"),
    ],
)
def test_check_names_file_and_path(configured: Settings, complaint: str) -> None:
    """Names and options of every list are checked, of tenants too that nobody has used yet."""
    with pytest.raises(ConfigError) as caught:
        Plugins.load(None, entry_points=False).check(configured)
    assert str(caught.value).startswith(complaint)


def test_check_accepts_what_is_right_and_warns_of_a_locked_door() -> None:
    """A list without anybody who authenticates is valid, but hardly meant."""
    plugins = Plugins.load(None, entry_points=False)
    configured = settings({"api_key": {}, "delay": {"min": 0, "max": 1}}, shop={"daily_limit": {"limit": 0}})
    plugins.check(configured)
    [warning] = plugins.warnings(configured)
    assert warning.startswith("shop.yaml: $.plugins: no plugin here authenticates anybody")


SERVICE = "from core import hookimpl\n@hookimpl\ndef startup(gateway, now): gateway.log.error('%s', now)\n"


def test_service_hooks_are_those_that_some_configuration_enables(tmp_path: Path) -> None:
    """A plugin that merely lies in the directory is not started."""
    plugins = load(tmp_path, used=SERVICE, unused=SERVICE)
    configured = settings({"api_key": {}}, shop={"used": {}})
    assert plugins.compile_service(gateway_for, StoppedClock(), configured).plugins == ("api_key", "used")
    assert "unused" in plugins.compile_service(gateway_for, StoppedClock()).plugins


def test_every_hook_is_on_the_menu() -> None:
    """The list of hooks and the specifications are the same."""
    manager_names = {name for name in vars(__import__("core.hooks.specs", fromlist=["_"])) if name in HOOKS}
    assert manager_names == set(HOOKS)
