"""A whole run in small: it resumes bit for bit, stops when asked, and keeps the sets apart."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agentgym.agents.train.checkpoints import newest_checkpoint
from agentgym.agents.train.config import TrainConfig
from agentgym.agents.train.splits import Split
from agentgym.agents.train.trainer import Trainer, train
from agentgym.errors import RunError, UnknownName, UsageError
from agentgym.runs import Run

SMALL = TrainConfig(
    env="agentgym/Grid-DoorKey-5x5-v0",
    env_kwargs={"view": "memory", "max_steps": 20},
    hidden=16,
    layers=1,
    heads=2,
    demos=4,
    demo_until="has_key",
    demo_epochs=3,
    updates=4,
    groups=2,
    group_size=3,
    validate_every=2,
    validation_episodes=3,
    test_episodes=4,
    checkpoint_every=1,
    keep_steps=2,
    tensorboard=False,
)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def learned(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Training metrics without what depends on the clock."""
    kept = [m for m in metrics if m["phase"] in ("train", "validation")]
    return [{k: v for k, v in m.items() if "seconds" not in k and k != "time"} for m in kept]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("run") / "whole"
    train(SMALL, out)
    return out


def test_the_run_is_stored_with_its_summary(whole: Path) -> None:
    run = Run.open(whole)
    summary = run.summary()
    assert summary["updates"] == 4
    assert summary["split"] == "instance"
    assert 0.0 <= summary["before"]["success"] <= 1.0
    assert {s.tags["phase"] for s in run.shards} == {"train", "test"}
    steps = run.steps(where={"phase": "train"})
    assert steps.extras["advantage"].shape == (len(steps),)
    assert steps.extras["text"][0].startswith("facing")


def test_resuming_equals_never_having_stopped(whole: Path, tmp_path: Path) -> None:
    """Killed after two updates (here: two updates, then gone), the rest is the same bit for bit."""
    run = Run.create(tmp_path / "cut", "train", SMALL.to_dict())
    first = Trainer(SMALL, run)
    first.warm_start()
    first.save()
    for _ in range(2):
        first.update()
        if first.updates_done == 2:
            first.measure("validation", SMALL.validation_episodes, update=2)
        first.save()
    first.update()  # this one is lost with the process: it was never saved
    first.close()
    train(SMALL, tmp_path / "cut", resume=True)
    one, other = weights(whole / "checkpoints/000004"), weights(tmp_path / "cut/checkpoints/000004")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert learned(Run.open(whole).metrics()) == learned(Run.open(tmp_path / "cut").metrics())
    rows = [Run.open(p).steps(where={"phase": "train"}) for p in (whole, tmp_path / "cut")]
    assert all((a == rows[1].columns()[k]).all() for k, a in rows[0].columns().items() if k != "duration")


def test_a_limit_on_danger_learns_its_price_and_resumes_with_it(tmp_path: Path) -> None:
    """`agentgym train --recipe lagrangian` from end to end, through the command line; and killed in the middle."""
    from agentgym.cli import main
    from agentgym.rewards import recipe
    from agentgym.rewards.combine.lagrangian import DangerLimit

    settings = replace(
        SMALL,
        env="agentgym/Grid-LavaShortcut-v0",
        env_kwargs={"view": "memory", "max_steps": 10},
        recipe="lagrangian",
        demo_until="",
        demos=2,
        demo_epochs=1,
        validate_every=0,
    )
    (tmp_path / "settings.json").write_text(json.dumps(settings.to_dict()))
    assert main(["train", "--config", str(tmp_path / "settings.json"), "--out", str(tmp_path / "whole")]) == 0
    lines = [m for m in Run.open(tmp_path / "whole").metrics() if m["phase"] == "train"]
    o = DangerLimit(**recipe("lagrangian").companion_options)
    price, seen = o.lowest, lines[0]["danger_episodes"]
    for line in lines:
        seen = o.smoothing * seen + (1.0 - o.smoothing) * line["danger_episodes"]
        price *= math.exp(o.rate * min(max(seen / o.limit - 1.0, -1.0), o.most))
        price = min(max(price, o.lowest), o.highest)
        assert line["companion_multiplier"] == pytest.approx(price), "the price this batch was credited with"
    assert price > o.lowest
    assert all(0.0 <= line["danger_rate"] <= 1.0 for line in lines)
    cut = Trainer(settings, Run.create(tmp_path / "cut", "train", settings.to_dict()))
    cut.warm_start()
    cut.save()
    for _ in range(2):
        cut.update()
        cut.save()
    cut.update()  # lost with the process
    cut.close()
    assert main(["train", "--resume", "--out", str(tmp_path / "cut")]) == 0
    one, other = weights(tmp_path / "whole/checkpoints/000004"), weights(tmp_path / "cut/checkpoints/000004")
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert learned(Run.open(tmp_path / "cut").metrics()) == learned(Run.open(tmp_path / "whole").metrics())


