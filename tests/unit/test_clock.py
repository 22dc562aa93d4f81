"""core.clock: the real clock keeps its promises."""

from datetime import UTC, datetime, timedelta

from core.clock import Clock


def test_now_is_aware_and_in_utc() -> None:
    """`now` lies between two readings of the system's clock and says that it is UTC."""
    before = datetime.now(UTC)
    now = Clock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)


def test_monotonic_never_goes_back() -> None:
    """A later reading is not smaller."""
    clock = Clock()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


async def test_sleep_lets_the_time_pass() -> None:
    """`sleep` takes at least what it was asked for, by its own clock."""
    clock = Clock()
    start = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - start >= 0.009


def test_uniform_stays_inside_and_varies() -> None:
    """Random numbers lie between the bounds, and are not one number."""
    clock = Clock()
    drawn = {clock.uniform(2.0, 5.0) for _ in range(50)}
    assert all(2.0 <= number <= 5.0 for number in drawn)
    assert len(drawn) > 1
    assert clock.uniform(3.0, 3.0) == 3.0
