"""containers room of agentgym."""

if __name__ != "agentgym.containers":
    raise ImportError("this folder is imported as 'agentgym.containers', not as 'containers'; run `pip install -e .` in the checkout and write `import agentgym.containers`")
