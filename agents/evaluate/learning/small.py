"""The small-net arm of the learning bench: one thin loop, whole in this file.

What one run does, in numbered points:

1. *Start.* A fresh network clones the oracle's steps until its success on the training instances, measured on 512
   episodes after every fourth step, lies in a band (2 to 4 %). Steps that jump over the band are taken back and tried
   at half the rate. The start depends on the seed alone, so all arms of a seed share it.
2. *Collect.* The batch's episodes run in lockstep on `Tables`. Instances and the uniform numbers behind every action
   depend on (seed, update) alone: two arms with equal policies would draw equal episodes.
3. *Credit.* The arm turns the `StepTable` into advantages. They are used as they are: Adam does not see their scale,
   and a batch that tells little should move little.
4. *Update.* PPO-clip exactly as `agentgym.agents.train.Learner` does it (a test holds the two together): equal (state,
   action) pairs are summed, positive and negative advantages apart; every step weighs the same; states without any
   advantage are left out; AdamW, gradients scaled down to norm 1, learning rate decayed linearly to 0.

The network is what `ArrayPolicy` plays, on the observations of the environment itself.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agentgym.agents.evaluate.learning.tables import Tables
from agentgym.errors import UsageError
from agentgym.steps import StepTable, TrajectoryTable

__all__ = ["Batch", "Curve", "Setup", "Task", "clone", "collect", "network", "train", "update"]

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

Assign = Callable[["Batch"], Float]
"""From a batch to one advantage per step, float64[n]."""


@runtime_checkable
class Priced(Protocol):
    """An `Assign` that pays for danger."""

    price: float
    """Of an unsafe step, in the batch to come."""


_PATIENCE = 200
"""Looks at the clone before it is given up."""

# streams of random numbers that never meet
_NET, _DEMOS, _ORDER, _PROBE, _PLAY, _TEST = range(6)


@dataclass(frozen=True)
class Task:
    """What is learnt: an environment and its instances.

    Attributes:
        name: short. env: id. kwargs: of ``gymnasium.make``, but for the view.
        train, test: reset seeds; test instances are never trained on.
    """

    name: str
    env: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    train: range = range(32)
    test: range = range(10_000, 10_032)

    def tables(self, part: str = "train") -> Tables:
        """Fresh tables of the training or the test instances."""
        return Tables(self.env, {**self.kwargs, "view": "features"}, self.train if part == "train" else self.test)


@dataclass(frozen=True)
class Setup:
    """The budget and the learner, the same for every arm.

    Attributes:
        updates: policy-gradient updates. groups: instances in one; size: rollouts of each.
        epochs: passes over a batch. minibatches: optimiser steps in one pass. clip: of the probability ratio.
        hidden: widths of the network. band: success of the start. demos: instances the oracle shows.
        test_episodes: on held-out instances, at the end.
    """

    updates: int = 40
    groups: int = 8
    size: int = 8
    epochs: int = 2
    minibatches: int = 2
    clip: float = 0.2
    hidden: tuple[int, int] = (80, 40)
    band: tuple[float, float] = (0.02, 0.04)
    demos: int = 16
    test_episodes: int = 128

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, eq=False)
class Batch:
    """Rollouts.

    Attributes:
        steps: the table that assigners see. state, action: int64[n], rows of `Tables`. after: int64[n], where each led.
        logprob: float64[n], of the action under the policy that acted.
    """

    steps: StepTable
    state: Int
    action: Int
    after: Int
    logprob: Float

    @property
    def success(self) -> float:
        """Share of rollouts that succeeded."""
        return float(self.steps.trajectories.success.mean())

    @property
    def danger(self) -> float:
        """Share of rollouts with at least one unsafe step."""
        return float(np.logical_or.reduceat(self.steps.danger, self.steps.starts).mean())


@dataclass
class Curve:
    """What one run gave.

    Attributes:
        success: of every update's batch, before the update. danger: of its rollouts. danger_steps: of its steps.
        price: of danger after every update, where it has one.
        skipped: updates without any advantage. after: the test on held-out instances.
        start: a digest of the first weights.
    """

    success: list[float] = field(default_factory=list)
    danger: list[float] = field(default_factory=list)
    danger_steps: list[float] = field(default_factory=list)
    price: list[float] = field(default_factory=list)
    skipped: int = 0
    after: dict[str, float] = field(default_factory=dict)
    start: str = ""

    @property
    def area(self) -> float:
        """Area under the success curve: the mean of ``success``."""
        return float(np.mean(self.success))

    def to_json(self) -> dict[str, Any]:
        """Plain values, the area among them."""
        rounded = {k: [round(v, 6) for v in getattr(self, k)] for k in ("success", "danger", "danger_steps", "price")}
        rest = {"skipped": self.skipped, "after": self.after, "start": self.start}
        return {"area": self.area, **rest, **rounded}


# ------------------------------------------------------------------------------------------------------- the network


def network(inputs: int, actions: int, hidden: tuple[int, int], seed: int) -> nn.Sequential:
    """Two hidden layers; float32[n, inputs] to logits float32[n, actions]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed(seed, _NET))
        first, second = hidden
        return nn.Sequential(
            nn.Linear(inputs, first), nn.Tanh(), nn.Linear(first, second), nn.Tanh(), nn.Linear(second, actions)
        )


