"""Reinforcement of repairs: from a start that finds the line at fault and changes it at random, do repairs get better?

The start is cloned (as in swe_learning.py) from demonstrations that replace the word or sign at fault by any other of
its kind, the right one being among them by luck. Training begins only where at least ``--gate`` of its sampled edits
change one word or sign of the function so. Then every arm goes on from it with the same instances, updates and
rollouts, and so within a few hundredths of the same CPU time: ``grpo`` on outcomes alone, ``gigpo+progress`` on the
world's progress too, ``lagrangian`` with a price of danger. Instances are new in every update. All are tested by
sampled success on the same held-out instances, each seed on its own; differences are paired by instance.

What is done is kept in runs/swe_reinforcement; a run that was cut short goes on after its last finished arm. With
``--save`` the finished rows of every seed are kept with the results, so that later runs add seeds and arms to them.

    python benchmarks/swe_reinforcement.py --json --save
    python benchmarks/swe_reinforcement.py --seeds 0 --arm grpo --arm gigpo+progress --save
    python benchmarks/swe_reinforcement.py --quick        # a few demonstrations and one update, to see that it runs
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import swe_learning as cloning
import torch
from common import finish, parser, saved

from agentgym.agents.evaluate.stats import paired_bootstrap, wilson
from agentgym.agents.loop.types import Rollouts
from agentgym.agents.policy.transformers import TransformersPolicy
from agentgym.agents.train.config import TrainConfig
from agentgym.agents.train.splits import Split
from agentgym.agents.train.trainer import Trainer
from agentgym.envs.swe.actions import BadAction, call, parse
from agentgym.envs.swe.faults import faults
from agentgym.envs.swe.show import numbered

ARMS = ("grpo", "gigpo+progress", "lagrangian")
GATE = 0.9
KWARGS = {"split": "train", "manual": False, "max_steps": 4, "backend": "bubblewrap"}
GATE_FIRST = 900_000
SIGNS = (("<", "<=", ">", ">=", "==", "!="), ("+", "-", "*", "//", "%"), ("+=", "-=", "*=", "//="))
TEMPERATURE = 0.5
"""Of all sampling: what a quote says is certain, what to put in its place is a guess at any temperature."""
SETTINGS = ("demos", "epochs", "updates", "groups", "rl_lr", "test")
"""What rows must have in common to be put together."""


class Guesser(cloning.Teacher):
    """Finds the word or sign at fault, and puts any other in its place; the right one is among them."""

    def _written(self, source: str, line: int, right: str) -> str:
        options = guesses(source, line, right)
        rng = np.random.default_rng(zlib.crc32(source.encode()))
        return options[int(rng.integers(len(options)))]


def guesses(source: str, line: int, right: str) -> list[str]:
    """What a line (0-based) becomes by another word or sign where it differs from the right one; that one too.

    Signs give way to any of their kind, numbers to those nearby, words to what `faults` would put there.
    """
    old = source.split("\n")[line]
    differs = next((k for k, (a, b) in enumerate(zip(old, right, strict=False)) if a != b), min(len(old), len(right)))
    # "<" and "<=" differ only after the sign: what is meant is the last token that begins before that.
    near = [f for f in faults(source) if f.line == line + 1 and f.column <= differs <= f.column + len(f.old)]
    last = max((f.column for f in near), default=0)
    found = {right}
    for fault in (f for f in near if f.column == last):
        said = fault.old
        others = {fault.new, *(sign for kind in SIGNS if said in kind for sign in kind)}
        if said.isdigit():
            others |= {f"{n}" for n in range(max(0, int(said) - 2), int(said) + 3)}
        found |= {old[:last] + other + old[last + len(said) :] for other in others - {said}}
    return sorted(found)


def written(policy: TransformersPolicy, instances: Iterable[Any], teacher: cloning.Teacher) -> cloning.Shown:
    """What a recording of the teacher would hold, with the world's answers written and not played.

    They follow from the texts alone, and a wrong repair costs the sandbox as much as a right one.
    """
    template, parts = policy.template, []
    for instance in instances:
        path, search, replace = teacher.edit(instance)
        old = instance.tree.files()[path].decode()
        new = old.replace(search, replace)
        at = new.count("\n", 0, new.find(replace)) + 1
        after, _ = numbered(new.split("\n"), max(1, at - 2), at + replace.count("\n") + 2)
        ids = list(template.opening(instance.statement.strip(), "\n".join(sorted(instance.tree.files()))))
        said = [False] * len(ids)
        for action, answer in (
            (call("read", path=path), numbered(old.splitlines(), 1, 0)[0]),
            (call("edit", path=path, search=search, replace=replace), f"[{path} is changed]\n{after}"),
            (call("submit"), ""),
        ):
            mine = template.action(action) + template.end
            heard = template.turn(mine, answer) if answer else ()
            ids += mine + heard
            said += [True] * len(mine) + [False] * len(heard)
        parts.append(cloning.Shown(np.array(ids), np.array(said), np.array([0, len(ids)]), 0.0, 0.0))
    return cloning.Shown.joined(parts)


def drawn(split: str, seeds: Iterable[int]) -> Iterator[Any]:
    """The instances that a reset with these seeds leads to, without a sandbox."""
    env: Any = gymnasium.make(cloning.ENV, split=split).unwrapped
    try:
        for seed in seeds:
            (rng,) = np.random.default_rng(seed).spawn(1)
            yield env.task.setup(env.task.sample(rng))
    finally:
        env.close()


def valid_edits(found: Rollouts, seeds: range) -> tuple[float, int]:
    """Share of first edits that change one word or sign of the function at fault, and the number of edits."""
    valid = edits = 0
    steps = found.steps
    for k, instance in enumerate(drawn("held_out", seeds)):
        (path,) = instance.gold
        source, lines = instance.tree.files()[path].decode(), instance.gold[path].decode().split("\n")
        old = source.split("\n")
        (line,) = (n for n, (a, b) in enumerate(zip(old, lines, strict=True)) if a != b)
        fine = {"\n".join([*old[:line], guess, *old[line + 1 :]]) for guess in guesses(source, line, lines[line])}
        fine |= {fault.apply(source) for fault in faults(source)}
        for text in steps.extras["action_text"][steps.starts[k] : steps.ends[k] + 1]:
            try:
                action = parse(str(text))
            except BadAction:
                continue
            if action.tool == "edit":
                edits += 1
                search, replace = action.args["search"], action.args["replace"]
                right = action.args["path"] == path and source.count(search) == 1
                valid += right and source.replace(search, replace) in fine
                break
    return (valid / edits if edits else 0.0), edits


def start(options: argparse.Namespace, seed: int) -> tuple[TransformersPolicy, dict[str, Any]]:
    """The policy that all arms of a seed begin with, cloned now or read, and what share of its edits is valid."""
    folder = options.out / f"{seed}"
    words = cloning.vocabulary(list(cloning.texts_of(range(40 if options.quick else 800))))
    policy = cloning.new_policy(words, seed, 128, 2)
    policy.temperature = TEMPERATURE
    kept = folder / f"start-{options.demos}-{options.epochs}.pt"
    if kept.is_file():
        policy.model.load_state_dict(torch.load(kept, weights_only=True))
    else:
        given = argparse.Namespace(**vars(options), seed=seed)
        seeds = range(seed * 100_000, seed * 100_000 + options.demos)
        shown = written(policy, drawn("train", seeds), Guesser())
        folder.mkdir(parents=True, exist_ok=True)
        cloning.clone(policy, shown, given)
        torch.save(policy.model.state_dict(), kept)
    known = kept.with_suffix(".json")
    if known.is_file():
        return policy, json.loads(known.read_text())
    gate = range(GATE_FIRST, GATE_FIRST + (4 if options.quick else 200))
    found = cloning.play(policy, "held_out", gate, 1 << 21, slots=8)
    share, edits = valid_edits(found, gate)
    told = {"valid_edits": share, "edits": edits, "of": len(gate)}
    known.write_text(json.dumps(told))
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
        temperature=TEMPERATURE,
        recipe=arm,
        seed=seed,
        demos=0,
        updates=options.updates,
        groups=options.groups,
        group_size=8,
        lr=options.rl_lr,
        epochs=1,
        minibatches=4,
        kl=0.01,
        aggregation="token-mean",
        validate_every=0,
        slots=8,
        tensorboard=False,
    )
    began, cpu = time.perf_counter(), time.process_time()
    curve: list[float] = []

    def heard(phase: str, done: int, of: int, said: str) -> None:
        curve.append(float(said.split()[-1]))
        print(f"{time.strftime('%H:%M:%S')} {phase}: {done}/{of} {said}", flush=True)

    trainer = Trainer(config, policy=policy, split=Split(cloning.ENV, KWARGS), arm=arm, progress=heard)
    try:
        trainer.train()
    finally:
        trainer.close()
    cost = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    told = {"env_steps": trainer.env_steps, "skipped": trainer.updates_skipped, "curve": curve}
    return test(policy, options, seed) | cost | told


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--arm", choices=ARMS, action="append", help="only these arms")
    made.add_argument("--gate", type=float, default=GATE, help="share of valid edits below which no arm begins")
    made.add_argument("--updates", type=int, default=12)
    made.add_argument("--groups", type=int, default=16, help="of eight rollouts, in an update")
    made.add_argument("--rl-lr", type=float, default=3e-4, help="learning rate of the reinforcement")
    made.add_argument("--demos", type=int, default=8000)
    made.add_argument("--epochs", type=int, default=2)
    made.add_argument("--lr", type=float, default=5e-3, help="of the clone's embeddings")
    made.add_argument("--muon", type=float, default=7e-3, help="of the clone's matrices")
    made.add_argument("--batch", type=int, default=4)
    made.add_argument("--test", type=int, default=240)
    made.add_argument("--out", type=Path, default=Path("runs/swe_reinforcement"), help="where what is done is kept")
    options = made.parse_args()
    if options.quick:
        options.demos, options.epochs, options.test, options.groups = 8, 1, 4, 1
        options.updates, options.seeds, options.out = 1, options.seeds[:1], options.out / "quick"
    torch.set_num_threads(1)
    settings = {key: getattr(options, key) for key in SETTINGS}
    last = saved("swe_reinforcement") if not options.quick else {}
    rows: dict[str, dict[str, Any]] = last.get("rows", {}) if last.get("settings") == settings else {}
    for seed in options.seeds:
        done = rows.setdefault(f"{seed}", {})
        wanted = ["before", *(options.arm or ARMS)]
        if all(name in done for name in wanted):
            continue
        policy, done["gate"] = start(options, seed)
        if done["gate"]["valid_edits"] < options.gate and not options.quick:
            print(f"seed {seed}: no reinforcement below {options.gate:.0%} of valid edits", flush=True)
            continue
        weights = {k: v.clone() for k, v in policy.model.state_dict().items()}
        for name in wanted:
            kept = options.out / f"{seed}" / f"{name}-{'-'.join(f'{v}' for v in settings.values())}.json"
            if not kept.is_file():
                policy.model.load_state_dict(weights)
                policy.flush()
                row = test(policy, options, seed) if name == "before" else reinforced(policy, name, options, seed)
                kept.write_text(json.dumps(row))
            done[name] = json.loads(kept.read_text())
    arms = report(rows)
    finish("swe_reinforcement", {"settings": settings, "arms": arms, "rows": rows}, options)


def report(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Success by arm, and what it is above the start and above outcomes alone, on the seeds that have both."""
    arms = {}
    for name in ("before", *ARMS):
        mine = {seed: done[name] for seed, done in rows.items() if name in done}
        if not mine:
            continue
        wins = np.array([row["won"] for row in mine.values()], dtype=np.float64)
        low, high = map(float, wilson(int(wins.sum()), wins.size))
        line = {"success": float(wins.mean()), "interval": [low, high], "seeds": list(mine)}
        line["by_seed"] = wins.mean(axis=1).tolist()
        for key in ("progress", "danger_rate", "errors", "seconds", "cpu_seconds", "env_steps", "skipped"):
            if all(key in row for row in mine.values()):
                line[key] = float(np.mean([row[key] for row in mine.values()]))
        for other in ("before", "grpo"):
            both = [seed for seed in mine if other in rows[seed]]
            if both and name not in ("before", other):
                a, b = (np.array([rows[s][n]["won"] for s in both], dtype=np.float64) for n in (other, name))
                strata = np.repeat(np.arange(len(both)), a.shape[1])
                found = paired_bootstrap(a.ravel(), b.ravel(), np.random.default_rng(0), strata=strata)
                line[f"minus_{other}"] = [found.value, found.low, found.high]
        arms[name] = line
        print(name, json.dumps(line))
    return arms


if __name__ == "__main__":
    main()
