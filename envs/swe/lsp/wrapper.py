"""The reward of language servers at every step of an environment of the SWE family."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium

from agentgym.env import ProcessEnv
from agentgym.envs.swe.actions import BadAction, parse
from agentgym.envs.swe.lsp.judge import Judge, Measure
from agentgym.envs.swe.lsp.locate import confidence, locate
from agentgym.envs.swe.lsp.reward import Components, Weights, reward
from agentgym.envs.swe.lsp.server import LanguageServer, Source
from agentgym.envs.swe.world import RepoWorld
from agentgym.errors import UsageError

__all__ = ["LanguageRewards"]


class LanguageRewards(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Puts ``info["language"]`` beside every step: ``value`` and what it is made of (see `reward`).

    A step that changes no file is worth 0, but for the doubt where an `edit` names a text that stands nowhere. Servers
    are kept over episodes.

    Args:
        env: an environment of the SWE family.
        sources: servers, or records of them; ruff's when None.
        weights: of the three terms.
        scale: this much of the value is added to the environment's reward.

    Raises:
        UsageError: the environment is of another family.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        sources: Sequence[Source] | None = None,
        *,
        weights: Weights | None = None,
        scale: float = 0.0,
    ) -> None:
        super().__init__(env)
        inner = env.unwrapped
        if not isinstance(inner, ProcessEnv) or not isinstance(inner.world, RepoWorld):
            raise UsageError(f"LanguageRewards: expected an environment of the SWE family, got {inner}")
        self._world: RepoWorld = inner.world
        self._judge = Judge([LanguageServer("ruff")] if sources is None else sources)
        self._weights, self._scale = weights, scale
        self._reference: Measure | None = None
        self._files: dict[str, bytes] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; nothing is judged yet."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._files = dict(self._world.desk.files)
        self._reference = self._judge.start(self._files)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """One step, judged."""
        sure = self._confidence(action)
        observation, given, terminated, truncated, info = self.env.step(action)
        found = self._judged(sure)
        parts = {f.name: getattr(found, f.name) for f in dataclasses.fields(found) if f.name != "reference"}
        info = {**info, "language": {**parts, "count": found.reference.count}}
        return observation, float(given) + self._scale * found.value, terminated, truncated, info

    def close(self) -> None:
        """End the servers and the environment."""
        self._judge.close()
        self.env.close()

    def _judged(self, sure: float) -> Components:
        before = self._reference
        if before is None:
            raise UsageError("LanguageRewards.step before reset: call reset first")
        files = dict(self._world.desk.files)
        if files == self._files and sure == 1.0:
            return Components(0.0, 0, before.safe, 1.0, before)
        if files == self._files:
            weights = self._weights or Weights()
            return Components(-weights.gamma * (1 - sure), 0, before.safe, sure, before)
        self._files = files
        found = reward(before, self._judge.measure(files), sure, self._weights)
        self._reference = found.reference
        return found

    def _confidence(self, action: Any) -> float:
        """How sure the place of an edit is, before it is made; 1 for all that names none."""
        try:
            parsed = parse(action, self._world.instance.workdir)
        except (BadAction, TypeError, AttributeError):
            return 1.0
        search = parsed.args.get("search", "") if parsed.tool == "edit" else ""
        if not search:
            return 1.0
        return confidence(locate(self._files.get(parsed.args["path"], b""), text=search))
