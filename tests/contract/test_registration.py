"""Ids: how they come to be known, and what a misspelt one is answered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import gymnasium
import pytest

import agentgym
from agentgym import registration
from agentgym.errors import UnknownName, UsageError
from tests.toy import TEXT_ID, make, register_toys

PACKAGE = Path(__file__).parents[1] / "external_package"


@pytest.fixture(autouse=True)
def _toys() -> None:
    register_toys()


# ------------------------------------------------------------------ a second package


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The external package, installed beside this environment with pip."""
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source")
    for file in PACKAGE.rglob("*"):
        if file.suffix in (".py", ".toml"):
            copy = source / file.relative_to(PACKAGE)
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(file.read_text())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    options = ["--no-build-isolation", "--no-index", "--target", str(target), str(source)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def run(outside: Path, code: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(agentgym.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(outside), root))},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_third_partys_environment_is_known_without_being_imported(outside: Path) -> None:
    done = run(
        outside,
        "import sys, agentgym\n"
        "entry = agentgym.find('rooms/Lamp-v0')\n"
        "assert (entry.family, entry.summary) == ('rooms', 'switch the lamp on, leave the stove alone'), entry\n"
        "assert entry in agentgym.catalogue('rooms')\n"
        "assert 'rooms_elsewhere.ids' in sys.modules\n"
        "assert 'rooms_elsewhere.lamp' not in sys.modules\n",
    )
    assert done.returncode == 0, done.stderr


def test_a_third_partys_environment_keeps_the_contract_in_every_process(outside: Path) -> None:
    done = run(outside, "import agentgym.check as c\nr = c.check_process_env('rooms/Lamp-v0')\nprint(r)\nassert r.ok")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass            determinism/process" in done.stdout


@pytest.mark.parametrize("first", ["agentgym", "rooms_elsewhere.lamp", "gymnasium"])
def test_whichever_package_is_imported_first_gymnasium_makes_it(outside: Path, first: str) -> None:
    code = "print(gymnasium.make('agentgym:rooms/Lamp-v0').reset(seed=0)[1]['goal'])"
    done = run(outside, f"import {first}, gymnasium\n{code}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Switch the lamp on."


def test_a_broken_entry_point_is_named_and_takes_nothing_with_it(outside: Path) -> None:
    done = run(outside, "import agentgym\nagentgym.find('rooms/Lamp-v0')")
    assert done.returncode == 0, done.stderr
    assert "broken = rooms_elsewhere.ids:register_nothing" in done.stderr
    assert "this one is broken on purpose" in done.stderr


def test_a_missing_module_and_a_raising_function_are_both_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("gone", "no_such_module:register", registration.GROUP),
        EntryPoint("late", "tests.toy:no_such_function", registration.GROUP),
        EntryPoint("good", "tests.toy:register_toys", registration.GROUP),
    ]
    monkeypatch.setattr(registration.importlib.metadata, "entry_points", lambda group: points)
    with pytest.warns(UserWarning, match="of group agentgym.envs failed") as told:
        registration.load_entry_points()
    assert ["gone" in str(told[0].message), "late" in str(told[1].message), len(told)] == [True, True, 2]


# ------------------------------------------------------------------ names


def test_an_id_is_found_with_what_is_known_of_it() -> None:
    entry = agentgym.find(TEXT_ID)
    assert (entry.id, entry.family, entry.kwargs) == (TEXT_ID, "toy", {"view": "text"})
    assert entry in agentgym.catalogue()
    assert entry in agentgym.catalogue("toy")


@pytest.mark.parametrize(
    "misspelt", ["toy/Coridor-v0", "toy/corridor-v0", "Corridor-v0", "toy/Corridor-v1", "toy/Corridor"]
)
def test_a_misspelt_id_is_answered_with_the_nearest(misspelt: str) -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'toy/Corridor-v0'"):
        agentgym.find(misspelt)
    with pytest.raises(UnknownName, match="agentgym envs"):
        agentgym.find("zzz")


def test_gymnasium_answers_namespace_name_and_version_each_with_its_own_advice() -> None:
    with pytest.raises(gymnasium.error.NamespaceNotFound, match="Did you mean: `toy`"):
        gymnasium.make("toyy/Corridor-v0")
    with pytest.raises(gymnasium.error.NameNotFound, match="Did you mean: `Corridor`"):
        gymnasium.make("toy/Coridor-v0")
    with pytest.raises(gymnasium.error.VersionNotFound, match=r"`v0`|\[ ?v0 ?\]|v0"):
        gymnasium.make("toy/Corridor-v7")


def test_a_family_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'toy'\?.*known: "):
        agentgym.catalogue("toi")


@pytest.mark.parametrize("id", [None, 3, b"toy/Corridor-v0"])
def test_an_id_is_a_str(id: object) -> None:
    with pytest.raises(UsageError, match="is a str"):
        agentgym.find(id)  # type: ignore[arg-type]  # this is what the test is about


@pytest.fixture
def own_id() -> Iterator[str]:
    id = "toy/Own-v3"
    yield id
    gymnasium.registry.pop(id, None)
    registration._entries.pop(id, None)


def test_registering_keeps_kwargs_and_adds_no_time_limit(own_id: str) -> None:
    agentgym.register(own_id, make, family="toy", kwargs={"max_steps": 2})
    env = gymnasium.make(own_id)
    assert env.spec is not None
    assert env.spec.max_episode_steps is None
    assert not isinstance(env, gymnasium.wrappers.TimeLimit)
    env.reset(seed=0)
    assert [env.step("wait")[3] for _ in range(2)] == [False, True]
    assert agentgym.find(own_id).kwargs == {"max_steps": 2}


def test_a_malformed_id_is_refused_and_not_listed() -> None:
    with pytest.raises(gymnasium.error.Error, match="Malformed"):
        agentgym.register("not an id!", make, family="toy")
    assert "not an id!" not in {entry.id for entry in agentgym.catalogue()}
