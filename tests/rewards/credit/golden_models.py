"""Adapters of the methods that judge, label or estimate: SPA, ADCA, CM2, ArenaRL, PAR, ensembles."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from agentgym.rewards.credit import adca, cm2, grpo, spa
from agentgym.rewards.models import contribution, par
from agentgym.rewards.models.ensemble import ensemble
from agentgym.rewards.models.tournament import BRACKETS, Result
from tests.rewards.credit.golden_cases import Case, Comparison, codes, decoded, matrix_rollouts, single_step_rollouts


def spa_cases(case: Case) -> Iterator[Comparison]:
    if "scores" in case.data["inputs"]:
        yield from spa_reward_cases(case)
        return
    produced = case.input("gpt_unmask") != -100

    def values() -> list[np.ndarray]:
        return contribution.turn_values(
            case.input("logits"), case.input("weight")[0], float(case.input("bias")[0]), produced
        )

    yield Comparison(
        "turn_values",
        lambda: np.concatenate(values()),
        np.concatenate([decoded(v).ravel() for v in case.data["outputs"]["turn_values"]]),
    )
    yield Comparison("predictions", lambda: [v.sum() for v in values()], case.output("predictions"))
    yield Comparison("loss", lambda: contribution.squared_error(values(), case.input("labels")), case.output("loss"))


def spa_reward_cases(case: Case) -> Iterator[Comparison]:
    kl = case.input("logprobs") - case.input("ref_logprobs")
    scores = [decoded(s) for s in case.data["inputs"]["scores"]]
    produced, coefficient = case.input("masks").astype(bool), case.params["kl_coef"]
    for name, given in {"rewards": scores, "non_score_rewards": [np.zeros(0)] * len(scores)}.items():
        yield Comparison(
            name,
            lambda given=given: [
                spa.token_rewards(s, p, k, kl_coefficient=coefficient)
                for s, p, k in zip(given, produced, kl, strict=True)
            ],
            case.output(name),
        )
    yield Comparison("kls", lambda: kl, case.output("kls"))


def adca_cases(case: Case) -> Iterator[Comparison]:
    p, step_ids = case.params, case.input("step_ids")
    lengths = step_ids.max(axis=1) + 1
    score = case.input("token_level_rewards").sum(axis=1)
    # As the reference aligns them: missing labels are GOOD, or in "allocation" the outcome; surplus ones are dropped.
    flags = [
        (list(f) + [bool(s > 0.5) or p["scheme"] == "decouple"] * n)[:n]
        for f, n, s in zip(case.data["inputs"]["step_flags"], lengths, score, strict=True)
    ]
    table = matrix_rollouts(
        np.arange(lengths.max()) < lengths[:, None],
        group=codes(case.input("group_ids").tolist()),
        outcome=score,
        good=np.concatenate(flags).astype(bool),
    )

    def ours() -> np.ndarray:
        advantage = adca.assign(
            table,
            scheme=p["scheme"],
            alpha=p["alpha"],
            base=p["fix_base"],
            agreeing=p["consistent_scale"],
            bad_in_success=p["pos_unconsistent_scale"],
            good_in_failure=p["neg_unconsistent_scale"],
            normalise=p["do_batch_norm"],
            over="trajectories" if p["equal_trajectory_weight"] else "rows",
            outcome_on=p["orm_distribution"],
            by_length=p["enable_length_normalization"] and p["scheme"] == "decouple",
            eps=p["eps"],
        )
        result = np.zeros(step_ids.shape)
        for line, start in zip(np.flatnonzero(lengths), table.starts, strict=True):
            valid = step_ids[line] >= 0
            result[line, valid] = advantage[start + step_ids[line, valid]]
        return result

    yield Comparison("advantages", ours, case.output("advantages"))
    yield Comparison("orm_scores", lambda: score, case.output("orm_scores"))


def cm2_cases(case: Case) -> Iterator[Comparison]:
    ends = case.input("turn_end_tensor").astype(bool)
    failed = np.zeros(len(ends), dtype=bool)
    failed[case.data["inputs"]["failed_rows"]] = True
    table = matrix_rollouts(ends, group=codes(case.input("index").tolist()), failed=np.repeat(failed, ends.sum(axis=1)))
    # The reference holds a turn's reward divided by the number of turns, and multiplies it back.
    reward = (case.input("token_level_rewards") * case.input("max_num_turns")[:, None])[ends]

    def ours() -> np.ndarray:
        advantage = np.zeros(ends.shape)
        advantage[ends] = cm2.assign(table, reward, divide=case.params["norm_adv_by_std"])
        # A turn's value stands on all its tokens, from behind the turn before up to its own end.
        for line, end in zip(advantage, ends, strict=True):
            places = np.flatnonzero(end)
            for low, high in zip(np.append(0, places[:-1] + 1), places, strict=True):
                line[low : high + 1] = line[high]
        return advantage

    theirs = case.output("advantages")
    gone = theirs is not None and len(theirs) < len(ends)  # failed rows left the batch
    yield Comparison("advantages", (lambda: ours()[~failed]) if gone else ours, theirs)


def arenarl_cases(case: Case) -> Iterator[Comparison]:
    n, scores = case.params["group_size"], case.data["inputs"]["judge_scores"]
    bracket = next(b for b in BRACKETS if case.data["case"].startswith(b.removesuffix("ination")))

    def played() -> Result:
        rng = random.Random(case.params["python_random_seed"])
        options = {"as_released": True} if bracket == "swiss" else {}
        return BRACKETS[bracket](n, lambda i, j: tuple(scores[f"{i},{j}"]), rng, **options)

    yield Comparison(
        "rewards",
        lambda: grpo.assign(single_step_rollouts(np.zeros(n, dtype=np.int64)), score=played().reward),
        case.output("rewards"),
    )
    yield Comparison("judge_calls", lambda: len(played().calls), case.output("judge_calls"))
    yield Comparison("judge_pairs", lambda: np.array(played().calls), case.output("judge_pairs"))


def par_cases(case: Case) -> Iterator[Comparison]:
    reward, references, k = case.input("reward"), case.input("reference_rewards"), case.params["sigmoid_k"]
    for name in ("relative_sigmoid", "relative_tanh", "sigmoid", "centered"):
        form = "centred" if name == "centered" else name
        yield Comparison(name, lambda form=form: par.shaped(reward, references, form=form, k=k), case.output(name))


def ensemble_cases(case: Case) -> Iterator[Comparison]:
    scores, coefficient = case.input("scores"), case.params["coeff"]
    for path, ddof in (("bon", 0), ("ppo", 1)):
        for rule in ("mean", "wco", "uwo"):
            yield Comparison(
                f"{path}_{rule}",
                lambda rule=rule, ddof=ddof: ensemble(scores, rule=rule, coefficient=coefficient, ddof=ddof),
                case.output(f"{path}_{rule}"),
            )
