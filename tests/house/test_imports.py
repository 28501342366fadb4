"""Who may import whom, and what an import costs.

The contract knows no room; `containers` and `rewards` know the contract; `envs` knows `containers` besides; `agents`
knows `rewards` besides, and meets environments only through `gymnasium.make`. The check reads the source, so an import
inside a function, under `TYPE_CHECKING`, or by name through `importlib` counts like any other.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentgym.errors import MissingExtra
from tests.house.checkout import ROOMS, ROOT

CONTRACT = "agentgym"
ALLOWED = {
    CONTRACT: frozenset[str](),
    "containers": frozenset({"containers"}),
    "envs": frozenset({"envs", "containers"}),
    "rewards": frozenset({"rewards"}),
    "agents": frozenset({"agents", "rewards"}),
}
HEAVY = ("torch", "transformers", "playwright", "docker", "minigrid", "pyarrow", "numba", "tensorboard", "pygame")


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; a room's file is listed once, under `agentgym.<room>`."""
    found = {}
    for top in (CONTRACT, *ROOMS):
        for path in sorted((ROOT / top).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if top == CONTRACT and relative.parts[1] in ROOMS:  # seen through the link
                continue
            parts = relative.with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join(parts if top == CONTRACT else (CONTRACT, *parts))] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """The room a dotted name belongs to, or the contract: `agentgym.envs.grid.ids` -> `envs`."""
    second = module.split(".")[1] if "." in module else ""
    return second if second in ROOMS else CONTRACT


def is_command_line(module: str) -> bool:
    return module.split(".")[1:2] in (["cli"], ["__main__"])


def targets(node: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Dotted names of our modules that this one node names: by import statement or, for late imports, by string."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            here = module.split(".") if is_package else module.split(".")[:-1]
            base = ".".join([*here[: len(here) - node.level + 1], *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        # "agentgym.envs" alone is also the name of the entry-point group.
        if re.fullmatch(r"agentgym\.[a-z]\w*(\.\w+)+(:\w+)?", node.value):
            yield node.value
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def only_for_types(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What `source`, standing at `module`, imports against the rules: one line each, none when all is well."""
    room = room_of(module)
    faults = []

    def visit(node: ast.AST, loads: bool) -> None:
        """`loads`: reaching this node needs no call, so that importing the module runs it."""
        for target in targets(node, module, is_package):
            if target.split(".")[0] in ROOMS:
                faults.append(f"line {node.lineno}: {target} is imported as agentgym.{target}")
            if target.split(".")[0] != CONTRACT:
                continue
            to = room_of(target)
            ok = to in (CONTRACT, *ALLOWED[room]) or (is_command_line(module) and not loads)
            if to == CONTRACT and is_command_line(target) and not is_command_line(module):
                ok = False
            if not ok:
                faults.append(f"line {node.lineno}: {room} may not import {target}")
        for child in ast.iter_child_nodes(node):
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing_only = isinstance(node, ast.If) and only_for_types(node.test) and child in node.body
            visit(child, loads and not inside and not typing_only)

    visit(ast.parse(source), loads=True)
    return faults


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    path = MODULES[module]
    faults = violations(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
    assert not faults, "\n".join(f"{path.relative_to(ROOT)} {fault}" for fault in faults)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("agentgym.steps", "import agentgym.rewards.credit"),
        ("agentgym.steps", "from agentgym import envs"),
        ("agentgym.steps", "from . import agents"),
        ("agentgym.steps", "import agentgym.cli"),
        ("agentgym.steps", "LAZY = {'gae': 'agentgym.rewards.credit'}"),
        ("agentgym.cli.train", "from agentgym.agents.train import quickstart"),
        ("agentgym.cli.train", "if wanted():\n    from agentgym.agents.train import quickstart"),
        ("agentgym.envs.grid.ids", "def f():\n    import agentgym.rewards"),
        ("agentgym.envs.grid.ids", "from ...agents import loop"),
        ("agentgym.rewards.credit.gae", "if TYPE_CHECKING:\n    from agentgym.envs.grid import ids"),
        ("agentgym.rewards.credit.gae", "from agentgym.containers import Sandbox"),
        ("agentgym.agents.loop.run", "import importlib\nimportlib.import_module('agentgym.envs')"),
        ("agentgym.agents.loop.run", "def f():\n    from agentgym.envs.grid.ids import register"),
        ("agentgym.agents.loop.run", "make('agentgym.envs.grid.doorkey:DoorKey')"),
        ("agentgym.containers.docker", "import agentgym.envs"),
        ("agentgym.containers.docker", "import envs.grid"),
    ],
)
def test_the_check_sees_every_way_to_import(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("agentgym.registration", "GROUP = 'agentgym.envs'"),
        ("agentgym.cli.train", "def train():\n    from agentgym.agents.train import quickstart"),
        ("agentgym.cli.train", "if TYPE_CHECKING:\n    from agentgym.agents.train import Run"),
        ("agentgym.envs.swe.world", "from agentgym.containers import Sandbox"),
        ("agentgym.envs.grid.ids", "from . import doorkey\nENTRY = 'agentgym.envs.grid.doorkey:DoorKey'"),
        ("agentgym.agents.loop.run", "import gymnasium\ngymnasium.make('agentgym/Grid-Empty-5x5-v0')"),
        ("agentgym.agents.train.ppo", "from agentgym.rewards.credit import gae\nfrom agentgym import StepTable"),
    ],
)
def test_the_check_lets_pass_what_is_allowed(module: str, source: str) -> None:
    assert not violations(source, module)


def loaded_by(code: str) -> set[str]:
    """Names of the top-level modules in a fresh interpreter after `code`."""
    report = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1, f"importing must print nothing, got {lines[:-1]}"
    return set(json.loads(lines[0]))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import agentgym") & set(HEAVY)


def test_credit_needs_numpy_and_what_the_contract_needs_alone() -> None:
    """People use these functions inside other trainers."""
    base = loaded_by("import numpy, gymnasium")
    extra = loaded_by("import agentgym.rewards.credit") - base - sys.stdlib_module_names
    assert extra == {"agentgym"}


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith("__main__")])
def test_every_module_imports_and_keeps_the_promises_of_its_all(
    module: str, need: Callable[[object, str, str], None]
) -> None:
    try:
        loaded = importlib.import_module(module)
    except MissingExtra as missing:
        need(False, f"the package {missing.package!r}", f'run `pip install -e ".[{missing.extra}]"` in the checkout')
    promised = getattr(loaded, "__all__", None)
    if promised is None:
        return
    assert len(set(promised)) == len(promised)
    assert not [name for name in promised if not hasattr(loaded, name)], "promised in __all__, but not there"
    if MODULES[module].name == "__init__.py":
        # what an index defines or gathers from below it is public; what it imports for its own use is not
        ours = {
            name
            for name, value in vars(loaded).items()
            if not name.startswith("_") and f"{getattr(value, '__module__', '')}.".startswith(f"{module}.")
        }
        assert ours <= set(promised), f"public by name, but not in __all__: {sorted(ours - set(promised))}"