def clone(tables: Tables, setup: Setup, seed: int) -> nn.Sequential:
    """A network that succeeds in the band: point 1 of the module's docstring.

    Raises:
        UsageError: the band is not met; the oracle's steps do not lead there.
    """
    net = network(tables.features.shape[1], tables.actions, setup.hidden, seed)
    shown = np.random.default_rng(_seed(seed, _DEMOS)).permutation(len(tables.start))[: setup.demos]
    pairs = [pair for k in shown for pair in tables.oracle(int(k))]
    state, action = np.array(pairs).T
    low, high = setup.band
    lr = 1e-3
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.0)
    rng = np.random.default_rng(_seed(seed, _ORDER))
    for _ in range(_PATIENCE):
        kept = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
        for _ in range(4):
            part = rng.permutation(len(state))[:128]
            logp = torch.log_softmax(net(torch.from_numpy(tables.features[state[part]])), dim=-1)
            torch.autograd.backward(nn.functional.nll_loss(logp, torch.from_numpy(action[part])))
            optimizer.step()
            optimizer.zero_grad()
        now = measure(net, tables, 512, seed=_seed(seed, _PROBE))["success"]
        if low <= now <= high:
            return net
        if now > high:
            net.load_state_dict(kept[0])
            optimizer.load_state_dict(kept[1])
            lr /= 2.0
            for group in optimizer.param_groups:
                group["lr"] = lr
    raise UsageError(f"cloning the oracle never stood at a success of {low:g} to {high:g}; widen the band")


# ------------------------------------------------------------------------------------------------------ the rollouts


def collect(net: nn.Sequential, tables: Tables, instances: Int, size: int, draws: Float, *, first: int = 0) -> Batch:
    """``size`` rollouts of every instance, all in lockstep.

    Args:
        net: the policy, as `network` makes it.
        instances: int64[groups], rows of ``tables.start``.
        draws: float64[horizon, groups * size] in [0, 1): the randomness of every action.
        first: number of the first group; trajectories are numbered on from ``first * size``.
    """
    policy = _policy(net)
    episodes = len(instances) * size
    here = np.repeat(tables.start[instances], size)
    alive = np.arange(episodes)
    rows: list[tuple[Int, ...]] = []
    moved = []
    for time in range(tables.horizon):
        state = here[alive]
        logp = policy(tables.features[state])
        action = _choose(logp, draws[time, alive])
        moves = tables.step(state, action)
        here[alive] = moves.state
        rows.append((alive, np.full(len(alive), time), state, action, moves.state, moves.bits))
        moved.append((logp[np.arange(len(alive)), action], moves.danger, moves.grounded))
        alive = alive[~tables.over[moves.state]]
        if not len(alive):
            break
    episode, t, state, action, after, bits = (np.concatenate(c) for c in zip(*rows, strict=True))
    logprob, danger, grounded = (np.concatenate(c) for c in zip(*moved, strict=True))
    order = np.argsort(episode, kind="stable")  # inside an episode, time ascends already
    episode, t, state, action, after = episode[order], t[order], state[order], action[order], after[order]
    ends = np.append(episode[1:] != episode[:-1], True)
    reached, before = _latched(bits[order], np.repeat(tables.start_bits[instances], size)[episode], t == 0)
    success = tables.success[here]
    numbers = first * size + np.arange(episodes)
    steps = StepTable.from_columns(
        trajectory=numbers[episode],
        group=first + episode // size,
        t=t.astype(np.int32),
        reward=np.where(ends, success[episode], False).astype(np.float64),
        milestones_before=before,
        milestones=reached,
        progress_before=tables.progress[state],
        progress=tables.progress[after],
        danger=danger[order],
        grounded=grounded[order],
        terminated=tables.over[after],
        truncated=ends & ~tables.over[after],
        anchor=tables.anchor[state],
        next_anchor=tables.anchor[after],
        action=action,
        trajectories=TrajectoryTable.from_columns(
            id=numbers, outcome=success.astype(np.float64), success=success, horizon=np.full(episodes, tables.horizon)
        ),
    )
    return Batch(steps, state, action, after, logprob[order])


