"""Grading: repairs pass, nothing else does, and who deceives is found out. In real sandboxes."""

from __future__ import annotations

import dataclasses

import pytest

from agentgym.envs.swe import cheats
from agentgym.envs.swe.bugs import BUGS
from agentgym.envs.swe.families import FAMILIES
from agentgym.envs.swe.grading import Grader, Report, carried, controls
from agentgym.envs.swe.instance import Instance
from agentgym.envs.swe.small import bug, smoke

SAMPLE = ("slug", "lru", "retry")


def solved(report: Report, instance: Instance) -> bool:
    return report.solved(instance)


@pytest.mark.parametrize("name", SAMPLE)
def test_repairs_pass_and_nothing_does_not_on_both_back_ends(name: str, grader: Grader) -> None:
    instance = bug(name)
    good, nothing = grader.grade(instance, instance.gold), grader.grade(instance, {})
    assert good.solved(instance), good
    assert not nothing.solved(instance)
    assert not nothing.lies
    assert nothing.share(instance.fail_to_pass) == 0
    assert nothing.share(instance.pass_to_pass) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BUGS if name not in SAMPLE])
def test_repairs_of_all_bugs_pass_and_nothing_does_not(name: str, quick_grader: Grader) -> None:
    test_repairs_pass_and_nothing_does_not_on_both_back_ends(name, quick_grader)


