"""The built-in recipes, by name."""

from __future__ import annotations

from agentgym.errors import UnknownName
from agentgym.rewards.recipes import Recipe, Term

__all__ = ["RECIPES", "recipe"]

_OUTCOME = Term("outcome")
_FINAL_PROGRESS = Term("progress", options={"gamma": 1.0, "terminal": "keep"})
_CRITIC = {"gamma": 0.99, "lam": 0.95}
_PROCESS = Term("column", options={"name": "process_score"})

_GROUP = (
    Recipe("grpo", (_OUTCOME,), "grpo", source="arXiv 2402.03300"),
    Recipe("dr-grpo", (_OUTCOME,), "dr-grpo", source="arXiv 2503.20783"),
    Recipe("rloo", (_OUTCOME,), "rloo", source="arXiv 2402.14740"),
    Recipe(
        "pass@k", (_OUTCOME,), "grpo", {"pass_at_k": True}, source="verl", note="the best rollout alone, by its lead"
    ),
    Recipe("reinforce++", (_OUTCOME,), "reinforce++", source="arXiv 2501.03262"),
    Recipe("gigpo", (_OUTCOME,), "gigpo", source="arXiv 2505.10978", note="compares steps where anchors repeat"),
    Recipe("hgpo", (_OUTCOME,), "hgpo", source="arXiv 2602.22817", note="no episode-level term"),
    Recipe("salt", (_OUTCOME,), "salt", source="after arXiv 2510.20022"),
    Recipe("copo", (_OUTCOME,), "copo", source="after COPO", note="groups that agree are compared with the batch"),
    Recipe("portool", (_OUTCOME,), "portool", source="after arXiv 2510.26020", note="for tree rollouts"),
    Recipe("duration", (_OUTCOME,), "duration", source="arXiv 2509.01684", note="needs durations"),
    Recipe("gtd", (_OUTCOME,), "gtd", note="values of the group's own state graph"),
    Recipe("gtdp", (_OUTCOME,), "gtdp", note="the same, with a prior calibrated from progress"),
    Recipe(
        "htd",
        (_OUTCOME,),
        "htd",
        note="values pooled over four levels of state abstraction; for anchors that seldom repeat",
    ),
    Recipe("propagation", (_OUTCOME,), "propagation", source="after RewardFlow"),
    Recipe(
        "arenarl",
        (),
        "arenarl",
        {"judge": "progress"},
        source="arXiv 2601.06487",
        note="a tournament; its judge here is final progress, name another column for another judge",
    ),
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
        _CRITIC,
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
    Recipe("ppo", (_OUTCOME,), "gae", _CRITIC, source="arXiv 1506.02438", note="needs a critic"),
    Recipe(
        "quickstart",
        (_FINAL_PROGRESS,),
        "gigpo",
        {"gamma": 0.5, "episode_weight": 0.0, "batch_weight": 1.0},
        source="after arXiv 2505.10978",
        note="change of progress over the next few steps, beside others in the same state and beside the whole batch",
    ),
)

_JUDGED = (
    Recipe("pure", (_PROCESS,), "pure", source="arXiv 2504.15275"),
    Recipe("adca", (_OUTCOME,), "adca", source="AgentEvolver", note="good: a judge's verdict on the step"),
    Recipe("cm2", (_PROCESS,), "cm2", source="CM2-RLCR-Tool-Agent", note="process_score is a turn's checklist share"),
    Recipe(
        "clip-delta",
        (_OUTCOME,),
        "return-to-go",
        combine="clip-delta",
        source="after arXiv 2410.15115",
    ),
    Recipe(
        "ppr",
        (_OUTCOME,),
        "return-to-go",
        combine="renorm",
        source="after arXiv 2509.25598",
        note="compares outcomes inside the group",
    ),
    Recipe(
        "verpo", (_OUTCOME,), "grpo", combine="verpo", source="after arXiv 2601.03525", note="rare passes weigh more"
    ),
    Recipe(
        "checklist",
        (_OUTCOME, Term("checklist", options={"gain": True})),
        "gigpo",
        source="rubric rewards",
        note="a step earns what it adds to the checklist's share",
    ),
    Recipe(
        "reference-answer",
        (Term("reference"),),
        "gigpo",
        source="ours",
        note="a step earns how much more likely it made the right answer",
    ),
    Recipe(
        "par", (Term("par"),), "grpo", source="arXiv 2502.18770", note="a reward model's score, bounded by references"
    ),
    Recipe(
        "wco", (Term("ensemble", options={"rule": "wco"}),), "grpo", source="arXiv 2310.02743", note="trusts the worst"
    ),
    Recipe(
        "uwo",
        (Term("ensemble", options={"rule": "uwo"}),),
        "grpo",
        source="arXiv 2310.02743",
        note="distrusts where reward models differ",
    ),
    Recipe(
        "auto-mc",
        (
            Term("column", options={"name": "sparse_sign"}, label="sparse"),
            Term("column", 0.1, {"name": "dense_sign"}, label="dense"),
        ),
        "gae",
        _CRITIC,
        source="after Auto MC-Reward (CVPR 2024)",
        note="both signs in {1, 0, -1}, from functions that a language model wrote and you reviewed; needs a critic",
    ),
    Recipe(
        "lanser",
        (
            Term("column", 0.5, {"name": "diagnostics_fixed"}, label="fixed"),
            Term("column", 0.4, {"name": "safe"}, label="safe"),
            Term("column", -0.1, {"name": "doubt"}, label="doubt"),
        ),
        "return-to-go",
        source="Lanser-CLI",
        note="diagnostics before minus after, safety, 1 minus confidence",
    ),
    Recipe(
        "opagent",
        (
            Term("column", options={"name": "judge_outcome"}, label="outcome"),
            Term("column", 0.5, {"name": "judge_progress"}, label="progress"),
        ),
        "grpo",
        source="after arXiv 2602.13559",
        note="a judge's outcome on the last step, a rule's progress on every step; the weights are ours",
    ),
)

