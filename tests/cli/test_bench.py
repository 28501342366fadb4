"""`agentgym bench`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call

EMPTY = "agentgym/Grid-Empty-5x5-v0"


def test_credit_of_an_environment(call: Call) -> None:
    said = call("bench", "credit", EMPTY, "--quick", "--assigner", "gtd", "--assigner", "gigpo", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["settings"] == 2
    assert {row["assigner"] for row in found["assigners"]} == {"rloo", "gtd", "gigpo"}
    assert {(c["a"], c["b"]) for c in found["contrasts"]} == {("gtd", "gigpo")}
    assert "gtd" in call("bench", "credit", EMPTY, "--quick", "--assigner", "gtd").out


def test_an_assigner_of_ones_own_is_found_in_this_folder(call: Call, tmp_path: object) -> None:
    with open("mine_for_bench.py", "w") as file:
        file.write("def assign(steps):\n    return steps.reward\n")
    said = call("bench", "credit", EMPTY, "--quick", "--assigner", "mine_for_bench:assign", "--json")
    assert said.code == 0, said.err
    assert "mine_for_bench:assign" in said.out


def test_credit_by_monte_carlo(call: Call) -> None:
    words = ("--monte-carlo", "--epsilon", "0.8", "--quick", "--env-kwargs", "max_steps=8", "--assigner", "gtd")
    said = call("bench", "credit", EMPTY, *words, "--json")
    assert said.code == 0, said.err
    (found,) = json.loads(said.out)
    assert found["epsilon"] == 0.8
    assert [row["assigner"] for row in found["assigners"]] == ["gtd"]
    assert "Monte-Carlo" in call("bench", "credit", EMPTY, *words).out


def test_signals(call: Call) -> None:
    said = call("bench", "signals", EMPTY, "--quick", "--recipe", "ppo", "--json")
    assert said.code == 0, said.err
    (report,) = json.loads(said.out)
    assert report["method"] == "exact"
    assert "recipe ppo" in report["farming"]
    assert "Can it be farmed?" in call("bench", "signals", EMPTY, "--quick").out


def test_learning_in_short_goes_on_where_it_was(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentgym.agents.evaluate.learning import parts
    from tests.agents.evaluate.learning.common import PLAN, runner

    monkeypatch.setattr(parts, "parts", lambda only, quick: [("small", PLAN, runner())])
    said = call("bench", "learning", "--out", str(tmp_path), "--json")
    assert said.code == 0, said.err
    (table,) = json.loads(said.out)["small"]["tables"]
    assert [row["arm"] for row in table["arms"]] == list(PLAN.arms)
    made = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "tiny").iterdir()}
    again = call("bench", "learning", "--out", str(tmp_path))
    assert "area under the success curve" in again.out
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "tiny").iterdir()} == made


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("signals",), "say whose signals"),
        (("signals", EMPTY, "--full"), "belong to `agentgym bench credit`"),
        (("credit", EMPTY, "--recipe", "ppo"), "belongs to `agentgym bench signals`"),
        (("credit", EMPTY, "--held-out"), "names its own environments"),
        (("credit", "--monte-carlo"), "give an id"),
        (("credit", "--assigner", "gigop"), "did you mean 'gigpo'"),
        (("credit", "agentgym/Grid-Emty-5x5-v0"), "Grid-Empty-5x5"),
        (("learning", EMPTY), "its own tasks and arms"),
        (("learn",), "credit"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(call: Call, words: tuple[str, ...], says: str) -> None:
    said = call("bench", *words)
    assert said.code == 2
    assert says in said.err
    assert len(said.err.splitlines()) == 1
