"""Calls plugins: in order, awaited, in time, a failure kept to the plugin that failed.

pluggy finds and checks the implementations (`core.hooks.registry`); they are called here, because pluggy's own call is
synchronous. This is the hot path of every request: nothing is awaited, timed or traced that need not be, and no
coroutine is made for a plugin that is a plain function.
"""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from datetime import UTC
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar

from core.errors import PluginFailed
from core.hooks.wrappers import COLLECTED, FIRST, NOTIFIED, PIPED, Layers

if TYPE_CHECKING:
    from datetime import tzinfo

    from core.clock import Clock
    from core.hooks.calls import Call

log = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds that one call of an `async def` hook may take."""

R = TypeVar("R")
Promise = Coroutine[Any, Any, R]
"""What a verb gives, to be awaited."""

Trace = Callable[[str, str, float, str], None]
"""Told of every call: plugin, hook, seconds, and `answered`, `silent` (None) or the failure's class."""


class Hooks:
    """The hooks of one tenant, or of the whole service. `calls` are in the order in which they shall be made.

    A verb takes the hook's own arguments by name, and `now` to play another moment. An answer comes with its
    plugin's name and has been checked by `core.hooks.answers`."""

    __slots__ = ("_answer", "_calls", "_clock", "_timeout", "_trace", "_wrappers", "_zone", "plugins")

    def __init__(  # noqa: PLR0913
        self,
        plugins: tuple[str, ...],
        calls: Iterable[Call],
        *,
        clock: Clock,
        zone: tzinfo = UTC,
        timeout: float = TIMEOUT,
        trace: Trace | None = None,
    ) -> None:
        self.plugins = plugins
        self._calls: dict[str, tuple[Call, ...]] = {}
        self._wrappers: dict[str, tuple[Call, ...]] = {}
        for call in calls:
            kind = self._wrappers if call.wrapper else self._calls
            kind[call.hook] = (*kind.get(call.hook, ()), call)
        self._clock, self._zone, self._timeout, self._trace = clock, zone, timeout, trace
        self._answer: Callable[[Call, dict[str, Any]], Any] = self._called if trace is None else self._traced

    def implements(self, hook: str) -> bool:
        """Whether any plugin here has this hook: lets callers skip what nobody would see."""
        return hook in self._calls or hook in self._wrappers

    def first(self, hook: str, **arguments: Any) -> Promise[tuple[str, Any] | None]:
        """The first answer that is not None. Raises PluginFailed at the first failure, or what `PASSES` lets
        through."""
        if self._wrappers and (wrappers := self._wrapped(hook, arguments)):
            return Layers(arguments, FIRST).around(wrappers, lambda: self._first(hook, arguments))
        return self._first(hook, arguments)

    def collect(self, hook: str, **arguments: Any) -> Promise[list[tuple[str, Any]]]:
        """All answers, lists flattened. Raises PluginFailed at the first failure, or what `PASSES` lets through."""
        if self._wrappers and (wrappers := self._wrapped(hook, arguments)):
            return Layers(arguments, COLLECTED).around(wrappers, lambda: self._collect(hook, arguments))
        return self._collect(hook, arguments)

    async def collect_settled(self, hook: str, **arguments: Any) -> tuple[list[tuple[str, Any]], list[PluginFailed]]:
        """All answers, and the failures: they are logged, and the other plugins go on."""
        failures: list[PluginFailed] = []
        if self._wrappers and (wrappers := self._wrapped(hook, arguments)):
            layers = Layers(arguments, COLLECTED, partial(_settle, failures))
            found = await layers.around(wrappers, lambda: self._collect(hook, arguments, failures))
        else:
            found = await self._collect(hook, arguments, failures)
        return found, failures

    def pipe(self, hook: str, argument: str, value: Any, **arguments: Any) -> Promise[Any]:
        """`value` handed from plugin to plugin as `argument`; None leaves it. Raises as `collect`."""
        arguments[argument] = value
        if self._wrappers and (wrappers := self._wrapped(hook, arguments)):
            return Layers(arguments, PIPED).around(wrappers, lambda: self._pipe(hook, argument, arguments))
        return self._pipe(hook, argument, arguments)

    async def notify(self, hook: str, **arguments: Any) -> list[PluginFailed]:
        """Tell all; the failures, which are logged. Only `startup` raises PluginFailed, at the first."""
        failures: list[PluginFailed] = []
        settled = None if hook == "startup" else failures
        if self._wrappers and (wrappers := self._wrapped(hook, arguments)):
            layers = Layers(arguments, NOTIFIED, None if settled is None else partial(_settle, settled))
            await layers.around(wrappers, lambda: self._collect(hook, arguments, settled))
        else:
            await self._collect(hook, arguments, settled)
        return failures

    def _wrapped(self, hook: str, arguments: dict[str, Any]) -> tuple[Call, ...]:
        wrappers = self._wrappers.get(hook, ())
        if wrappers and "now" not in arguments:
            arguments["now"] = self._clock.now().astimezone(self._zone)
        return wrappers

    async def _first(self, hook: str, arguments: dict[str, Any]) -> tuple[str, Any] | None:
        for call in self._calls.get(hook, ()):
            answer = self._answer(call, arguments)
            if type(answer) is CoroutineType:
                answer = await answer
            if answer is not None:
                return call.plugin, answer
        return None

    async def _collect(
        self, hook: str, arguments: dict[str, Any], failures: list[PluginFailed] | None = None
    ) -> list[tuple[str, Any]]:
        """All answers. A failure is added to `failures`, or raised without them."""
        found: list[tuple[str, Any]] = []
        for call in self._calls.get(hook, ()):
            try:
                answers = self._answer(call, arguments)
                if type(answers) is CoroutineType:
                    answers = await answers
            except PluginFailed as failed:
                if failures is None:
                    raise
                _settle(failures, failed)
                continue
            if answers is not None:
                for answer in answers:
                    found.append((call.plugin, answer))
        return found

    async def _pipe(self, hook: str, argument: str, arguments: dict[str, Any]) -> Any:
        for call in self._calls.get(hook, ()):
            answer = self._answer(call, arguments)
            if type(answer) is CoroutineType:
                answer = await answer
            if answer is not None:
                arguments = {**arguments, argument: answer}
        return arguments[argument]

    def _called(self, call: Call, arguments: dict[str, Any]) -> Any:
        """The checked answer, or None; of an `async def` hook that waits, a coroutine that gives it. The watchdog knows
        a plugin at work by this function's `call`."""
        if call.wants_now and "now" not in arguments:
            arguments["now"] = self._clock.now().astimezone(self._zone)
        try:
            answer = call.invoke(arguments)
            if type(answer) is CoroutineType:
                try:
                    waits_for = answer.send(None)
                except StopIteration as done:  # most `async def` hooks wait for nothing
                    answer = done.value
                else:
                    return self._awaited(_rest(answer, waits_for), call, arguments)
            elif hasattr(answer, "__await__"):
                return self._awaited(answer, call, arguments)
            return None if answer is None else call.check(answer, arguments)
        except BaseException as error:
            _blame(call, error)
            raise

    async def _awaited(self, answer: Awaitable[Any], call: Call, arguments: dict[str, Any]) -> Any:
        try:
            said = await self._in_time(answer, call)
            return None if said is None else call.check(said, arguments)
        except BaseException as error:
            _blame(call, error)
            raise

    async def _traced(self, call: Call, arguments: dict[str, Any]) -> Any:
        started, outcome = self._clock.monotonic(), "cancelled"
        try:
            answer = self._called(call, arguments)
            if type(answer) is CoroutineType:
                answer = await answer
            outcome = "silent" if answer is None else "answered"
        except Exception as error:
            outcome = type(error).__name__
            raise
        else:
            return answer
        finally:
            if self._trace is not None:
                self._trace(call.plugin, call.hook, self._clock.monotonic() - started, outcome)

    async def _in_time(self, answer: Awaitable[Any], call: Call) -> Any:
        limit: asyncio.Timeout | None = None
        try:
            async with asyncio.timeout(self._timeout) as limit:
                return await answer
        except TimeoutError as error:
            if limit is not None and limit.expired():
                raise call.failed_as(f"timed out after {self._timeout:g} s") from error
            raise


def _settle(failures: list[PluginFailed], error: Exception) -> None:
    """Note and log a plugin's failure, so that the others go on; whatever else it is, is raised."""
    if not isinstance(error, PluginFailed):
        raise error
    failures.append(error)
    log.error("%s; the other plugins go on", error, exc_info=error.__cause__ or error, extra=error.told)


def _blame(call: Call, error: BaseException) -> None:
    """Raise PluginFailed from an error that is the plugin's; return when it shall pass as it is."""
    if isinstance(error, call.passes):
        return
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            raise call.failed(RuntimeError("the plugin's own call was cancelled")) from error
    elif isinstance(error, Exception | SystemExit):  # no tenant's plugin ends the gateway for everybody
        raise call.failed(error) from error


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """What is left of a coroutine that has begun and waits for something."""
    try:
        while True:
            try:
                told = yield waits_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - a cancellation too is the coroutine's to handle
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(told)
    except StopIteration as done:
        return done.value
