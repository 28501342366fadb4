"""The built-in recipes, by name."""

from __future__ import annotations

from agentgym.errors import UnknownName
from agentgym.rewards.recipes import Recipe, Term

__all__ = ["RECIPES", "recipe"]

_OUTCOME = Term("outcome")
_FINAL_PROGRESS = Term("progress", options={"gamma": 1.0, "terminal": "keep"})
_PROCESS = Term("column", options={"name": "process_score"})

_GROUP = (
    Recipe("grpo", (_OUTCOME,), "grpo", source="arXiv 2402.03300"),
    Recipe("dr-grpo", (_OUTCOME,), "dr-grpo", source="arXiv 2503.20783"),
    Recipe("rloo", (_OUTCOME,), "rloo", source="arXiv 2402.14740"),
    Recipe("reinforce++", (_OUTCOME,), "reinforce++", source="arXiv 2501.03262"),
    Recipe("gigpo", (_OUTCOME,), "gigpo", source="arXiv 2505.10978", note="compares steps where anchors repeat"),
    Recipe("hgpo", (_OUTCOME,), "hgpo", source="arXiv 2602.22817", note="no episode-level term"),
    Recipe("salt", (_OUTCOME,), "salt", source="after arXiv 2510.20022"),
    Recipe("copo", (_OUTCOME,), "copo", source="after COPO", note="groups that agree are compared with the batch"),
    Recipe("portool", (_OUTCOME,), "portool", source="after arXiv 2510.26020", note="for tree rollouts"),
    Recipe("duration", (_OUTCOME,), "duration", source="arXiv 2509.01684", note="needs durations"),
    Recipe("gtd", (_OUTCOME,), "gtd", note="values of the group's own state graph"),
    Recipe("gtdp", (_OUTCOME,), "gtdp", note="the same, with a prior calibrated from progress"),
    Recipe("propagation", (_OUTCOME,), "propagation", source="after RewardFlow"),
    Recipe("pooling", (_OUTCOME,), "pooling", note="GiGPO on states pooled by milestones and progress"),
)

_PROGRESS = (
    Recipe(
        "progress",
        (_FINAL_PROGRESS,),
        "return-to-go",
        {"gamma": 0.5},
        note="progress as the value of a state: GAE with lambda 0.5; no better than the progress is",
    ),
    Recipe(
        "gigpo+progress",
        (_OUTCOME, _FINAL_PROGRESS),
        "gigpo",
        source="arXiv 2505.10978 with progress",
        note="progress counts in both parts; biased towards half-done tasks where progress misleads",
    ),
    Recipe(
        "grpo+progress",
        (_OUTCOME, _FINAL_PROGRESS),
        "grpo",
        source="arXiv 2402.03300 with progress",
        note="final progress breaks ties among failures",
    ),
    Recipe(
        "grpo+milestones",
        (_OUTCOME, Term("milestone", 0.25)),
        "grpo",
        source="arXiv 2402.03300 with milestones",
        note="a milestone is worth a quarter of success",
    ),
    Recipe(
        "calm",
        (_OUTCOME, Term("milestone", 0.25)),
        "gae",
        {"gamma": 0.99, "lam": 0.95},
        source="after arXiv 2409.12798",
        note="paid on the transition that reaches a milestone; needs a critic",
    ),
    Recipe(
        "gdpo",
        (_OUTCOME, _FINAL_PROGRESS),
        "gdpo",
        combine="stack",
        source="arXiv 2601.05242",
        note="success and progress are normalised apart, so neither drowns the other",
    ),
    Recipe(
        "g-ra",
        (_OUTCOME, _FINAL_PROGRESS, Term("danger", 0.25)),
        "grpo",
        combine="gated",
        combine_options={"order": ["danger", "outcome", "progress"], "thresholds": {"danger": 0.0}},
        source="after arXiv 2508.10548",
        note="a rollout with an unsafe step earns nothing else",
    ),
    Recipe(
        "lagrangian",
        (_OUTCOME, _FINAL_PROGRESS),
        "gigpo",
        combine="lagrangian",
        combine_options={"multiplier": 0.0, "limit": 0.01, "rate": 0.05},
        source="Lagrangian relaxation, dual ascent",
        note="an unsafe step grows dearer while more than 1 % of the rollouts have one",
    ),
    Recipe("ppo", (_OUTCOME,), "gae", {"gamma": 0.99, "lam": 0.95}, source="arXiv 1506.02438", note="needs a critic"),
    Recipe(
        "quickstart",
        (_FINAL_PROGRESS,),
        "gigpo",
        {"gamma": 0.95, "normalise": "mean_std"},
        score=(_OUTCOME, _FINAL_PROGRESS),
        source="arXiv 2505.10978 with progress",
        note="episodes are compared by success plus final progress, steps by discounted change of progress",
    ),
)

_JUDGED = (
    Recipe("spa", (), "spa", source="arXiv 2505.20732", note="reads the extra column contribution"),
    Recipe("pure", (_PROCESS,), "pure", source="arXiv 2504.15275", note="reads the extra column process_score"),
    Recipe("prime", (), "prime", source="arXiv 2502.01456", note="reads logprob_model and logprob_reference"),
    Recipe("istar", (), "istar", source="arXiv 2509.19199", note="reads logprob_model and logprob_reference"),
    Recipe("adca", (_OUTCOME,), "adca", source="AgentEvolver", note="reads the extra column good"),
    Recipe("cm2", (_PROCESS,), "cm2", source="CM2-RLCR-Tool-Agent", note="process_score is a turn's checklist share"),
    Recipe(
        "clip-delta",
        (_OUTCOME,),
        "return-to-go",
        combine="clip-delta",
        source="after arXiv 2410.15115",
        note="reads process_score",
    ),
    Recipe(
        "ppr",
        (_OUTCOME,),
        "return-to-go",
        combine="renorm",
        source="after arXiv 2509.25598",
        note="reads process_score; compares outcomes inside the group",
    ),
    Recipe(
        "verpo", (_OUTCOME,), "grpo", combine="verpo", source="after arXiv 2601.03525", note="reads tests, tests_before"
    ),
)

RECIPES: dict[str, Recipe] = {r.name: r for r in (*_GROUP, *_PROGRESS, *_JUDGED)}
"""Every built-in recipe by name."""


def recipe(name: str) -> Recipe:
    """The named recipe.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES, "agentgym.rewards.RECIPES lists them")
    return RECIPES[name]
