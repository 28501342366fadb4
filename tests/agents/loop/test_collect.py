"""What a collection of rollouts holds, however its environments were run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from agentgym import StepTable
from agentgym.agents.loop import Collector, Ended, Job, Rollouts, collect
from agentgym.agents.policy.types import Decision, Request
from agentgym.errors import PolicyError, UnknownName, UsageError
from tests.agents.loop.worlds import FOREIGN, FRAGILE, Walker, jobs, register_worlds
from tests.toy import TEXT_ID, register_toys

register_worlds()
register_toys()

WAYS: dict[str, dict[str, Any]] = {
    "one slot": {"slots": 1},
    "in this thread": {"slots": 8},
    "deterministic": {"slots": 8, "deterministic": True},
    "threads": {"workers": 3, "isolation": "thread"},
    "processes": {"workers": 3},
    "processes, deterministic": {"workers": 3, "deterministic": True},
}


def same(a: Rollouts, b: Rollouts) -> bool:
    """Equal in everything but how long it took."""
    left, right = a.steps.columns(), b.steps.columns()
    return (
        all(np.array_equal(left[k], right[k]) for k in left if k != "duration")
        and all(np.array_equal(v, b.steps.trajectories.columns()[k]) for k, v in a.steps.trajectories.columns().items())
        and a.steps.extras.keys() == b.steps.extras.keys()
        and all(_equal(v, b.steps.extras[k]) for k, v in a.steps.extras.items())
        and all(_equal(v, b.tokens.arrays()[k]) for k, v in a.tokens.arrays().items())
    )


def _equal(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@pytest.fixture(scope="module")
def reference() -> Rollouts:
    return collect(Walker(), jobs(30), seed=5, keep=("text", "action", "said", "error"))


@pytest.mark.parametrize("way", WAYS)
def test_the_order_of_arrival_changes_nothing(way: str, reference: Rollouts) -> None:
    found = collect(Walker(), jobs(30), seed=5, keep=("text", "action", "said", "error"), **WAYS[way])
    assert same(found, reference)


def test_another_run_seed_gives_other_episodes(reference: Rollouts) -> None:
    assert not same(collect(Walker(), jobs(30), seed=6, keep=("text", "action", "said", "error")), reference)


def test_rows_are_complete_and_say_what_happened(reference: Rollouts) -> None:
    steps, tokens = reference.steps, reference.tokens
    steps.validate()
    assert steps.trajectories.id.tolist() == list(range(30))
    assert set(steps.trajectories.status) == {"ok"}
    assert set(steps.trajectories.env) == {FRAGILE}
    assert set(steps.trajectories.task) == {"corridor"}
    assert steps.trajectories.seed.tolist() == list(range(30))
    assert set(steps.trajectories.horizon.tolist()) == {40}
    np.testing.assert_array_equal(steps.group, steps.trajectory // 2)
    np.testing.assert_array_equal(steps.t[steps.starts], 0)
    assert np.all(steps.terminated[steps.ends] | steps.truncated[steps.ends])
    assert np.count_nonzero(steps.terminated | steps.truncated) == 30
    inside = np.setdiff1d(np.arange(len(steps)), steps.starts)
    for before, after in (
        ("anchor", "next_anchor"),
        ("progress_before", "progress"),
        ("milestones_before", "milestones"),
    ):
        np.testing.assert_array_equal(steps.columns()[before][inside], steps.columns()[after][inside - 1])
    np.testing.assert_array_equal(steps.outcome, steps.terminated[steps.ends].astype(float))
    falls = np.add.reduceat(steps.danger.astype(float), steps.starts)
    np.testing.assert_array_equal(steps.trajectories.hidden_performance, steps.outcome - falls)
    # one token an action, and the step's time as first token of its prompt
    assert [(s.trajectory, s.t) for s in tokens.steps()] == list(zip(steps.trajectory, steps.t, strict=True))
    assert all(s.prefix[-2] == s.t for s in tokens.steps())


def test_extras_are_those_asked_for_and_those_the_policy_gave(reference: Rollouts) -> None:
    extras = reference.steps.extras
    assert set(extras) == {"value", "logprob", "text", "action_text", "said", "error"}
    first = reference.steps.t == 0
    assert extras["value"].dtype == extras["logprob"].dtype == np.float64
    assert np.array_equal(np.isnan(extras["value"]), first)
    assert np.isnan(extras["logprob"]).all()
    assert all(text.startswith("You stand in cell") for text in extras["text"])
    words = {"go 0": "left", "go 1": "right", "go 2": "wait"}
    assert [words[said] for said in extras["said"]] == list(extras["action_text"])
    assert set(collect(Walker(), jobs(2)).steps.extras) == {"value", "logprob"}


class Silent:
    """Waits for ever, and says nothing of values or tokens."""

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        assert all(r.admissible is None and r.env is None for r in requests)
        return [Decision("wait") for _ in requests]

    def end(self, episode: int) -> None:
        pass


def test_a_policy_without_tokens_or_values_has_none() -> None:
    found = collect(Silent(), jobs(3))
    assert not found.steps.extras
    assert not len(found.tokens)
    assert found.steps.lengths.tolist() == [40, 40, 40]
    assert found.steps.truncated[found.steps.ends].all()


def test_every_request_is_filled() -> None:
    seen: list[Request] = []

    class Looking(Walker):
        wants_env = True

        def act(self, requests: Sequence[Request]) -> list[Decision]:
            seen.extend(requests)
            assert all(r.env.unwrapped.admissible() == r.admissible for r in requests)
            return super().act(requests)

    start = {"params": {"length": 6, "start": 1}}
    collect(Looking(), [Job(TEXT_ID, 3, 11, greedy=True, kwargs={"slip": 0.0}, options=start)], seed=9)
    assert [r.step for r in seen] == [0, 1, 2, 3]
    assert {(r.episode, r.seed, r.greedy, r.goal) for r in seen} == {
        (11, 9, True, "Walk to cell 5; do not step into the pit in cell 0.")
    }
    assert [r.observation["text"] for r in seen] == [f"You stand in cell {1 + k} of 6." for k in range(4)]


def test_the_policy_hears_of_every_end_once() -> None:
    policy = Walker()
    collect(policy, jobs(20), slots=4)
    assert sorted(policy.ended) == list(range(20))
    assert not policy.open


def test_a_freed_slot_is_taken_in_the_same_round() -> None:
    policy = Walker()
    collect(policy, jobs(40), slots=4)
    # all slots are full until the last jobs are out
    assert {len(batch) for batch in policy.batches if max(episode for episode, _ in batch) < 39} == {4}


@pytest.mark.parametrize("workers", [0, 5])
@pytest.mark.parametrize("least", [1, 3, 9])
def test_a_batch_waits_for_so_many_while_others_are_at_work(workers: int, least: int) -> None:
    class Counting(Walker):
        def act(self, requests: Sequence[Request]) -> list[Decision]:
            assert len(requests) >= min(least, 5, 20 - len(self.ended))
            return super().act(requests)

    plain = collect(Walker(), jobs(20), slots=5)
    with Collector(slots=5, workers=workers, isolation="thread") as collector:
        found = collector.collect(Counting(), jobs(20), least=least)
        with pytest.raises(UsageError, match="least must be at least 1, got 0"):
            collector.collect(Walker(), jobs(1), least=0)
    assert sorted(found.steps.lengths) == sorted(plain.steps.lengths)


def test_jobs_are_drawn_only_when_a_slot_is_free() -> None:
    drawn: list[int] = []
    ended: list[int] = []

    def endless_list() -> Any:
        for job in jobs(12):
            drawn.append(job.trajectory)
            assert len(drawn) - len(ended) <= 3
            yield job

    collect(Walker(), endless_list(), slots=3, on_episode=lambda e: ended.append(e.job.trajectory))
    assert sorted(ended) == drawn == list(range(12))


def test_progress_is_told_after_each_episode() -> None:
    told: list[Ended] = []
    found = collect(Walker(), jobs(6), on_episode=told.append)
    told.sort(key=lambda e: e.job.trajectory)
    assert [e.steps for e in told] == found.steps.lengths.tolist()
    assert [e.reward for e in told] == found.steps.outcome.tolist()
    assert [e.success for e in told] == found.steps.trajectories.success.tolist()
    assert not any(e.error for e in told)


def test_no_jobs_no_rows() -> None:
    found = collect(Walker(), [])
    assert len(found.steps) == len(found.steps.trajectories) == len(found.tokens) == 0


def test_environments_stay_between_calls_and_are_shared_by_name_and_arguments(tmp_path: Any) -> None:
    log = tmp_path / "closed"
    kwargs = {"close_log": str(log)}
    with Collector(slots=2) as collector:
        for first in range(0, 40, 4):
            collector.collect(Walker(), jobs(4, first=first, kwargs=kwargs))
        assert not log.exists()
        # one other environment needs one place of the two
        collector.collect(Walker(), [Job(TEXT_ID, 0, 100)])
        assert log.read_text() == "closed\n"
    assert log.read_text() == "closed\n" * 2


@pytest.mark.parametrize("workers", [0, 3])
def test_a_run_cut_in_two_agrees_bit_for_bit(workers: int) -> None:
    class Rounding(Walker):
        """Its value depends on the whole batch, as sums in floating point do."""

        def act(self, requests: Sequence[Request]) -> list[Decision]:
            total = float(sum(1 / (1 + r.episode + r.step) for r in requests))
            return [Decision(d.action, d.segment, value=total) for d in super().act(requests)]

    how: dict[str, Any] = {"slots": 3, "workers": workers}
    with Collector(**how) as one:
        whole = Rollouts.concat(
            [one.collect(Rounding(), jobs(9, first=k), deterministic=True, seed=1) for k in (0, 9, 18)]
        )
    parts = [collect(Rounding(), jobs(9, first=0), deterministic=True, seed=1, **how)]
    with Collector(**how) as resumed:
        parts += [resumed.collect(Rounding(), jobs(9, first=k), deterministic=True, seed=1) for k in (9, 18)]
    assert same(whole, Rollouts.concat(parts))


@pytest.mark.parametrize("workers", [0, 1])
class TestRefusals:
    """What cannot be is said at once, wherever the environment runs."""

    def test_without_a_process_record(self, workers: int) -> None:
        with pytest.raises(UsageError, match=r"process contract.*agentgym\.add_process"):
            collect(Walker(), [Job(FOREIGN, 0, 0)], workers=workers)

    def test_unknown_environments(self, workers: int) -> None:
        with pytest.raises(UsageError, match="Fragil"):
            collect(Walker(), [Job("toy/Fragil-v0", 0, 0)], workers=workers)

    def test_unknown_arguments(self, workers: int) -> None:
        with pytest.raises(UsageError, match="wings"):
            collect(Walker(), [Job(FRAGILE, 0, 0, kwargs={"wings": 2})], workers=workers)

    def test_unknown_reset_options(self, workers: int) -> None:
        with pytest.raises(UsageError, match="wings"):
            collect(Walker(), [Job(FRAGILE, 0, 0, options={"wings": 2})], workers=workers)

    def test_unknown_text_columns(self, workers: int) -> None:
        with pytest.raises(UnknownName, match="text"):
            collect(Walker(), jobs(1), workers=workers, keep=("texts",))

    def test_numbers_used_twice(self, workers: int) -> None:
        with pytest.raises(ValueError, match="trajectory 0 has begun"):
            collect(Walker(), jobs(1) + jobs(1), workers=workers)


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_environments_elsewhere_are_out_of_reach(isolation: Any) -> None:
    class Looking(Walker):
        wants_env = True

        def act(self, requests: Sequence[Request]) -> list[Decision]:
            assert all(r.env is None for r in requests)
            return super().act(requests)

    assert not collect(Looking(), jobs(2), workers=1, isolation=isolation).errors


def test_what_cannot_travel_to_a_process_is_named() -> None:
    with pytest.raises(UsageError, match=r"cannot be sent.*isolation='thread'"):
        collect(Walker(), jobs(1, kwargs={"close_log": lambda: 0}), workers=1)


@pytest.mark.parametrize(
    "wrong",
    [{"slots": 0}, {"workers": -1}, {"isolation": "fork"}, {"step_timeout": 0.0}, {"reset_timeout": float("nan")}],
)
def test_impossible_collectors_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Collector(**wrong)


def test_a_closed_collector_refuses() -> None:
    for workers in (0, 1):
        collector = Collector(slots=1, workers=workers)
        collector.close()
        collector.close()
        with pytest.raises(UsageError, match="closed"):
            collector.collect(Walker(), jobs(1))


class TestPolicyErrors:
    """An error of the policy ends the call, and the collector can be used again."""

    @pytest.mark.parametrize("workers", [0, 2])
    def test_its_exception_comes_through(self, workers: int) -> None:
        class Failing(Walker):
            def act(self, requests: Sequence[Request]) -> list[Decision]:
                if any(r.step == 3 for r in requests):
                    raise ZeroDivisionError("the policy is broken")
                return super().act(requests)

        failing = Failing()
        with Collector(slots=2, workers=workers) as collector:
            with pytest.raises(ZeroDivisionError):
                collector.collect(failing, jobs(4))
            assert not failing.open
            assert same(collector.collect(Walker(), jobs(4)), collect(Walker(), jobs(4)))

    def test_too_few_decisions(self) -> None:
        class Short(Silent):
            def act(self, requests: Sequence[Request]) -> list[Decision]:
                return super().act(requests)[1:]

        with pytest.raises(PolicyError, match="one decision for each of 2 requests, got 1"):
            collect(Short(), jobs(2))


def test_rollouts_join(reference: Rollouts) -> None:
    a, b = collect(Walker(), jobs(4), seed=5), collect(Walker(), jobs(3, first=4), seed=5)
    both = Rollouts.concat([b, a])
    whole = collect(Walker(), jobs(7), seed=5)
    assert same(both, whole)
    assert both.seconds == a.seconds + b.seconds
    assert isinstance(both.steps, StepTable)
