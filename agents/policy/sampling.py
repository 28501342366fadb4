"""From logits to choices: temperature, nucleus (top-p) and sampling by inverse distribution function.

A choice is a function of the logits and of one uniform number, so it does not depend on how rows were batched. Top-p is
nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751): the smallest set of most probable tokens whose probability
reaches ``top_p``. The inverse distribution function runs in token order, not in order of probability, so that near
ties cannot reshuffle it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from agentgym.errors import UsageError

__all__ = ["behaviour", "check_sampling", "choose", "pick"]


def check_sampling(temperature: float, top_p: float) -> None:
    """Refuse what is no distribution.

    Raises:
        UsageError: unless 0 < temperature < inf and 0 < top_p <= 1.
    """
    if not 0.0 < temperature < float("inf"):
        raise UsageError(f"expected a temperature above 0, got {temperature}; for the most probable token use greedy")
    if not 0.0 < top_p <= 1.0:
        raise UsageError(f"expected top_p in (0, 1], got {top_p}")


def behaviour(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """The distribution sampled from: float64[n, V] probabilities for logits[n, V]."""
    p = torch.softmax(logits.double() / temperature, dim=-1)
    if top_p < 1.0:
        ordered, order = torch.sort(p, dim=-1, descending=True, stable=True)
        keep = torch.cumsum(ordered, dim=-1) - ordered < top_p
        p = p * torch.zeros_like(keep).scatter_(-1, order, keep)
        p = p / p.sum(dim=-1, keepdim=True)
    return p


def choose(
    logits: torch.Tensor,
    greedy: torch.Tensor,
    u: torch.Tensor,
    *,
    temperature: float,
    top_p: float,
    all_greedy: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Choose one token per row.

    Args:
        logits: float32[n, V].
        greedy: bool[n], rows that take the most probable token (the first of equals).
        u: float64[n] in [0, 1), read by the other rows.
        all_greedy: every row is greedy (known to the caller without asking the device).

    Returns:
        token int64[n], raw log-probability float32[n], behaviour log-probability float64[n] (0 for greedy rows).
    """
    best = logits.argmax(dim=-1)
    if all_greedy:
        token = best
        logp = torch.zeros(token.shape, dtype=torch.float64, device=logits.device)
    else:
        p = behaviour(logits, temperature, top_p)
        cdf = torch.cumsum(p, dim=-1)
        total = cdf[:, -1:]
        # Just below the total, so that rounding cannot point past the last token of positive probability.
        x = torch.minimum(u[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
        sampled = torch.searchsorted(cdf, x, right=True)[:, 0]
        token = torch.where(greedy, best, sampled)
        logp = torch.where(greedy, 0.0, torch.log(p.gather(1, token[:, None])[:, 0]))
    raw = logits.gather(1, token[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)
    return token, raw, logp


def pick(
    scores: npt.NDArray[np.float64], u: float, *, temperature: float, top_p: float, greedy: bool
) -> tuple[int, float]:
    """Choose among K candidates by their log-probabilities: the law of `choose`, for one row and small K.

    Returns:
        The index, and its log-probability under the distribution sampled from (0 when greedy).
    """
    if greedy:
        return int(scores.argmax()), 0.0
    p = np.exp((scores - scores.max()) / temperature)
    p /= p.sum()
    if top_p < 1.0:
        order = np.argsort(-p, kind="stable")
        keep = np.zeros(len(p), dtype=np.bool_)
        keep[order] = np.cumsum(p[order]) - p[order] < top_p
        p = np.where(keep, p, 0.0)
        p /= p.sum()
    cdf = np.cumsum(p)
    index = int(np.searchsorted(cdf, min(u * cdf[-1], np.nextafter(cdf[-1], 0.0)), side="right"))
    return index, float(np.log(p[index]))
