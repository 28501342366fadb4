"""Reinforcement of repairs: from a start that finds the line at fault and changes it at random, do repairs get better?

The start is cloned (as in swe_learning.py) from demonstrations that replace the line at fault by any of its one-token
changes (`agentgym.envs.swe.faults`), the right one being among them by luck. Training begins only where at least
``GATE`` of its sampled edits are such changes. Then every arm goes on from it with the same instances, updates and
rollouts: ``grpo`` on outcomes alone, ``gigpo+progress`` on the world's progress too. Both are tested by sampled success
on the same held-out instances, each seed on its own; differences are paired by instance.

What is done is kept in runs/swe_reinforcement; a run that was cut short goes on after its last finished arm.

    python benchmarks/swe_reinforcement.py --json --save
    python benchmarks/swe_reinforcement.py --seeds 0 --updates 20
    python benchmarks/swe_reinforcement.py --quick        # a few demonstrations and one update, to see that it runs
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import swe_learning as cloning
import torch
from common import finish, parser

from agentgym.agents.evaluate.stats import paired_bootstrap, wilson
from agentgym.agents.loop.types import Rollouts
from agentgym.agents.policy.transformers import TransformersPolicy
from agentgym.agents.train.config import TrainConfig
from agentgym.agents.train.splits import Split
from agentgym.agents.train.trainer import Trainer
from agentgym.envs.swe.actions import BadAction, parse
from agentgym.envs.swe.faults import faults

ARMS = ("grpo", "gigpo+progress")
GATE = 0.9
KWARGS = {"split": "train", "manual": False, "max_steps": 4, "backend": "bubblewrap"}
GATE_FIRST = 900_000


class Guesser(cloning.Teacher):
    """Finds the line at fault, and changes one token of it, whichever."""

    def _written(self, source: str, line: int, right: str) -> str:
        changes = [f for f in faults(source) if f.line == line + 1]
        rng = np.random.default_rng(zlib.crc32(source.encode()))
        return changes[int(rng.integers(len(changes)))].apply(source).split("\n")[line] if changes else right


def valid_edits(found: Rollouts, seeds: range) -> tuple[float, int]:
    """Share of first edits that change one token of the function at fault, and the number of edits."""
    env: Any = gymnasium.make(cloning.ENV, split="held_out").unwrapped
    valid = edits = 0
    steps = found.steps
    for k, seed in enumerate(seeds):
        instance = env.task.setup(env.task.sample(np.random.default_rng(seed)))
        (path,) = instance.gold
        source = instance.tree.files()[path].decode()
        for text in steps.extras["action_text"][steps.starts[k] : steps.ends[k] + 1]:
            try:
                action = parse(str(text))
            except BadAction:
                continue
            if action.tool == "edit":
                edits += 1
                after = source.replace(action.args["search"], action.args["replace"], 1)
                right = action.args["path"] == path and source.count(action.args["search"]) == 1
                valid += right and any(fault.apply(source) == after for fault in faults(source))
                break
    env.close()
    return (valid / edits if edits else 0.0), edits


def start(options: argparse.Namespace, seed: int) -> tuple[TransformersPolicy, dict[str, Any]]:
    """The policy that all arms of a seed begin with: cloned now, or read."""
    folder = options.out / f"{seed}"
    words = cloning.vocabulary(list(cloning.texts_of(range(40 if options.quick else 800))))
    policy = cloning.new_policy(words, seed, 128, 2)
    kept = folder / f"start-{options.demos}-{options.epochs}.pt"
    if kept.is_file():
        policy.model.load_state_dict(torch.load(kept, weights_only=True))
    else:
        given = argparse.Namespace(**vars(options), seed=seed)
        shown = cloning.Shown.joined(list(cloning.recorded(policy, given, float("inf"), Guesser)))
        cloning.clone(policy, shown, given)
        torch.save(policy.model.state_dict(), kept)
    gate = range(GATE_FIRST, GATE_FIRST + (4 if options.quick else 200))
    found = cloning.play(policy, "held_out", gate, 1 << 21, slots=8)
    share, edits = valid_edits(found, gate)
    told = {"valid_edits": share, "edits": edits, "of": len(gate)}
    print(f"seed {seed}: {share:.2f} of {edits} sampled edits change one token", flush=True)
    return policy, told


def test(policy: TransformersPolicy, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    first = cloning.TEST_FIRST + 10_000 * (seed + 50)
    found = cloning.play(policy, "held_out", range(first, first + options.test), 1 << 20, slots=8)
    steps = found.steps
    return {
        "won": steps.trajectories.success.astype(int).tolist(),
        "progress": float(steps.progress[steps.ends].mean()),
        "danger_rate": float(steps.danger.mean()),
        "errors": len(found.errors),
    }


def reinforced(policy: TransformersPolicy, arm: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train the policy, then test it."""
    config = TrainConfig(
        env=cloning.ENV,
        env_kwargs=KWARGS,
        mode="generate",
        max_new_tokens=128,
        recipe=arm,
        seed=seed,
        demos=0,
        updates=options.updates,
        groups=options.groups,
        group_size=8,
        lr=options.rl_lr,
        epochs=1,
        minibatches=2,
        kl=0.01,
        aggregation="token-mean",
        validate_every=0,
        slots=8,
        tensorboard=False,
    )
    began, cpu = time.perf_counter(), time.process_time()
    trainer = Trainer(config, policy=policy, split=Split(cloning.ENV, KWARGS), arm=arm, progress=tell)
    try:
        trainer.train()
    finally:
        trainer.close()
    cost = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    return test(policy, options, seed) | cost | {"env_steps": trainer.env_steps, "skipped": trainer.updates_skipped}


