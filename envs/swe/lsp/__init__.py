"""Process reward from language servers, after Lanser-CLI: what ruff and basedpyright say before and after an edit.

>>> from agentgym.envs.swe.lsp import Judge, LanguageServer, Transcript, reward
>>> transcript = Transcript()
>>> with Judge([transcript.recording(LanguageServer("ruff"))]) as judge:
...     start = judge.start({"a.py": b"import os\n\nprint(1)\n"})
...     after = judge.measure({"a.py": b"print(1)\n"})
>>> reward(start, after).value
0.5
>>> replayed = Judge(transcript.replays())
>>> replayed.start({"a.py": b"import os\n\nprint(1)\n"}).count, replayed.measure({"a.py": b"print(1)\n"}).count
(1, 0)
"""

from agentgym.envs.swe.lsp.judge import Judge, Measure
from agentgym.envs.swe.lsp.locate import Place, confidence, locate
from agentgym.envs.swe.lsp.reward import Components, Weights, lanser, reward
from agentgym.envs.swe.lsp.server import SERVERS, Diagnostic, Diagnostics, LanguageServer, ServerTrouble
from agentgym.envs.swe.lsp.transcript import Replay, Transcript

__all__ = [
    "SERVERS",
    "Components",
    "Diagnostic",
    "Diagnostics",
    "Judge",
    "LanguageServer",
    "Measure",
    "Place",
    "Replay",
    "ServerTrouble",
    "Transcript",
    "Weights",
    "confidence",
    "lanser",
    "locate",
    "reward",
]
