"""From process records to step rewards, and from step rewards to advantages."""

if __name__ != "agentgym.rewards":
    raise ImportError(
        "this folder is imported as 'agentgym.rewards', not as 'rewards'; "
        "run `pip install -e .` in the checkout and write `import agentgym.rewards`"
    )
