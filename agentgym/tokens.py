"""TokenTable: exactly what the model saw and said, beside the StepTable.

A trajectory is a list of *segments*, each one unbroken token sequence that the model was given or produced, so that
training can run the same sequences again without re-tokenising anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CandidateSet", "TokenStep", "TokenTable", "TokenWriter"]

CandidateSet = tuple[tuple[int, ...], ...]
"""The token sequences that were scored against each other for one step."""


@dataclass(frozen=True, slots=True)
class TokenStep:
    """One step's tokens, as `TokenTable.steps` yields them.

    Attributes:
        trajectory, t: the step.
        prefix: int64[p], the segment's tokens up to the action, prompt included.
        action: int64[a], the action's tokens.
        logprob, logprob_behaviour: float64[a].
        candidates: what was scored, or None when generated.
        chosen: index of the action among the candidates, -1 when generated.
        start: position of the action's first token in the table's columns.
    """

    trajectory: int
    t: int
    prefix: npt.NDArray[np.int64]
    action: npt.NDArray[np.int64]
    logprob: npt.NDArray[np.float64]
    logprob_behaviour: npt.NDArray[np.float64]
    candidates: CandidateSet | None
    chosen: int
    start: int


@dataclass(frozen=True, eq=False)
class TokenTable:
    """Token columns (length n), segment columns (length s) and scored choices (length c).

    Attributes:
        id: int64[n] token ids; segment: int64[n] row of its segment, ascending.
        step: int32[n], the t of the step a token was sent with or produced in.
        mask: bool[n], True for tokens the policy produced.
        logprob: float64[n] under the raw model; logprob_behaviour: float64[n] under the distribution sampled from; both
            NaN where ``mask`` is False.
        weights_version: int64[n].
        segment_trajectory: int64[s]; segment_index: int32[s] number of the segment inside its trajectory.
        choice_trajectory: int64[c], choice_t: int32[c], choice_set: int64[c] row in ``candidate_sets``, choice_chosen:
            int64[c]: the scored choices, sorted by (trajectory, t).
        candidate_sets: the distinct candidate sets.
    """

    id: npt.NDArray[np.int64]
    segment: npt.NDArray[np.int64]
    step: npt.NDArray[np.int32]
    mask: npt.NDArray[np.bool_]
    logprob: npt.NDArray[np.float64]
    logprob_behaviour: npt.NDArray[np.float64]
    weights_version: npt.NDArray[np.int64]
    segment_trajectory: npt.NDArray[np.int64]
    segment_index: npt.NDArray[np.int32]
    choice_trajectory: npt.NDArray[np.int64]
    choice_t: npt.NDArray[np.int32]
    choice_set: npt.NDArray[np.int64]
    choice_chosen: npt.NDArray[np.int64]
    candidate_sets: tuple[CandidateSet, ...] = ()

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def empty(cls) -> TokenTable:
        """A table without tokens."""
        return TokenWriter().table()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All array columns by name, in order (not copied)."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "candidate_sets"}

    @cached_property
    def segment_starts(self) -> npt.NDArray[np.int64]:
        """int64[s + 1]: first token of every segment, then n."""
        return np.searchsorted(self.segment, np.arange(len(self.segment_trajectory) + 1)).astype(np.int64)

    def only(self, trajectories: Sequence[int] | npt.NDArray[Any]) -> TokenTable:
        """The tokens of some trajectories (ids; those without tokens are ignored)."""
        keep_segment = np.isin(self.segment_trajectory, trajectories)
        keep = keep_segment[self.segment] if len(self) else np.zeros(0, dtype=bool)
        renumber = np.cumsum(keep_segment) - 1
        choices = np.isin(self.choice_trajectory, trajectories)
        used, choice_set = np.unique(self.choice_set[choices], return_inverse=True)
        columns = {k: v[keep] for k, v in self.arrays().items() if not k.startswith(("segment_", "choice_"))}
        columns["segment"] = renumber[columns["segment"]].astype(np.int64)
        return TokenTable(
            **columns,
            segment_trajectory=self.segment_trajectory[keep_segment],
            segment_index=self.segment_index[keep_segment],
            choice_trajectory=self.choice_trajectory[choices],
            choice_t=self.choice_t[choices],
            choice_set=choice_set.astype(np.int64),
            choice_chosen=self.choice_chosen[choices],
            candidate_sets=tuple(self.candidate_sets[k] for k in used),
        )

    @classmethod
    def concat(cls, tables: Iterable[TokenTable]) -> TokenTable:
        """One table of many, sorted by (trajectory, segment); trajectories must be distinct."""
        parts = [t for t in tables if len(t.segment_trajectory)]
        if not parts:
            return cls.empty()
        trajectory = np.concatenate([p.segment_trajectory for p in parts])
        index = np.concatenate([p.segment_index for p in parts])
        owners = np.sort(np.concatenate([np.unique(p.segment_trajectory) for p in parts]))
        same = np.flatnonzero(np.diff(owners) == 0)
        if same.size:
            raise ValueError(f"trajectory {owners[same[0]]} is in two tables; number trajectories across the run")
        order = np.lexsort((index, trajectory))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        offsets = np.cumsum([0] + [len(p.segment_trajectory) for p in parts])
        segment = np.concatenate([rank[p.segment + o] for p, o in zip(parts, offsets, strict=False)])
        rows = np.argsort(segment, kind="stable")
        token_columns = ("id", "step", "mask", "logprob", "logprob_behaviour", "weights_version")
        columns = {k: np.concatenate([getattr(p, k) for p in parts])[rows] for k in token_columns}
        sets: dict[CandidateSet, int] = {}
        choice_set = [
            np.array([sets.setdefault(s, len(sets)) for s in p.candidate_sets], dtype=np.int64)[p.choice_set]
            for p in parts
        ]
        choice_trajectory = np.concatenate([p.choice_trajectory for p in parts])
        choice_t = np.concatenate([p.choice_t for p in parts])
        by = np.lexsort((choice_t, choice_trajectory))
        return cls(
            **columns,
            segment=segment[rows],
            segment_trajectory=trajectory[order],
            segment_index=index[order],
            choice_trajectory=choice_trajectory[by],
            choice_t=choice_t[by],
            choice_set=np.concatenate(choice_set)[by],
            choice_chosen=np.concatenate([p.choice_chosen for p in parts])[by],
            candidate_sets=tuple(sets),
        )

    def steps(self) -> Iterator[TokenStep]:
        """Every step that has action tokens, by trajectory and time."""
        rows = np.flatnonzero(self.mask)
        if not rows.size:
            return
        new = np.flatnonzero((np.diff(self.segment[rows]) != 0) | (np.diff(self.step[rows]) != 0)) + 1
        firsts = rows[np.append(0, new)]
        lasts = rows[np.append(new, len(rows)) - 1] + 1
        starts = self.segment_starts
        choices = {
            (int(k), int(t)): c for c, (k, t) in enumerate(zip(self.choice_trajectory, self.choice_t, strict=True))
        }
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            segment = int(self.segment[first])
            key = (int(self.segment_trajectory[segment]), int(self.step[first]))
            choice = choices.get(key)
            yield TokenStep(
                trajectory=key[0],
                t=key[1],
                prefix=self.id[starts[segment] : first],
                action=self.id[first:last],
                logprob=self.logprob[first:last],
                logprob_behaviour=self.logprob_behaviour[first:last],
                candidates=None if choice is None else self.candidate_sets[int(self.choice_set[choice])],
                chosen=-1 if choice is None else int(self.choice_chosen[choice]),
                start=first,
            )


class TokenWriter:
    """Collects steps' tokens in any order of trajectories (each trajectory's steps in order) into a TokenTable."""

    def __init__(self) -> None:
        self._steps: dict[int, list[tuple[Any, ...]]] = {}

    def add(
        self,
        trajectory: int,
        t: int,
        *,
        segment: int,
        prompt: npt.NDArray[np.int64],
        action: npt.NDArray[np.int64],
        logprob: npt.NDArray[np.float64],
        logprob_behaviour: npt.NDArray[np.float64],
        candidates: CandidateSet | None = None,
        chosen: int = -1,
        weights_version: int = 0,
    ) -> None:
        """Add one step (the fields of a policy's ``Segment``).

        Raises:
            ValueError: lengths differ, or the step does not follow the trajectory's last one.
        """
        if not len(action) == len(logprob) == len(logprob_behaviour):
            raise ValueError(
                f"trajectory {trajectory}, t={t}: action, logprob and logprob_behaviour must have one length, "
                f"got {len(action)}, {len(logprob)}, {len(logprob_behaviour)}"
            )
        rows = self._steps.setdefault(trajectory, [])
        if rows and (t <= rows[-1][0] or segment < rows[-1][1]):
            raise ValueError(
                f"trajectory {trajectory}: t must ascend and segments must not go back; "
                f"got t={t}, segment={segment} after t={rows[-1][0]}, segment={rows[-1][1]}"
            )
        row = (t, segment, prompt, action, logprob, logprob_behaviour, candidates, chosen, weights_version)
        rows.append(row)

    def drop(self, trajectory: int) -> None:
        """Forget a trajectory."""
        self._steps.pop(trajectory, None)

    def table(self) -> TokenTable:
        """Everything added so far, sorted by trajectory."""
        ids: list[npt.NDArray[np.int64]] = []
        logprobs: list[npt.NDArray[np.float64]] = []
        behaviours: list[npt.NDArray[np.float64]] = []
        runs: list[tuple[int, int, int, bool]] = []  # length, segment row, t, mask
        versions: list[int] = []
        segments: list[tuple[int, int]] = []
        choices: list[tuple[int, int, int, int]] = []
        sets: dict[CandidateSet, int] = {}
        for trajectory in sorted(self._steps):
            last = None
            for t, segment, prompt, action, logprob, behaviour, candidates, chosen, version in self._steps[trajectory]:
                if segment != last:
                    segments.append((trajectory, segment))
                    last = segment
                nothing = np.full(len(prompt), np.nan)
                ids += [prompt, action]
                logprobs += [nothing, logprob]
                behaviours += [nothing, behaviour]
                runs += [(len(prompt), len(segments) - 1, t, False), (len(action), len(segments) - 1, t, True)]
                versions += [version, version]
                if candidates is not None:
                    choices.append((trajectory, t, sets.setdefault(candidates, len(sets)), chosen))
        run = np.array(runs, dtype=np.int64).reshape(-1, 4)
        chosen_rows = np.array(choices, dtype=np.int64).reshape(-1, 4)
        owner = np.array(segments, dtype=np.int64).reshape(-1, 2)
        return TokenTable(
            id=_join(ids, np.int64),
            segment=np.repeat(run[:, 1], run[:, 0]),
            step=np.repeat(run[:, 2], run[:, 0]).astype(np.int32),
            mask=np.repeat(run[:, 3], run[:, 0]).astype(bool),
            logprob=_join(logprobs, np.float64),
            logprob_behaviour=_join(behaviours, np.float64),
            weights_version=np.repeat(np.array(versions, dtype=np.int64), run[:, 0]),
            segment_trajectory=owner[:, 0],
            segment_index=owner[:, 1].astype(np.int32),
            choice_trajectory=chosen_rows[:, 0],
            choice_t=chosen_rows[:, 1].astype(np.int32),
            choice_set=chosen_rows[:, 2],
            choice_chosen=chosen_rows[:, 3],
            candidate_sets=tuple(sets),
        )


def _join(parts: list[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.empty(0, dtype=dtype)