def test_the_best_weights_by_validation_come_back_and_of_equals_the_later(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", "train", SMALL.to_dict())
    trainer = Trainer(SMALL, run)
    assert trainer.load_best() == 0, "nothing was validated: nothing changes"
    for k in range(1, 4):
        trainer.update()
        if k < 3:
            trainer.save()
    for arm, update, success in (
        (trainer.arm, 1, 0.5),
        (trainer.arm, 2, 0.5),
        (trainer.arm, 3, 1.0),  # its weights were not kept
        ("another arm", 1, 1.0),
    ):
        run.log(arm=arm, phase="validation", update=update, success=success)
    before = {name: value.clone() for name, value in trainer.policy.model.state_dict().items()}
    assert trainer.load_best() == 2
    kept = weights(run.path / "checkpoints/000002")
    now = trainer.policy.model.state_dict()
    assert all(torch.equal(now[name], value) for name, value in kept.items())
    assert not all(torch.equal(now[name], value) for name, value in before.items())
    trainer.close()


def test_other_settings_do_not_resume(whole: Path) -> None:
    with pytest.raises(RunError, match="lr"):
        train(replace(SMALL, lr=1e-3), whole, resume=True)


@pytest.mark.slow
def test_ctrl_c_saves_the_update_in_hand(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = (
        "import sys; from agentgym.agents.train import TrainConfig, train;"
        "train(TrainConfig.from_dict(__import__('json').loads(sys.argv[1])), sys.argv[2],"
        " progress=lambda phase, done, *_: print(phase, done, flush=True))"
    )
    settings = replace(SMALL, updates=500, validate_every=0, checkpoint_every=0, keep_steps=0).to_dict()
    process = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(settings), str(out)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("training") and int(line.split()[-1]) >= 2:
            process.send_signal(signal.SIGINT)
            break
    said = process.stdout.read()
    assert process.wait(timeout=60) != 0
    assert "interrupted" in said
    folder = newest_checkpoint(Run.open(out))
    assert folder is not None
    assert json.loads((folder / "state.json").read_text())["updates_done"] >= 2


def test_instances_of_the_parts_never_meet() -> None:
    split = Split("agentgym/Grid-DoorKey-8x8-v0")
    assert split.kind == "instance"
    parts = {part: split.take(part, 40, distinct=True) for part in ("train", "validation", "test")}
    layouts = {part: {split.instance(seed) for seed in seeds} for part, seeds in parts.items()}
    assert all(len(found) == 40 for found in layouts.values())
    assert not layouts["train"] & layouts["test"]
    assert not layouts["train"] & layouts["validation"]
    assert not layouts["validation"] & layouts["test"]
    split.close()


def test_a_world_with_one_instance_is_split_by_seed() -> None:
    split = Split("agentgym/Grid-Empty-5x5-v0")
    assert split.kind == "seed"
    assert not set(split.take("train", 20)) & set(split.take("test", 20))
    split.close()


def test_too_few_instances_are_said() -> None:
    split = Split("agentgym/Grid-DoorKey-5x5-v0")
    with pytest.raises(UsageError, match="distinct test instances"):
        split.take("test", 500, distinct=True)
    split.close()


def test_demonstrations_end_where_they_are_cut() -> None:
    """What the quickstart claims: nothing after the key is ever shown."""
    from agentgym.agents.policy.simple import OraclePolicy
    from agentgym.agents.train.demonstrations import Demonstrator, cut_at

    trainer = Trainer(SMALL)
    seeds = trainer.split.take("train", 4, distinct=True)
    shown = trainer._show(Demonstrator(trainer.policy, OraclePolicy()), seeds)
    assert shown.steps.trajectories.success.all()
    cut = cut_at(shown, trainer.milestones, "has_key")
    key = 1 << trainer.milestones.index("has_key")
    for trajectory in shown.steps.trajectories.id.tolist():
        rows = shown.steps.trajectory == trajectory
        kept = [s.t for s in cut if s.trajectory == trajectory]
        reached = shown.steps.t[rows & (shown.steps.milestones & key > 0)].min()
        assert kept == list(range(reached + 1))
    with pytest.raises(UsageError, match="demo_until must be one of"):
        cut_at(shown, trainer.milestones, "tea")
    trainer.close()


def test_settings_are_checked_by_name_and_type(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'groups'"):
        TrainConfig.from_dict({"group": 3})
    with pytest.raises(UsageError, match="'updates' must be int, got 'many'"):
        TrainConfig.from_dict({"updates": "many"})
    with pytest.raises(UsageError, match="clip must lie in"):
        TrainConfig(clip=1.5)
    assert TrainConfig.from_dict(SMALL.to_dict()) == SMALL


def test_generated_actions_train_too(tmp_path: Path) -> None:
    config = replace(
        SMALL,
        env_kwargs={"view": "memory", "actions": "phrases", "max_steps": 12},
        mode="generate",
        max_new_tokens=6,
        demo_smoothing=0.2,
        demo_play=1,
        updates=2,
    )
    summary = train(config, tmp_path / "run")
    tokens = Run.open(tmp_path / "run").tokens()
    assert summary["updates"] == 2
    assert tokens.mask.sum() > 0
    assert len(tokens.choice_t) == 0


def test_a_critic_trains_with_gae(tmp_path: Path) -> None:
    easy = replace(
        SMALL, env="agentgym/Grid-Empty-Random-5x5-v0", demo_until="", test_episodes=3, validation_episodes=2
    )
    summary = train(replace(easy, recipe="ppo", critic=True, updates=2), tmp_path / "run")
    lines = [m for m in Run.open(tmp_path / "run").metrics() if m["phase"] == "train"]
    assert summary["recipe"] == "ppo"
    assert all(line["value_loss"] > 0 for line in lines)
