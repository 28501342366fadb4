"""Ledger: what the loop writes down of the episodes in flight, as steps, tokens and errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from agentgym.agents.loop.stage import Began, Stepped
from agentgym.agents.loop.types import Ended, Job, Rollouts
from agentgym.agents.policy.types import Decision
from agentgym.errors import UnknownName
from agentgym.recorder import Recorder
from agentgym.tokens import TokenWriter

__all__ = ["KEEP", "Ledger", "Live"]

log = logging.getLogger("agentgym.loop")

KEEP = {"text": "text", "action": "action_text", "said": "said", "error": "error"}
"""What ``keep`` may name -> the extra it becomes: the observation's text an action was taken on, the action as text,
what the model said (`Decision.text`), and the environment's answer to a bad action."""


class Live:
    """One episode in flight."""

    __slots__ = ("decision", "goal", "job", "observation", "reward", "seat", "slot", "success", "t")

    def __init__(self, job: Job, slot: int, seat: Any) -> None:
        self.job, self.slot, self.seat = job, slot, seat
        self.t = 0
        self.goal = ""
        self.reward = 0.0
        self.success = False
        self.observation: Any = None
        self.decision: Decision | None = None


class Ledger:
    """Recorder and TokenWriter of one call of `collect`."""

    def __init__(
        self, *, weights_version: int, keep: Sequence[str], on_episode: Callable[[Ended], object] | None
    ) -> None:
        for name in keep:
            if name not in KEEP:
                raise UnknownName("column to keep", name, KEEP, f"known: {', '.join(KEEP)}")
        self._keep = tuple(keep)
        self._version = weights_version
        self._on_episode = on_episode
        self._recorder = Recorder()
        self._tokens = TokenWriter()
        self.errors: dict[int, str] = {}

    def begin(self, live: Live, reply: Began, *, parent: int = -1) -> None:
        """The episode has begun, or has parted from ``parent`` just before step ``live.t``."""
        job = live.job
        live.goal = str(reply.info.get("goal", ""))
        live.observation = reply.observation
        self._recorder.begin(
            job.trajectory,
            reply.info,
            env=job.env,
            seed=job.seed,
            horizon=reply.horizon,
            group=job.group,
            event_codes=reply.event_codes,
            weights_version=self._version,
            parent=parent,
            parent_t=-1 if parent == -1 else live.t - 1,
        )

    def step(self, live: Live, reply: Stepped) -> None:
        """``live.decision`` was carried out."""
        decision, trajectory = live.decision, live.job.trajectory
        assert decision is not None
        extras: dict[str, Any] | None = None
        if decision.value == decision.value or decision.logprob == decision.logprob:  # neither is NaN
            extras = {"value": float(decision.value), "logprob": float(decision.logprob)}
        if self._keep:
            extras = (extras or {}) | self._kept(live, decision, reply)
        self._recorder.step(
            trajectory,
            decision.action,
            reply.reward,
            reply.terminated,
            reply.truncated,
            reply.info,
            duration=reply.seconds,
            extras=extras,
        )
        if (segment := decision.segment) is not None:
            self._tokens.add(
                trajectory,
                live.t,
                segment=segment.index,
                prompt=segment.prompt,
                action=segment.action,
                logprob=segment.logprob,
                logprob_behaviour=segment.logprob_behaviour,
                candidates=segment.candidates,
                chosen=segment.chosen,
                weights_version=self._version,
            )
        live.t += 1
        live.reward += reply.reward
        live.success = bool(reply.info["success"])
        live.observation = reply.observation

    def finish(self, live: Live, hidden: float) -> None:
        """The episode came to its end."""
        self._recorder.finish(live.job.trajectory, outcome=live.reward, hidden_performance=hidden)
        if self._on_episode:
            self._on_episode(Ended(live.job, live.t, live.reward, live.success))

    def fail(self, live: Live, error: str) -> None:
        """The world broke."""
        job = live.job
        log.warning("episode %d (%s, seed %d) broke at step %d: %s", job.trajectory, job.env, job.seed, live.t, error)
        head = {"env": job.env, "seed": job.seed, "weights_version": self._version}
        self._recorder.fail(job.trajectory, error, head=head)
        self.errors[job.trajectory] = error
        if self._on_episode:
            self._on_episode(Ended(job, live.t, live.reward, False, error))

    def drop(self, live: Live) -> None:
        """The episode is given up in the middle: as if it had not been played."""
        self._recorder.discard(live.job.trajectory)
        self._tokens.drop(live.job.trajectory)

    def rollouts(self, seconds: float, acting: float) -> Rollouts:
        """Everything that came to an end."""
        errors = dict(sorted(self.errors.items()))
        busy = acting / seconds if seconds else 0.0
        steps, tokens = self._recorder.take(), self._tokens.table()
        if self._recorder.unfinished:
            tokens = tokens.only(steps.trajectories.id)
        return Rollouts(steps, tokens, errors, seconds, busy)

    def _kept(self, live: Live, decision: Decision, reply: Stepped) -> dict[str, str]:
        row = {}
        for name in self._keep:
            if name == "text":
                seen = live.observation.get("text") if isinstance(live.observation, dict) else live.observation
                value = seen if isinstance(seen, str) else ""
            elif name == "action":
                value = decision.action
            elif name == "said":
                value = decision.text
            else:
                value = reply.info.get("error", "")
            row[KEEP[name]] = str(value)
        return row
