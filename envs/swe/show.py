"""What tools say, as texts of bounded length, and which lines of files such a text has shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from agentgym.containers import Result

__all__ = ["cut", "lines_in", "numbered", "outcomes", "said", "without_addresses", "without_times"]

MAX_LINE = 400
MAX_LINES = 200
_SCANNED = 64
_PREFIX = re.compile(r"^\s*(?:[\w./-]+[:-])?\d+[:\t -]\s?")
_OUTCOME = re.compile(r"^(?:(PASSED|FAILED|ERROR) (\S+)|(\S+::\S+) (PASSED|FAILED|ERROR))", re.MULTILINE)
# As Python prints them, as pytest's shortening leaves their end, and as a cut leaves their beginning.
_ADDRESSES = re.compile(r"\b0x[0-9A-Fa-f]{6,}|(?<=\.\.\.)[0-9A-Fa-f]{4,}(?=>)|(?<=\bat )0x[0-9A-Fa-f]*$")
_TIMES = re.compile(r"\bin \d+(?:\.\d+)?s(?: \(\d+:\d\d:\d\d\))?")


def cut(text: str, most: int) -> str:
    """Head and tail of a long text, with a line that says what is left out; control characters made visible."""
    text = text if len(text) <= 4 * most else _ends(text, 2 * most)
    text = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    return text if len(text) <= most else _ends(text, most)


def _ends(text: str, most: int) -> str:
    head, tail = most * 3 // 5, most - most * 3 // 5
    return f"{text[:head]}\n[... {len(text) - head - tail} characters left out ...]\n{text[-tail:]}"


def numbered(lines: list[str], first: int, last: int) -> tuple[str, int]:
    """Lines with their numbers, at most `MAX_LINES`; and the last one shown."""
    last = min(last or len(lines), len(lines), first + MAX_LINES - 1)
    rows = [f"{k:>4}  {_short(lines[k - 1])}" for k in range(first, last + 1)]
    if last < len(lines):
        rows.append(f"[{len(lines) - last} more lines]")
    return "\n".join(rows), last


def said(result: Result) -> str:
    """The outcome of a command in a line, and what it printed."""
    if result.trouble:
        return f"the command could not start: {result.trouble}"
    notes = {"time": "it ran out of time and was ended", "output": "it printed too much and was ended"}
    head = notes.get(result.cut) or f"exit code {result.code}"
    if result.killed:
        head += f"; {result.killed} processes that it left behind were ended"
    return f"[{head}]\n{result.out.text}".rstrip("\n")


def outcomes(text: str) -> dict[str, str]:
    """Id -> passed, failed or error, from what a run of tests printed."""
    return {(m[2] or m[3]): (m[1] or m[4]).lower() for m in _OUTCOME.finditer(text)}


def without_times(text: str) -> str:
    """The text with no durations: nothing that the agent sees tells how busy the machine is."""
    return _TIMES.sub("", text)


def without_addresses(text: str) -> str:
    """The text with no places in memory, which are others in every process."""
    return _ADDRESSES.sub("0x", text)


def lines_in(output: str, command: str, files: Mapping[str, bytes]) -> Iterable[tuple[str, set[int]]]:
    """Path -> numbers of the lines of files that an output shows; files that the command or the output names."""
    rows = [row for row in output.split("\n") if row.strip()]
    seen = {row.strip() for row in rows} | {_PREFIX.sub("", row).strip() for row in rows}
    named = [p for p in files if p.rpartition("/")[2] in command or p in output]
    for path in named[:_SCANNED]:
        lines = files[path][: 1 << 18].decode("utf-8", "replace").split("\n")
        found = {k for k, line in enumerate(lines, 1) if len(line.strip()) > 3 and line.strip() in seen}
        if found:
            yield path, found


def _short(line: str) -> str:
    line = line.rstrip("\r")
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}[... {len(line) - MAX_LINE} more]"
