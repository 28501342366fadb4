"""One adapter per method: which of our functions, with which options, must give which output of a golden file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from agentgym.rewards.credit import dr_grpo, gdpo, gigpo, grpo, gtd, hgpo, istar, prime, pure, reinforce_pp, rloo
from agentgym.rewards.credit.groups import suffix_sums
from agentgym.rewards.models import implicit
from agentgym.steps import StepTable
from tests.rewards.credit.golden_cases import (
    Case,
    Comparison,
    codes,
    decoded,
    matrix_rollouts,
    per_row,
    row_comparison,
    single_step_rollouts,
)
from tests.rewards.credit.golden_models import (
    adca_cases,
    arenarl_cases,
    cm2_cases,
    ensemble_cases,
    par_cases,
    spa_cases,
)

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
        "step_rewards",
        lambda: case.rows.back(
            suffix_sums(table, table.reward, p["gamma"]) - p["invalid_action_penalty_coef"] * ~table.grounded
        ),
        case.input("step_rewards"),
        from_inputs=True,
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


def gdpo_cases(case: Case) -> Iterator[Comparison]:
    if "rewards_per_func" in case.data["inputs"]:
        yield from gdpo_trl_cases(case)
        return
    scores = np.stack([case.input(k).sum(axis=1) for k in ("scores_correctness", "scores_format")], axis=1)
    index = codes(case.input("index").tolist())
    order = np.argsort(index, kind="stable")
    table = single_step_rollouts(index[order], n_tokens=case.input("response_mask").sum(axis=1)[order])
    counted = case.input("response_mask").any(axis=1)

    def back(values: np.ndarray) -> np.ndarray:
        result = np.empty_like(values)
        result[order] = values
        return np.where(counted, result, 0.0)

    yield Comparison(
        "advantages",
        lambda: back(gdpo.assign(table, score=scores[order], whiten_over="tokens")),
        per_row(case, case.output("advantages")),
    )
    yield Comparison(
        "grpo_of_sum",
        lambda: back(grpo.assign(table, score=scores[order].sum(axis=1))),
        per_row(case, case.output("grpo_of_sum")),
    )


def gdpo_trl_cases(case: Case) -> Iterator[Comparison]:
    scores = np.nan_to_num(case.input("rewards_per_func"), nan=0.0)  # a missing reward counts as 0 there, ours asks
    table = single_step_rollouts(np.arange(len(scores)) // case.params["num_generations"])
    options = {"score": scores, "weights": decoded(case.params["reward_weights"]), "version": "trl"}
    yield Comparison("advantages", lambda: gdpo.assign(table, **options), case.output("advantages"))
    yield Comparison(
        "pre_bn_advantages",
        lambda: gdpo.assign(table, batch_normalise=False, **options),
        case.output("pre_bn_advantages"),
    )


def pure_cases(case: Case) -> Iterator[Comparison]:
    inputs = case.data["inputs"]
    if "logits" in inputs:
        yield from pure_weight_cases(case)
    elif "experiences" in inputs:
        yield from pure_main_cases(case)
    else:
        yield from pure_verl_cases(case)


def pure_weight_cases(case: Case) -> Iterator[Comparison]:
    """Logits of (bad, good) per step; a row is a trajectory."""
    logits, mask = case.input("logits"), case.input("reward_mask").astype(bool)
    p = np.tanh((logits[..., 1] - logits[..., 0]) / 2)  # softmax(good) - softmax(bad)
    table = matrix_rollouts(mask)
    options = {"temperature": case.params["temperature"], "uniform": case.params["disable_weighted_reward"]}

    def process() -> np.ndarray:
        result = np.zeros(mask.shape)
        result[mask] = pure.weighted(table, p[mask], **options)
        return result

    yield Comparison("process_reward", process, case.output("process_reward"))
    yield Comparison("outcome_reward", lambda: process().sum(axis=1), case.output("outcome_reward"))


def pure_main_cases(case: Case) -> Iterator[Comparison]:
    """Each experience is one prompt's samples; a step ends at its separator, the verifiable part is on the EOS."""
    p = case.params
    for i, experience in enumerate(case.data["inputs"]["experiences"]):
        e = {k: decoded(v) for k, v in experience.items()}
        mask, tokens = e["process_reward_mask"], e["num_tokens_per_step"][e["score_mask"]]
        # The separator is one more token; what follows the last one belongs to nobody but the response's length.
        steps_of = mask.sum(axis=1)
        spare = e["response_length"] - np.array([t.sum() for t in np.split(tokens + 1, np.cumsum(steps_of)[:-1])])
        assert not spare.any(), "a response ends with a separator"
        table = matrix_rollouts(
            mask, group=np.arange(len(mask)) // p["n_samples_per_prompt"], outcome=e["solved"], n_tokens=tokens + 1
        )
        options = {
            "temperature": None,
            "baseline": p["reward_baseline"],
            "verifiable": p["verifiable_reward_coef"] if p["reward_mode"] == "PRMVR" else 0.0,
        }
        reward = e["process_reward"][mask]

        def shaped(table=table, reward=reward, options=options, mask=mask, e=e) -> np.ndarray:
            result = np.zeros(mask.shape)
            plain = pure.shaped(table, reward, **{**options, "verifiable": 0.0})
            result[mask] = plain
            verifiable = (pure.shaped(table, reward, **options) - plain)[table.ends]
            result[np.arange(len(mask)), e["response_length"].astype(int) - 1] += verifiable
            return result

        outputs = case.data["outputs"]
        outcome = np.add.reduceat(reward, table.starts)
        yield Comparison("shaped_rewards", shaped, decoded(outputs["shaped_rewards"][i]))
        yield Comparison("outcome_reward", lambda o=outcome: o, decoded(outputs["outcome_reward"][i]))
        agrees = ((outcome > 0) == (e["solved"] > 0)).astype(float)
        yield Comparison("match", lambda a=agrees: a, decoded(outputs["match"][i]))


