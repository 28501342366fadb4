"""The other process of ``determinism/process``: plays episodes again and prints what was said as JSON.

``python -m agentgym.check.probe`` reads a pickled ``(factory, [(seed, policy, actions), …])`` from standard input.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import sys

from agentgym.check.trace import play, scripted

__all__ = ["main"]


def main() -> None:
    """Read the job, play it, print the facts of every moment of every episode."""
    factory, episodes = pickle.load(sys.stdin.buffer)
    with contextlib.redirect_stdout(sys.stderr):  # what environments print is not the answer
        make = pickle.loads(factory)
        facts = []
        for seed, policy, actions in episodes:
            env = make()
            trace = play(env, seed, policy, scripted(actions), len(actions))
            facts.append([moment.facts for moment in trace.moments])
            env.close()
    json.dump(facts, sys.stdout)


if __name__ == "__main__":
    main()