def measure(net: nn.Sequential, tables: Tables, episodes: int, *, seed: int) -> dict[str, float]:
    """Success and danger of sampled episodes, spread evenly over the instances."""
    size = max(1, episodes // len(tables.start))
    draws = np.random.default_rng(seed).random((tables.horizon, len(tables.start) * size))
    batch = collect(net, tables, np.arange(len(tables.start)), size, draws)
    return {
        "success": batch.success,
        "danger": batch.danger,
        "danger_steps": float(batch.steps.danger.mean()),
        "steps": float(batch.steps.lengths.mean()),
        "episodes": float(len(tables.start) * size),
    }


# -------------------------------------------------------------------------------------------------------- the update


def update(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: npt.NDArray[np.float32],
    state: Int,
    action: Int,
    logprob: Float,
    advantage: Float,
    *,
    clip: float = 0.2,
    epochs: int = 2,
    minibatches: int = 1,
    max_grad_norm: float = 1.0,
    seed: int = 0,
    number: int = 0,
) -> bool:
    """One PPO-clip update (point 4 of the module's docstring).

    Args:
        net: inputs to logits. optimizer: over its parameters.
        inputs: [states, ...], what the network sees in a state.
        state, action: int64[n]. logprob, advantage: float64[n].
        seed, number: order the minibatches, as in `Learner`.

    Returns:
        False where no step has an advantage: nothing was done.

    Raises:
        ValueError: an advantage is not finite.
    """
    if not np.isfinite(advantage).all():
        raise ValueError(f"advantages must be finite, row {int(np.flatnonzero(~np.isfinite(advantage))[0])} is not")
    seen, first, at = np.unique(state, return_index=True, return_inverse=True)
    old, up, down = (np.zeros((len(seen), int(action.max()) + 1)) for _ in range(3))
    old[at, action] = logprob
    np.add.at(up, (at, action), np.maximum(advantage, 0.0) / len(state))
    np.add.at(down, (at, action), np.minimum(advantage, 0.0) / len(state))
    # in the order of their first step, as the learner has its examples
    rows = np.argsort(first, kind="stable")
    rows = rows[((up != 0) | (down != 0)).any(axis=1)[rows]]
    if not len(rows):
        return False
    x = torch.from_numpy(inputs[seen[rows]])
    held = [torch.from_numpy(c[rows]).float() for c in (old, up, down)]
    for epoch in range(epochs):
        order = np.random.default_rng([seed, number, epoch]).permutation(len(rows))
        for part in np.array_split(order, min(minibatches, len(rows))):
            before, gain, loss_of = (c[part] for c in held)
            logp = torch.log_softmax(net(x[part]).float(), dim=-1)[:, : before.shape[1]]
            ratio = torch.exp(logp - before)
            clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
            # min(r A, clip(r) A), with all A > 0 in `gain` and all A < 0 in `loss_of`
            loss = -(gain * torch.minimum(ratio, clipped) + loss_of * torch.maximum(ratio, clipped)).sum() * minibatches
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(net.parameters(), max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return True


def train(
    assign: Assign,
    tables: Tables,
    setup: Setup,
    seed: int,
    *,
    lr: float,
    start: nn.Sequential,
    test: Tables | None = None,
) -> tuple[nn.Sequential, Curve]:
    """One whole run of one arm.

    Args:
        assign: the arm.
        tables: of the training instances. test: of the held-out ones, for a test at the end.
        seed: of instances and actions. lr: learning rate, decayed linearly to 0.
        start: the network to begin with; it is not changed.

    Returns:
        the trained network, and its curve.
    """
    net = network(tables.features.shape[1], tables.actions, setup.hidden, seed)
    net.load_state_dict(start.state_dict())
    curve = Curve(start=digest(start))
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.0, fused=True)
    for k, (instances, draws) in enumerate(_plan(tables, setup, seed)):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1.0 - k / setup.updates)
        batch = collect(net, tables, instances, setup.size, draws, first=k * setup.groups)
        moved = update(
            net,
            optimizer,
            tables.features,
            batch.state,
            batch.action,
            batch.logprob,
            assign(batch),
            clip=setup.clip,
            epochs=setup.epochs,
            minibatches=setup.minibatches,
            seed=seed,
            number=k,
        )
        curve.skipped += not moved
        curve.success.append(batch.success)
        curve.danger.append(batch.danger)
        curve.danger_steps.append(float(batch.steps.danger.mean()))
        if isinstance(assign, Priced):
            curve.price.append(assign.price)
    if test is not None:
        curve.after = measure(net, test, setup.test_episodes, seed=_seed(seed, _TEST))
    return net, curve


