"""Training on pages of several tasks at once: demonstrations cut early, then groups in one browser, on a step budget.

A small model begins with nothing. Oracles show each task up to a milestone (never the step that solves it), and the
clone goes on with policy gradient: every update plays ``groups`` page seeds of every task, ``group_size`` times each,
until the budget of environment steps is spent. Runs that are compared thus cost the browser the same.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch

from agentgym.agents.evaluate.anchors import anchor_figures
from agentgym.agents.loop import Collector, Job
from agentgym.agents.policy.lexicon import Lexicon, frequent_words
from agentgym.agents.policy.pointing import PointingPolicy, pointing_model
from agentgym.agents.policy.types import Request
from agentgym.agents.train.learner import Learner
from agentgym.errors import UsageError
from agentgym.rewards import recipe
from agentgym.steps import StepTable
from agentgym.tokens import TokenStep

__all__ = ["Clone", "PageConfig", "PageTask", "PageTrainer", "PagesLessons", "Shown", "demonstrate", "make_clone"]

Float = npt.NDArray[np.float64]
_TEST = 1 << 40
_TEST_SEED = 900_000_000
_DRILLS = 1 << 41
_DRILLED = (2, 11)  # names in a drill, from and below
_BLOCK = 1_000_000  # seeds of demonstrations, training and tests come from blocks of their own


@dataclass(frozen=True)
class PageTask:
    """A task to train on: environment id, the milestone that ends its demonstrations, the environment's arguments."""

    env: str
    until: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PageConfig:
    """One training run on pages."""

    recipe: str = "gigpo+progress"
    """Name of the chain of rewards and credit."""
    seed: int = 0
    """Of everything random in the run but the browser's timing."""
    hidden: int = 96
    """Width of the model."""
    layers: int = 3
    """Depth of the model."""
    heads: int = 4
    """Attention heads."""
    demos: int = 96
    """Demonstrations of each task."""
    demo_epochs: int = 20
    """Passes over them."""
    demo_lr: float = 3e-3
    """Learning rate of the warm start: of the embeddings."""
    demo_muon: float = 5e-3
    """Of its hidden matrices, which Muon moves; 0 for AdamW."""
    demo_batch: int = 8
    """Distinct prefixes in one warm-start batch."""
    drills: int = 200
    """Made-up steps in a pass of the warm start that write out the names of a made-up goal: practice in copying, which
    comes late or never from demonstrations alone."""
    smoothing: float = 0.2
    """Share of the demonstrated choices that are drawn from all candidates instead, so that the clone explores."""
    frequent: float = 0.08
    """A word that is in this share of a task's demonstrated texts is a token; others are given names."""
    steps: int = 30_000
    """Environment steps of the training."""
    groups: int = 2
    """Page seeds of every task in one update."""
    group_size: int = 8
    """Rollouts of one page seed."""
    lr: float = 5e-4
    """Learning rate, falling linearly to zero over the budget."""
    epochs: int = 1
    """Passes over an update's rollouts."""
    minibatches: int = 2
    """Optimiser steps in one pass."""
    entropy: float = 0.01
    """Weight of the entropy bonus."""
    temperature: float = 1.0
    """Of the behaviour distribution."""
    max_new_tokens: int = 12
    """Longest text."""
    slots: int = 10
    """Pages in flight, in one browser."""
    least: int = 3
    """Pages that the policy answers together, as long as others are under way."""
    spare: int = 40
    """Pages kept beyond those: every task finds one that was its own."""
    threads: int = 1
    """Torch threads while learning, when the browser is at rest; beside other work a second one only waits for the
    first. Acting takes one."""

    def __post_init__(self) -> None:
        positive = "hidden layers heads demo_lr demo_batch steps groups group_size lr epochs minibatches slots least"
        for name in positive.split():
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.smoothing < 1:
            raise UsageError(f"smoothing must lie in [0, 1), got {self.smoothing}")


# ------------------------------------------------------------------ demonstrations


