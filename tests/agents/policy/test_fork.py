"""Tree rollouts of a policy that remembers: a branch goes on with its parent's context, written down in full."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agentgym.agents.loop import Job, collect_trees
from agentgym.agents.policy.context import Append, ContextPolicy, LastK
from agentgym.agents.policy.small import small_model
from agentgym.agents.policy.transformers import TransformersPolicy


@pytest.mark.parametrize("context", [Append(), LastK(2), LastK(0)])
def test_every_branch_holds_exactly_what_the_model_saw(context: ContextPolicy) -> None:
    env = "agentgym/Grid-Empty-Random-5x5-v0"
    import gymnasium

    made = gymnasium.make(env, view="memory")
    made.reset(seed=3)
    words = [*made.unwrapped.task.vocabulary(), "get to the green goal square"]
    made.close()
    model, tokenizer = small_model(words, hidden=16, layers=1, heads=2, seed=1)
    policy = TransformersPolicy(model, tokenizer, context=context, mode="score")
    jobs = [Job(env, seed=3, trajectory=0, kwargs={"view": "memory", "max_steps": 7})]
    found = collect_trees(policy, jobs, branching=2, branch_at=(2, 4), seed=5)

    assert len(found.steps.trajectories) == 4
    assert (found.steps.parent >= 0).any()
    for step in found.tokens.steps():
        ids = torch.from_numpy(np.concatenate((step.prefix, step.action)))[None]
        with torch.no_grad():
            logits = torch.log_softmax(model(input_ids=ids).logits[0, len(step.prefix) - 1 : -1], -1)
        again = logits.gather(1, torch.from_numpy(step.action)[:, None]).squeeze(1).numpy()
        np.testing.assert_allclose(again, step.logprob, atol=1e-4)
    if isinstance(context, Append):
        lengths = {s.trajectory: len(s.prefix) for s in found.tokens.steps() if s.t == 4}
        assert min(lengths.values()) > 4 * 20, "a branch's first prompt holds the turns before it"
    assert not policy._histories, "every episode was forgotten at its end"
