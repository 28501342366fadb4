"""Trees: branches share their past, part where they were told to, and are whole episodes along their lineage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from agentgym.agents.loop import Job, Rollouts, collect, collect_trees
from agentgym.agents.policy.types import Decision, Request
from agentgym.errors import UsageError, WorldError
from tests.agents.loop.worlds import FRAGILE, Walker, jobs, register_worlds
from tests.toy import TEXT_ID, register_toys

register_toys()
register_worlds()


class Branching(Walker):
    """A walker that remembers the steps of every episode, and copies them when one parts."""

    def fork(self, parent: int, child: int) -> None:
        assert child not in self.open
        self.open[child] = self.open[parent]


def trees(n: int = 3, branching: int = 2, at: Sequence[int] = (1, 3), slots: int = 64, seed: int = 0) -> Rollouts:
    return collect_trees(
        Branching(), [Job(TEXT_ID, 7 + k, 100 * k, group=k) for k in range(n)], branching=branching, branch_at=at,
        slots=slots, seed=seed,
    )  # fmt: skip


def test_every_leaf_is_a_whole_episode() -> None:
    found = trees(branching=3, at=(1, 2))
    steps = found.steps
    steps.validate()
    assert steps.trajectories.id.tolist() == [100 * k + i for k in range(3) for i in range(9)]
    for trajectory in steps.trajectories.id:
        rows = steps.lineage(int(trajectory))
        assert steps.t[rows].tolist() == list(range(len(rows)))
        np.testing.assert_array_equal(steps.anchor[rows][1:], steps.next_anchor[rows][:-1])
        np.testing.assert_array_equal(steps.progress_before[rows][1:], steps.progress[rows][:-1])
        np.testing.assert_array_equal(steps.milestones_before[rows][1:], steps.milestones[rows][:-1])
        assert (steps.terminated | steps.truncated)[rows].tolist() == [False] * (len(rows) - 1) + [True]
        row = int(np.searchsorted(steps.trajectories.id, trajectory))
        assert steps.trajectories.outcome[row] == steps.reward[rows].sum() == float(steps.trajectories.success[row])
        assert steps.trajectories.hidden_performance[row] == steps.reward[rows].sum() - steps.danger[rows].sum()
        assert set(steps.group[rows]) == {trajectory // 100}
    assert [(s.trajectory, s.t) for s in found.tokens.steps()] == list(zip(steps.trajectory, steps.t, strict=True))


def test_branches_part_where_they_were_told_to() -> None:
    steps = trees(n=1, branching=2, at=(1, 3)).steps
    born = {int(steps.trajectory[k]): (int(steps.parent[k]), int(steps.parent_t[k])) for k in steps.starts}
    # 0 parts at 1 (into 1) and at 3 (into 2); 1 parts at 3 (into 3)
    assert born == {0: (-1, -1), 1: (0, 0), 2: (0, 2), 3: (1, 2)}


def test_branches_differ_and_the_root_is_an_ordinary_episode() -> None:
    steps = trees().steps
    plain = collect(Walker(), [Job(TEXT_ID, 7 + k, 100 * k, group=k) for k in range(3)]).steps
    roots = steps.only([0, 100, 200])
    np.testing.assert_array_equal(roots.next_anchor, plain.next_anchor)
    np.testing.assert_array_equal(roots.action, plain.action)
    leaves = [steps.action[steps.lineage(k)].tolist() for k in range(4)]
    assert len({tuple(actions) for actions in leaves}) > 1


def test_the_number_of_slots_changes_nothing() -> None:
    many, one = trees(slots=64).steps, trees(slots=1).steps
    for name in many.columns().keys() - {"duration"}:
        np.testing.assert_array_equal(many.columns()[name], one.columns()[name])
    assert not np.array_equal(trees(seed=1).steps.action, many.action)


def test_an_episode_that_ends_early_has_fewer_branches() -> None:
    steps = trees(n=1, at=(1, 30)).steps
    assert steps.trajectories.id.tolist() == [0, 1]


def test_the_policy_hears_of_every_end() -> None:
    policy = Branching()
    collect_trees(policy, [Job(TEXT_ID, 0, 0)], branching=3, branch_at=(2,))
    assert sorted(policy.ended) == [0, 1, 2]
    assert not policy.open


def test_a_policy_that_fails_leaves_no_context_behind() -> None:
    class Failing(Branching):
        def act(self, requests: Sequence[Request]) -> list[Decision]:
            if requests[0].step == 4:
                raise ZeroDivisionError
            return super().act(requests)

    policy = Failing()
    with pytest.raises(ZeroDivisionError):
        collect_trees(policy, [Job(TEXT_ID, 0, 0)], branch_at=(1, 2))
    assert not policy.open


@pytest.mark.parametrize("wrong", [{"branching": 1}, {"branch_at": (0,)}, {"slots": 0}])
def test_impossible_trees_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        collect_trees(Branching(), jobs(1), **wrong)  # type: ignore[arg-type]  # one wrong option at a time


def test_a_world_that_cannot_be_forked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.toy.CorridorWorld.forkable", False)
    with pytest.raises(UsageError, match="cannot be forked"):
        collect_trees(Branching(), [Job(TEXT_ID, 0, 0)])


def test_a_broken_world_is_raised() -> None:
    with pytest.raises(WorldError, match=r"trajectory 0 .* the step went wrong"):
        collect_trees(Branching(), [Job(FRAGILE, 0, 0, kwargs={"faults": {0: "step"}})])
    with pytest.raises(WorldError, match="no reset today"):
        collect_trees(Branching(), [Job(FRAGILE, 0, 0, kwargs={"faults": {0: "reset"}})])
