"""The agent loop: jobs in, rollouts out, with whichever environments are ready forming the next batch."""

from agentgym.agents.loop.collector import Collector, collect
from agentgym.agents.loop.tree import collect_trees
from agentgym.agents.loop.types import Ended, Job, Rollouts

__all__ = ["Collector", "Ended", "Job", "Rollouts", "collect", "collect_trees"]
