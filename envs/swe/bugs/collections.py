"""Bugs in lists, trees, queues and caches."""

from __future__ import annotations

from agentgym.envs.swe.bugs.bug import Bug

__all__ = ["BUGS"]

BUGS = (
    Bug(
        name="unique",
        statement="The order is lost: `unique(['b', 'a', 'b'])` should keep first appearances in order.",
        source='''
"""Remove repetitions."""


def unique(items):
    """Every item once, in the order of first appearance."""
    return sorted(set(items))
''',
        wrong="sorted(set(items))",
        right="list(dict.fromkeys(items))",
        hidden="""
from unique import unique


def test_order():
    assert unique(["b", "a", "b", "c", "a"]) == ["b", "a", "c"]


def test_mixed_kinds():
    assert unique([1, "a", 1]) == [1, "a"]


def test_empty():
    assert unique([]) == []


def test_no_repetition():
    assert unique([1, 2, 3]) == [1, 2, 3]
""",
        visible="""
from unique import unique


def test_sorted_already():
    assert unique([1, 1, 2]) == [1, 2]
""",
    ),
    Bug(
        name="basket",
        statement="Items put into one basket turn up in the next one.",
        source='''
"""A basket of things."""


class Basket:
    """What is in it, and how often."""

    def __init__(self, content={}):
        self.content = content

    def put(self, thing, count=1):
        self.content[thing] = self.content.get(thing, 0) + count

    def total(self):
        return sum(self.content.values())
''',
        wrong="""    def __init__(self, content={}):
        self.content = content
""",
        right="""    def __init__(self, content=None):
        self.content = dict(content or {})
""",
        hidden="""
from basket import Basket


def test_baskets_are_apart():
    Basket().put("apple")
    assert Basket().total() == 0


def test_the_given_content_is_not_touched():
    mine = {"pear": 1}
    Basket(mine).put("pear")
    assert mine == {"pear": 1}


def test_counts():
    basket = Basket({"plum": 2})
    basket.put("plum", 3)
    assert basket.content == {"plum": 5}


def test_total():
    assert Basket({"a": 1, "b": 2}).total() == 3
""",
        visible="""
from basket import Basket


def test_put():
    basket = Basket()
    basket.put("nut", 2)
    assert basket.content["nut"] == 2
""",
    ),
    Bug(
        name="lru",
        statement="The cache drops entries that were just read. Reading should count as use.",
        source='''
"""A cache that forgets what was not used for longest."""


class Cache:
    """At most `size` entries."""

    def __init__(self, size):
        self.size = size
        self.entries = {}

    def get(self, key):
        """The value, or None."""
        return self.entries.get(key)

    def put(self, key, value):
        self.entries.pop(key, None)
        self.entries[key] = value
        if len(self.entries) > self.size:
            del self.entries[next(iter(self.entries))]
''',
        wrong="""        return self.entries.get(key)
""",
        right="""        if key not in self.entries:
            return None
        self.entries[key] = self.entries.pop(key)
        return self.entries[key]
""",
        hidden="""
from lru import Cache


def test_reading_is_use():
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert cache.get("a") == 1 and cache.get("b") is None


def test_a_miss_changes_nothing():
    cache = Cache(2)
    assert cache.get("x") is None
    assert cache.entries == {}


def test_writing_is_use():
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.put("a", 3)
    cache.put("c", 4)
    assert cache.get("a") == 3 and cache.get("b") is None


def test_false_values_are_kept():
    cache = Cache(1)
    cache.put("a", 0)
    assert cache.get("a") == 0
""",
        visible="""
from lru import Cache


def test_put_and_get():
    cache = Cache(2)
    cache.put("a", 1)
    assert cache.get("a") == 1
""",
    ),
    Bug(
        name="search",
        statement="`find` does not find the last element of the list.",
        source='''
"""Search in sorted lists."""


def find(items, wanted):
    """Index of `wanted` in a sorted list, or -1."""
    low, high = 0, len(items) - 1
    while low < high:
        middle = (low + high) // 2
        if items[middle] == wanted:
            return middle
        if items[middle] < wanted:
            low = middle + 1
        else:
            high = middle - 1
    return -1
''',
        wrong="while low < high:",
        right="while low <= high:",
        hidden="""
from search import find


def test_every_place():
    items = [1, 3, 5, 7, 9, 11]
    assert [find(items, x) for x in items] == [0, 1, 2, 3, 4, 5]


def test_a_single_one():
    assert find([4], 4) == 0


def test_missing():
    assert [find([1, 3, 5], x) for x in (0, 2, 6)] == [-1, -1, -1]


def test_empty():
    assert find([], 1) == -1
""",
        visible="""
from search import find


def test_middle():
    assert find([1, 2, 3], 2) == 1
""",
    ),
    Bug(
        name="flatten",
        statement="Words in nested lists are taken apart into letters or recursed into without end: "
        "`flatten([['ab'], 'c'])` should be `['ab', 'c']`.",
        source='''
"""Flatten nested lists."""


def flatten(nested):
    """All items of lists and tuples, at any depth, in order; text is an item."""
    out = []
    for item in nested:
        if hasattr(item, "__iter__") and len(item) != 1:
            out.extend(flatten(item))
        elif hasattr(item, "__iter__") and not isinstance(item, str):
            out.extend(flatten(item))
        else:
            out.append(item)
    return out
''',
        wrong="""        if hasattr(item, "__iter__") and len(item) != 1:
            out.extend(flatten(item))
        elif hasattr(item, "__iter__") and not isinstance(item, str):
""",
        right="""        if isinstance(item, (list, tuple)):
""",
        hidden="""
from flatten import flatten


def test_words_stay_whole():
    assert flatten([["ab"], "c", ("de", ["f"])]) == ["ab", "c", "de", "f"]


def test_empty_words():
    assert flatten(["", [""]]) == ["", ""]


def test_numbers():
    assert flatten([1, [2, [3, [4]]]]) == [1, 2, 3, 4]


def test_empty_lists():
    assert flatten([[], [[]]]) == []
""",
        visible="""
from flatten import flatten


def test_two_levels():
    assert flatten([[1, 2], [3]]) == [1, 2, 3]
""",
    ),
    Bug(
        name="merge",
        statement="Merging settings changes the defaults that were passed in, and nested settings are lost.",
        source='''
"""Settings over defaults."""


def merge(defaults, settings):
    """A new dict: settings win, nested dicts are merged; both arguments stay as they are."""
    for key, value in settings.items():
        defaults[key] = value
    return defaults
''',
        wrong="""    for key, value in settings.items():
        defaults[key] = value
    return defaults
""",
        right="""    out = dict(defaults)
    for key, value in settings.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            value = merge(out[key], value)
        out[key] = value
    return out
""",
        hidden="""
from merge import merge


def test_arguments_stay():
    defaults = {"a": 1}
    merge(defaults, {"a": 2})
    assert defaults == {"a": 1}


def test_nested():
    assert merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}}


def test_a_dict_over_a_number():
    assert merge({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}


def test_new_keys():
    assert merge({}, {"a": 1}) == {"a": 1}
""",
        visible="""
from merge import merge


def test_settings_win():
    assert merge({"a": 1, "b": 2}, {"a": 3}) == {"a": 3, "b": 2}
""",
    ),
    Bug(
        name="toposort",
        statement="A circle of dependencies makes `order` recurse until Python gives up; it should raise ValueError.",
        source='''
"""Order by dependencies."""


def order(needs):
    """Names so that what a name needs comes before it; ValueError where that cannot be."""
    out, done = [], set()

    def visit(name):
        if name in done:
            return
        for other in sorted(needs.get(name, ())):
            visit(other)
        done.add(name)
        out.append(name)

    for name in sorted(needs):
        visit(name)
    return out
''',
        wrong="""    def visit(name):
        if name in done:
            return
        for other in sorted(needs.get(name, ())):
            visit(other)
        done.add(name)
""",
        right="""    open_now = set()

    def visit(name):
        if name in done:
            return
        if name in open_now:
            raise ValueError(f"{name} needs itself")
        open_now.add(name)
        for other in sorted(needs.get(name, ())):
            visit(other)
        done.add(name)
""",
        hidden="""
import pytest
from toposort import order


def test_circle():
    with pytest.raises(ValueError):
        order({"a": ["b"], "b": ["c"], "c": ["a"]})


def test_self():
    with pytest.raises(ValueError):
        order({"a": ["a"]})


def test_diamond():
    assert order({"d": ["b", "c"], "b": ["a"], "c": ["a"]}) == ["a", "b", "c", "d"]


def test_unnamed():
    assert order({"b": ["z"]}) == ["z", "b"]
""",
        visible="""
from toposort import order


def test_chain():
    assert order({"b": ["a"], "a": []}) == ["a", "b"]
""",
    ),
    Bug(
        name="retry",
        statement="`retry` calls the function once too seldom, and returns None instead of raising at the end.",
        source='''
"""Try again."""


def retry(function, times):
    """The function's result; after `times` failures the last error is raised."""
    for attempt in range(1, times):
        try:
            return function()
        except OSError as error:
            last = error
''',
        wrong="""    for attempt in range(1, times):
        try:
            return function()
        except OSError as error:
            last = error
""",
        right="""    for attempt in range(times):
        try:
            return function()
        except OSError as error:
            last = error
    raise last
""",
        hidden="""
import pytest
from retry import retry


class Flaky:
    def __init__(self, failures):
        self.calls, self.failures = 0, failures

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise OSError(self.calls)
        return "done"


def test_the_last_try_counts():
    assert retry(Flaky(2), 3) == "done"


def test_the_last_error_is_raised():
    flaky = Flaky(9)
    with pytest.raises(OSError, match="3"):
        retry(flaky, 3)
    assert flaky.calls == 3


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError):
        retry(lambda: 1 / 0, 3)


def test_at_once():
    assert retry(Flaky(0), 2) == "done"
""",
        visible="""
from retry import retry


def test_works():
    assert retry(lambda: 7, 3) == 7
""",
    ),
)
