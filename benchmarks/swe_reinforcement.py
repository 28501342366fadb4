"""Reinforcement of repairs: from a start that quotes well and changes signs at random, do repairs get better?

The start is cloned (as in swe_learning.py), once for all seeds, from demonstrations that replace the sign or number at
fault by any other of its kind, the right one being among them by luck; where a variable is at fault they change some
other sign. Training begins only where at least ``--gate`` of its sampled edits change one word or sign of the function
so. Then every arm of every seed goes on from it with the same instances, updates and rollouts: ``grpo`` on outcomes
alone, ``gigpo+progress`` on the world's progress too, ``lagrangian`` with a price of danger. Instances are new in every
update. All are tested by sampled success on the same held-out instances, each seed on its own; differences are paired
by instance. Settings were chosen with seed 90, which no result holds.

Figures of an arm: ``seconds`` (wall) of the reinforcement, ``cpu_seconds`` of this process in it, and
``sandbox_cpu_seconds`` of the sandboxes, which are its children; ``valid_edits`` as at the gate, after it.

What is done is kept in runs/swe_reinforcement; a run that was cut short goes on after its last finished arm. With
``--save`` the finished rows of every seed are kept with the results, so that later runs add seeds and arms to them.

    python benchmarks/swe_reinforcement.py --gate 0.85 --json --save     # this start reaches 0.865 and not 0.9
    python benchmarks/swe_reinforcement.py --gate 0.85 --seeds 0 --arm grpo --arm gigpo+progress --save
    python benchmarks/swe_reinforcement.py --quick        # a few demonstrations and one update, to see that it runs
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
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
from agentgym.envs.swe.faults import Fault, faults
from agentgym.envs.swe.show import numbered

ARMS = ("grpo", "gigpo+progress", "lagrangian")
GATE = 0.9
KWARGS = {"split": "train", "manual": False, "max_steps": 4, "backend": "bubblewrap"}
GATE_FIRST = 900_000
SIGNS = (("<", "<=", ">", ">=", "==", "!="), ("+", "-", "*", "//", "%"), ("+=", "-=", "*=", "//="))
TEMPERATURE = 0.5
"""Of all sampling: what a quote says is certain, what to put in its place is a guess at any temperature."""
SETTINGS = ("demos", "epochs", "updates", "groups", "rl_lr", "passes", "test")
"""What rows must have in common to be put together."""
MEANS = ("valid_edits", "progress", "danger_rate", "errors", "seconds", "cpu_seconds", "sandbox_cpu_seconds")
"""What is told of an arm as a mean over its seeds."""


class Guesser(cloning.Teacher):
    """Finds the sign or number at fault, and puts any other in its place; the right one is among them.

    Where a variable is at fault it changes one of the other words and signs: names are what a small model is longest in
    learning to quote, and a start has to quote well more than it has to find everything.
    """

    def edit(self, instance: Any) -> tuple[str, str, str]:
        (path,) = instance.gold
        source = instance.tree.files()[path].decode()
        options = faults(source, names=False)
        if instance.about["fault"] != "name" or not options:
            return super().edit(instance)
        rng = np.random.default_rng(zlib.crc32(source.encode()))
        return path, *cloning.from_change(source, options[int(rng.integers(len(options)))].apply(source))

    def _written(self, source: str, line: int, right: str) -> str:
        options = guesses(source, line, right)
        rng = np.random.default_rng(zlib.crc32(source.encode()))
        return options[int(rng.integers(len(options)))]


def guesses(source: str, line: int, right: str) -> list[str]:
    """What a line (0-based) becomes by another word or sign where it differs from the right one; that one too."""
    old = source.split("\n")[line]
    differs = next((k for k, (a, b) in enumerate(zip(old, right, strict=False)) if a != b), min(len(old), len(right)))
    # "<" and "<=" differ only after the sign: what is meant is the last token that begins before that.
    near = [f for f in faults(source) if f.line == line + 1 and f.column <= differs <= f.column + len(f.old)]
    last = max((f.column for f in near), default=0)
    found = {right}
    for fault in (f for f in near if f.column == last):
        found |= {old[:last] + other + old[last + len(fault.old) :] for other in others(fault)}
    return sorted(found)


def others(fault: Fault) -> set[str]:
    """What may stand for a word or sign: what the fault puts there, any sign of its kind, any number nearby."""
    said = fault.old
    found = {fault.new, *(sign for kind in SIGNS if said in kind for sign in kind)}
    if said.isdigit():
        found |= {f"{n}" for n in range(max(0, int(said) - 2), int(said) + 3)}
    return found - {said}


def written(policy: TransformersPolicy, instances: Iterable[Any], teacher: cloning.Teacher) -> cloning.Shown:
    """What a recording of the teacher would hold, with the world's answers written and not played.

    They follow from the texts alone, and a wrong repair costs the sandbox as much as a right one.
    """
    template, parts = policy.template, []
    for instance in instances:
        path, search, other = teacher.edit(instance)
        old = instance.tree.files()[path].decode()
        new = old.replace(search, other)
        at = new.count("\n", 0, new.find(other)) + 1
        after, _ = numbered(new.split("\n"), max(1, at - 2), at + other.count("\n") + 2)
        ids = list(template.opening(instance.statement.strip(), "\n".join(sorted(instance.tree.files()))))
        said = [False] * len(ids)
        for action, answer in (
            (call("read", path=path), numbered(old.splitlines(), 1, 0)[0]),
            (call("edit", path=path, search=search, replace=other), f"[{path} is changed]\n{after}"),
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
        source = instance.tree.files()[path].decode()
        fine = {replace(f, new=other).apply(source) for f in faults(source) for other in others(f)}
        fine.add(instance.gold[path].decode())
        for text in steps.extras["action_text"][steps.starts[k] : steps.ends[k] + 1]:
            try:
                action = parse(str(text))
            except BadAction:
                continue
            if action.tool == "edit":
                edits += 1
                search, new = action.args["search"], action.args["replace"]
                right = action.args["path"] == path and source.count(search) == 1
                valid += right and source.replace(search, new) in fine
                break
    return (valid / edits if edits else 0.0), edits


def start(options: argparse.Namespace) -> tuple[TransformersPolicy, dict[str, Any]]:
    """The policy that all seeds and arms begin with, cloned now or read, and what share of its edits is valid."""
    words = cloning.vocabulary(list(cloning.texts_of(range(40 if options.quick else 800))))
    policy = cloning.new_policy(words, 0, 128, 2)
    policy.temperature = TEMPERATURE
    kept = options.out / f"start-{options.demos}-{options.epochs}.pt"
    if not kept.is_file():
        began = time.process_time()
        shown = written(policy, drawn("train", range(options.demos)), Guesser())
        cloning.clone(policy, shown, argparse.Namespace(**vars(options), seed=0))
        options.out.mkdir(parents=True, exist_ok=True)
        torch.save({"weights": policy.model.state_dict(), "cpu_seconds": time.process_time() - began}, kept)
    found = torch.load(kept, weights_only=True)
    policy.model.load_state_dict(found["weights"])
    policy.flush()
    known = kept.with_suffix(".json")
    if not known.is_file():
        gate = range(GATE_FIRST, GATE_FIRST + (4 if options.quick else 200))
        played = cloning.play(policy, "held_out", gate, 1 << 21, slots=8)
        share, edits = valid_edits(played, gate)
        won = float(played.steps.trajectories.success.mean())
        told = {"valid_edits": share, "edits": edits, "of": len(gate), "success": won}
        known.write_text(json.dumps(told | {"cpu_seconds": found["cpu_seconds"]}))
    return policy, json.loads(known.read_text())


def tested(seed: int, number: int) -> range:
    """Task seeds of the instances that a seed is tested on."""
    first = cloning.TEST_FIRST + 10_000 * (seed + 50)
    return range(first, first + number)


def test(policy: TransformersPolicy, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    seeds = tested(seed, options.test)
    found = cloning.play(policy, "held_out", seeds, 1 << 20, slots=8)
    steps = found.steps
    return {
        "won": steps.trajectories.success.astype(int).tolist(),
        "valid_edits": valid_edits(found, seeds)[0],
        "progress": float(steps.progress[steps.ends].mean()),
        "danger_rate": float(steps.danger.mean()),
        "errors": len(found.errors),
    }


def children() -> float:
    """Processor time of all processes begun by this one, and by those, that have ended: of closed sandboxes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
        epochs=options.passes,
        minibatches=4,
        kl=0.01,
        aggregation="token-mean",
        validate_every=0,
        slots=8,
        tensorboard=False,
    )
    began, own, others = time.perf_counter(), time.process_time(), children()
    curve: list[float] = []

    def heard(phase: str, done: int, of: int, said: str) -> None:
        curve.append(float(said.split()[-1]))
        print(f"{time.strftime('%H:%M:%S')} {phase}: {done}/{of} {said}", flush=True)

    trainer = Trainer(config, policy=policy, split=Split(cloning.ENV, KWARGS), arm=arm, progress=heard)
    try:
        trainer.train()
    finally:
        trainer.close()
    own, others = time.process_time() - own, children() - others
    cost = {"seconds": time.perf_counter() - began, "cpu_seconds": own, "sandbox_cpu_seconds": others}
    told = {"env_steps": trainer.env_steps, "skipped": trainer.updates_skipped, "curve": curve}
    return test(policy, options, seed) | cost | told


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--arm", choices=ARMS, action="append", help="only these arms")
    made.add_argument("--gate", type=float, default=GATE, help="share of valid edits below which no arm begins")
    made.add_argument("--updates", type=int, default=16)
    made.add_argument("--groups", type=int, default=16, help="of eight rollouts, in an update")
    made.add_argument("--rl-lr", type=float, default=1e-3, help="learning rate of the reinforcement")
    made.add_argument("--passes", type=int, default=1, help="over the rollouts of an update")
    made.add_argument("--demos", type=int, default=10_000)
    made.add_argument("--epochs", type=int, default=3)
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
    policy, gate = start(options)
    print(f"start: {gate['valid_edits']:.2f} of {gate['edits']} sampled edits change one word or sign", flush=True)
    if gate["valid_edits"] < options.gate and not options.quick:
        raise SystemExit(f"no reinforcement below {options.gate:.0%} of valid edits")
    weights = {k: v.clone() for k, v in policy.model.state_dict().items()}
    for seed in options.seeds:
        done = rows.setdefault(f"{seed}", {})
        for name in ("before", *(options.arm or ARMS)):
            kept = options.out / f"{seed}" / f"{name}-{'-'.join(f'{v}' for v in settings.values())}.json"
            if name not in done and not kept.is_file():
                policy.model.load_state_dict(weights)
                policy.flush()
                row = test(policy, options, seed) if name == "before" else reinforced(policy, name, options, seed)
                kept.parent.mkdir(exist_ok=True)
                kept.write_text(json.dumps(row))
            done[name] = done.get(name) or json.loads(kept.read_text())
    arms = report(rows)
    finish("swe_reinforcement", {"settings": settings, "start": gate, "arms": arms, "rows": rows}, options)


def report(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Success by arm and kind of fault, and what it is above the start and above outcomes alone, on seeds with both."""
    arms = {}
    kinds = {
        seed: [instance.about["fault"] for instance in drawn("held_out", tested(int(seed), len(done["before"]["won"])))]
        for seed, done in rows.items()
    }
    for name in ("before", *ARMS):
        mine = {seed: done[name] for seed, done in rows.items() if name in done}
        if not mine:
            continue
        wins = np.array([row["won"] for row in mine.values()], dtype=np.float64)
        low, high = map(float, wilson(int(wins.sum()), wins.size))
        line = {"success": float(wins.mean()), "interval": [low, high], "seeds": list(mine)}
        line["by_seed"] = wins.mean(axis=1).tolist()
        faulty = np.array([kinds[seed] for seed in mine])
        line["by_fault"] = {kind: float(wins[faulty == kind].mean()) for kind in np.unique(faulty).tolist()}
        for key in MEANS:
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