@dataclass(frozen=True)
class Shown:
    """One demonstrated step: where, what the agent saw, and what the oracle did."""

    task: int
    episode: int
    step: int
    goal: str
    observation: Any
    action: str


def demonstrate(tasks: Sequence[PageTask], count: int, seed: int) -> list[Shown]:
    """``count`` demonstrations of every task, in threads, each up to its milestone; steps that end an episode are left
    out.

    Raises:
        UsageError: a task without this milestone, or without an oracle.
    """
    with ThreadPoolExecutor(len(tasks)) as pool:
        jobs = [pool.submit(_demonstrate, k, task, count, seed) for k, task in enumerate(tasks)]
        return [step for job in jobs for step in job.result()]


def _demonstrate(number: int, task: PageTask, count: int, seed: int) -> list[Shown]:
    env = gymnasium.make(task.env, **task.kwargs)
    shown: list[Shown] = []
    try:
        inner: Any = env.unwrapped
        names = [m.name for m in inner.task.milestones]
        if task.until not in names:
            raise UsageError(f"demonstrations of {task.env} end at one of {names}, got {task.until!r}")
        bit = 1 << names.index(task.until)
        for k in range(count):
            observation, info = env.reset(seed=seed * _BLOCK + k)
            script = inner.oracle()
            if script is None:
                raise UsageError(f"{task.env} has no oracle to demonstrate it")
            step = 0
            action = next(script)
            while not info["process"]["milestones"] & bit:
                seen = Shown(number, number * count + k, step, str(info.get("goal", "")), observation, action)
                goal = seen.goal if step == 0 else shown[-1].goal
                observation, _, terminated, truncated, info = env.step(action)
                if terminated or truncated:
                    break
                shown.append(Shown(number, seen.episode, step, goal, seen.observation, action))
                action = script.send(observation)
                step += 1
            script.close()
    finally:
        env.close()
    return shown


class PagesLessons:
    """What the clone is taught in a pass, drawn anew for each.

    A share of the demonstrated choices is replaced by any candidate. In what is written, and in the page it is copied
    from, the names are exchanged by a permutation: copying does not depend on which names they are. Beside them stand
    drills: a goal of some names, one thing on the page, and all the names written into it in their order.

    Args:
        steps: demonstrated.
        lexicon: of their tokens.
        smoothing: that share.
        seed: of the draws.
        drills: how many in a pass.
    """

    def __init__(
        self, steps: Sequence[TokenStep], lexicon: Lexicon, smoothing: float, seed: int, drills: int = 0
    ) -> None:
        self.steps, self.lexicon, self.smoothing, self.seed = list(steps), lexicon, smoothing, seed
        self.drills = drills

    def __call__(self, epoch: int) -> list[TokenStep]:
        """The steps of a pass."""
        rng = np.random.default_rng([self.seed, 0xD2, epoch])
        return [self._varied(step, rng) for step in self.steps] + [self._drill(k, rng) for k in range(self.drills)]

    def _drill(self, number: int, rng: np.random.Generator) -> TokenStep:
        lexicon = self.lexicon
        goal = rng.choice(lexicon.names, int(rng.integers(*_DRILLED)), replace=False).tolist()
        mark = (lexicon.ordinals[0], lexicon.known.get("textbox", lexicon.unknown))
        action = np.array([*mark, *goal, lexicon.stop])
        unknown = np.full(len(action), np.nan)
        return TokenStep(
            trajectory=_DRILLS + number,
            t=0,
            prefix=np.array([lexicon.start, *goal, lexicon.page, mark[1], lexicon.mark]),
            action=action,
            logprob=unknown,
            logprob_behaviour=unknown,
            candidates=(mark,),
            chosen=0,
            start=0,
        )

    def _varied(self, step: TokenStep, rng: np.random.Generator) -> TokenStep:
        table = np.arange(len(self.lexicon))
        order = rng.permutation(len(self.lexicon.names))
        table[self.lexicon.names] = self.lexicon.names[order]
        candidates = tuple(tuple(table[list(c)].tolist()) for c in step.candidates or ())
        chosen, action = step.chosen, table[step.action]
        if rng.random() < self.smoothing:
            chosen = int(rng.integers(len(candidates)))
            action = np.array(candidates[chosen], dtype=np.int64)
        unknown = np.full(len(action), np.nan)
        return replace(
            step,
            prefix=table[step.prefix],
            action=action,
            logprob=unknown,
            logprob_behaviour=unknown,
            candidates=candidates,
            chosen=chosen,
        )


