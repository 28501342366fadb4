"""Suites: named lists of (environment, arguments, task seeds), so that two people evaluate on the same thing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentgym.errors import UnknownName, UsageError
from agentgym.registration import catalogue

__all__ = ["FIRST_SEED", "Item", "Suite", "register_suite", "suite", "suite_names"]

FIRST_SEED = 10_000
"""Where the built-in suites' task seeds begin. Training that must not see their tasks splits by instance
(`agentgym.agents.train.splits`): different seeds may lead to the same one."""


@dataclass(frozen=True)
class Item:
    """One environment of a suite.

    Attributes:
        env: environment id. seeds: given to ``reset``, one episode each. kwargs: given to ``gymnasium.make``.
    """

    env: str
    seeds: tuple[int, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """What is evaluated on.

    Attributes:
        name, description: for people. items: the environments.
    """

    name: str
    items: tuple[Item, ...]
    description: str = ""

    def __post_init__(self) -> None:
        if not self.items:
            raise UsageError(f"suite {self.name!r} has no items")
        keys = [(item.env, json.dumps(dict(item.kwargs), sort_keys=True, default=str)) for item in self.items]
        for k, item in enumerate(self.items):
            if not item.seeds:
                raise UsageError(f"suite {self.name!r}: {item.env} has no seeds")
            if len(set(item.seeds)) < len(item.seeds):
                raise UsageError(f"suite {self.name!r}: {item.env} names a seed twice; use `repeats` for more episodes")
            if keys[k] in keys[:k]:
                raise UsageError(f"suite {self.name!r} has {item.env} twice with the same arguments; join their seeds")

    def __len__(self) -> int:
        """Number of (environment, seed) pairs."""
        return sum(len(item.seeds) for item in self.items)

    def first(self, seeds: int) -> Suite:
        """The same suite with at most that many seeds of each environment."""
        if seeds < 1:
            raise UsageError(f"a suite needs at least one seed of each environment, got {seeds}")
        return replace(self, items=tuple(replace(item, seeds=item.seeds[:seeds]) for item in self.items))

    def with_kwargs(self, **kwargs: Any) -> Suite:
        """The same suite with these arguments added for every environment, e.g. ``view="text"``."""
        return replace(self, items=tuple(replace(item, kwargs={**item.kwargs, **kwargs}) for item in self.items))


_suites: dict[str, Callable[[], Suite]] = {}


def register_suite(name: str, make: Callable[[], Suite]) -> None:
    """Make ``suite(name)`` work; ``make`` is called each time and may look into the catalogue."""
    if name in _suites:
        raise UsageError(f"there is a suite {name!r} already; choose another name")
    if not name or "/" in name or name.endswith(".json"):
        raise UsageError(f"a suite's name has no slash and does not end in .json (that is a file), got {name!r}")
    _suites[name] = make


def suite_names() -> tuple[str, ...]:
    """The names that `suite` knows."""
    return tuple(_suites)


def suite(name: str | Path) -> Suite:
    """A suite by name, or from a JSON file.

    The file holds ``{"name": …, "items": [{"env": id, "seeds": [0, 1, …] or {"start": 0, "count": 20},
    "kwargs": {…}}, …]}``; name, description and kwargs may be left out.

    Raises:
        UnknownName: neither a suite nor an environment of that name is known.
        UsageError: the file cannot be read or is not of this form.
    """
    if isinstance(name, Path) or "/" in name or name.endswith(".json"):
        return _from_file(Path(name))
    if name not in _suites:
        raise UnknownName("suite", name, _suites, f"known: {', '.join(_suites)}, or a JSON file")
    return _suites[name]()


def _from_file(path: Path) -> Suite:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the suite {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"the suite {path} is not JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("items"), list):
        raise UsageError(f'the suite {path} must be an object with a list "items", got {type(content).__name__}')
    unknown = set(content) - {"name", "description", "items"}
    if unknown:
        raise UsageError(f"the suite {path} has unknown keys {sorted(unknown)}; known: name, description, items")
    items = tuple(_item(path, k, item) for k, item in enumerate(content["items"]))
    return Suite(str(content.get("name", path.stem)), items, str(content.get("description", "")))


def _item(path: Path, k: int, item: Any) -> Item:
    where = f"{path}, item {k}"
    if not isinstance(item, dict) or not isinstance(item.get("env"), str):
        raise UsageError(f'{where} must be an object with an "env" (an environment id), got {item!r:.80}')
    unknown = set(item) - {"env", "seeds", "kwargs"}
    if unknown:
        raise UsageError(f"{where} has unknown keys {sorted(unknown)}; known: env, seeds, kwargs")
    seeds, kwargs = item.get("seeds"), item.get("kwargs", {})
    if isinstance(seeds, dict) and seeds.keys() == {"start", "count"} and all(map(_whole, seeds.values())):
        seeds = list(range(seeds["start"], seeds["start"] + seeds["count"]))
    if not isinstance(seeds, list) or not all(map(_whole, seeds)):
        raise UsageError(f'{where}: "seeds" must be a list of whole numbers or {{"start", "count"}}, got {seeds!r:.80}')
    if not isinstance(kwargs, dict):
        raise UsageError(f'{where}: "kwargs" must be an object, got {kwargs!r:.80}')
    return Item(item["env"], tuple(seeds), kwargs)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _items(ids: Sequence[str], seeds: int, **kwargs: Any) -> tuple[Item, ...]:
    return tuple(Item(i, tuple(range(FIRST_SEED, FIRST_SEED + seeds)), kwargs) for i in ids)


def _quick() -> Suite:
    ids = ("agentgym/Grid-DoorKey-5x5-v0", "agentgym/Grid-DoorKey-8x8-v0")
    return Suite("quick", _items(ids, 10, view="text"), "two DoorKeys in words, ten layouts each: seconds")


def _grid() -> Suite:
    ids = [entry.id for entry in catalogue("grid")]
    return Suite("grid", _items(ids, 20, view="text"), "every grid task in words, twenty seeds each")


HELD_OUT_PAGES = (
    "click-checkboxes-large",
    "click-tab-2-hard",
    "email-inbox-star-reply",
    "login-user-popup",
    "multi-layouts",
    "read-table-2",
    "social-media-some",
    "use-slider-2",
)
"""Pages of MiniWoB that ask for what others ask for, in another way: kept for tests of generalisation."""


def _pages(held_out: bool) -> tuple[Item, ...]:
    chosen = {f"agentgym/MiniWoB-{name}-v0" for name in HELD_OUT_PAGES}
    ids = [entry.id for entry in catalogue("web") if entry.id.startswith("agentgym/MiniWoB-")]
    return _items([i for i in ids if (i in chosen) == held_out and "-flight." not in i], 5)


def _miniwob() -> Suite:
    return Suite("miniwob", _pages(held_out=False), "pages of MiniWoB++ but those held out, five seeds each")


def _miniwob_held_out() -> Suite:
    return Suite("miniwob-held-out", _pages(held_out=True), "eight pages of MiniWoB++ that no training should see")


def _swe_releases() -> Suite:
    items = tuple(Item("agentgym/SWE-Releases-v0", (FIRST_SEED,), {"number": k}) for k in range(11))
    return Suite("swe-releases", items, "eleven pairs of releases, once each; built by `agentgym swe build releases`")


def _swe_mutants() -> Suite:
    items = _items(("agentgym/SWE-Mutants-v0",), 60, split="held_out")
    return Suite("swe-mutants", items, "packages with one planted fault, in functions that no training should see")


SWE_BUGS = (
    *("slug", "wrap", "csvline", "template", "truncate", "plural", "pathjoin", "mask", "leap", "shares", "median"),
    *("duration", "interpolate", "roman", "overlap", "primes", "unique", "basket", "lru", "search", "flatten", "merge"),
    *("toposort", "retry"),
)
"""The hand-written bugs of the SWE world."""


def _swe_smoke() -> Suite:
    (smoke,) = _items(["agentgym/SWE-Smoke-v0"], 100, split="held_out")
    return Suite("swe-smoke", (smoke,), "small functions with one fault that no training should see")


def _swe_bugs() -> Suite:
    items = tuple(Item("agentgym/SWE-Bugs-v0", (FIRST_SEED,), {"bug": name}) for name in SWE_BUGS)
    return Suite("swe-bugs", items, "hand-written bugs, each once")


HELD_OUT_WORK = ("Roundup-duplicate", "Roundup-reassign", "Roundup-remove-keyword", "Shop-cheapest", "Shop-review")
"""Work on sites that no training should see; like the pages, it combines what the rest asks for."""
UNSAFE_WORK = (
    *("Roundup-planted-text", "Roundup-triage", "Roundup-resolve", "Roundup-settings"),
    *("Shop-planted-text", "Shop-checkout", "Shop-quantity", "Shop-add-address"),
)
"""Work on sites in which much can be done wrong: planted texts, orders, many records alike."""


def _work(held_out: bool) -> tuple[Item, ...]:
    chosen = {f"agentgym/Site-{name}-v0" for name in HELD_OUT_WORK}
    ids = [entry.id for entry in catalogue("web") if entry.id.startswith("agentgym/Site-") and entry.id.count("-") > 2]
    return _items([i for i in ids if (i in chosen) == held_out], 5)


def _sites() -> Suite:
    return Suite("sites", _work(held_out=False), "work on an issue tracker and in a shop, five sets of parameters each")


def _sites_held_out() -> Suite:
    return Suite("sites-held-out", _work(held_out=True), "work on the same sites that no training should see")


def _web_safety() -> Suite:
    items = _items([f"agentgym/Site-{name}-v0" for name in UNSAFE_WORK], 10)
    return Suite("web-safety", items, "work on sites in which much can be done wrong, ten sets of parameters each")


register_suite("quick", _quick)
register_suite("grid", _grid)
register_suite("swe-smoke", _swe_smoke)
register_suite("swe-bugs", _swe_bugs)
register_suite("miniwob", _miniwob)
register_suite("miniwob-held-out", _miniwob_held_out)
register_suite("swe-releases", _swe_releases)
register_suite("swe-mutants", _swe_mutants)

register_suite("sites", _sites)
register_suite("sites-held-out", _sites_held_out)
register_suite("web-safety", _web_safety)
