"""Policies, the loop that runs them, training and evaluation."""

if __name__ != "agentgym.agents":
    raise ImportError(
        "this folder is imported as 'agentgym.agents', not as 'agents'; "
        "run `pip install -e .` in the checkout and write `import agentgym.agents`"
    )
