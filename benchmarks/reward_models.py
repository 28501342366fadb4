"""What learned reward models know of layouts they never saw.

    python benchmarks/reward_models.py --json --save

DoorKey-6x6 by an oracle that slips in one to five fifths of its steps (five tries a layout), texts as input, test
layouts held out. Contributions and implicit rewards are judged on openings of 8 steps: an episode ends when it
succeeds, so the length of a whole one gives its outcome away. Controls are taught with shuffled outcomes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, parser

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the rollouts are those of the tests

from agentgym.rewards.models.contribution import ContributionEstimator
from agentgym.rewards.models.implicit_reward import ImplicitReward
from agentgym.rewards.models.intrinsic import MessageClassifier, MessageRanking, MessageRetrieval, pairs_of_labels
from agentgym.rewards.models.scorers import ColumnScorer
from agentgym.steps import StepTable
from tests.rewards.models.played import elsewhere, opening, played


def main() -> None:
    """Run and print."""
    options = parser(__doc__ or "").parse_args()
    start = time.process_time()
    layouts, seeds = (80, range(1)) if options.quick else (120, range(3))
    seen = played(range(layouts))
    unseen = elsewhere(played(range(500, 560), first=10**6), seen)
    figures: dict[str, Any] = {
        "rollouts": len(seen.starts),
        "held_out_rollouts": len(unseen.starts),
        "contribution": [_contribution(opening(seen, 8), opening(unseen, 8), s) for s in seeds],
        "implicit": [
            _implicit(seen, unseen, s, loss, reference)
            for loss in ("preference", "cross-entropy")
            for reference in ("old", "start")
            for s in seeds
        ],
        "opening_progress_ranks": _ranked(opening(unseen, 8), _last_progress(opening(unseen, 8))),
        "intrinsic": [_intrinsic(seen, s) for s in seeds],
    }
    figures["cpu_seconds"] = round(time.process_time() - start, 1)
    for name, value in figures.items():
        print(name)
        for line in value if isinstance(value, list) else [value]:
            print("   ", line)
    finish("reward_models", figures, options)


def _contribution(taught: StepTable, held_out: StepTable, seed: int) -> dict[str, float]:
    gain = held_out.progress - held_out.progress_before
    mixed = np.random.default_rng(seed).permutation(taught.trajectories.outcome)
    shuffled = replace(taught, trajectories=replace(taught.trajectories, outcome=mixed))
    found: dict[str, float] = {"seed": seed}
    for name, table in (("", taught), ("control_", shuffled)):
        model = ContributionEstimator(seed=seed, buckets=512).fit(table, epochs=20)
        values = model.contributions(held_out)
        found[f"{name}outcome"] = _correlation(model.predict(held_out), held_out.outcome)
        found[f"{name}step"] = _correlation(values, gain)
        found[f"{name}step_within"] = _correlation(_within(held_out, values), _within(held_out, gain))
    return found


def _implicit(seen: StepTable, unseen: StepTable, seed: int, loss: Any, reference: Any) -> dict[str, Any]:
    names = sorted(set(seen.extras["action_text"]))
    taught, held_out = (_numbered(opening(steps, 8), names) for steps in (seen, unseen))
    scorer = ColumnScorer("text", len(names), seed=seed).fit_inputs(taught)
    model = ImplicitReward(scorer, loss=loss, reference=reference, lr=3e-3, beta=0.5, minibatches=4, seed=seed)
    for _ in range(8):
        model.fit(taught)
    ranked = _ranked(held_out, model.totals(held_out))
    return {"loss": loss, "reference": reference, "seed": seed, "ranked": ranked}


def _intrinsic(steps: StepTable, seed: int) -> dict[str, float]:
    label: dict[str, float] = {}
    rose = steps.progress > steps.progress_before
    for text, action, up in zip(steps.extras["text"], steps.extras["action_text"], rose, strict=True):
        label.setdefault(f"{text} > {action}", float(up))
    messages, values = np.array(list(label), dtype=object), np.array(list(label.values()))
    first = np.random.default_rng(seed).random(len(messages)) < 0.5
    known, new, y, truth = messages[first], messages[~first].tolist(), values[first], values[~first]
    classifier = MessageClassifier(seed=seed).fit(known.tolist(), y, epochs=15)
    a, b, preference = pairs_of_labels(y, 4000, np.random.default_rng(seed))
    ranking = MessageRanking(seed=seed).fit(known[a].tolist(), known[b].tolist(), preference, epochs=5)
    rewarded = classifier.rewards(new)
    return {
        "seed": seed,
        "messages": len(new),
        "share_of_label_1": round(float(truth.mean()), 3),
        "retrieval_recall": float(MessageRetrieval().fit(known.tolist(), y).rewards(new)[truth == 1].mean()),
        "classifier_recall": round(float(rewarded[truth == 1].mean()), 3),
        "classifier_false_alarms": round(float(rewarded[truth == 0].mean()), 3),
        "classifier_area": _area(classifier.probabilities(new), truth),
        "ranking_area": _area(ranking.scores(new), truth),
    }


def _numbered(steps: StepTable, names: Sequence[str]) -> StepTable:
    chosen = np.array([names.index(a) for a in steps.extras["action_text"]])
    return steps.with_extra(choice=chosen, logprob=np.full(len(steps), -np.log(len(names))))


def _last_progress(steps: StepTable) -> np.ndarray:
    return steps.progress[steps.ends]


def _ranked(steps: StepTable, q: np.ndarray) -> float:
    y, group = steps.outcome, steps.trajectory_group
    i, j = np.nonzero((group[:, None] == group[None, :]) & (y[:, None] > y[None, :]))
    return round(float(np.mean((np.sign(q[i] - q[j]) + 1.0) / 2.0)), 3)


def _within(steps: StepTable, values: np.ndarray) -> np.ndarray:
    return values - (np.add.reduceat(values, steps.starts) / steps.lengths)[steps.segment]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return round(float(np.corrcoef(a, b)[0, 1]), 3)


def _area(scores: np.ndarray, labels: np.ndarray) -> float:
    return round(float((scores[labels == 1][:, None] > scores[labels == 0][None, :]).mean()), 3)


if __name__ == "__main__":
    main()