def pure_verl_cases(case: Case) -> Iterator[Comparison]:
    """Every valid token is a row."""
    mask = case.input("eos_mask").astype(bool)
    index = codes(case.input("index").tolist())
    options = {
        "temperature": None,
        "verifiable": 0.0,
        "baseline": "padded",
        "aggregate": case.params["return_aggregate_method"],
        "padded_length": mask.shape[1],
    }
    for name, whiten in (("advantages", case.params["adv_norm"]), ("returns", False)):

        def ours(whiten: bool = whiten) -> np.ndarray:
            table = matrix_rollouts(mask, group=index)
            result = np.zeros(mask.shape)
            result[mask] = pure.assign(table, case.input("token_level_rewards")[mask], whiten=whiten, **options)
            return result

        yield Comparison(name, ours, case.output(name))


def prime_cases(case: Case) -> Iterator[Comparison]:
    p = case.params
    if "Q_bc" in case.data["inputs"]:
        yield from prime_loss_cases(case)
        return
    mask = case.input("attention_mask")[:, p["prompt_length"] :].astype(bool)
    q, acc = case.input("log_prob") - case.input("ref_log_prob"), case.input("acc")
    group = np.arange(len(q)) // p["n_samples"]
    table = matrix_rollouts(mask, group=group, outcome=acc)
    granularity = {"token": "row", "whole": "whole"}[p["granularity"]]
    total = (q * mask).sum(axis=1)

    def on_tokens(values: np.ndarray) -> np.ndarray:
        result = np.zeros(mask.shape)
        result[mask] = values
        return result

    def valid(name: str) -> np.ndarray | None:
        """The reference leaves advantages on padding; ours has none."""
        out = case.output(name)
        return None if out is None else np.where(mask, out, 0.0)

    def assign(prefix: str, whiten: bool) -> Callable[[], np.ndarray]:
        weights = (p["recipe_reward_dpo_coef"], p["recipe_reward_gt_coef"]) if prefix else (1.0, 1.0)
        return lambda: on_tokens(
            prime.assign(
                table,
                q[mask],
                granularity=granularity,
                batch_norm=p["prime_norm"] == "batch_norm",
                process_weight=weights[0],
                outcome_weight=weights[1],
                gamma=p["reward_model_gamma"],
                outcome_gamma=p["verifier_gamma"],
                whiten=whiten,
            )
        )

    for prefix in ("", "recipe_"):
        yield Comparison(prefix + "advantages", assign(prefix, True), valid(prefix + "advantages"))
        yield Comparison(prefix + "returns", assign(prefix, False), valid(prefix + "returns"))
    if case.data["outputs"] is None:
        return
    scaled = {"token_level_score_raw": False, "rm_scores": p["prime_norm"] == "batch_norm"}
    for name, scale in scaled.items():
        yield Comparison(
            name,
            lambda scale=scale: on_tokens(prime.batch_normalised(table, q[mask], granularity=granularity, scale=scale)),
            case.output(name),
        )
    yield Comparison("q", lambda: q, case.output("q"))
    yield Comparison(
        "ce_loss", lambda: implicit.cross_entropy(total, acc, beta=p["beta_train"]), case.output("ce_loss")
    )
    yield Comparison("dpo_accuracy", lambda: implicit.pair_accuracy(group, total, acc), case.output("dpo_accuracy"))


