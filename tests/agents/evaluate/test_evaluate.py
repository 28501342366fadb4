"""Evaluations come out as they must on a world whose every result is known; they are stored, and go on when stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType

from agentgym.agents.evaluate import EvalResult, Item, Suite, compare, evaluate
from agentgym.agents.evaluate.compare import compare_scores
from agentgym.agents.evaluate.evaluate import jobs_of
from agentgym.agents.evaluate.scores import METRICS, Scores, milestone_names, score
from agentgym.agents.loop import Ended
from agentgym.agents.policy.endpoint import EndpointPolicy
from agentgym.errors import EndpointError, RunError, UsageError
from agentgym.runs import Run
from agentgym.steps import StepTable, TrajectoryTable
from agentgym.tokens import TokenWriter
from tests.agents.evaluate.worlds import BREAKS_FROM, WALK, Fixed, register
from tests.agents.model_server import Answer, Server, completion
from tests.toy import TEXT_ID, register_toys

register()
register_toys()
SUITE = Suite("walk", (Item(WALK, tuple(range(6))),))
FRAGILE = Suite("fragile", (Item(WALK, (0, 1, 2, BREAKS_FROM, BREAKS_FROM + 1)),))


def text(table: RenderableType) -> str:
    """What a terminal shows, in one line."""
    console = Console(width=100)
    with console.capture() as shown:
        console.print(table)
    return " ".join(shown.get().split())


# ---------------------------------------------------------------------- scores


def test_what_an_episode_comes_to() -> None:
    """Two steps, the second unsafe and ungrounded, two of four milestones; an episode that broke at once beside it."""
    heads = TrajectoryTable.from_columns(
        id=[3, 8],
        env=["e", "e"],
        outcome=[0.5, 0.0],
        success=[False, False],
        status=["ok", "error"],
        error=["", "gone"],
    )
    steps = StepTable.from_columns(
        trajectory=[3, 3],
        progress=[0.2, 0.6],
        milestones=[1, 0b101],
        danger=[False, True],
        grounded=[True, False],
        duration=[0.25, 0.5],
        trajectories=heads,
    )
    writer = TokenWriter()
    some = np.arange(3, dtype=np.int64)
    for t in range(2):
        writer.add(3, t, segment=0, prompt=some, action=some, logprob=-1.0 * some, logprob_behaviour=-1.0 * some)
    found = score(steps, writer.table(), {"e": 4}, {"e": 2})
    assert list(found.values) == list(METRICS)
    assert {k: v[0] for k, v in found.values.items() if k != "hidden_performance"} == {
        "success": 0.0,
        "progress": 0.6,
        "milestones": 0.5,
        "danger_rate": 0.5,
        "danger_episodes": 1.0,
        "completion_under_policy": 0.0,
        "risk_ratio": 0.5,
        "grounded": 0.5,
        "outcome": 0.5,
        "steps": 2.0,
        "tokens": 6.0,
        "seconds": 0.75,
    }
    assert found.error.tolist() == ["", "gone"]
    assert found.ok.tolist() == [True, False]
    assert np.isnan(found.values["progress"][1])
    assert np.isnan(found.values["hidden_performance"]).all()


def test_milestones_need_an_environment_that_can_be_made() -> None:
    assert milestone_names("agentgym/Grid-DoorKey-5x5-v0") == ("has_key", "door_open", "at_goal")
    assert milestone_names("nobody/Knows-v0") == ()


# ---------------------------------------------------------------------- evaluate


def test_a_walker_and_one_who_stays() -> None:
    walker, idler = evaluate(Fixed(1), SUITE), evaluate(Fixed(0), SUITE)
    assert walker.episodes == idler.episodes == 6
    assert walker.metrics["success"].value == 1
    assert walker.metrics["steps"].value == 4
    assert idler.metrics["success"].value == 0
    assert idler.metrics["steps"].value == 8
    assert idler.metrics["progress"].value == idler.metrics["progress_iqm"].value == 0
    assert "tokens" not in walker.metrics
    assert walker.metrics["milestones"].value == walker.metrics["hidden_performance"].value == 1
    # six of six is no proof of always: Wilson, where the bootstrap sees no variation
    assert walker.metrics["success"].method == "wilson"
    assert walker.metrics["success"].low == pytest.approx(0.6097, abs=1e-4)


def test_danger_is_counted_by_step_and_by_episode() -> None:
    found = evaluate(Fixed(2), SUITE).metrics
    assert (found["danger_rate"].value, found["danger_episodes"].value, found["success"].value) == (1, 1, 1)
    assert found["completion_under_policy"].value == 0
    assert evaluate(Fixed(1), SUITE).metrics["completion_under_policy"].value == 1


def test_broken_episodes_are_counted_apart_and_never_dropped_silently() -> None:
    result = evaluate(Fixed(1), FRAGILE)
    assert result.episodes == 5
    assert sum(result.errors.values()) == 2
    assert result.metrics["success"].n == 3
    assert result.metrics["success"].value == 1
    assert result.success_at_worst.value == pytest.approx(3 / 5)
    shown = text(result.table())
    assert "2 of 5 episodes broke" in shown
    assert "60.0 %" in shown


def test_all_broken_is_still_a_result() -> None:
    result = evaluate(Fixed(1), Suite("broken", (Item(WALK, (BREAKS_FROM,)),)))
    assert result.metrics == {}
    assert result.success_at_worst.value == 0
    assert "1 of 1 episodes broke" in text(result.table())


def test_the_result_is_strict_json() -> None:
    result = evaluate(Fixed(1), FRAGILE)
    content = json.loads(result.to_json())
    assert content["metrics"]["success"] == {"value": 1, "low": content["metrics"]["success"]["low"], "high": 1, "n": 3,
                                             "method": "wilson"}  # fmt: skip
    assert list(content["by_env"]) == [WALK]
    assert sum(content["errors"].values()) == 2


def test_fewer_episodes_and_more_of_each() -> None:
    assert evaluate(Fixed(1), SUITE, episodes=2).episodes == 2
    assert evaluate(Fixed(1), SUITE, episodes=2, repeats=3).episodes == 6
    jobs = jobs_of(SUITE.first(2), repeats=2, first=100)
    assert [(j.trajectory, j.group, j.seed) for j in jobs] == [
        (100, 100, 0),
        (101, 100, 0),
        (102, 101, 1),
        (103, 101, 1),
    ]
    with pytest.raises(UsageError, match="repeats must be at least 1"):
        evaluate(Fixed(1), SUITE, repeats=0)


def test_the_same_environment_with_other_arguments_is_a_stratum_of_its_own() -> None:
    grid = "agentgym/Grid-DoorKey-5x5-v0"
    two = Suite("views", (Item(grid, (0,), {"view": "text"}), Item(grid, (0,), {"view": "text", "max_steps": 3})))
    result = evaluate(Fixed(2), two)
    assert [name.removeprefix(grid) for name in result.by_env] == [" (view=text)", " (view=text, max_steps=3)"]


# ---------------------------------------------------------------------- stored and resumed


def test_a_stopped_evaluation_goes_on(run_folder: Path) -> None:
    """All that had ended when it was stopped is stored, and only the rest is played; the result is the same."""
    many = Suite("many", (Item(WALK, tuple(range(100))),))
    run = Run.create(run_folder, "eval", {"suite": "many"})
    ended: list[Ended] = []

    def stop(episode: Ended) -> None:
        ended.append(episode)
        if len(ended) == 80:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(Fixed(1), many, run=run, on_episode=stop)
    assert run.finished == {episode.job.trajectory for episode in ended}
    stored = len(ended)
    again = Run.open(run_folder)
    policy = Fixed(1)
    result = evaluate(policy, many, run=again)
    assert policy.asked == 4 * (100 - stored)
    assert result.episodes == 100
    assert again.finished == set(range(100))
    whole = evaluate(Fixed(1), many)
    assert result.metrics["success"] == whole.metrics["success"]
    assert again.summary()["metrics"]["success"]["value"] == 1


def test_an_endpoint_that_dies_for_good_costs_no_finished_episode(run_folder: Path) -> None:
    """The server is gone after 40 answers: what had ended stays, what was under way is named, another goes on."""
    corridors = Suite("corridors", (Item(TEXT_ID, tuple(range(16))),))

    def play(server: Server, run: Run | None, ended: list[int]) -> EvalResult:
        with EndpointPolicy(server.url, "m", backoff=0.001, retries=1) as policy:
            return evaluate(
                policy, corridors, run=run, slots=4, on_episode=lambda episode: ended.append(episode.job.trajectory)
            )

    def dies(body: dict[str, Any], number: int) -> Answer | None:
        if number <= 40:
            return completion("right")
        dying.close()
        return None

    def lives(body: dict[str, Any], number: int) -> Answer:
        return completion("right")

    run = Run.create(run_folder, "eval", {})
    dying, ended = Server(), []
    dying.answer = dies
    with pytest.raises(EndpointError) as caught:
        play(dying, run, ended)
    assert 0 < len(ended) < 16
    assert run.finished == set(ended)
    assert set(run.tokens().segment_trajectory.tolist()) <= set(ended)
    line = str(caught.value)
    assert "\n" not in line
    assert "gave no answer in 2 tries" in line
    assert f"{len(ended)} of 16 episodes are kept in {run_folder}, 4 that were under way are not" in line
    assert f"plays the {16 - len(ended)} that are left" in line

    living, after = Server(), []
    living.answer = lives
    resumed = play(living, Run.open(run_folder), after)
    assert sorted(ended + after) == list(range(16)), "every episode was played to its end once"
    whole = play(living, None, [])
    living.close()
    assert resumed.episodes == 16
    assert not resumed.errors
    for name in ("success", "progress", "steps"):
        assert resumed.metrics[name] == whole.metrics[name]

    gone = Server()
    gone.close()
    with pytest.raises(EndpointError, match="0 of 16 episodes had been played and are lost: evaluate into a run"):
        play(gone, None, [])


def test_what_is_done_is_not_played_again(run_folder: Path) -> None:
    run = Run.create(run_folder, "eval", {})
    first = evaluate(Fixed(1), FRAGILE, run=run)
    policy = Fixed(1)
    assert evaluate(policy, FRAGILE, run=run).to_json() == first.to_json()
    assert policy.asked == 0
    assert run.steps().extras["action_text"][0] == "1"


def test_a_run_of_another_suite_is_refused(run_folder: Path) -> None:
    run = Run.create(run_folder, "eval", {})
    evaluate(Fixed(1), SUITE, run=run)
    with pytest.raises(RunError, match=r"with seed 0 as trajectory 0, expected .* with seed 50"):
        evaluate(Fixed(1), Suite("other", (Item(WALK, (50,)),)), run=run)


def test_an_evaluation_inside_a_longer_run_has_its_own_numbers_and_tags(run_folder: Path) -> None:
    run = Run.create(run_folder, "train", {})
    for update in (0, 10):
        evaluate(
            Fixed(int(update > 0)),
            SUITE,
            run=run,
            first_trajectory=1000 * update,
            tags={"phase": "validation", "update": update},
        )
    assert len(run.finished) == 12
    assert run.summary() == {}, "the summary belongs to the trainer"
    assert run.steps({"update": 10}).trajectories.success.all()


# ---------------------------------------------------------------------- compare


def test_before_and_after_by_pairs(run_folder: Path) -> None:
    run = Run.create(run_folder, "train", {})
    for label, action, first in (("before", 0, 0), ("after", 1, 100)):
        evaluate(Fixed(action), SUITE, run=run, first_trajectory=first, tags={"label": label})
    found = compare(run, run, where={"label": "before"}, where_b={"label": "after"})
    success = found.metrics["success"]
    assert (found.pairs, found.only_a, found.only_b, found.broken) == (6, 0, 0, 0)
    assert (success.a, success.b, success.difference.value) == (0, 1, 1)
    assert success.p == pytest.approx(2 / 2**6)
    assert success.p <= success.p_holm <= 1
    assert found.metrics["steps"].difference.value == -4
    json.loads(found.to_json())
    assert "+1.000" in text(found.table())


def test_episodes_without_a_partner_and_broken_pairs_are_counted() -> None:
    a = evaluate(Fixed(0), FRAGILE).scores
    b = evaluate(Fixed(1), Suite("other", (Item(WALK, (1, 2, 3, 4, BREAKS_FROM)),))).scores
    found = compare_scores(a, b, np.random.default_rng(0))
    assert (found.pairs, found.broken, found.only_a, found.only_b) == (2, 1, 2, 2)


def test_repeats_are_paired_in_order() -> None:
    a, b = (evaluate(Fixed(k), SUITE, repeats=2).scores for k in (0, 1))
    assert compare_scores(a, b, np.random.default_rng(0)).pairs == 12


def test_a_run_equals_itself() -> None:
    scores: Scores = evaluate(Fixed(2), SUITE).scores
    found = compare_scores(scores, scores, np.random.default_rng(0))
    assert all(d.difference.value == 0 and d.p_holm == 1 for d in found.metrics.values())


def test_runs_with_nothing_in_common() -> None:
    a = evaluate(Fixed(1), SUITE).scores
    b = evaluate(Fixed(1), Suite("other", (Item(WALK, (50, 51)),))).scores
    with pytest.raises(UsageError, match=r"share no \(environment, task, seed\).*seeds 0 to 5.*seeds 50 to 51"):
        compare_scores(a, b, np.random.default_rng(0))
