"""Reports: one HTML file that shows what a run found, for a browser without a network."""

from agentgym.agents.evaluate.report.write import write_report

__all__ = ["write_report"]
