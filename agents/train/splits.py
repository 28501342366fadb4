"""Training, validation and test instances that share nothing: seeds are split by the *instance* they lead to.

Different seeds often lead to the same instance (MiniGrid's 5x5 DoorKey has 48 layouts in all), so holding out seeds
holds out little. The anchor of the reset state identifies the instance; its value decides the part it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import gymnasium

from agentgym.anchor import hash64
from agentgym.errors import UsageError
from agentgym.process import read_record

__all__ = ["Part", "Split"]

Part = Literal["train", "validation", "test"]
_SHARES: dict[Part, range] = {"train": range(0, 70), "validation": range(70, 85), "test": range(85, 100)}
_PROBE = 64
_PATIENCE = 10_000


class Split:
    """Seeds of one environment by part: 70 % of the instances are for training, 15 % each for validation and test.

    Args:
        env: environment id. kwargs: given to ``gymnasium.make``.

    Attributes:
        kind: "instance" when resets differ, else "seed" (every seed starts alike: then seeds themselves are split, and
            what is held out is only the environment's later randomness).
    """

    def __init__(self, env: str, kwargs: Mapping[str, Any] | None = None) -> None:
        self.env, self.kwargs = env, dict(kwargs or {})
        self._env: gymnasium.Env[Any, Any] | None = None
        self._instances: dict[int, int] = {}
        first = {self.instance(seed) for seed in range(_PROBE)}
        self.kind = "instance" if len(first) >= 8 else "seed"

    def instance(self, seed: int) -> int:
        """Identity of the instance a seed leads to (the anchor at reset)."""
        if seed not in self._instances:
            if self._env is None:
                self._env = gymnasium.make(self.env, **self.kwargs)
            _, info = self._env.reset(seed=seed)
            self._instances[seed] = read_record(info)["anchor"]
        return self._instances[seed]

    def part(self, seed: int) -> Part:
        """The part a seed belongs to."""
        # hashed again, so that the split does not lean on how anchors are spread
        identity = self.instance(seed) if self.kind == "instance" else seed
        bucket = hash64(b"split%d" % identity) % 100
        return next(part for part, share in _SHARES.items() if bucket in share)

    def seeds(self, part: Part, *, start: int = 0, distinct: bool = False) -> Iterator[int]:
        """Seeds of a part, ascending from ``start``; with ``distinct`` each leads to another instance.

        Raises:
            UsageError: the part has no more instances.
        """
        seen: set[int] = set()
        seed, idle = start, 0
        while True:
            fits = self.part(seed) == part
            if fits and distinct and self.kind == "instance":
                fits = self.instance(seed) not in seen
                seen.add(self.instance(seed))
            idle = 0 if fits else idle + 1
            if fits:
                yield seed
            elif idle > _PATIENCE:
                raise UsageError(
                    f"{self.env}: {len(seen)} distinct {part} instances among {seed - start} seeds; ask for fewer"
                )
            seed += 1

    def take(self, part: Part, n: int, *, start: int = 0, distinct: bool = False) -> list[int]:
        """The first ``n`` of `seeds`."""
        found = self.seeds(part, start=start, distinct=distinct)
        return [next(found) for _ in range(n)]

    def close(self) -> None:
        """Close the probing environment."""
        if self._env is not None:
            self._env.close()
            self._env = None