@pytest.mark.parametrize("name", BUGS)
def test_values_alone_agree_with_the_whole_grading(name: str, quick_grader: Grader) -> None:
    instance = bug(name)
    assert instance.by_values
    nothing = quick_grader.check(instance, {})
    assert quick_grader.check(instance, instance.gold).solved(instance)
    assert (nothing.share(instance.fail_to_pass), nothing.share(instance.pass_to_pass)) == (0, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_small_functions_are_graded(family: str, quick_grader: Grader) -> None:
    for seed in range(2):
        instance = smoke(family, seed)
        assert quick_grader.grade(instance, instance.gold).solved(instance)
        nothing = quick_grader.grade(instance, {})
        assert (nothing.share(instance.fail_to_pass), nothing.share(instance.pass_to_pass)) == (0, 1)


def test_small_functions_are_graded_on_both_back_ends(grader: Grader) -> None:
    instance = smoke("depth", 3)
    assert grader.grade(instance, instance.gold).solved(instance)
    assert not grader.grade(instance, {}).solved(instance)


@pytest.mark.parametrize("cheat", cheats.CHEATS)
def test_no_cheat_scores(cheat: str, quick_grader: Grader) -> None:
    instance = bug("slug")
    report = quick_grader.grade(instance, cheats.of(instance, cheat))
    assert not report.solved(instance)
    assert report.share(instance.fail_to_pass) == 0


@pytest.mark.parametrize("cheat", [c for c in cheats.CHEATS if c != "always-equal"])
def test_no_cheat_scores_where_pytest_alone_grades(cheat: str, quick_grader: Grader) -> None:
    instance = dataclasses.replace(bug("slug"), values=(), instance_id="bug-slug")
    report = quick_grader.grade(instance, cheats.of(instance, cheat))
    assert not report.solved(instance)
    assert report.share(instance.fail_to_pass) == 0


@pytest.mark.slow
@pytest.mark.parametrize("cheat", cheats.CHEATS)
def test_no_cheat_scores_in_docker(cheat: str, grader: Grader) -> None:
    instance = bug("slug")
    assert not grader.grade(instance, cheats.of(instance, cheat)).solved(instance)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_no_cheat_scores_on_any_bug(name: str, quick_grader: Grader) -> None:
    instance = bug(name)
    for cheat in ("patched-reports", "always-equal"):
        assert not quick_grader.grade(instance, cheats.of(instance, cheat)).solved(instance), cheat


@pytest.mark.parametrize("cheat", ["patched-reports", "patched-run", "patched-hooks"])
def test_a_changed_pytest_is_found_out(cheat: str, quick_grader: Grader) -> None:
    instance = bug("slug")
    report = quick_grader.grade(instance, cheats.of(instance, cheat))
    assert any("must fail" in lie or "exit code" in lie for lie in report.lies), report


def test_an_object_that_equals_everything_is_found_out(quick_grader: Grader) -> None:
    instance = bug("slug")
    fooled = dataclasses.replace(instance, values=(), instance_id="bug-slug-fooled")
    patch = cheats.of(instance, "always-equal")
    report = quick_grader.grade(fooled, patch)  # the tests themselves ask whether it equals what nothing equals
    assert report.share(instance.fail_to_pass) == 0
    assert not quick_grader.grade(instance, patch).solved(instance)


def test_an_object_that_sees_through_the_question_is_found_out_by_values(quick_grader: Grader) -> None:
    instance = bug("slug")
    fooled = dataclasses.replace(instance, values=(), instance_id="bug-slug-sly")
    sly = (cheats.of(instance, "always-equal")["slug.py"] or b"").replace(
        b"        return True\n", b"        return len(str(other)) < 15 and not isinstance(other, (int, list))\n", 1
    )
    assert (
        quick_grader.grade(fooled, {"slug.py": sly}).share(instance.fail_to_pass) > 0
    )  # in one process nobody can tell
    report = quick_grader.grade(instance, {"slug.py": sly})
    assert not report.solved(instance)
    assert any("claims to equal" in lie for lie in report.lies)


def test_a_test_that_is_not_heard_of_fails(quick_grader: Grader) -> None:
    instance = bug("slug")
    absent = "test_hidden_slug.py::test_not_there"
    asked = dataclasses.replace(instance, pass_to_pass=(*instance.pass_to_pass, absent), instance_id="absent")
    report = quick_grader.grade(asked, instance.gold)
    assert report.passed[absent] is False
    assert not report.solved(asked)


def test_a_repair_that_hangs_ends_in_time(quick_grader: Grader) -> None:
    instance = dataclasses.replace(bug("slug"), seconds=2.0, instance_id="hang")
    report = quick_grader.grade(instance, {"slug.py": b"def slug(title):\n    while True:\n        pass\n"})
    assert not report.solved(instance)
    assert report.seconds < 20


def test_a_small_function_that_hangs_ends_by_its_processor_time(grader: Grader) -> None:
    instance = smoke("depth", 3)
    (path,) = instance.gold
    hangs = f"def {path.removesuffix('.py')}(*given):\n    while True:\n        pass\n".encode()
    report = grader.grade(instance, {path: hangs})
    assert not any(report.passed.values())
    assert set(report.passed) == {*instance.fail_to_pass, *instance.pass_to_pass}
    assert report.seconds < instance.seconds / 2  # 2 of processor time; by the clock it would be all of them


def test_how_far_a_failing_test_gets(quick_grader: Grader) -> None:
    instance = bug("slug")
    for patch, far in (
        (b"def slug(", 0.0),
        (b"def slug(t):\n    return 1 / 0\n", 0.5),
        (b"def slug(t):\n    return 1\n", 1.0),
    ):
        report = quick_grader.check(instance, {"slug.py": patch})
        assert {report.reach[i] for i in instance.fail_to_pass} == {far}, patch


def test_two_gradings_agree(quick_grader: Grader) -> None:
    instance = bug("lru")
    half = {"lru.py": instance.gold["lru.py"]}
    first, second = quick_grader.grade(instance, half), quick_grader.grade(instance, half)
    assert (first.passed, first.reach, first.lies) == (second.passed, second.reach, second.lies)


def test_what_decides_how_tests_run_is_not_carried_into_grading() -> None:
    instance = bug("slug")
    patch = {
        "slug.py": b"x",
        "conftest.py": b"",
        "a/b.pth": b"",
        "json.py": b"",
        "src/pytest/__init__.py": b"",
        "new.py": b"",
    }
    assert set(carried(instance, patch)) == {"slug.py", "new.py"}
    assert controls("json.py")
    assert not controls("json.py", {"json.py"})
    assert not controls("package/json.py")


def test_a_patch_that_does_not_fit_is_graded_as_nothing(quick_grader: Grader) -> None:
    instance = bug("slug")
    report = quick_grader.grade(instance, {"big.bin": b"\0" * (65 << 20)})
    assert not report.solved(instance)
    assert any("cannot be graded" in lie for lie in report.lies)
