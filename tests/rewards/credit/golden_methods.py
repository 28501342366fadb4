"""One adapter per method: which of our functions, with which options, must give which output of a golden file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from agentgym.rewards.credit import dr_grpo, gigpo, grpo, gtd, hgpo, reinforce_pp, rloo
from agentgym.rewards.credit.groups import suffix_sums
from agentgym.steps import StepTable
from tests.rewards.credit.golden_cases import Case, Comparison, codes, row_comparison

OVER = {True: "rows", False: "trajectories"}
"""The references' ``compute_mean_std_cross_steps``."""

MODE = {"mean_norm": "mean", "mean_std_norm": "mean_std"}


def grpo_cases(case: Case) -> Iterator[Comparison]:
    over = OVER[case.params["compute_mean_std_cross_steps"]]
    divide = case.params["norm_adv_by_std_in_grpo"]
    options = {"normalise": "mean_std" if divide else "mean", "eps": case.params["epsilon"]}
    yield row_comparison(case, "verl_agent", lambda s: grpo.assign(s, over=over, **options))
    if not divide:
        dr = row_comparison(case, "verl_agent", lambda s: dr_grpo.assign(s, over=over))
        yield Comparison("verl_agent", dr.ours, dr.theirs)
    yield row_comparison(case, "verl", lambda s: grpo.assign(s, over="rows", **options))
    floor = case.params["epsilon"] ** 0.5
    yield row_comparison(case, "verl_vectorized", lambda s: grpo.assign(s, over="rows", min_std=floor, **options))
    # The reference writes the lead on the first row of the best trajectory alone.
    trajectories = case.input("traj_index").tolist()
    first = np.array([i == 0 or t not in trajectories[:i] for i, t in enumerate(trajectories)])
    yield row_comparison(
        case, "verl_agent_passk", lambda s: grpo.assign(s, over=over, pass_at_k=True, **options), only=first
    )
    yield row_comparison(
        case,
        "verl_agent_reinforce_pp_baseline",
        lambda s: reinforce_pp.assign(s, over=over, whiten_over="tokens"),
    )


def rloo_cases(case: Case) -> Iterator[Comparison]:
    over = OVER[case.params["compute_mean_std_cross_steps"]]
    yield row_comparison(case, "verl_agent", lambda s: rloo.assign(s, over=over))
    yield row_comparison(case, "verl", lambda s: rloo.assign(s, over="rows"))
    yield row_comparison(case, "verl_vectorized", lambda s: rloo.assign(s, over="rows", single="zero"))


def gigpo_cases(case: Case) -> Iterator[Comparison]:
    p = case.params
    shared = {
        "normalise": MODE.get(p["mode"], p["mode"]),
        "eps": p["epsilon"],
        "invalid_penalty": p["invalid_action_penalty_coef"],
    }
    episode = {**shared, "over": "rows"}
    states = {"similarity": p["similarity_thresh"] if p["enable_similarity"] else None}
    step = {**shared, **states, "gamma": p["gamma"]}
    yield row_comparison(
        case, "advantages", lambda s: gigpo.assign(s, step_weight=p["step_advantage_w"], over="rows", **step)
    )
    if case.data["outputs"] is None:
        return
    yield row_comparison(case, "episode_advantages", lambda s: gigpo.episode_part(s, **episode))
    yield row_comparison(
        case, "episode_advantages_per_trajectory_stats", lambda s: gigpo.episode_part(s, over="trajectories", **shared)
    )
    yield row_comparison(case, "step_advantages", lambda s: gigpo.step_part(s, **step))
    yield Comparison(
        "step_group",
        lambda: codes(case.rows.back(gigpo.state_groups(case.rows.table, **states).code).tolist()),
        codes(case.output("step_group").tolist()),
    )
    table = case.rows.table
    yield Comparison(
        "step_rewards",  # an input of the reference, but made from the environment's rewards
        lambda: case.rows.back(
            suffix_sums(table, table.reward, p["gamma"]) - p["invalid_action_penalty_coef"] * ~table.grounded
        ),
        case.input("step_rewards"),
    )


def hgpo_cases(case: Case) -> Iterator[Comparison]:
    p = case.params
    yield row_comparison(
        case,
        "advantages",
        lambda s: hgpo.assign(
            s,
            history=p["history_length"],
            alpha=p["length_weight_alpha"],
            weights="code",
            base_group=p["base_group"],
            gamma=p["gamma"],
            normalise=MODE.get(p["mode"], p["mode"]),
            over="rows",
            eps=p["epsilon"],
        ),
    )


def gtd_cases(case: Case) -> Iterator[Comparison]:
    p = case.params
    table = StepTable.from_columns(**{k: np.asarray(v) for k, v in case.data["inputs"].items()})
    for name in case.output_names():
        prior, lam = name.split("_lambda")
        yield Comparison(
            name,
            lambda prior=prior, lam=lam: gtd.assign(
                table,
                prior=prior,
                lam=float(lam),
                kappa=p["kappa"],
                prior_count=p["prior_count"],
                bins=p["bins"],
                horizon=p["horizon"],
                normalise=p["normalise"],
            ),
            case.output(name),
        )


ADAPTERS: dict[str, Callable[[Case], Iterator[Comparison]]] = {
    "grpo": grpo_cases,
    "rloo": rloo_cases,
    "gigpo": gigpo_cases,
    "hgpo": hgpo_cases,
    "gtd": gtd_cases,
}

NOT_BUILT = {
    "adca",
    "arenarl",
    "cm2",
    "ensemble",
    "gdpo",
    "istar",
    "par",
    "prime",
    "pure",
    "spa",
}
"""Methods with golden files whose code is still to come; a file of any other unknown method fails."""
