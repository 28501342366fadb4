"""``agentgym envs``."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
import tyro
from gymnasium.envs.registration import load_env_creator

import agentgym
from agentgym.cli._output import known, make, print_json, table
from agentgym.cli._parse import Flag, parse
from agentgym.errors import UsageError


@dataclass(frozen=True)
class Command:
    """List environments, search them, or describe one.

    Example:
      agentgym envs door --family grid
      agentgym envs --describe agentgym/Grid-DoorKey-8x8-v0
    """

    search: tyro.conf.Positional[str] = ""
    """Only ids and summaries that contain this, in any case."""
    family: str | None = None
    """Only this family (grid, game, web, gui, swe, or a third party's)."""
    describe: str | None = None
    """An id: its goal, milestones, progress, dangers, limits, spaces and arguments."""
    json: Flag = False
    """Print JSON."""

    def run(self) -> int:
        if self.describe is not None:
            if self.search or self.family:
                raise UsageError("--describe takes one id and goes with no search and no --family")
            found = describe(self.describe)
            print_json(found) if self.json else _show(found)
            return 0
        wanted = self.search.lower()
        entries = [e for e in agentgym.catalogue(self.family) if wanted in e.id.lower() or wanted in e.summary.lower()]
        if self.json:
            print_json([asdict(e) for e in entries])
        elif entries:
            table(("id", "family", "extra", "summary"), [(e.id, e.family, e.extra, e.summary) for e in entries])
        else:
            print(f"no environment matches {self.search!r}; `agentgym envs` lists all {len(agentgym.catalogue())}")
        return 0 if entries else 1


def describe(id: str) -> dict[str, Any]:
    """Everything that is worth knowing of an id before using it, JSON-like."""
    id = known(id)
    entry = agentgym.find(id)
    env = make(id, {})
    try:
        _, info = env.reset(seed=0)
        base: Any = env.unwrapped
        task = base.task
        return {
            "id": id,
            "family": entry.family,
            "summary": entry.summary,
            "extra": entry.extra,
            "task": task.id,
            "goal": info.get("goal", ""),
            "milestones": [
                {"name": m.name, "description": m.description, "required": m.required} for m in task.milestones
            ],
            "dangers": dict(task.dangers),
            "progress_kind": task.progress_kind,
            "horizon": base.horizon,
            "has_success": task.has_success,
            "has_oracle": base.oracle() is not None,
            "offenders": sorted(task.offenders),
            "forkable": base.forkable,
            "observation_space": _space(env.observation_space),
            "action_space": _space(env.action_space),
            "render_modes": list(env.metadata.get("render_modes", ())),
            "arguments": arguments(id),
            "about": _about(type(task)),
        }
    finally:
        env.close()


def _about(task: type) -> str:
    """What the author wrote: one environment is one file, so the module's docstring belongs to it."""
    module = inspect.getdoc(sys.modules[task.__module__]) or ""
    return "\n\n".join(filter(None, (module, inspect.getdoc(task) or "")))


def arguments(id: str) -> dict[str, str]:
    """What ``gymnasium.make(id, …)`` takes beside ``render_mode``: name -> choices or type, and the default."""
    return {
        name: f"{_kind(parameter.annotation)} (default {parameter.default!r})"
        for name, parameter in _parameters(id).items()
        if parameter.default is not parameter.empty and name != "render_mode"
    }


def choices(id: str, name: str) -> tuple[Any, ...]:
    """The values that an argument of an environment may take, when its annotation lists them; else ()."""
    parameter = _parameters(id).get(name)
    return () if parameter is None else typing.get_args(parameter.annotation)


def _parameters(id: str) -> dict[str, inspect.Parameter]:
    point = gymnasium.spec(id).entry_point
    if point is None:
        return {}
    creator: Any = load_env_creator(point) if isinstance(point, str) else point
    found = inspect.signature(creator, eval_str=True).parameters
    return {k: p for k, p in found.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}


def _kind(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(map(repr, typing.get_args(annotation)))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " | ".join(map(_kind, typing.get_args(annotation)))
    if annotation in (inspect.Parameter.empty, types.NoneType):
        return "any" if annotation is inspect.Parameter.empty else "None"
    return inspect.formatannotation(annotation)


def _space(space: Any) -> str:
    """A space in a few words; Gymnasium's own text lists every character of an alphabet."""
    if isinstance(space, gymnasium.spaces.Text):
        return f"Text({space.min_length} to {space.max_length} characters)"
    if isinstance(space, gymnasium.spaces.Dict):
        return "Dict(" + ", ".join(f"{k}: {_space(v)}" for k, v in space.items()) + ")"
    return str(space)


def _show(found: dict[str, Any]) -> None:
    about = [(name, found[name]) for name in ("family", "task", "goal", "summary", "horizon")]
    about += [
        ("progress", f"{found['progress_kind']}; success {'ends it' if found['has_success'] else 'never comes'}"),
        ("oracle", found["has_oracle"]),
        ("offenders", ", ".join(found["offenders"]) or "none"),
        ("snapshots", found["forkable"]),
        ("observation", found["observation_space"]),
        ("action", found["action_space"]),
        ("render modes", ", ".join(found["render_modes"])),
    ]
    if found["extra"]:
        about.append(("extra", found["extra"]))
    table(("", ""), about, title=found["id"])
    milestones = [(k, m["name"], m["description"], m["required"]) for k, m in enumerate(found["milestones"])]
    table(("bit", "milestone", "reached when", "required"), milestones, title="\nMilestones, in order")
    if found["dangers"]:
        table(("danger", "meaning"), found["dangers"].items(), title="\nDangers")
    if found["arguments"]:
        table(("argument", "values"), found["arguments"].items(), title="\nArguments of gymnasium.make")
    if found["about"]:
        print(f"\n{found['about']}")


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "envs", words).run()
