"""Serving environments to other processes and machines (``agentgym serve``).

Clients are `agentgym/Remote-v0`, an ordinary environment with the same record, and OpenEnv's clients. What a client
sends is hostile: it is bounded in size, time and number, read in the process of its own session alone, never executed,
and reaches no option that names a file, a program or an address.
"""

from __future__ import annotations