def prime_loss_cases(case: Case) -> Iterator[Comparison]:
    p, acc = case.params, case.input("acc")
    group = np.arange(len(acc)) // p["n_samples"]
    total = (case.input("token_level_scores") * case.input("response_mask")).sum(axis=1)
    other = np.concatenate([rows[0] for rows in np.split(case.input("Q_bc"), len(acc) // p["n_samples"])])
    yield Comparison(
        "loss",
        lambda: implicit.detached_preference(
            group, total, acc, beta=p["beta"], best_of_n=p["bon_mode"], reference_total=other
        ),
        case.output("loss"),
    )
    yield Comparison("accuracy", lambda: implicit.pair_accuracy(group, total, acc), case.output("accuracy"))
    yield Comparison("abs_accuracy", lambda: implicit.absolute_accuracy(total, acc), case.output("abs_accuracy"))


def istar_cases(case: Case) -> Iterator[Comparison]:
    table, order = case.rows.table, case.rows.order
    step = case.input("rm_scores").sum(axis=1)[order]
    weight = case.params["step_advantage_w"]
    for name, options in {
        "rloo": {"variant": "rloo", "step_weight": weight},
        "rloo_process_only": {"variant": "rloo", "outcome_weight": 0.0},
        "grpo_mean_norm": {"variant": "mean", "step_weight": weight},
        "grpo_mean_std_norm": {"variant": "grpo", "step_weight": weight},
        "reinforce_pp": {"variant": "reinforce++", "step_weight": weight, "whiten_over": "tokens"},
        "combined": {"variant": "rloo", "step_weight": weight},
    }.items():
        yield row_comparison(case, name, lambda s, options=options: istar.assign(s, step, step_over="first", **options))
    log_ratio = (case.input("q_log_ratio") * case.input("response_mask")).sum(axis=1)[order]
    mean = np.add.reduceat(log_ratio, table.starts) / table.lengths
    yield Comparison(
        "traj_dpo_loss",
        lambda: implicit.preference(
            table.trajectory_group, mean, case.input("acc")[order][table.starts], beta=case.params["beta_train"]
        ),
        case.output("traj_dpo_loss"),
    )


ADAPTERS: dict[str, Callable[[Case], Iterator[Comparison]]] = {
    "grpo": grpo_cases,
    "rloo": rloo_cases,
    "gigpo": gigpo_cases,
    "hgpo": hgpo_cases,
    "gtd": gtd_cases,
    "gdpo": gdpo_cases,
    "pure": pure_cases,
    "prime": prime_cases,
    "istar": istar_cases,
    "spa": spa_cases,
    "adca": adca_cases,
    "cm2": cm2_cases,
    "arenarl": arenarl_cases,
    "par": par_cases,
    "ensemble": ensemble_cases,
}

NOT_BUILT: set[str] = set()
"""Methods with golden files whose code is still to come; a file of any other unknown method fails."""