def digest(net: nn.Module) -> str:
    """A short name of some weights: equal weights, and no others, have equal names."""
    raw = b"".join(p.detach().numpy().tobytes() for p in net.state_dict().values())
    return hashlib.sha256(raw).hexdigest()[:16]


# ------------------------------------------------------------------------------------------------------------ inside


def _plan(tables: Tables, setup: Setup, seed: int) -> Iterator[tuple[Int, Float]]:
    """Instances and draws of every update."""
    episodes = setup.groups * setup.size
    for k in range(setup.updates):
        rng = np.random.default_rng([seed, _PLAY, k])
        yield rng.integers(len(tables.start), size=setup.groups), rng.random((tables.horizon, episodes))


def _policy(net: nn.Sequential) -> Callable[[npt.NDArray[np.float32]], Float]:
    """The network's log-probabilities, in NumPy: for batches this small PyTorch's calls cost more than the sums."""
    layers = [(m.weight.detach().numpy().T.copy(), m.bias.detach().numpy()) for m in net if isinstance(m, nn.Linear)]

    def logprobs(x: npt.NDArray[np.float32]) -> Float:
        for weight, bias in layers[:-1]:
            x = np.tanh(x @ weight + bias)
        logits = (x @ layers[-1][0] + layers[-1][1]).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        found: Float = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return found

    return logprobs


def _choose(logp: Float, u: Float) -> Int:
    """One action a row, by the inverse distribution function."""
    cdf = np.cumsum(np.exp(logp), axis=1)
    below: Bool = np.minimum(u * cdf[:, -1], np.nextafter(cdf[:, -1], 0.0))[:, None] >= cdf
    chosen: Int = below.sum(axis=1, dtype=np.int64)
    return chosen


def _latched(bits: Int, start: Int, first: Bool) -> tuple[Int, Int]:
    """Milestones after and before every step of episodes that lie one after another."""
    after = bits | start
    begins = np.flatnonzero(first)
    for a, b in zip(begins, np.append(begins[1:], len(bits)), strict=True):
        np.bitwise_or.accumulate(after[a:b], out=after[a:b])
    before = np.where(first, start, np.roll(after, 1))
    return after, before


def _seed(seed: int, stream: int) -> int:
    """One number of two."""
    return int(np.random.SeedSequence([seed, stream]).generate_state(1)[0])