def tell(phase: str, done: int, of: int, said: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {phase}: {done}/{of} {said}", flush=True)


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--arm", choices=ARMS, action="append", help="only these arms")
    made.add_argument("--updates", type=int, default=40)
    made.add_argument("--groups", type=int, default=16, help="of eight rollouts, in an update")
    made.add_argument("--rl-lr", type=float, default=2e-4, help="learning rate of the reinforcement")
    made.add_argument("--demos", type=int, default=2000)
    made.add_argument("--epochs", type=int, default=4)
    made.add_argument("--lr", type=float, default=5e-3, help="of the clone's embeddings")
    made.add_argument("--muon", type=float, default=7e-3, help="of the clone's matrices")
    made.add_argument("--batch", type=int, default=3)
    made.add_argument("--test", type=int, default=240)
    made.add_argument("--out", type=Path, default=Path("runs/swe_reinforcement"), help="where what is done is kept")
    options = made.parse_args()
    if options.quick:
        options.demos, options.epochs, options.test, options.groups = 8, 1, 4, 1
        options.updates, options.seeds, options.out = 1, options.seeds[:1], options.out / "quick"
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"updates": options.updates, "seeds": [], "gate": [], "arms": {}}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in ("before", *(options.arm or ARMS))}
    for seed in options.seeds:
        policy, gate = start(options, seed)
        weights = {k: v.clone() for k, v in policy.model.state_dict().items()}
        figures["seeds"].append(seed)
        figures["gate"].append(gate)
        if gate["valid_edits"] < GATE and not options.quick:
            print(f"seed {seed}: no reinforcement below {GATE:.0%} of valid edits", flush=True)
            continue
        for name, rows in results.items():
            kept = options.out / f"{seed}" / f"{name}-{options.updates}-{options.groups}-{options.rl_lr:g}.json"
            if not kept.is_file():
                policy.model.load_state_dict(weights)
                policy.flush()
                row = test(policy, options, seed) if name == "before" else reinforced(policy, name, options, seed)
                kept.write_text(json.dumps(row))
            rows.append(json.loads(kept.read_text()))
    report(figures, results)
    finish("swe_reinforcement", figures, options)


def report(figures: dict[str, Any], results: dict[str, list[dict[str, Any]]]) -> None:
    """Success by arm, and what it is above the start and above outcomes alone."""
    won = {name: np.array([row["won"] for row in rows], dtype=np.float64) for name, rows in results.items() if rows}
    for name, wins in won.items():
        low, high = map(float, wilson(int(wins.sum()), wins.size))
        rows = results[name]
        line = {"success": float(wins.mean()), "interval": [low, high], "by_seed": wins.mean(axis=1).tolist()}
        for key in ("progress", "danger_rate", "errors", "seconds", "cpu_seconds", "env_steps", "skipped"):
            if key in rows[0]:
                line[key] = float(np.mean([row[key] for row in rows]))
        for other in ("before", "grpo"):
            if other in won and name not in ("before", other):
                found = paired_bootstrap(
                    won[other].ravel(),
                    wins.ravel(),
                    np.random.default_rng(0),
                    strata=np.repeat(np.arange(len(wins)), wins.shape[1]),
                )
                line[f"minus_{other}"] = [found.value, found.low, found.high]
        figures["arms"][name] = line
        print(name, json.dumps(line))


if __name__ == "__main__":
    main()
