"""Environments that run elsewhere: behind ``agentgym serve`` in another process, another container, another machine."""
