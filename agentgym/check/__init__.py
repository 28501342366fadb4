"""The proof that an environment keeps the contract: one rule a line, each with an id, a sentence and its evidence.

`agentgym check ID` runs `command`; tests call `check_process_env`. A rule passes, fails (saying where, what was
expected, what came, what to do) or is not applicable (saying why). A task that can be solved must bring an oracle,
unless its ``no_oracle`` says why no script can solve it: then the rules about oracles are not applicable, visibly.
"""

from agentgym.check.engine import RULES, check_process_env, command
from agentgym.check.report import Report, Result, Rule

__all__ = ["RULES", "Report", "Result", "Rule", "check_process_env", "command"]
