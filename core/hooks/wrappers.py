"""`wrapper=True` generators around a whole verb, as pluggy has them, with awaiting done in between.

A wrapper runs up to its `yield`, is sent the result (or has the failure thrown in), and returns the result that
holds. It is sent plain answers, without the plugins' names; an answer it adds counts as its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from core.hooks.answers import NonsenseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

    from core.hooks.calls import Call


R = TypeVar("R")
Pair = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Shape(Generic[R]):
    """How a verb's result looks to a wrapper (`plain`), and how what it returns becomes the verb's result again."""

    empty: R
    plain: Callable[[R], Any]
    restore: Callable[[Any, R, Call, Mapping[str, Any]], R]


@dataclass(slots=True)
class Layers(Generic[R]):
    """The wrappers around one verb, the first outermost. A wrapper's failure is the verb's, unless `settle`
    takes it: then the result stays what it was."""

    arguments: Mapping[str, Any]
    shape: Shape[R]
    settle: Callable[[Exception], None] | None = None
    opened: list[tuple[Call, Generator[None, Any, Any]]] = field(default_factory=list)

    async def around(self, wrappers: tuple[Call, ...], inner: Callable[[], Awaitable[R]]) -> R:
        """The result of `inner` as the wrappers leave it, or the failure."""
        result, failure = self.shape.empty, None
        try:
            try:
                self._open(wrappers)
                result = await inner()
            except Exception as error:  # noqa: BLE001 - thrown into the wrappers, then raised
                failure = error
            while self.opened:
                try:
                    result, failure = self._close(*self.opened.pop(), result, failure), None
                except Exception as error:  # noqa: BLE001 - as above
                    failure = self._settled(error)
        finally:  # only a cancellation leaves any: their own `finally` shall run
            for _, generator in self.opened:
                generator.close()
        if failure is not None:
            raise failure
        return result

    def _open(self, wrappers: tuple[Call, ...]) -> None:
        for call in wrappers:
            try:
                self.opened.append((call, _started(call, self.arguments)))
            except Exception as error:
                if self._settled(error) is not None:
                    raise

    def _close(self, call: Call, generator: Generator[None, Any, Any], result: R, failure: Exception | None) -> R:
        try:
            returned = _resumed(generator, self.shape.plain(result), failure)
            return self.shape.restore(returned, result, call, self.arguments)
        except Exception as error:
            if error is failure or isinstance(error, call.passes):
                raise
            raise call.failed(error) from error
        except SystemExit as error:
            raise call.failed(error) from error

    def _settled(self, error: Exception) -> Exception | None:
        if self.settle is None:
            return error
        self.settle(error)
        return None


def _started(call: Call, arguments: Mapping[str, Any]) -> Generator[None, Any, Any]:
    try:
        generator: Generator[None, Any, Any] = call.invoke(arguments)
        next(generator)
    except StopIteration as error:
        raise call.failed(NonsenseError("a wrapper must yield once")) from error
    except call.passes:
        raise
    except (Exception, SystemExit) as error:
        raise call.failed(error) from error
    return generator


def _resumed(generator: Generator[None, Any, Any], result: Any, failure: Exception | None) -> Any:
    try:
        if failure is None:
            generator.send(result)
        else:
            generator.throw(failure)
    except StopIteration as stop:
        return stop.value
    generator.close()
    raise NonsenseError("a wrapper must yield once")


def _restore_list(returned: Any, before: list[Pair], call: Call, arguments: Mapping[str, Any]) -> list[Pair]:
    if not isinstance(returned, list | tuple):
        raise NonsenseError("a wrapper must return the list it was sent, or another")
    # Two plugins may have answered with one and the same object, and a quota goes by its plugin's name.
    owners: dict[int, list[str]] = {}
    for plugin, answer in reversed(before):
        owners.setdefault(id(answer), []).append(plugin)
    restored: list[Pair] = []
    for item in returned:
        who = owners.get(id(item))
        owner = who.pop() if who else call.plugin
        restored += [(owner, answer) for answer in call.check(item, arguments)]
    return restored


def _restore_first(returned: Any, before: Pair | None, call: Call, arguments: Mapping[str, Any]) -> Pair | None:
    if returned is None:
        return None
    if before is not None and returned is before[1]:
        return before
    return call.plugin, call.check(returned, arguments)


def _restore_piped(returned: Any, _: Any, call: Call, arguments: Mapping[str, Any]) -> Any:
    return call.check(returned, arguments)


COLLECTED: Shape[list[Pair]] = Shape([], lambda pairs: [answer for _, answer in pairs], _restore_list)
FIRST: Shape[Pair | None] = Shape(None, lambda pair: None if pair is None else pair[1], _restore_first)
PIPED: Shape[Any] = Shape(None, lambda value: value, _restore_piped)
NOTIFIED: Shape[list[Pair]] = Shape([], lambda _: [], lambda _, __, ___, ____: [])
