"""One file a task family; `agentgym.envs.grid.make` finds them by name."""