# ------------------------------------------------------------------ the start


@dataclass(frozen=True)
class Clone:
    """The start that runs share: the words of its lexicon, its weights, and what it cost."""

    words: tuple[str, ...]
    weights: Mapping[str, torch.Tensor]
    figures: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write it beside and rename it."""
        _put(path, {"words": self.words, "weights": dict(self.weights), "figures": dict(self.figures)})

    @classmethod
    def load(cls, path: Path) -> Clone:
        """What `save` wrote."""
        return cls(**torch.load(path, weights_only=True))


def make_clone(tasks: Sequence[PageTask], config: PageConfig, tell: Callable[[str], None] = lambda _: None) -> Clone:
    """Show, and clone."""
    began = time.perf_counter()
    shown = demonstrate(tasks, config.demos, 3 * config.seed)
    seconds = time.perf_counter() - began
    tell(f"{len(shown)} demonstrated steps in {seconds:.0f} s")
    by_task = [[_words(s) for s in shown if s.task == k] for k in range(len(tasks))]
    lexicon = Lexicon(frequent_words([texts for texts in by_task if texts], config.frequent) | _STRUCTURE)
    policy = new_policy(lexicon, config)
    steps = _as_tokens(policy, shown)
    learner = Learner(policy.model, lr=config.demo_lr, muon=config.demo_muon, seed=config.seed, pointer=policy.pointer)
    lessons = PagesLessons(steps, lexicon, config.smoothing, config.seed, config.drills)
    loss = float("nan")
    with _threads(config.threads):
        losses = learner.fit_demonstrations(lessons, epochs=config.demo_epochs, batch=config.demo_batch)
        for epoch, loss in enumerate(losses, 1):
            if epoch % max(1, config.demo_epochs // 5) == 0:
                tell(f"demonstrations, pass {epoch} of {config.demo_epochs}: loss {loss:.3f}")
            learner.set_lr(config.demo_lr * (1.0 - epoch / (config.demo_epochs + 1)))
    figures = {
        "demonstrated_steps": len(shown),
        "demonstrated_steps_by_task": [len(texts) for texts in by_task],
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "vocabulary": len(lexicon),
        "loss": loss,
        "demo_seconds": round(seconds, 1),
        "seconds": round(time.perf_counter() - began, 1),
    }
    return Clone(lexicon.words, policy.model.state_dict(), figures)


_STRUCTURE_TEXT = """
value checked disabled selected expanded textbox textarea button link checkbox radio tab listitem span div
"""
_STRUCTURE = frozenset(_STRUCTURE_TEXT.split())


def _words(shown: Shown) -> str:
    """Goal and page, without the numbers of elements."""
    return f"{shown.goal} " + re.sub(r"\[\d+\] ", "", str(shown.observation["text"]))


def new_policy(lexicon: Lexicon, config: PageConfig) -> PointingPolicy:
    """A policy with fresh weights."""
    model = pointing_model(lexicon, hidden=config.hidden, layers=config.layers, heads=config.heads, seed=config.seed)
    return PointingPolicy(model, lexicon, temperature=config.temperature, max_new_tokens=config.max_new_tokens)


def _as_tokens(policy: PointingPolicy, shown: Sequence[Shown]) -> list[TokenStep]:
    steps = []
    for s in shown:
        if s.step == 0:
            policy.end(s.episode)
        request = Request(s.episode, s.step, s.observation, s.goal)
        segment = policy.record([request], [s.action])[0].segment
        assert segment is not None  # recorded steps have one
        steps.append(
            TokenStep(
                trajectory=s.episode,
                t=s.step,
                prefix=segment.prompt,
                action=segment.action,
                logprob=segment.logprob,
                logprob_behaviour=segment.logprob_behaviour,
                candidates=segment.candidates,
                chosen=segment.chosen,
                start=0,
            )
        )
    return steps


def _learner(policy: PointingPolicy, config: PageConfig) -> Learner:
    return Learner(
        policy.model,
        lr=config.lr,
        entropy=config.entropy,
        temperature=config.temperature,
        seed=config.seed,
        pointer=policy.pointer,
    )


# ------------------------------------------------------------------ training


class PageTrainer:
    """One run from a clone; `close` it.

    Args:
        tasks: what to train on.
        config: the settings.
        clone: where it starts.
        tell: told how it goes.

    Attributes:
        lines: one dict for each update.
        env_steps, wall: spent on training so far: browser steps, seconds.
    """

    def __init__(
        self,
        tasks: Sequence[PageTask],
        config: PageConfig,
        clone: Clone,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.tasks, self.config, self._tell = tuple(tasks), config, tell
        self.policy = new_policy(Lexicon(clone.words), config)
        self.policy.model.load_state_dict(clone.weights)
        self.learner = _learner(self.policy, config)
        self.recipe = recipe(config.recipe)
        self.collector = Collector(slots=config.slots, workers=config.slots, isolation="thread", spare=config.spare)
        self.lines: list[dict[str, Any]] = []
        self.env_steps = 0
        self.wall = 0.0
        self._started: set[int] = set()

    def close(self) -> None:
        """Close the pages."""
        self.collector.close()

    @property
    def done(self) -> bool:
        """The budget is spent."""
        return self.env_steps >= self.config.steps

    def update(self) -> dict[str, Any]:
        """Play the groups, assign credit, step; its figures."""
        c, k = self.config, len(self.lines)
        began = time.perf_counter()
        found = self.collector.collect(self.policy, self._jobs(k), least=c.least, seed=c.seed, weights_version=k)
        table = found.steps.trajectories
        steps, tokens = found.steps, found.tokens
        if found.errors:
            good = table.id[table.status == "ok"]
            steps, tokens = steps.only(good), tokens.only(good)
        played = time.perf_counter()
        advantages = self.recipe.advantages(steps)
        token_steps = list(tokens.steps())
        rows = _rows(steps, token_steps)
        self.learner.set_lr(c.lr * max(0.0, 1.0 - self.env_steps / c.steps))
        with _threads(c.threads):
            stats = self.learner.update(
                token_steps, advantages[rows], epochs=c.epochs, minibatches=c.minibatches, number=k
            )
        self.policy.set_weights_version(k + 1)
        ended = time.perf_counter()
        self.env_steps += len(steps)
        self.wall += ended - began
        self._started.update(steps.anchor[steps.starts].tolist())
        line = {
            "update": k,
            "env_steps": self.env_steps,
            "steps": len(steps),
            "success": float(steps.trajectories.success.mean()),
            "success_by_task": self._by_task(steps),
            "progress": float(steps.progress[steps.ends].mean()),
            "errors": len(found.errors),
            "play_seconds": round(played - began, 3),
            "policy_seconds": round(found.seconds * found.busy, 3),
            "learn_seconds": round(ended - played, 3),
            "loss": stats.loss,
            "entropy": stats.entropy,
            "sequences": stats.sequences,
            **anchor_figures(steps, self.recipe),
        }
        self.lines.append(line)
        self._tell(
            f"{c.recipe}, seed {c.seed}: update {k + 1}, {self.env_steps} of {c.steps} steps, success "
            f"{line['success']:.2f}, {len(steps) / (ended - began):.0f} steps/s"
        )
        return line

    def test(self, pages: int) -> dict[str, Any]:
        """Sampled success on the first ``pages`` held-out pages of every task, the same for every seed and recipe."""
        jobs = [
            Job(task.env, _TEST_SEED + i, _TEST + t * pages + i, _TEST + t * pages + i, task.kwargs)
            for i in range(pages)
            for t, task in enumerate(self.tasks)
        ]
        found = self.collector.collect(
            self.policy, jobs, least=self.config.least, seed=self.config.seed, weights_version=len(self.lines)
        )
        steps = found.steps
        ends = steps.trajectories
        won = {int(k) - _TEST: bool(s) for k, s in zip(ends.id, ends.success, strict=True)}
        grid = [[won.get(t * pages + i, False) for i in range(pages)] for t in range(len(self.tasks))]
        return {
            "success": float(np.mean(grid)),
            "success_by_task": [float(np.mean(row)) for row in grid],
            "won": ["".join("1" if w else "0" for w in row) for row in grid],
            "progress": float(steps.progress[steps.ends].mean()),
            "steps": float(steps.lengths.mean()),
            "errors": len(found.errors),
            "seen_in_training": int(np.isin(steps.anchor[steps.starts], list(self._started)).sum()),
            "steps_per_s": round(len(steps) / found.seconds, 1),
        }

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write where the run stands, beside and renamed."""
        state = {
            "config": json.dumps(asdict(self.config)),
            "weights": self.policy.model.state_dict(),
            "learner": self.learner.state_dict(),
            "lines": json.dumps(self.lines),
            "env_steps": self.env_steps,
            "wall": self.wall,
            "started": sorted(self._started),
        }
        _put(path, state)

    def resume(self, path: Path) -> bool:
        """Go back to where `save` was called; False when there is nothing.

        Raises:
            UsageError: the run had other settings.
        """
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        if json.loads(state["config"]) != asdict(self.config):
            raise UsageError(f"{path} was made with other settings; delete it to begin anew")
        self.policy.model.load_state_dict(state["weights"])
        self.learner.load_state_dict(state["learner"])
        self.lines = json.loads(state["lines"])
        self.env_steps, self.wall = state["env_steps"], state["wall"]
        self._started = set(state["started"])
        self.policy.set_weights_version(len(self.lines))
        return True

    # -- inside -------------------------------------------------------------------------------------------------------

    def _jobs(self, k: int) -> Iterator[Job]:
        """The rollouts of update ``k``; tasks take turns, so that all pages of the browser are at work to the end."""
        c, n = self.config, len(self.tasks)
        jobs = []
        for g in range(c.groups):
            for t, task in enumerate(self.tasks):
                group = (k * c.groups + g) * n + t
                seed = (3 * c.seed + 1) * _BLOCK + k * c.groups + g
                for i in range(c.group_size):
                    jobs.append((g, i, t, Job(task.env, seed, group * c.group_size + i, group, task.kwargs)))
        random.Random(0).shuffle(jobs)
        jobs.sort(key=lambda j: (j[0], j[1]))
        return (j[3] for j in jobs)

    def _by_task(self, steps: StepTable) -> list[float]:
        ends = steps.trajectories
        task = ends.id // self.config.group_size % len(self.tasks)
        return [float(ends.success[task == t].mean()) if (task == t).any() else 0.0 for t in range(len(self.tasks))]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many torch threads, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rows(steps: StepTable, tokens: Sequence[TokenStep]) -> npt.NDArray[np.int64]:
    """Row of the StepTable of every step with tokens."""
    keys = np.rec.fromarrays([steps.trajectory, steps.t.astype(np.int64)])
    wanted = np.array([(s.trajectory, s.t) for s in tokens], dtype=keys.dtype)
    return np.searchsorted(keys, wanted).astype(np.int64)


def _put(path: Path, state: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    torch.save(dict(state), beside)
    beside.replace(path)
