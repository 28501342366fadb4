"""The main job in small: both arms, the summary's keys, the report, and nothing overwritten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agentgym.agents.train.quickstart import CONFIG, quickstart
from agentgym.runs import Run

TINY = replace(
    CONFIG,
    env="agentgym/Grid-DoorKey-5x5-v0",
    env_kwargs={"view": "memory", "max_steps": 15},
    hidden=16,
    layers=1,
    heads=2,
    demos=3,
    demo_epochs=2,
    updates=2,
    groups=2,
    group_size=3,
    validate_every=1,
    validation_episodes=2,
    test_episodes=3,
)


@pytest.mark.slow
def test_both_arms_are_trained_tested_and_told(tmp_path: Path) -> None:
    out = tmp_path / "quickstart"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    summary = quickstart(out, config=TINY, quiet=True)

    assert (tmp_path / "quickstart-1/notes.txt").read_text() == "mine", "an earlier folder is moved aside, not lost"
    run = Run.open(out)
    assert run.summary() == summary == json.loads((out / "summary.json").read_text())
    promised = (
        "success_before success_after greedy_after contrast_after intervals train_cpu_seconds updates_skipped seed"
    )
    assert set(promised.split()) <= set(summary)
    assert summary["chosen_update"] == 2, "the only weights of this run that were both validated and kept"
    for key in ("success_before", "success_after", "greedy_after", "contrast_after"):
        low, high = summary["intervals"][key]
        assert 0.0 <= low <= summary[key] <= high <= 1.0
    low, high = summary["intervals"]["contrast_difference"]
    assert -1.0 <= low <= summary["contrast_difference"] <= high <= 1.0
    assert summary["contrast_difference"] == pytest.approx(summary["success_after"] - summary["contrast_after"])
    report = (out / "report.html").read_text()
    assert "process rewards" in report
    assert "Episodes are paired by environment and task seed." in report, "both arms are tested on the same layouts"
    assert "outcomes only" in report
    arms = {m["arm"] for m in run.metrics() if m["phase"] == "train"}
    assert arms == {"process rewards", "outcomes only"}


def test_both_arms_start_from_the_same_weights_and_see_the_same_layouts() -> None:
    """What is compared is the recipe alone."""
    from agentgym.agents.train.trainer import Trainer

    one, other = Trainer(TINY), Trainer(replace(TINY, recipe="grpo"))
    a, b = one.collect(0).steps, other.collect(0).steps
    assert a.trajectories.seed.tolist() == b.trajectories.seed.tolist()
    assert (a.action == b.action).all(), "untrained twins act alike, too"
    one.close()
    other.close()


def test_the_settings_are_those_the_readme_speaks_of() -> None:
    assert CONFIG.demo_until == "has_key"
    assert CONFIG.test_episodes == 256
    assert CONFIG.env == "agentgym/Grid-DoorKey-8x8-H60-v0"
