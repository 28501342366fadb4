"""Sandboxes for what an agent runs, and the recipes of their images."""

if __name__ != "agentgym.containers":
    raise ImportError(
        "this folder is imported as 'agentgym.containers', not as 'containers'; "
        "run `pip install -e .` in the checkout and write `import agentgym.containers`"
    )
