"""The environments: one folder a family of worlds, one file a family of tasks."""

if __name__ != "agentgym.envs":
    raise ImportError(
        "this folder is imported as 'agentgym.envs', not as 'envs'; "
        "run `pip install -e .` in the checkout and write `import agentgym.envs`"
    )
