"""A run such as a training leaves behind, made up: two arms, tests before and after, episodes with everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agentgym.runs import Run
from agentgym.steps import StepTable, TrajectoryTable

ENV = "agentgym/Grid-DoorKey-8x8-v0"
_WORDS = ["turn left", "turn right", "forward", "pick up the key", "open the door", "drop"]


def episodes(
    first: int,
    n: int,
    rng: np.random.Generator,
    *,
    skill: float,
    text: str = "",
    env: str = ENV,
    broken: int = 0,
    advantage: bool = True,
) -> StepTable:
    """``n`` episodes, each solved with probability ``skill``; the last ``broken`` broke, one before its first step."""
    columns: dict[str, list[Any]] = {k: [] for k in ("trajectory", "t", "milestones_before", "milestones")}
    more: dict[str, list[Any]] = {k: [] for k in ("progress_before", "progress", "danger", "grounded", "terminated")}
    columns |= more | {k: [] for k in ("truncated", "reward", "duration")}
    extras: dict[str, list[Any]] = {k: [] for k in ("text", "action_text", "said", "error", "advantage")}
    won = rng.random(n) < skill
    for k in range(n):
        is_broken = k >= n - broken
        length = 0 if is_broken and k == n - 1 else int(rng.integers(9, 22) if won[k] else rng.integers(20, 34))
        key, door = (int(v) for v in np.sort(rng.choice(np.arange(2, max(5, length - 1)), 2, replace=False)))
        gets_key, gets_door = won[k] or rng.random() < 0.8, won[k] or rng.random() < 0.25
        p, mask = 0.0, 0
        for t in range(length):
            last = t == length - 1
            ungrounded = rng.random() < 0.05
            new = mask
            if t >= key and gets_key:
                new |= 1
            if t >= door and gets_door and gets_key:
                new |= 2
            q = (
                1.0
                if won[k] and last and not is_broken
                else min(0.95, max(0.0, p + rng.choice([0.07, 0.03, 0.0, -0.03])))
            )
            if won[k] and last and not is_broken:
                new |= 4
            for name, value in {
                "trajectory": first + k,
                "t": t,
                "milestones_before": mask,
                "milestones": new,
                "progress_before": p,
                "progress": q,
                "danger": bool(rng.random() < (0.02 if won[k] else 0.06)),
                "grounded": not ungrounded,
                "terminated": bool(q == 1.0),
                "truncated": last and not won[k],
                "reward": float(q == 1.0),
                "duration": 0.002,
            }.items():
                columns[name].append(value)
            extras["text"].append(
                text
                or f"You are in a room with grey walls.\nA yellow key is {t % 5} to your left.\n"
                f"A locked yellow door is ahead, {6 - t % 6} steps.\nYou carry {'the key' if new & 1 else 'nothing'}."
            )
            extras["action_text"].append(text or str(rng.choice(_WORDS)))
            extras["said"].append(text or "The key is on my left, so I turn left first.")
            extras["error"].append("there is nothing to pick up" if ungrounded else "")
            extras["advantage"].append(float(rng.normal() * 0.4 + (0.8 if new != mask else 0)))
            p, mask = q, new
    ids = np.arange(first, first + n)
    ok = ids < first + n - broken
    heads = TrajectoryTable.from_columns(
        id=ids,
        env=[env] * n,
        task=["DoorKey"] * n,
        seed=10_000 + np.arange(n),
        outcome=(won & ok).astype(float),
        success=won & ok,
        horizon=np.full(n, 34, dtype=np.int32),
        status=np.where(ok, "ok", "error"),
        error=np.where(ok, "", text or "WorldTimeout: no answer within 60 s"),
    )
    if not advantage:
        extras.pop("advantage")
    arrays = {k: np.array(v, dtype=object if k != "advantage" else float) for k, v in extras.items()}
    dtypes = {"t": np.int32, "danger": bool, "grounded": bool, "terminated": bool, "truncated": bool}
    data = {
        k: np.array(v, dtype=dtypes.get(k)) if v else np.zeros(0, dtypes.get(k, "int64")) for k, v in columns.items()
    }
    return StepTable.from_columns(**data, trajectories=heads, extras=arrays)


def training_run(folder: Path, *, text: str = "", updates: int = 50, n: int = 100, broken: int = 2) -> Run:
    """Two arms; the first goes from few to many successes. ``text`` replaces every observation, action and name."""
    rng = np.random.default_rng(0)
    arms = (text + "process rewards", "outcomes only")
    config = {"env": ENV, "recipe": "gigpo", "updates": updates, "seed": 0, "note": text}
    run = Run.create(folder, "quickstart", config)
    for arm, ceiling in zip(arms, (0.93, 0.16), strict=True):
        for k in range(updates):
            level = 0.06 + (ceiling - 0.06) / (1 + np.exp(-(k - 22) / 5))
            level = min(1.0, max(0.0, level + rng.normal() * 0.035))
            entropy, kl = 1.2 - 0.7 * k / updates + rng.normal() * 0.03, 0.002 + 0.001 * rng.random()
            run.log(
                phase="train", arm=arm, update=k, success=level, progress=0.3 + 0.65 * level, entropy=entropy, kl=kl
            )
            if k % 5 == 4:
                run.log(phase="validation", arm=arm, update=k + 1, success=level, low=max(0, level - 0.07),
                        high=min(1, level + 0.06), progress=0.3 + 0.65 * level)  # fmt: skip
    for label, update, skill in (("before", 0, 0.06), ("after", updates, 0.93), ("greedy", updates, 0.97)):
        greedy = label == "greedy"
        steps = episodes(1000 * update + 500_000 * greedy, n, np.random.default_rng(update), skill=skill, text=text,
                         broken=broken)  # fmt: skip
        run.append(steps, phase="test", arm=arms[0], update=update, label=label, greedy=greedy)
        won = int(steps.trajectories.success.sum())
        run.log(phase="test", arm=arms[0], update=update, label=label, greedy=greedy, success=won / n, episodes=n)
    run.log(phase="test", arm=arms[1], update=updates, label="after", success=0.15, low=0.09, high=0.23, episodes=n)
    run.write_summary({"success_before": 0.06, "note": text})
    return run
