"""The public index of credit assigners: name -> function, and what it asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentgym.errors import UnknownName
from agentgym.rewards.credit import (
    adca,
    arenarl,
    cm2,
    constrained,
    copo,
    dr_grpo,
    duration,
    gae,
    gdpo,
    gigpo,
    grpo,
    gtd,
    gtdp,
    hgpo,
    htd,
    istar,
    pooling,
    portool,
    prime,
    propagation,
    pure,
    reinforce_pp,
    return_to_go,
    rloo,
    salt,
    spa,
)

__all__ = ["METHODS", "Assigner", "Method", "assigner", "method"]

Assigner = Callable[..., npt.NDArray[np.float64]]
"""``assign(steps, rewards=None, **options) -> float64[n]``."""


@dataclass(frozen=True)
class Method:
    """One credit assigner.

    Attributes:
        assign: the function.
        source: paper, or "ours".
        needs_groups: it compares rollouts of one task, so a stream of single episodes cannot feed it.
        scores_trajectories: it takes ``score``, one number per trajectory.
        needs_critic: it takes ``values`` (and ``last_values``) of a critic.
        columns: extra columns it reads where a recipe gives it no terms, or always.
        names: options that name further columns, extras or the table's own.
    """

    assign: Assigner
    source: str
    needs_groups: bool = True
    scores_trajectories: bool = True
    needs_critic: bool = False
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


_RATIO = ("logprob_model", "logprob_reference")

METHODS: dict[str, Method] = {
    "return-to-go": Method(return_to_go.assign, "Williams 1992", needs_groups=False, scores_trajectories=False),
    "gae": Method(gae.assign, "arXiv 1506.02438", needs_groups=False, scores_trajectories=False, needs_critic=True),
    "grpo": Method(grpo.assign, "arXiv 2402.03300"),
    "dr-grpo": Method(dr_grpo.assign, "arXiv 2503.20783"),
    "rloo": Method(rloo.assign, "arXiv 2402.14740"),
    "reinforce++": Method(reinforce_pp.assign, "arXiv 2501.03262"),
    "gigpo": Method(gigpo.assign, "arXiv 2505.10978"),
    "hgpo": Method(hgpo.assign, "arXiv 2602.22817"),
    "gtd": Method(gtd.assign, "ours", scores_trajectories=False),
    "gtdp": Method(gtdp.assign, "ours", scores_trajectories=False),
    "htd": Method(htd.assign, "ours", scores_trajectories=False),
    "salt": Method(salt.assign, "after arXiv 2510.20022"),
    "gdpo": Method(gdpo.assign, "arXiv 2601.05242"),
    "pure": Method(pure.assign, "arXiv 2504.15275", scores_trajectories=False),
    "prime": Method(prime.assign, "arXiv 2502.01456", columns=_RATIO),
    "istar": Method(istar.assign, "arXiv 2509.19199", columns=_RATIO),
    "spa": Method(
        spa.assign, "arXiv 2505.20732", needs_groups=False, scores_trajectories=False, columns=("contribution",)
    ),
    "adca": Method(adca.assign, "arXiv 2511.10395", names=("good",)),
    "cm2": Method(cm2.assign, "CM2-RLCR-Tool-Agent (released code)", scores_trajectories=False),
    "arenarl": Method(arenarl.assign, "arXiv 2601.06487", scores_trajectories=False, names=("judge",)),
    "portool": Method(portool.assign, "after arXiv 2510.26020"),
    "copo": Method(copo.assign, "after COPO"),
    "constrained": Method(constrained.assign, "ours", names=("price",)),
    "duration": Method(duration.assign, "arXiv 2509.01684"),
    "pooling": Method(pooling.assign, "ours"),
    "propagation": Method(propagation.assign, "after RewardFlow", scores_trajectories=False),
}
"""Every credit assigner by name."""


def method(name: str) -> Method:
    """The named method.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in METHODS:
        raise UnknownName("credit method", name, METHODS, "agentgym.rewards.credit.METHODS lists them")
    return METHODS[name]


def assigner(name: str) -> Assigner:
    """The ``assign`` function of the named method: ``assigner("gigpo")(steps)``.

    Raises:
        UnknownName: there is none of that name.
    """
    return method(name).assign
