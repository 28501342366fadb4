"""Recipes that read more than the record: trained with a model beside the policy, or refused by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from agentgym.agents.train.columns import ExtraColumns
from agentgym.agents.train.config import TrainConfig
from agentgym.agents.train.splits import Split
from agentgym.agents.train.trainer import Trainer, train
from agentgym.errors import RunError, UnknownName, UsageError
from agentgym.rewards import RECIPES, recipe
from agentgym.runs import Run
from agentgym.steps import StepTable

TINY = TrainConfig(
    env="agentgym/Grid-DoorKey-5x5-v0",
    env_kwargs={"view": "memory", "max_steps": 12},
    hidden=16,
    layers=1,
    heads=2,
    demos=4,
    demo_epochs=3,
    updates=2,
    groups=2,
    group_size=3,
    validate_every=0,
    test_episodes=2,
    checkpoint_every=1,
    keep_steps=2,
    tensorboard=False,
)
KEPT = {"text", "action_text"}


@pytest.fixture(scope="module")
def split() -> Iterator[Split]:
    made = Split(TINY.env, TINY.env_kwargs)
    yield made
    made.close()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_or_says_what_is_missing(name: str, split: Split) -> None:
    chain = recipe(name)
    config = replace(TINY, recipe=name, critic=chain.needs_critic, demos=0)
    missing = [c for c in chain.needs if c not in KEPT]
    if missing:
        with pytest.raises(UsageError) as caught:
            ExtraColumns(config, chain)
        assert name in str(caught.value)
        assert all(c in str(caught.value) for c in missing)
        assert "--columns" in str(caught.value)
        return
    trainer = Trainer(config, split=split)
    try:
        # an untrained policy solves nothing: let one rollout of a group succeed, so that there is something to learn
        whole = trainer.collect
        trainer.collect = lambda k: _with_a_success(whole(k))  # type: ignore[method-assign]
        stats = trainer.update()
        assert not stats.skipped
        assert np.isfinite(stats.loss)
    finally:
        trainer.extra.close()
        trainer.collector.close()


def _with_a_success(rollouts: Any) -> Any:
    rollouts.steps.trajectories.outcome[::3] = 1.0
    return rollouts


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def same(a: Any, b: Any) -> bool:
    """Two states with tensors in them are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.mark.parametrize("name", ["oprl", "prime", "oni-classification"])
def test_a_model_beside_the_policy_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Oracle demonstrations first, so that there are successes; stopped after one update, and never."""
    config = replace(TINY, recipe=name, critic=recipe(name).needs_critic, demo_epochs=40)
    train(config, tmp_path / "whole")
    run = Run.create(tmp_path / "cut", "train", config.to_dict())
    first = Trainer(config, run)
    first.warm_start()
    first.save()
    first.update()
    first.save()
    first.update()  # lost with the process: never saved
    first.close()
    train(config, tmp_path / "cut", resume=True)
    ends = [tmp_path / which / "checkpoints/000002" for which in ("whole", "cut")]
    one, other = map(weights, ends)
    assert all(torch.equal(one[k], other[k]) for k in one)
    beside = [torch.load(end / "companion.pt", weights_only=True) for end in ends]
    assert same(*beside)
    lines = [m for m in Run.open(tmp_path / "whole").metrics() if m["phase"] == "train"]
    assert all("companion_" in "".join(line) for line in lines)
    (ends[1] / "companion.pt").write_bytes(b"not a state")
    with pytest.raises(RunError, match=r"companion.pt is damaged"):
        train(replace(config, test_episodes=1), tmp_path / "cut", resume=True)


def test_the_implicit_model_is_another_than_the_policy_and_moves(split: Split) -> None:
    trainer = Trainer(replace(TINY, recipe="prime", demos=0), split=split)
    whole = trainer.collect
    trainer.collect = lambda k: _with_a_success(whole(k))  # type: ignore[method-assign]
    trainer.update()
    learner: Any = trainer.extra._companion
    scorer, start = learner.model.scorer.model, learner.model._start.model
    assert scorer is not trainer.policy.model
    moved = [not torch.equal(a, b) for a, b in zip(scorer.parameters(), start.parameters(), strict=True)]
    assert any(moved)
    trainer.collector.close()


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's with functions that make columns."""
    module = ModuleType("my_judge")
    module.scores = lambda steps: {"process_score": steps.progress - steps.progress_before}  # type: ignore[attr-defined]
    module.nothing = lambda steps: {}  # type: ignore[attr-defined]
    module.short = lambda steps: {"process_score": np.zeros(1)}  # type: ignore[attr-defined]
    module.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_judge", module)
    return module


def test_a_function_of_the_user_s_gives_the_columns(judge: ModuleType, split: Split) -> None:
    trainer = Trainer(replace(TINY, recipe="pure", columns="my_judge:scores", demos=0), split=split)
    assert not trainer.update().skipped
    trainer.collector.close()


def test_columns_that_do_not_come_or_do_not_fit_are_named(judge: ModuleType) -> None:
    def added(name: str) -> Any:
        steps = StepTable.from_columns(trajectory=np.zeros(2, dtype=np.int64))
        config = replace(TINY, recipe="pure", columns=name)
        return ExtraColumns(config, recipe("pure")).added(steps, None, None)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"reads the extra columns \['process_score'\], which 'my_judge:nothing' does"):
        added("my_judge:nothing")
    with pytest.raises(ValueError, match="column 'process_score' must have 2 rows"):
        added("my_judge:short")
    with pytest.raises(UnknownName, match="'scors'; did you mean 'scores'"):
        added("my_judge:scors")
    with pytest.raises(UsageError, match="is a int"):
        added("my_judge:number")
    with pytest.raises(UsageError, match="must be 'module:function'"):
        added("no_such_module:f")


def test_settings_that_do_not_fit_the_recipe_are_refused_before_anything_is_made() -> None:
    with pytest.raises(UsageError, match="needs a critic; set critic=True"):
        Trainer(replace(TINY, recipe="ppo"))
    with pytest.raises(UsageError, match="trains no model beside the policy"):
        Trainer(replace(TINY, recipe="grpo", companion={"lr": 1.0}))
    with pytest.raises(UnknownName, match="did you mean 'lr'"):
        Trainer(replace(TINY, recipe="oprl", companion={"lrr": 1.0}))
