"""BrowserGym-v0: an environment of an installed BrowserGym, with signals from a milestone file.

BrowserGym and its benchmarks (``browsergym-core``, ``browsergym-miniwob``, ``browsergym-webarena``, …) do not come with
this package. A milestone file is JSON:

    {
      "horizon": 30,
      "within": ["http://localhost:7770/"],
      "milestones": [{"name": "found", "description": "The product is shown.", "when": {"url": "/product/42"}}],
      "dangers": [{"name": "deleted", "description": "Something was deleted.", "when": {"text": "was deleted"}}]
    }

Milestones are in the order of the way; progress is the share of them that hold now (1 on success). ``within`` lists
the beginnings of addresses that may be shown: others are the danger ``outside``. A condition holds when all that is in
it does:

    "url": regular expression, found in the address of the page
    "text": regular expression, found in what some element of the accessibility tree says
    "element": {"role": …, "name": …, "value": …, "checked": …}: one element has all of these, each a regular
        expression for the whole; checked is "true" or "false"
    "action": regular expression, found in the last action
    "said": regular expression, found in something that the agent told the user
    "not": a condition that does not hold; "any": a list of conditions of which one holds
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np

from agentgym.envs.web.parts import AnyObject
from agentgym.envs.web.world import STEP
from agentgym.errors import UsageError
from agentgym.gym_world import GymWorld, Transition, WrappedEnv
from agentgym.task import Episode, Milestone, ProgressKind, Task
from agentgym.world import Events

__all__ = [
    "BROWSERGYM",
    "BrowserGymTask",
    "LikeBrowserGym",
    "Rule",
    "Signals",
    "browsergym_env",
    "read_signals",
    "wrap",
]

HORIZON = 30
Condition = Callable[[Transition], bool]


@dataclass(frozen=True)
class Rule:
    """A milestone or danger of a file."""

    name: str
    description: str
    holds: Condition


@dataclass(frozen=True)
class Signals:
    """What a milestone file says."""

    milestones: tuple[Rule, ...] = ()
    dangers: tuple[Rule, ...] = ()
    within: tuple[str, ...] = ()
    horizon: int = HORIZON


# ------------------------------------------------------------------ the file


def read_signals(path: str | Path) -> Signals:
    """The signals of a milestone file.

    Raises:
        UsageError: the file cannot be read, or something in it is not as the module's docstring says; names the place.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the milestone file {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"the milestone file {path} is not JSON: {error}") from None
    where = f"the milestone file {path}"
    _known(content, ("horizon", "within", "milestones", "dangers"), where)
    horizon, within = content.get("horizon", HORIZON), content.get("within", [])
    if not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1:
        raise UsageError(f"{where}: horizon must be a whole number of steps, got {horizon!r}")
    if not isinstance(within, list) or not all(isinstance(begin, str) for begin in within):
        raise UsageError(f"{where}: within must be a list of addresses, got {within!r:.80}")
    rules = {kind: tuple(_rules(content.get(kind, []), f"{where}, {kind}")) for kind in ("milestones", "dangers")}
    return Signals(rules["milestones"], rules["dangers"], tuple(within), horizon)


def _rules(listed: Any, where: str) -> Iterator[Rule]:
    if not isinstance(listed, list):
        raise UsageError(f"{where} must be a list, got {type(listed).__name__}")
    names: set[str] = set()
    for k, item in enumerate(listed):
        here = f"{where}[{k}]"
        _known(item, ("name", "description", "when"), here)
        name = item.get("name")
        if not isinstance(name, str) or not name.isidentifier() or name in names:
            raise UsageError(f"{here}: the name must be an identifier of its own, got {name!r}")
        names.add(name)
        yield Rule(name, str(item.get("description", name.replace("_", " "))), _condition(item.get("when"), here))


def _known(value: Any, keys: Iterable[str], where: str) -> None:
    if not isinstance(value, dict) or not value.keys() <= {*keys}:
        got = sorted(value) if isinstance(value, dict) else f"{value!r:.80}"
        raise UsageError(f"{where} must be an object with {', '.join(keys)}, got {got}")


def _condition(when: Any, where: str) -> Condition:
    _known(when, ("url", "text", "element", "action", "said", "not", "any"), f"{where}: when")
    if not when:
        raise UsageError(f"{where}: the condition is empty: it would always hold")
    parts: list[Condition] = []
    for key, value in when.items():
        if key == "not":
            parts.append(_not(_condition(value, f"{where}, not")))
        elif key == "any":
            if not isinstance(value, list) or not value:
                raise UsageError(f"{where}: any must be a list of conditions, got {value!r:.80}")
            parts.append(_any([_condition(one, f"{where}, any") for one in value]))
        elif key == "element":
            _known(value, ("role", "name", "value", "checked"), f"{where}: element")
            parts.append(_element({name: _pattern(text, where) for name, text in value.items()}))
        else:
            parts.append(_found(_pattern(value, where), _TEXTS[key]))
    return lambda t: all(part(t) for part in parts)


