"""PAR: preference as reward, a score bounded by comparison with reference answers (arXiv 2502.18770).

    relative sigmoid   mean_m sigmoid(k (r - ref_m))       the paper's; up to 10 references, k = 1
    relative tanh      mean_m tanh(r - ref_m)              in (-1, 1), without k, as in the authors' code
    centred            r - mean_m ref_m
    sigmoid            sigmoid(k r)                         without references

The optional length penalty takes ``penalty`` per token above ``free_tokens`` (0.01 and 300 in the authors' script).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, finite, number, one_of

__all__ = ["length_penalty", "shaped"]


def shaped(
    reward: npt.ArrayLike,
    references: npt.ArrayLike | None = None,
    *,
    form: Literal["relative_sigmoid", "relative_tanh", "centred", "sigmoid"] = "relative_sigmoid",
    k: float = 1.0,
) -> Float:
    """float64[n]: the shaped reward.

    Args:
        reward: float[n], the reward model's.
        references: float[n, m], its rewards of m answers of a reference policy to the same prompt.
        form: see above.
        k: steepness of the sigmoids, above 0.

    Raises:
        ValueError: columns not finite or of another shape; references missing.
    """
    one_of("form", form, ("relative_sigmoid", "relative_tanh", "centred", "sigmoid"))
    number("k", k, 0.0, open_low=True)
    r = finite("reward", reward, (len(np.asarray(reward)),))
    if form == "sigmoid":
        return _sigmoid(k * r)
    given = np.asarray(references)
    if references is None or given.ndim != 2 or not given.shape[1]:
        raise ValueError(
            f"{form!r} compares with reference rewards of shape ({len(r)}, m), m at least 1; give `references`"
        )
    ref = finite("references", given, (len(r), given.shape[1]))
    gap = r[:, None] - ref
    if form == "centred":
        return np.asarray(gap.mean(axis=1))
    bounded = _sigmoid(k * gap) if form == "relative_sigmoid" else np.tanh(gap)
    return np.asarray(bounded.mean(axis=1))


def length_penalty(n_tokens: npt.ArrayLike, *, penalty: float = 0.01, free_tokens: int = 300) -> Float:
    """float64[n]: minus ``penalty`` for every token above ``free_tokens``."""
    number("penalty", penalty, 0.0)
    return -penalty * np.maximum(np.asarray(n_tokens, dtype=np.float64) - free_tokens, 0.0)


def _sigmoid(x: Float) -> Float:
    """1 / (1 + exp(-x)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -x))
