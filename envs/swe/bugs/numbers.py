"""Bugs in arithmetic, dates and money."""

from __future__ import annotations

from agentgym.envs.swe.bugs.bug import Bug

__all__ = ["BUGS"]

BUGS = (
    Bug(
        name="leap",
        statement="The year 1900 is taken for a leap year.",
        source='''
"""Days of a year."""


def is_leap(year):
    """Every fourth year, but of the full hundreds every fourth."""
    return year % 4 == 0


def days(year):
    """365 or 366."""
    return 366 if is_leap(year) else 365
''',
        wrong="return year % 4 == 0",
        right="return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)",
        hidden="""
from leap import days, is_leap


def test_full_hundreds():
    assert not is_leap(1900) and not is_leap(2100)


def test_every_fourth_hundred():
    assert is_leap(2000) and is_leap(1600)


def test_days():
    assert (days(2100), days(2024), days(2023)) == (365, 366, 365)


def test_others():
    assert [y for y in range(2001, 2010) if is_leap(y)] == [2004, 2008]
""",
        visible="""
from leap import is_leap


def test_2024():
    assert is_leap(2024)
""",
    ),
    Bug(
        name="shares",
        statement="Dividing an amount loses cents: the shares of 100 among 3 sum to 99.",
        source='''
"""Divide an amount fairly."""


def shares(cents, people):
    """Whole cents for each, larger shares first, summing to the amount."""
    each = cents // people
    return [each] * people
''',
        wrong="    return [each] * people",
        right="    more = cents - each * people\n    return [each + 1] * more + [each] * (people - more)",
        hidden="""
from shares import shares


def test_nothing_is_lost():
    assert shares(100, 3) == [34, 33, 33]


def test_two_left_over():
    assert shares(101, 3) == [34, 34, 33]


def test_even():
    assert shares(90, 3) == [30, 30, 30]


def test_less_than_a_cent():
    assert shares(1, 3) == [1, 0, 0]
""",
        visible="""
from shares import shares


def test_even():
    assert shares(10, 2) == [5, 5]
""",
    ),
    Bug(
        name="median",
        statement="The median of four numbers is wrong: `median([1, 2, 3, 4])` gives 3.",
        source='''
"""The middle of numbers."""


def median(numbers):
    """The middle one of the sorted numbers, or the mean of the middle two."""
    if not numbers:
        raise ValueError("median of nothing")
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    return ordered[middle]
''',
        wrong="    return ordered[middle]",
        right="""    if len(ordered) % 2 == 0:
        return (ordered[middle - 1] + ordered[middle]) / 2
    return ordered[middle]""",
        hidden="""
import pytest
from median import median


def test_even_count():
    assert median([1, 2, 3, 4]) == 2.5


def test_two():
    assert median([5, 1]) == 3


def test_odd_count():
    assert median([3, 1, 2]) == 2


def test_nothing():
    with pytest.raises(ValueError):
        median([])
""",
        visible="""
from median import median


def test_three():
    assert median([1, 2, 3]) == 2
""",
    ),
    Bug(
        name="duration",
        statement="`show(3600)` prints '60 min' instead of '1 h 0 min'.",
        source='''
"""Seconds for people."""


def show(seconds):
    """'59 s', '1 min 0 s', '1 h 0 min'."""
    if seconds < 60:
        return f"{seconds} s"
    if seconds <= 3600:
        minutes, rest = divmod(seconds, 60)
        return f"{minutes} min {rest} s"
    hours, rest = divmod(seconds, 3600)
    return f"{hours} h {rest // 60} min"
''',
        wrong="seconds <= 3600",
        right="seconds < 3600",
        hidden="""
from duration import show


def test_one_hour():
    assert show(3600) == "1 h 0 min"


def test_just_below():
    assert show(3599) == "59 min 59 s"


def test_seconds():
    assert (show(59), show(60)) == ("59 s", "1 min 0 s")


def test_long():
    assert show(7384) == "2 h 3 min"
""",
        visible="""
from duration import show


def test_a_minute():
    assert show(61) == "1 min 1 s"
""",
    ),
    Bug(
        name="interpolate",
        statement="Values to the left of the first point are extrapolated; they should be those of the first point.",
        source='''
"""Values between known points."""


def interpolate(points, x):
    """Straight lines between (x, y) points sorted by x; outside of them the nearest point's y."""
    if x >= points[-1][0]:
        return points[-1][1]
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if x < x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
''',
        wrong="    for (x0, y0)",
        right="    if x <= points[0][0]:\n        return points[0][1]\n    for (x0, y0)",
        hidden="""
from interpolate import interpolate

POINTS = [(0, 10), (10, 20), (20, 0)]


def test_left_of_all():
    assert interpolate(POINTS, -5) == 10


def test_right_of_all():
    assert interpolate(POINTS, 25) == 0


def test_between():
    assert interpolate(POINTS, 5) == 15
    assert interpolate(POINTS, 15) == 10


def test_far_left():
    assert interpolate([(1, 3), (2, 5)], -100) == 3
""",
        visible="""
from interpolate import interpolate


def test_middle():
    assert interpolate([(0, 0), (2, 4)], 1) == 2
""",
    ),
    Bug(
        name="roman",
        statement="`to_roman(4)` gives 'IIII'.",
        source='''
"""Roman numerals."""

SIGNS = [
    (1000, "M"), (500, "D"), (100, "C"), (50, "L"), (10, "X"), (5, "V"), (1, "I"),
]


def to_roman(n):
    """Of a number from 1 to 3999."""
    out = ""
    for value, sign in SIGNS:
        while n >= value:
            out += sign
            n -= value
    return out
''',
        wrong="""    (1000, "M"), (500, "D"), (100, "C"), (50, "L"), (10, "X"), (5, "V"), (1, "I"),
""",
        right="""    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"),
    (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
""",
        hidden="""
from roman import to_roman


def test_fours_and_nines():
    assert [to_roman(n) for n in (4, 9, 40, 90, 400, 900)] == ["IV", "IX", "XL", "XC", "CD", "CM"]


def test_long():
    assert to_roman(1994) == "MCMXCIV"


def test_plain():
    assert to_roman(1666) == "MDCLXVI"


def test_repeated():
    assert to_roman(3333) == "MMMCCCXXXIII"
""",
        visible="""
from roman import to_roman


def test_small():
    assert [to_roman(n) for n in (1, 2, 3, 5)] == ["I", "II", "III", "V"]
""",
    ),
    Bug(
        name="overlap",
        statement="Two bookings that only touch (one ends when the other begins) are refused as overlapping.",
        source='''
"""Bookings of one room."""


def overlap(a, b):
    """Whether two (start, end) times have a moment in common; an end is no longer part of its booking."""
    return a[0] <= b[1] and b[0] <= a[1]


def free(bookings, wanted):
    """Whether `wanted` fits among the bookings."""
    return not any(overlap(wanted, each) for each in bookings)
''',
        wrong="return a[0] <= b[1] and b[0] <= a[1]",
        right="return a[0] < b[1] and b[0] < a[1]",
        hidden="""
from overlap import free, overlap


def test_touching_is_free():
    assert not overlap((9, 10), (10, 11)) and not overlap((10, 11), (9, 10))


def test_fits_between():
    assert free([(8, 9), (10, 12)], (9, 10))


def test_real_overlap():
    assert overlap((9, 11), (10, 12)) and overlap((9, 12), (10, 11))


def test_taken():
    assert not free([(8, 10)], (9, 11))
""",
        visible="""
from overlap import overlap


def test_apart():
    assert not overlap((1, 2), (3, 4))
""",
    ),
    Bug(
        name="primes",
        statement="Squares of primes are listed as primes: `primes(10)` contains 9.",
        source='''
"""Prime numbers."""


def primes(limit):
    """All primes below `limit`."""
    found = []
    for n in range(2, limit):
        divisor = 2
        while divisor * divisor < n and n % divisor:
            divisor += 1
        if divisor * divisor >= n:
            found.append(n)
    return found
''',
        wrong="""        while divisor * divisor < n and n % divisor:
            divisor += 1
        if divisor * divisor >= n:
""",
        right="""        while divisor * divisor <= n and n % divisor:
            divisor += 1
        if divisor * divisor > n:
""",
        hidden="""
from primes import primes


def test_no_squares():
    assert not set(primes(50)) & {4, 9, 25, 49}


def test_below_thirty():
    assert primes(30) == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]


def test_the_limit_is_left_out():
    assert primes(3) == [2]


def test_none():
    assert primes(2) == []
""",
        visible="""
from primes import primes


def test_first():
    assert primes(4) == [2, 3]
""",
    ),
)
