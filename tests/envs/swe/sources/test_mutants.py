"""Mutants of a package made here, and the recipes that come with the project."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agentgym.cli import main
from agentgym.envs.swe.grading import Grader
from agentgym.envs.swe.show import without_addresses
from agentgym.envs.swe.sources.mutants import MOST_FAILING, Recipe, load_recipe, make_recipe, mutants, recipes
from agentgym.errors import UsageError
from tests.envs.swe.sources.archives import OLD, sdist


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, need: Callable[[object, str, str], None]) -> Recipe:
    from agentgym.containers import backends, images

    found = {b.name: b.refusal for b in backends()}
    need(not found["docker"], "the sandbox back-end docker", found["docker"])
    need(images.here("agentgym/swe"), "the image agentgym/swe", "run `agentgym images build swe`")
    return make_recipe(sdist(tmp_path_factory.mktemp("sdists"), "tally", "1.0", OLD), count=4)


def test_kept_are_faults_that_some_tests_notice(recipe: Recipe) -> None:
    assert len(recipe.mutants) == 4
    assert len(recipe.tests) == 3
    assert {m.fault.function for m in recipe.mutants} == {"total", "largest"}  # nobody calls the third
    for mutant in recipe.mutants:
        assert 1 <= len(mutant.fails) <= MOST_FAILING
        assert mutant.words


def test_a_mutant_is_solved_by_taking_the_fault_back(recipe: Recipe, tmp_path: Path) -> None:
    package = sdist(tmp_path, "tally", "1.0", OLD)
    recipe = Recipe(**{f: getattr(recipe, f) for f in recipe.__dataclass_fields__} | {"sha256": package.sha256})
    grader = Grader()
    try:
        for each in list(recipe.instances(package))[:2]:
            assert grader.grade(each, each.gold).solved(each)
            untouched = grader.grade(each, {})
            assert not any(untouched.passed[name] for name in each.fail_to_pass)
            assert all(untouched.passed[name] for name in each.pass_to_pass)
    finally:
        grader.close()


def test_the_tests_that_notice_are_not_in_the_tree(recipe: Recipe, tmp_path: Path) -> None:
    package = sdist(tmp_path, "tally", "1.0", OLD)
    for each in recipe.instances(package):
        assert "tests/test_total.py" not in each.tree.files()
        assert each.tree.files()["tally/__init__.py"] != OLD["tally/__init__.py"]
        assert each.fail_to_pass[0] in each.statement
        assert "def test_" in each.statement


KEEPS = {
    "PKG-INFO": OLD["PKG-INFO"],
    "tally/__init__.py": b'''"""Counting."""

import functools


def deep(n):
    return deep(n)


@functools.cache
def limit():
    return 3 + 4


def double(n):
    return n + n
''',
    "tests/test_tally.py": b"""import pytest

from tally import deep, double, limit


def test_deep():
    with pytest.raises(RecursionError):
        deep(0)


def test_limit():
    assert limit() == 7


def test_limit_again():
    assert limit() == 7


def test_double():
    assert double(2) == 4


def test_double_more():
    assert double(3) == 6
""",
}


def test_no_test_that_notices_is_missed(recipe: Recipe, tmp_path: Path) -> None:
    """After one that exhausts the stack, calls are still noted; what a kept result hides, a run of all finds."""
    found = make_recipe(sdist(tmp_path, "tally", "1.0", KEEPS), count=20).mutants
    assert {m.fault.function for m in found} == {"double"}
    assert [len(m.fails) for m in found] == [2]


def test_a_recipe_is_stored_and_read(recipe: Recipe, tmp_path: Path) -> None:
    recipe.save(tmp_path / "r.json")
    assert load_recipe(tmp_path / "r.json") == recipe
    assert len((tmp_path / "r.json").read_text().splitlines()) < 40


@pytest.mark.parametrize("change", [{"format": 9}, {"tests": 5}, {"mutants": [[1]]}, {"mutants": None}])
def test_a_file_that_is_no_recipe_is_refused(recipe: Recipe, tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / "r.json").write_text(json.dumps(recipe.to_json() | change))
    with pytest.raises(UsageError, match="recipe of mutants"):
        load_recipe(tmp_path / "r.json")


def test_the_suite_has_two_hundred_mutants() -> None:
    assert sum(len(recipe.mutants) for recipe in recipes()) >= 200


def test_what_is_told_of_a_failure_is_the_same_in_every_search() -> None:
    told = [m.words for recipe in recipes() for m in recipe.mutants]
    assert all(told)
    assert [words for words in told if without_addresses(words) != words] == []


def test_the_suite_is_split_by_function() -> None:
    found = [(recipe.package, m) for recipe in recipes() for m in recipe.mutants]
    assert len({package for package, _ in found}) == 2
    parts = {"train": set[tuple[str, str, str]](), "held_out": set[tuple[str, str, str]]()}
    for package, mutant in found:
        parts[mutant.split].add((package, mutant.path, mutant.fault.function))
        assert 1 <= len(mutant.fails) <= MOST_FAILING
    assert not parts["train"] & parts["held_out"]
    shares = [m.split for _, m in found].count("held_out") / len(found)
    assert 0.1 < shares < 0.4
    assert len({(package, m.path, m.fault) for package, m in found}) == len(found)


@pytest.mark.network
def test_the_suite_is_made_of_packages_from_the_index(cached: Path, need: Callable[[object, str, str], None]) -> None:
    from agentgym.envs.swe.sources import fetch

    for recipe in recipes():
        try:
            fetch(recipe.package, recipe.version)
        except UsageError as error:
            need(False, "the package index", str(error))
            raise
    whole, train, held_out = (mutants(split) for split in ("all", "train", "held_out"))  # type: ignore[arg-type]
    assert len(whole) == len(train) + len(held_out) == sum(len(recipe.mutants) for recipe in recipes())
    assert len({each.instance_id for each in whole}) == len(whole)
    with pytest.raises(UsageError, match="split"):
        mutants("test")  # type: ignore[arg-type]


def test_misuse_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swe", "build-mutants"]) == 2
    assert main(["swe", "build-mutants", "../x"]) == 2
    assert main(["swe", "build-mutants", "x", "--count", "0"]) == 2
    assert main(["swe", "build", "bugs"]) == 2
    assert main(["swe", "list", "--sdists"]) == 2
    assert "belong to `agentgym swe load`" in capsys.readouterr().err