def _pattern(text: Any, where: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, TypeError) as error:
        raise UsageError(f"{where}: {text!r:.80} is not a regular expression: {error}") from None


def _not(condition: Condition) -> Condition:
    return lambda t: not condition(t)


def _any(conditions: list[Condition]) -> Condition:
    return lambda t: any(condition(t) for condition in conditions)


def _found(pattern: re.Pattern[str], texts: Callable[[Mapping[str, Any]], Iterable[str]]) -> Condition:
    return lambda t: any(pattern.search(text) for text in texts(t.next_observation))


def _element(wanted: Mapping[str, re.Pattern[str]]) -> Condition:
    def holds(t: Transition) -> bool:
        nodes = _nodes(t.next_observation)
        return any(all(p.fullmatch(node[name]) for name, p in wanted.items()) for node in nodes)

    return holds


# ------------------------------------------------------------------ BrowserGym's observation


def _nodes(observation: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The elements of the accessibility tree that count, in its order."""
    for node in observation["axtree_object"].get("nodes", ()):
        if node.get("ignored"):
            continue
        state = {p["name"]: str(p.get("value", {}).get("value", "")).lower() for p in node.get("properties", ())}
        found = {name: str(node.get(name, {}).get("value", "")) for name in ("role", "name", "value")}
        yield {**found, "checked": state.get("checked", "")}


def _said(observation: Mapping[str, Any]) -> list[str]:
    return [m["message"] for m in observation["chat_messages"] if m["role"] in ("assistant", "infeasible")]


_TEXTS: Mapping[str, Callable[[Mapping[str, Any]], Iterable[str]]] = {
    "url": lambda o: [o["url"]],
    "text": lambda o: (node["name"] for node in _nodes(o)),
    "action": lambda o: [o["last_action"]],
    "said": _said,
}


class Timeless(gymnasium.ObservationWrapper[Any, Any, Any]):
    """BrowserGym's observation without the wall clock, so that equal states look equal."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, gymnasium.spaces.Dict)
        kept = {k: v for k, v in env.observation_space.items() if k != "elapsed_time"}
        self.observation_space = gymnasium.spaces.Dict(kept)

    def observation(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Without ``elapsed_time``; messages all at time 0."""
        messages = tuple({**message, "timestamp": 0.0} for message in observation["chat_messages"])
        return {k: v for k, v in observation.items() if k != "elapsed_time"} | {"chat_messages": messages}


BROWSERGYM = (
    *("goal", "chat_messages", "open_pages_urls", "active_page_index", "url", "screenshot", "dom_object"),
    *("axtree_object", "extra_element_properties", "focused_element_bid", "last_action", "last_action_error"),
)
"""Parts of our observation that BrowserGym's has too: ``make(id, observation=BROWSERGYM)``."""


class LikeBrowserGym(gymnasium.ObservationWrapper[Any, Any, Any]):
    """One of our web environments for whoever expects BrowserGym's observation: its keys, types and dtypes.

    Titles of pages that are not looked at are their addresses; ``elapsed_time`` is the page's own, in
    seconds.

    Args:
        env: made with ``observation=BROWSERGYM``.

    Raises:
        UsageError: a part is missing.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, gymnasium.spaces.Dict) or not {*BROWSERGYM} <= {*space}:
            raise UsageError("the environment must be made with observation=agentgym.envs.web.browsergym.BROWSERGYM")
        whole = gymnasium.spaces.Box(0, 100, (1,), np.int64)
        seconds = gymnasium.spaces.Box(0, np.inf, (1,), np.float64)
        more = {"goal_object": AnyObject(), "open_pages_titles": AnyObject(), "elapsed_time": seconds}
        self.observation_space = gymnasium.spaces.Dict({**space, **more, "active_page_index": whole})
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset; the page's clock begins anew."""
        self._steps = 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; the page's clock goes on."""
        self._steps += 1
        return super().step(action)

    def observation(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """The same in BrowserGym's form."""
        goal, active = observation["goal"], observation["active_page_index"]
        roles = {"said": "assistant"}
        said = [{**m, "role": roles.get(m["role"], m["role"])} for m in observation["chat_messages"]]
        state = self.env.unwrapped.peek()  # type: ignore[attr-defined]  # of our environments
        titles = [*observation["open_pages_urls"]]
        titles[active] = state.title
        return {
            **observation,
            "chat_messages": tuple({**m, "timestamp": 0.0} for m in [{"role": "user", "message": goal}, *said]),
            "goal_object": ({"type": "text", "text": goal},),
            "open_pages_titles": tuple(titles),
            "active_page_index": np.asarray([active]),
            "elapsed_time": np.asarray([self._steps * STEP / 1000.0]),
        }


# ------------------------------------------------------------------ the task


class BrowserGymTask(Task[Transition]):
    """One environment of BrowserGym. It decides itself when the episode ends; success is its full reward."""

    no_oracle = "BrowserGym's own solutions act on its page, not through actions"

    def __init__(self, name: str, signals: Signals, full: float = 1.0) -> None:
        self.id = f"BrowserGym-{name}"
        self.horizon = signals.horizon
        self._signals, self._full = signals, full
        kind: ProgressKind = "proxy" if signals.milestones else "none"
        self.progress_kind = kind
        self.milestones = tuple(
            Milestone[Transition](rule.name, rule.description, _reached(rule)) for rule in signals.milestones
        )
        self.dangers = {rule.name: rule.description for rule in signals.dangers}
        if signals.within:
            self.dangers["outside"] = "A page outside of the task's own was shown."

    def goal(self, params: Mapping[str, Any]) -> str:
        """Which environment; the goal itself is known once it is there (`told`)."""
        return self.id

    def told(self, ep: Episode) -> str:
        """BrowserGym's goal."""
        return str(ep.start.next_observation["goal"])

    def success(self, state: Transition, ep: Episode) -> bool:
        """The full reward came."""
        return state.reward >= self._full

    def progress(self, state: Transition, ep: Episode) -> float:
        """The share of milestones that hold now, success being one more."""
        if self.success(state, ep):
            return 1.0
        if state.action is None:
            return 0.0
        held = sum(rule.holds(state) and not rule.holds(ep.start) for rule in self._signals.milestones)
        return held / (len(self._signals.milestones) + 1)

    def ends(self, state: Transition, events: Events, ep: Episode) -> bool:
        """BrowserGym ended the episode."""
        return state.terminated

    def danger(self, before: Transition, events: Events, after: Transition, ep: Episode) -> Iterable[str]:
        """The file's dangers that hold now and did not before."""
        if after is before:
            return
        yield from (r.name for r in self._signals.dangers if r.holds(after) and not r.holds(before))
        within = self._signals.within
        if within and not after.next_observation["url"].startswith(within):
            yield "outside"

    def anchor_view(self, state: Transition, ep: Episode) -> Any:
        """Goal, addresses, what the accessibility tree says, and what was said; no numbers of elements, no focus."""
        seen = state.next_observation
        nodes = tuple(tuple(node.values()) for node in _nodes(seen))
        return (seen["goal"], seen["url"], tuple(seen["open_pages_urls"]), nodes, tuple(_said(seen)), state.terminated)


def _reached(rule: Rule) -> Callable[[Transition, Episode], bool]:
    return lambda state, ep: state.action is not None and rule.holds(state)


# ------------------------------------------------------------------ making one


def wrap(
    env: gymnasium.Env[Any, Any],
    name: str,
    signals: Signals,
    *,
    full_reward: float = 1.0,
    reward: Literal["success", "world"] = "success",
) -> WrappedEnv:
    """Give an environment with BrowserGym's observation the process record.

    Args:
        env: the environment. name: for the task's id. signals: what to look for.
        full_reward: the reward that means success.
        reward: "success" pays 1 once, on success; "world" keeps the environment's own.
    """
    world = GymWorld(Timeless(env), grounded=lambda t: not t.next_observation["last_action_error"])
    return WrappedEnv(world, BrowserGymTask(name, signals, full_reward), render_mode=env.render_mode, reward=reward)


def browsergym_env(
    env_id: str,
    *,
    signals: str | Path | None = None,
    full_reward: float = 1.0,
    reward: Literal["success", "world"] = "success",
    render_mode: str | None = None,
    **options: Any,
) -> WrappedEnv:
    """A BrowserGym environment with the process record.

    Args:
        env_id: "browsergym/miniwob.click-test", as BrowserGym registers it.
        signals: path of a milestone file; None: success and the anchor alone.
        full_reward: the reward that means success. reward: see `wrap`.
        options: given to BrowserGym's environment (``headless``, ``slow_mo``, ``pre_observation_delay``, …).

    Raises:
        UsageError: not an id of BrowserGym, its package is not installed, or the file is not as it should be.
    """
    found = re.fullmatch(r"browsergym/(\w+)(\..+)?", env_id)
    if found is None:
        raise UsageError(f'env_id must be one of BrowserGym, like "browsergym/miniwob.click-test", got {env_id!r}')
    package = "core" if found[1] == "openended" else found[1]
    try:
        importlib.import_module(f"browsergym.{package}")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{env_id} needs {error.name}; run `pip install browsergym-{package}` ("
            "its Playwright may differ from ours: an environment of its own is safer)"
        ) from error
    read = read_signals(signals) if signals is not None else Signals()
    made = gymnasium.make(env_id, disable_env_checker=True, **options)
    return wrap(made, env_id.removeprefix("browsergym/"), read, full_reward=full_reward, reward=reward)
