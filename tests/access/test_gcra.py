"""Limits against the algorithm as it is written down, with every cost known beforehand; and a clock that nobody can set."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.inference.access.clock import LimitClock, Reading
from llmops_tui.inference.access.gcra import MICROSECONDS, Account, Limit


class Reference:
    """The generic cell rate algorithm in fractions, with a list of all that was let in and what it came to."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.taken: list[tuple[int, int]] = []

    def room(self, now: int) -> Fraction:
        """How many units are there at a moment, in microseconds."""
        unit = Fraction(self.limit.seconds * MICROSECONDS, self.limit.amount)
        arrival = Fraction(0)
        for at, cost in self.taken:
            arrival = max(arrival, Fraction(at)) + cost * unit
        return (self.limit.seconds * MICROSECONDS - max(Fraction(0), arrival - now)) / unit


STEPS = st.lists(st.tuples(st.integers(0, 40_000_000), st.integers(0, 12), st.integers(0, 12)), max_size=40)


@given(STEPS, st.integers(1, 17), st.sampled_from([1, 7, 60]))
def test_what_is_let_in_is_what_the_algorithm_lets_in(
    steps: list[tuple[int, int, int]], amount: int, seconds: int
) -> None:
    """Some requests end at once with less than they reserved, others later or never; what each came to is known to the reference."""
    limit, account, now = Limit(amount, seconds), Account(), 1_000_000_000
    reference = Reference(limit)
    under_way: list[tuple[str, int, int]] = []
    for number, (passed, cost, used) in enumerate(steps):
        now += passed
        if under_way and number % 3 == 2:
            name, place, least = under_way.pop(number % len(under_way))
            came_to = min(used, least)
            assert account.settle(limit, name, came_to)
            reference.taken[place] = (reference.taken[place][0], came_to)
        room = reference.room(now)
        wait = account.take(limit, now, cost, f"r{number}")
        assert (wait == 0) == (cost <= room or cost == 0)
        if wait:
            # Not a microsecond sooner, and then it is let in, if it ever can be.
            assert reference.room(now + wait - 1) < cost
            assert cost > limit.amount or reference.room(now + wait) >= cost
        else:
            reference.taken.append((now, cost))
            under_way.append((f"r{number}", len(reference.taken) - 1, cost))
        assert account.left(limit, now) == max(0, int(reference.room(now)))
        assert len(account.steps) <= 2 * len(under_way) + 1
        assert Account.of_record(account.as_record()) == account


def test_what_was_given_back_by_the_clock_is_not_given_back_again() -> None:
    limit, account = Limit(100, 60), Account()
    assert account.take(limit, 0, 100, "long") == 0
    # All of it is there again after a minute, and taken.
    assert account.take(limit, 60 * MICROSECONDS, 100, "next") == 0
    assert account.settle(limit, "long", 10)
    assert account.left(limit, 61 * MICROSECONDS) == 1
    assert not account.settle(limit, "long", 0)


def test_those_who_died_count_in_full() -> None:
    limit, account = Limit(10, 60), Account()
    account.take(limit, 0, 6, "dead")
    account.take(limit, 0, 2, "alive")
    account.close(["dead"])
    assert account.under_way == ["alive"]
    account.settle(limit, "alive", 0)
    assert (account.steps, account.left(limit, 0), account.whole_in(limit, 0)) == ([], 4, 36 * MICROSECONDS)


def test_a_clock_that_is_set_back_lets_nothing_through() -> None:
    since, wall, boot = [100.0], [5_000.0], ["first"]
    clock = LimitClock(lambda: since[0], lambda: wall[0], lambda: boot[0])
    last = clock.read(None)
    assert last.now == 5_000 * MICROSECONDS
    # Within one boot the time of day plays no part, wherever it is set.
    for moved in (-4_000.0, 86_400.0):
        wall[0] += moved
        since[0] += 3
        after = clock.read(last)
        assert after.now - last.now == 3 * MICROSECONDS
        last = after
    # Between two boots what passed is told by the time of day, and nothing where that went back.
    boot[0], since[0], wall[0] = "second", 1.0, wall[0] + 60
    after = clock.read(last)
    assert after.now - last.now == 60 * MICROSECONDS
    boot[0], wall[0] = "third", 0.0
    assert clock.read(after).now == after.now
    # A boot that is not told apart, and whose clock begins anew, is another one.
    assert clock.read(Reading("third", 999 * MICROSECONDS, 0, 7)).now == 7
