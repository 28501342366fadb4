"""Sandboxes for what an agent runs, and the recipes of their images.

>>> from agentgym.containers import new_sandbox
>>> with new_sandbox() as box:
...     box.exec("echo hello").out.text
'hello\\n'
"""

if __name__ != "agentgym.containers":
    raise ImportError(
        "this folder is imported as 'agentgym.containers', not as 'containers'; "
        "run `pip install -e .` in the checkout and write `import agentgym.containers`"
    )

from agentgym.containers.bubblewrap import Bubblewrap
from agentgym.containers.choose import BACKENDS, Backend, backends, new_sandbox
from agentgym.containers.docker import Docker
from agentgym.containers.limits import GIB, MIB, Limits
from agentgym.containers.pool import Pool
from agentgym.containers.sandbox import FileRefused, Output, Result, Sandbox, Session

__all__ = [
    "BACKENDS",
    "GIB",
    "MIB",
    "Backend",
    "Bubblewrap",
    "Docker",
    "FileRefused",
    "Limits",
    "Output",
    "Pool",
    "Result",
    "Sandbox",
    "Session",
    "backends",
    "new_sandbox",
]
