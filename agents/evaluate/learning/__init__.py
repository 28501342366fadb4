"""The learning bench: do assigners that are true on paper also learn faster, and is danger consumed?

`SMALL`, `CLAIMED` and `DANGER` train a small network in one thin loop on tabulated grids, `TRANSFORMER` a language
model in the ordinary trainer. `run` makes what is missing of a plan, `summary` says what it shows.
"""

from agentgym.agents.evaluate.learning.study import Plan, Result, Study, found, run
from agentgym.agents.evaluate.learning.summary import Row, Summary, summary, verdict, write_csv

__all__ = ["Plan", "Result", "Row", "Study", "Summary", "found", "run", "summary", "verdict", "write_csv"]