_JOINED = (
    Recipe(
        "krc",
        (_FINAL_PROGRESS, Term("grounded")),
        "gigpo",
        score=(_OUTCOME, _FINAL_PROGRESS),
        combine="krc",
        source="arXiv 2305.15801",
        note="the signed geometric mean: progress of a step counts only as far as it was grounded",
    ),
    Recipe(
        "hierarchical",
        (_OUTCOME, _FINAL_PROGRESS, Term("danger", 0.25)),
        "gigpo",
        combine="hierarchical",
        combine_options={"levels": [["danger"], ["outcome", "progress"]], "thresholds": {"danger": 0.0}},
        note="after an unsafe step nothing more is earned",
    ),
    Recipe(
        "logical-and",
        (_OUTCOME, _FINAL_PROGRESS, Term("danger")),
        "grpo",
        combine="and",
        combine_options={"thresholds": {"danger": -0.5}, "temperature": 0.25},
        note="solved, far and safe, all three: the worst one decides",
    ),
    Recipe(
        "pbrs",
        (_OUTCOME, Term("progress", options={"gamma": 0.99})),
        "gae",
        _CRITIC,
        source="Ng, Harada & Russell 1999",
        note="policy-invariant shaping by progress; needs a critic",
    ),
    Recipe(
        "mira",
        (_OUTCOME, Term("subgoals", options={"weights": 0.25, "gamma": 0.99})),
        "gae",
        _CRITIC,
        source="after arXiv 2603.19685",
        note="policy-invariant shaping by milestones; needs a critic",
    ),
    Recipe(
        "cost",
        (_OUTCOME, Term("cost", 0.01)),
        "grpo",
        note="a second costs a hundredth of success; name another column of costs by the term's option",
    ),
)

_LEARNT = (
    Recipe(
        "spa",
        (),
        "spa",
        companion="contribution",
        source="arXiv 2505.20732",
        note="an estimator splits the outcome into contributions of steps",
    ),
    Recipe(
        "prime",
        (),
        "prime",
        companion="implicit",
        companion_options={"loss": "cross-entropy", "reference": "start", "lr": 1e-3},
        source="arXiv 2502.01456",
        note="an implicit reward model learns outcomes; the rate is for the small model, 1e-6 for billions of weights",
    ),
    *(
        Recipe(
            name,
            (),
            "istar",
            companion="implicit",
            companion_options={"loss": "preference", "reference": "old", "lr": 1e-3},
            source="arXiv 2509.19199",
            note="an implicit reward model learns preferences between rollouts; the rate is for the small model",
        )
        for name in ("oprl", "istar")  # the method goes by both names
    ),
    Recipe(
        "lare",
        (Term("column", options={"name": "latent_reward"}),),
        "gae",
        _CRITIC,
        companion="latent",
        source="AAAI 2025 (LaRe)",
        note="outcomes decoded from latent factors, by default the record's own columns; needs a critic",
    ),
    *(
        Recipe(
            f"oni-{model}",
            (_OUTCOME, Term("intrinsic", 0.04)),
            "gae",
            _CRITIC,
            companion="intrinsic",
            companion_options={"model": model, "source": "milestone"},
            source="arXiv 2410.23022",
            note="labels by an oracle; a language model labels with source='endpoint:URL#MODEL'; needs a critic",
        )
        for model in ("retrieval", "classification", "ranking")
    ),
    Recipe(
        "lagrangian",
        (_OUTCOME, _FINAL_PROGRESS),
        "constrained",
        {"price": "danger_price"},
        companion="danger-limit",
        companion_options={"limit": 0.005},
        source="Lagrangian relaxation, dual ascent",
        note="an unsafe step grows dearer while more than 0.5 % of the rollouts have one",
    ),
    Recipe(
        "barfi",
        (_OUTCOME, _FINAL_PROGRESS, Term("milestone", 0.25)),
        "gigpo",
        combine="blended",
        companion="blend",
        source="after arXiv 2310.19007",
        note="progress and milestones count as far as they pull where the outcome pulls",
    ),
)

RECIPES: dict[str, Recipe] = {r.name: r for r in (*_GROUP, *_PROGRESS, *_JUDGED, *_JOINED, *_LEARNT)}
"""Every built-in recipe by name."""


def recipe(name: str) -> Recipe:
    """The named recipe.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES, "agentgym.rewards.RECIPES lists them")
    return RECIPES[name]
