"""What papers claim of the recipes here, and which of it this bench can ask.

The question is one of direction: does the recipe learn faster than GRPO on one grid, from one small network's start?
The papers trained language models of billions of parameters on other tasks. A "not reproduced" says that the claim did
not carry over to this world, not that it is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CLAIMS", "Claim"]


@dataclass(frozen=True)
class Claim:
    """A recipe and its paper.

    Attributes:
        recipe: name. paper: where. claim: in a few words.
        arm: what the bench runs for it; '' where the question cannot be asked here.
        reads: what the arm is told beside outcomes and anchors.
        why: why it cannot be asked, or what is different here.
    """

    recipe: str
    paper: str
    claim: str
    arm: str = ""
    reads: str = ""
    why: str = ""


CLAIMS: tuple[Claim, ...] = (
    Claim("gigpo", "arXiv 2505.10978", "above GRPO by 12 % (ALFWorld) and 9 % (WebShop)", "gigpo"),
    Claim("hgpo", "arXiv 2602.22817", "above GRPO and GiGPO (ALFWorld 92.8 to 90.2)", "hgpo"),
    Claim("salt", "arXiv 2510.20022", "above GRPO by up to 10.6 % on medium and hard tasks", "salt", "", "form ours"),
    Claim("propagation", "RewardFlow", "above GRPO and GiGPO by propagated rewards", "propagation", "", "form ours"),
    Claim("copo", "COPO", "above GRPO where groups agree", "copo", "", "blend ours"),
    Claim("dr-grpo", "arXiv 2503.20783", "as good as GRPO with fewer tokens", "dr-grpo", "", "the claim is of length"),
    Claim("reinforce++", "arXiv 2501.03262", "steadier than GRPO", "reinforce++"),
    Claim("gdpo", "arXiv 2601.05242", "above GRPO with several rewards", "gdpo", "progress"),
    Claim("g-ra", "arXiv 2508.10548", "above ungated rewards (completion 47.6 to 93.8)", "g-ra", "progress, danger"),
    Claim("verpo", "arXiv 2601.03525", "above GRPO by up to 8.83 pass@1", "verpo", "milestones as unit tests"),
    Claim("mira", "arXiv 2603.19685", "WebArena-Lite 6.4 to 43.0 (WebRL 38.4)", "mira", "milestones"),
    Claim(
        "spa",
        "arXiv 2505.20732",
        "above outcome rewards by 2.5 points of success",
        "spa",
        "grounded",
        "linear estimator",
    ),
    Claim("prime", "arXiv 2502.01456", "above outcome-only RLOO by 6.9 %", "prime", "", "a second small network"),
    Claim("istar / oprl", "arXiv 2509.19199", "above GRPO and GiGPO", "istar", "", "a second small network"),
    Claim("pure", "arXiv 2504.15275", "as good as outcome rewards in 30 % of the steps", "pure", "progress as judge"),
    Claim("adca", "arXiv 2511.10395", "above GRPO by about 10 %, in 40 % fewer steps", "adca", "progress as judge"),
    Claim("cm2", "CM2-RLCR-Tool-Agent", "tau2 + 8, BFCL-V4 + 10 over fine-tuning", "cm2", "progress as checklist"),
    Claim("clip-delta", "arXiv 2410.15115", "above success only (30.58 to 31.44)", "clip-delta", "progress as judge"),
    Claim("ppr / renorm", "arXiv 2509.25598", "above outcome-only rewards", "ppr", "progress as judge", "form ours"),
    Claim("arenarl", "arXiv 2601.06487", "above GRPO on open-ended tasks", "arenarl", "final progress as judge"),
    Claim("portool", "arXiv 2510.26020", "above GRPO", why="it credits the forks of tree rollouts; these are flat"),
    Claim("duration", "arXiv 2509.01684", "+22 % on MLEBench", why="all actions last equally long, so it is GRPO"),
    Claim("calm", "arXiv 2409.12798", "subgoals labelled well", why="the paper trains nothing on its labels"),
    Claim(
        "lare / oni-retrieval / oni-classification / oni-ranking / par / wco / uwo / krc / barfi / auto-mc / "
        "lanser / opagent",
        "see docs/credit.md",
        "of other comparisons",
        why="no claim over GRPO",
    ),
)
