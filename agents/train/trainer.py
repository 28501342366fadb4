"""The trainer: demonstrations, then rollouts in groups, credit, policy gradient; measured, stored and resumable."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch

from agentgym.agents.evaluate.stats import wilson
from agentgym.agents.loop import Collector, Job, Rollouts
from agentgym.agents.policy.simple import OraclePolicy, RandomPolicy
from agentgym.agents.policy.transformers import TransformersPolicy
from agentgym.agents.train.checkpoints import newest_checkpoint, read_checkpoint, read_companion, write_checkpoint
from agentgym.agents.train.columns import ExtraColumns
from agentgym.agents.train.config import TrainConfig
from agentgym.agents.train.demonstrations import Demonstrator, Handover, Lessons, cut_at
from agentgym.agents.train.learner import Learner, UpdateStats
from agentgym.agents.train.models import build_policy, frozen_copy, load_weights
from agentgym.agents.train.splits import Part, Split
from agentgym.errors import UsageError, WorldError
from agentgym.rewards import Recipe, recipe
from agentgym.runs import Run
from agentgym.steps import StepTable
from agentgym.tokens import CandidateSet, TokenStep, TokenTable

__all__ = ["Progress", "Score", "Trainer", "train"]

Float = npt.NDArray[np.float64]
Progress = Callable[[str, int, int, str], None]
"""Called with (phase, done, total, a few words) as work goes on."""

# trajectory numbers of the phases of a run never meet
_DEMOS, _VALIDATION, _TEST = 1 << 40, 2 << 40, 3 << 40


@dataclass(frozen=True)
class Score:
    """Success on held-out instances with a 95 % Wilson interval.

    ``danger_rate`` is the share of steps that were unsafe, ``danger_episodes`` that of episodes with such a step.
    """

    success: float
    low: float
    high: float
    episodes: int
    progress: float
    danger_rate: float
    danger_episodes: float
    steps: float
    errors: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


class Trainer:
    """One run. Use `train` unless you need the parts.

    Args:
        config: the settings.
        run: where rollouts, metrics and checkpoints go, or None to store nothing.
        arm: name of this run's curve in reports.
        policy: a ready policy instead of the one the settings describe (its start is then yours).
    """

    def __init__(
        self,
        config: TrainConfig,
        run: Run | None = None,
        *,
        arm: str = "",
        policy: TransformersPolicy | None = None,
        split: Split | None = None,
        progress: Progress | None = None,
    ) -> None:
        torch.set_num_threads(config.threads)
        self.config, self.run = config, run
        self.arm = arm or config.recipe
        self.recipe: Recipe = recipe(config.recipe)
        self.extra = ExtraColumns(config, self.recipe)
        self.split = split or Split(config.env, config.env_kwargs)
        self.policy = policy if policy is not None else build_policy(config)
        if not self.policy.trainable:
            raise UsageError(f"this policy cannot be trained: {self.policy.untrainable_reason}")
        self.collector = Collector(slots=config.slots, workers=config.workers, step_timeout=config.step_timeout or None)
        self.learner = self._new_learner()
        self.updates_done = 0
        self.updates_skipped = 0
        self.play_left_out = 0
        self.env_steps = 0
        self.cpu_seconds = 0.0
        self._progress = progress or (lambda *_: None)
        self._stop = False
        self._board: Any = None
        with _made(config) as env:
            inner: Any = env.unwrapped  # a ProcessEnv, or whatever keeps its contract
            self.milestones = tuple(m.name for m in inner.task.milestones)
            self.horizon = int(inner.horizon)
        self._train_seeds = self.split.seeds("train", start=1_000_000 * (config.seed + 1))
        self._drawn: list[int] = []

    def _new_learner(self) -> Learner:
        c = self.config
        return Learner(
            self.policy.model,
            value_head=self.policy.value_head,
            lr=c.lr,
            weight_decay=c.weight_decay,
            max_grad_norm=c.max_grad_norm,
            clip=c.clip,
            clip_high=c.clip_high,
            entropy=c.entropy,
            kl=c.kl,
            value_weight=c.value_weight,
            temperature=c.temperature,
            micro_tokens=c.micro_tokens,
            seed=c.seed,
        )

    def check_sizes(self) -> None:
        """Refuse to begin where the environment has fewer distinct instances than the settings ask for.

        Raises:
            UsageError: names the setting.
        """
        c = self.config
        wanted: list[tuple[str, Part, int]] = [("test_episodes", "test", c.test_episodes), ("demos", "train", c.demos)]
        if c.validate_every:
            wanted.append(("validation_episodes", "validation", c.validation_episodes))
        for setting, part, number in wanted:
            try:
                self.split.take(part, number, distinct=True)
            except UsageError as error:
                raise UsageError(f"{setting}={number} is too many: {error}") from error

    # ------------------------------------------------------------------ phases

    def warm_start(self) -> None:
        """Clone demonstrations of the oracle, whole or cut at a milestone."""
        c = self.config
        if not c.demos:
            return
        with self._cpu():
            seeds = self.split.take("train", c.demos, distinct=True)
            oracle = Demonstrator(self.policy, OraclePolicy())
            tokens = cut_at(self._show(oracle, seeds), self.milestones, c.demo_until)
            lessons = self._lessons(seeds, tokens, oracle.applicable) if c.mode == "generate" else None
            self.learner.set_lr(c.demo_lr)
            losses = self.learner.fit_demonstrations(
                lessons or tokens,
                epochs=c.demo_epochs,
                batch=c.demo_batch,
                smoothing=0.0 if lessons else c.demo_smoothing,
            )
            for epoch, loss in enumerate(losses):
                self._progress("demonstrations", epoch + 1, c.demo_epochs, f"loss {loss:.3f}")
            self.policy.flush()
        # the optimiser's moments belong to another loss: start the policy gradient with fresh ones
        self.learner = self._new_learner()
        self._log(
            phase="demonstrations",
            episodes=c.demos,
            steps=len(tokens),
            play_steps=len(lessons.played) if lessons else 0,
            play_left_out=self.play_left_out,
            loss=loss if c.demo_epochs else None,
        )

    def _show(self, demonstrator: Demonstrator, seeds: Sequence[int], *, first: int = 0) -> Rollouts:
        """An episode on each seed's instance, in the student's tokens, numbered from ``first``."""
        c = self.config
        base = _DEMOS + first
        jobs = [Job(c.env, seed, base + k, group=base + k, kwargs=c.env_kwargs) for k, seed in enumerate(seeds)]
        with Collector(slots=c.slots, step_timeout=c.step_timeout or None) as collector:
            shown = collector.collect(demonstrator, jobs, seed=c.seed, deterministic=True)
        if shown.errors:
            raise UsageError(f"a demonstration failed: {next(iter(shown.errors.values()))}")
        return shown

    def _lessons(
        self,
        seeds: Sequence[int],
        demonstrated: Sequence[TokenStep],
        applicable: Mapping[tuple[int, int], CandidateSet],
    ) -> Lessons | None:
        """What to teach beside the demonstrations to a model that writes its actions; None where nothing.

        Random play goes on from where the demonstrations were cut: episode k from demonstration k modulo their number;
        where those are whole, from its start. Episodes that happen to succeed are left out, so that no play shows more
        of the way than the demonstrations do.
        """
        c = self.config
        if not (c.demo_smoothing or c.demo_play):
            return None
        cut = {s.trajectory: s.t + 1 for s in demonstrated} if c.demo_until else {}
        begins = {_DEMOS + c.demos + k: cut.get(_DEMOS + k % c.demos, 0) for k in range(c.demo_play)}
        player = Demonstrator(self.policy, Handover(OraclePolicy(), RandomPolicy(), begins))
        shown = self._show(player, [seeds[k % c.demos] for k in range(c.demo_play)], first=c.demos)
        ends = shown.steps.trajectories
        won = set(ends.id[ends.success].tolist())
        self.play_left_out = len(won)
        played = [s for s in shown.tokens.steps() if s.t >= begins[s.trajectory] and s.trajectory not in won]
        return Lessons(demonstrated, played, {**applicable, **player.applicable}, c.demo_smoothing, c.seed)

    def train(self) -> None:
        """All remaining updates; an interrupt (Ctrl-C) stops after the update in hand and saves."""
        c = self.config
        if c.kl and self.learner.reference is None:
            self.learner.reference = frozen_copy(self.policy)
        with self._interruptible():
            while self.updates_done < c.updates and not self._stop:
                self.update()
                k = self.updates_done
                if c.validate_every and (k % c.validate_every == 0 or k == c.updates):
                    self.measure("validation", c.validation_episodes, update=k)
                if self.run is not None and (
                    k == c.updates or self._stop or (c.checkpoint_every and k % c.checkpoint_every == 0)
                ):
                    self.save()
        if self._stop:
            raise KeyboardInterrupt

    def update(self) -> UpdateStats:
        """Collect one batch of groups, assign credit, step."""
        c, k = self.config, self.updates_done
        with self._cpu():
            if c.deterministic:
                # what a validation left in the policy's memory was computed in other batches: equal up to rounding only
                self.policy.flush()
            rollouts = self.collect(k)
            steps, tokens = _usable(rollouts)
            steps, told = self.extra.added(steps, tokens, self.policy)
            advantages, targets = self._credit(steps)
            rows = _rows(steps, tokens)
            if c.lr_decay:
                self.learner.set_lr(c.lr * (1.0 - k / c.updates))
            stats = self.learner.update(
                tokens,
                advantages[rows],
                aggregation=c.aggregation,
                epochs=c.epochs,
                minibatches=c.minibatches,
                horizon=self.horizon * (c.max_new_tokens if c.mode == "generate" else 1),
                value_targets=None if targets is None else targets[rows],
                number=k,
            )
            self.policy.set_weights_version(k + 1)
        self.updates_done += 1
        self.updates_skipped += stats.skipped
        self.env_steps += len(steps)
        self._log(
            phase="train",
            update=k,
            success=float(steps.trajectories.success.mean()) if len(steps.trajectories) else None,
            progress=float(steps.progress[steps.ends].mean()) if len(steps) else None,
            danger_rate=float(steps.danger.mean()) if len(steps) else None,
            danger_episodes=_danger_episodes(steps) if len(steps) else None,
            env_steps=self.env_steps,
            errors=len(rollouts.errors),
            cpu_seconds=round(self.cpu_seconds, 3),
            **stats.to_dict() | {"steps": len(steps)} | told,
        )
        if self._stored(k):
            self._store(rollouts, advantages, phase="train", update=k)
        done = float(steps.trajectories.success.mean()) if len(steps.trajectories) else 0.0
        self._progress(f"training {self.arm}", k + 1, c.updates, f"success {done:.2f}")
        return stats

    def collect(self, k: int) -> Rollouts:
        """The rollouts of update ``k``: ``groups`` training instances, ``group_size`` each.

        Raises:
            WorldError: every episode broke, twice.
        """
        c = self.config
        while len(self._drawn) < (k + 1) * c.groups:
            self._drawn.append(next(self._train_seeds))
        seeds = self._drawn[k * c.groups : (k + 1) * c.groups]
        first = k * c.groups * c.group_size
        jobs = [
            Job(c.env, seed, first + g * c.group_size + i, group=k * c.groups + g, kwargs=c.env_kwargs)
            for g, seed in enumerate(seeds)
            for i in range(c.group_size)
        ]
        return self._played(
            jobs,
            f"update {k}",
            weights_version=k,
            keep=("text", "action") if self._stored(k) else self.extra.keep,
        )

    def measure(
        self,
        part: Part,
        episodes: int,
        *,
        update: int,
        greedy: bool = False,
        label: str = "",
        seeds: Sequence[int] | None = None,
    ) -> Score:
        """Success on ``episodes`` distinct held-out instances, one episode each.

        They are the first ones of the part, the same for every ``config.seed``; ``seeds`` names others.
        """
        c = self.config
        seeds = self.split.take(part, episodes, distinct=True) if seeds is None else seeds[:episodes]
        base = (_TEST if part == "test" else _VALIDATION) + (2 * update + greedy) * (1 << 20)
        jobs = [
            Job(c.env, seed, base + i, group=base + i, kwargs=c.env_kwargs, greedy=greedy)
            for i, seed in enumerate(seeds)
        ]
        keep = ("text", "action") if part == "test" and self.run is not None else ()
        found = self._played(jobs, f"the {part}", weights_version=update, keep=keep)
        steps = found.steps
        won = int(steps.trajectories.success.sum())
        low, high = map(float, wilson(won, episodes))
        score = Score(
            success=won / episodes,
            low=low,
            high=high,
            episodes=episodes,
            progress=float(steps.progress[steps.ends].mean()) if len(steps) else 0.0,
            danger_rate=float(steps.danger.mean()) if len(steps) else 0.0,
            danger_episodes=_danger_episodes(steps),
            steps=float(steps.lengths.mean()) if len(steps) else 0.0,
            errors=len(found.errors),
        )
        tags = {"greedy": greedy} | ({"label": label} if label else {})
        self._log(phase=part, update=update, **tags, **score.to_dict())
        if part == "test" and self.run is not None:
            self._store(found, None, phase=part, update=update, **tags)
        self._progress(part, episodes, episodes, f"success {score.success:.2f}")
        return score

    # ------------------------------------------------------------------ checkpoints

    def save(self) -> Path:
        """Write a checkpoint of the updates done; a crash leaves the one before."""
        if self.run is None:
            raise UsageError("this trainer has no run folder to save into")
        state = {name: getattr(self, name) for name in _COUNTERS} | {"arm": self.arm}
        beside = self.extra.state_dict()
        return write_checkpoint(
            self.run, self.updates_done, self.policy, self.learner, self.config, state, companion=beside
        )

    def resume(self) -> bool:
        """Go back to the newest checkpoint of the run; False when there is none yet.

        Raises:
            RunError: the checkpoint was made with other settings.
        """
        folder = newest_checkpoint(self.run) if self.run is not None else None
        if folder is None:
            return False
        state = read_checkpoint(folder, self.policy, self.learner, self.config)
        for name in _COUNTERS:
            setattr(self, name, state[name])
        self.policy.set_weights_version(self.updates_done)
        self.extra.load_state_dict(read_companion(folder), self.policy)
        assert self.run is not None
        # episodes and lines after the checkpoint come again, under the same numbers
        self.run.keep_shards(self._is_before)
        self.run.keep_metrics(self._is_before)
        return True

    def load_best(self) -> int:
        """Put back the weights that did best on validation instances, of those that are kept; the later of equals.

        Learning goes up and down to the end, and the last weights are as likely as others to be in a dip. Nothing of
        the test is looked at.

        Returns:
            the updates that those weights have seen; where none was validated and kept, nothing changes.
        """
        if self.run is None:
            return self.updates_done
        measured = [
            (float(line["success"]), int(line["update"]))
            for line in self.run.metrics()
            if line.get("phase") == "validation" and line.get("arm") == self.arm
        ]
        kept = {int(folder.name): folder for folder in (self.run.path / "checkpoints").glob("[0-9]*")}
        _, best = max((each for each in measured if each[1] in kept), default=(0.0, self.updates_done))
        if best != self.updates_done:
            load_weights(self.policy, kept[best])
            self.policy.set_weights_version(best)
        return best

    def _is_before(self, line: Mapping[str, Any]) -> bool:
        """A metrics line or a shard's tags belong to another arm or to what was done before the checkpoint.

        Training lines number the update they describe, measurements the updates done before them; the closing tests are
        made again by whoever resumes.
        """
        if line.get("arm") != self.arm:
            return True
        if line.get("label") in ("after", "greedy"):
            return False
        last = self.updates_done - 1 if line.get("phase") == "train" else self.updates_done
        return int(line.get("update", -1)) <= last

    def close(self) -> None:
        """Close the environments and what is written."""
        if self._board is not None:
            self._board.close()
        self.extra.close()
        self.collector.close()
        self.split.close()

    # ------------------------------------------------------------------ inside

    def _played(self, jobs: Sequence[Job], what: str, *, weights_version: int, keep: Sequence[str]) -> Rollouts:
        """The jobs' episodes; where every one broke, all are played once more, in worlds made anew.

        Raises:
            WorldError: they break again. A world that is gone must not be trained on, or measured, to the end of a run
                as if nothing succeeded in it.
        """
        c = self.config
        for _ in range(2):
            found = self.collector.collect(
                self.policy,
                jobs,
                seed=c.seed,
                deterministic=c.deterministic,
                weights_version=weights_version,
                keep=keep,
            )
            if not jobs or len(found.errors) < len(jobs):
                return found
            if c.deterministic:
                self.policy.flush()
        first = next(iter(found.errors.values()))
        raise WorldError(f"all {len(jobs)} episodes of {what} broke, twice; the first by {first}")

    def _credit(self, steps: StepTable) -> tuple[Float, Float | None]:
        values = steps.extras.get("value")
        if self.config.critic and values is not None:
            advantages = self.recipe.advantages(steps, critic_values=values)
            return advantages, advantages + values
        return self.recipe.advantages(steps), None

    def _stored(self, k: int) -> bool:
        """Whether the rollouts of update ``k`` go into the run folder."""
        c = self.config
        return self.run is not None and c.keep_steps > 0 and (k % c.keep_steps == 0 or k == c.updates - 1)

    def _store(self, rollouts: Rollouts, advantages: Float | None, **tags: Any) -> None:
        assert self.run is not None
        steps = rollouts.steps
        if advantages is not None:
            full = np.full(len(steps), np.nan)
            full[np.isin(steps.trajectory, steps.trajectories.id[steps.trajectories.status == "ok"])] = advantages
            steps = steps.with_extra(advantage=full)
        self.run.append(steps, rollouts.tokens, arm=self.arm, **tags)

    def _log(self, **values: Any) -> None:
        if self.run is None:
            return
        self.run.log(arm=self.arm, **values)
        if self.config.tensorboard:
            if self._board is None:
                # imported late: it takes longer to load than a small run takes to train
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(self.run.path / "tensorboard"))
            phase = "-".join(str(values[k]) for k in ("phase", "label") if k in values)
            for name, value in values.items():
                if isinstance(value, (int, float)) and name != "update":
                    self._board.add_scalar(f"{phase}/{name}", value, values.get("update", 0))

    @contextmanager
    def _cpu(self) -> Iterator[None]:
        """Count the processor seconds of this process (all its threads) as training."""
        start = time.process_time()
        try:
            yield
        finally:
            self.cpu_seconds += time.process_time() - start

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C finishes the update in hand; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        told: list[threading.Thread] = []

        def stop(number: int, frame: FrameType | None) -> None:
            if self._stop:
                raise KeyboardInterrupt
            self._stop = True
            # From a thread of its own: the signal may have come while this one was printing.
            said = ("interrupted", 0, 0, "saving after this update; press Ctrl-C again to stop at once")
            told.append(threading.Thread(target=self._progress, args=said))
            told[-1].start()

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            for thread in told:
                thread.join()


_COUNTERS = ("updates_done", "updates_skipped", "env_steps", "cpu_seconds")
"""What a checkpoint keeps of the trainer itself."""


def train(
    config: TrainConfig,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    arm: str = "",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """A whole run: warm start, test, updates with validation, test; returns (and stores) its summary.

    Args:
        config: the settings.
        out: run folder; None stores nothing.
        resume: go on from the newest checkpoint in ``out``.
        arm: name of this run's curve.
        progress: told how it goes.
    """
    trainer = Trainer(config, arm=arm, progress=progress)
    try:
        trainer.check_sizes()
        # made after the trainer, so that settings it refuses leave no folder behind
        run = None
        if out is not None:
            run = Run.open(out) if resume else Run.create(out, "train", config.to_dict())
        trainer.run = run
        before: dict[str, Any] | None = None
        if not (resume and trainer.resume()):
            trainer.warm_start()
            if run is not None:
                trainer.save()
        if run is not None and resume:
            before = next((m for m in run.metrics() if m.get("phase") == "test" and m.get("label") == "before"), None)
        if before is None and trainer.updates_done == 0:
            before = trainer.measure("test", config.test_episodes, update=0, label="before").to_dict()
        trainer.train()
        done = trainer.updates_done
        after = trainer.measure("test", config.test_episodes, update=done, label="after")
        greedy = trainer.measure("test", config.test_episodes, update=done, greedy=True, label="greedy")
        summary = {
            "arm": trainer.arm,
            "env": config.env,
            "recipe": config.recipe,
            "seed": config.seed,
            "before": before,
            "after": after.to_dict(),
            "greedy": greedy.to_dict(),
            "updates": done,
            "updates_skipped": trainer.updates_skipped,
            "env_steps": trainer.env_steps,
            "train_cpu_seconds": round(trainer.cpu_seconds, 2),
            "split": trainer.split.kind,
        }
        if run is not None:
            run.write_summary(summary)
        return summary
    finally:
        trainer.close()


def _usable(rollouts: Rollouts) -> tuple[StepTable, TokenTable]:
    """Episodes whose world did not break."""
    table = rollouts.steps.trajectories
    if not rollouts.errors:
        return rollouts.steps, rollouts.tokens
    good = table.id[table.status == "ok"]
    return rollouts.steps.only(good), rollouts.tokens.only(good)


def _danger_episodes(steps: StepTable) -> float:
    """Share of the episodes with at least one unsafe step."""
    return float(np.logical_or.reduceat(steps.danger, steps.starts).mean()) if len(steps) else 0.0


def _rows(steps: StepTable, tokens: TokenTable) -> npt.NDArray[np.int64]:
    """Row of the StepTable of every step with tokens, in the order of ``tokens.steps()``."""
    keys = np.rec.fromarrays([steps.trajectory, steps.t.astype(np.int64)])
    wanted = np.array([(s.trajectory, s.t) for s in tokens.steps()], dtype=keys.dtype)
    return np.searchsorted(keys, wanted).astype(np.int64)


@contextmanager
def _made(config: TrainConfig) -> Iterator[gymnasium.Env[Any, Any]]:
    env = gymnasium.make(config.env, **config.env_kwargs)
    try:
        yield env
    finally:
        env.close()
