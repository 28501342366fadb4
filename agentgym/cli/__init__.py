"""The command line: ``agentgym COMMAND``.

Each command is one module here with one dataclass `Command`: its fields are the options, its docstring the help, its
`run` the work. Nothing but the command that was asked for is imported, so ``agentgym --help`` answers at once.

=========  ========================================================================================================
exit code  meaning
=========  ========================================================================================================
0          done, and what was asked about is in order
1          done, but it found something wrong (a rule failed, an episode broke), or an unexpected error
2          asked for something that cannot be: one line on stderr says what was expected, what came, what to do
130        interrupted by Ctrl-C
=========  ========================================================================================================
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from agentgym import errors

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, str] = {
    "envs": "list environments, search them, describe one",
    "check": "prove that environments keep the contract",
    "play": "act in an environment yourself, or watch its oracle",
    "rollout": "let a policy play episodes and keep what happened",
    "quickstart": "the main job: a small policy learns DoorKey-8x8",
    "train": "train a policy: demonstrations, then policy gradient",
    "eval": "measure a policy on a suite, with confidence intervals",
    "compare": "compare two evaluations, episode by episode",
    "bench": "measure whether credit and signals tell the truth",
    "report": "write a run as one page of HTML",
    "swe": "make things to repair out of packages, and read SWE-bench's",
    "serve": "serve environments to other processes and machines",
    "images": "build or fetch the images that sandboxes run in",
    "doctor": "what this machine has and lacks, with the fix",
}
"""Every command in the order of the help: name -> summary."""

_EXIT_CODES = """\
exit codes:
  0    done, and what was asked about is in order
  1    done, but it found something wrong; or an unexpected error
  2    asked for something that cannot be (one line on stderr says why)
  130  interrupted by Ctrl-C"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``agentgym``; those of this process when None.

    Returns:
        the exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = _dispatch(words)
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return code
    except KeyboardInterrupt:
        if debug:
            raise
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except errors.AgentGymError as error:
        if debug:
            raise
        return _fail(str(error), 2)
    except Exception as error:
        if debug:
            raise
        return _fail(f"unexpected {type(error).__name__}: {error}; run again with --debug to see where", 1)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if words else 2
    if words[0] == "--version":
        from agentgym import __version__

        print(f"agentgym {__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise errors.UnknownName("command", name, COMMANDS, "`agentgym --help` lists all")
    code: int = importlib.import_module(f"agentgym.cli._{name}").main(rest)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: agentgym COMMAND [OPTIONS]",
            "",
            "A gym for language-model agents in which every environment says how the task is going at every step.",
            "",
            "commands:",
            *lines,
            "",
            "Every command has --help with an example; --debug shows the traceback of an error.",
            "",
            "example:",
            "  agentgym envs door",
            "",
            _EXIT_CODES,
        ]
    )


def _fail(message: str, code: int) -> int:
    print(f"agentgym: {' '.join(message.split())}", file=sys.stderr)
    return code
