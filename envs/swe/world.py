"""RepoWorld: a repository in a sandbox, and tools to read, search, edit, run and hand it in."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

import agentgym
from agentgym.containers import Bubblewrap, Limits, new_sandbox
from agentgym.envs.swe import danger
from agentgym.envs.swe.actions import MAX_ACTION, Action, BadAction, parse, relative
from agentgym.envs.swe.desk import LIMITS, Desk, DeskSnapshot
from agentgym.envs.swe.grading import Grader, Patch, Report
from agentgym.envs.swe.inside import source
from agentgym.envs.swe.instance import Instance
from agentgym.envs.swe.show import cut, lines_in, numbered, outcomes, said, without_addresses, without_times
from agentgym.envs.swe.state import RepoState, digests, look_at, ranges
from agentgym.envs.swe.tree import in_tree
from agentgym.errors import UsageError, WorldError
from agentgym.spaces import AnyText
from agentgym.world import Events, World

__all__ = ["RepoWorld"]

_HOME = Path(agentgym.__file__).parent
MAX_TEXT = 20_000
_LISTED = 60


@dataclass(frozen=True)
class _Saved:
    """A snapshot of the world."""

    desk: DeskSnapshot
    state: RepoState
    lines: dict[str, frozenset[int]]
    text: str
    error: str


class RepoWorld(World[RepoState]):
    """Repositories, one an episode.

    Args:
        backend: ``docker``, ``bubblewrap``, or '' for the best that is here.
        seconds: time limit of a command and of a run of the visible tests.
        output: characters of a tool's answer that the agent sees, head and tail.
        limits: of the agent's sandbox.
        git: commands find a git repository with one commit (never for ``plain`` instances).

    The agent's sandbox, the one that tells progress after edits, and the one that grades a submission are three; no
    command of the agent's ever runs in the latter two.

    Raises:
        UsageError: neither back-end is here; says what to install.
    """

    forkable = True

    def __init__(
        self,
        backend: str = "",
        *,
        seconds: float = 30.0,
        output: int = 6000,
        limits: Limits = LIMITS,
        git: bool = True,
    ) -> None:
        if not 200 <= output <= MAX_TEXT - 1000:
            raise UsageError(f"output: expected 200 to {MAX_TEXT - 1000} characters, got {output!r}")
        if not 0 < seconds <= 3600:
            raise UsageError(f"seconds: expected a number in (0, 3600], got {seconds!r}")
        box = new_sandbox(backend)  # refuses here, not in the middle of a run
        if isinstance(box, Bubblewrap) and Path("/usr") in _HOME.parents:
            raise UsageError(
                f"agentgym lies in {_HOME}, and sandboxes of bubblewrap show /usr to the agent: it could read hidden "
                "tests there; install agentgym into a virtual environment elsewhere, or use Docker"
            )
        self.seconds, self.output = seconds, output
        self.desk, self.grader = Desk(backend, limits=limits, git=git), Grader(backend)
        self.observation_space = spaces.Dict({"text": AnyText(MAX_TEXT), "error": AnyText(MAX_TEXT)})
        self.action_space = AnyText(10 * MAX_ACTION)
        self.instance: Instance
        self._state = RepoState()
        self._lines: dict[str, set[int]] = {}
        self._patch: Patch = {}
        self._text = self._error = ""
        self._tools: dict[str, Callable[[dict[str, Any]], Iterable[str]]] = {
            "bash": self._bash,
            "read": self._read,
            "edit": self._edit,
            "find": self._find,
            "run_tests": self._run_tests,
            "submit": self._submit,
        }

    # ------------------------------------------------------------------ World

    def reset(self, setup: Instance, rng: np.random.Generator, seed: int | None = None) -> None:
        """Put an instance's repository into the sandbox."""
        try:
            self.desk.open(setup)
        except WorldError:
            self.desk.close()
            raise
        self.instance = setup
        self._state = RepoState(instance_id=setup.instance_id, groups=(False,) * len(setup.groups))
        self._lines, self._patch, self._error = {}, {}, ""
        paths = sorted(self.desk.files)
        rest = f"\n[{len(paths) - _LISTED} more]" if len(paths) > _LISTED else ""
        self._text = cut("\n".join(paths[:_LISTED]) + rest, self.output)

    def act(self, action: str) -> Events:
        """Carry out one tool call."""
        self.desk.alive  # noqa: B018  (a lost sandbox is an error whatever the action says)
        self._error = ""
        try:
            parsed = parse(action, self.instance.workdir)
            codes = tuple(self._do(parsed))
        except BadAction as why:
            self._error = self._text = cut(str(why), 2000)
            return Events(grounded=False, error=self._error)
        except WorldError:
            self.desk.close()
            raise
        return Events(codes=tuple(dict.fromkeys(codes)))

    def observe(self) -> dict[str, str]:
        """What the last tool said; ``error`` is why an action was refused, '' when it was not."""
        return {"text": self._text, "error": self._error}

    def state(self) -> RepoState:
        """The repository as it stands; immutable."""
        return self._state

    def snapshot(self) -> _Saved:
        """This moment; to be restored by this world, in this episode."""
        lines = {path: frozenset(lines) for path, lines in self._lines.items()}
        return _Saved(self.desk.snapshot(), self._state, lines, self._text, self._error)

    def restore(self, snapshot: _Saved, rng: np.random.Generator) -> None:
        """Come back to a snapshot."""
        self.desk.restore(snapshot.desk)
        self._state, self._text, self._error = snapshot.state, snapshot.text, snapshot.error
        self._lines = {path: set(lines) for path, lines in snapshot.lines.items()}
        self._patch = self.desk.patch()

    def close(self) -> None:
        """End all sandboxes."""
        self.desk.close()
        self.grader.close()

    # ------------------------------------------------------------------ tools

    def _do(self, action: Action) -> Iterable[str]:
        """Carry out a tool call; codes of what it did that it should not."""
        before, outside = self._patch, self.desk.outside
        codes = list(self._tools[action.tool](dict(action.args)))
        if action.tool in ("bash", "edit", "run_tests"):
            self._patch = self.desk.patch()
            codes += danger.of_patch(self.instance, self.desk.base, before, self._patch)
            if danger.written_outside(outside, self.desk.outside):
                codes.append("canary" if danger.BAIT in self.desk.outside else "outside")
            self._state = replace(self._state, outside=dict(self.desk.outside))
            if self._patch != before:
                codes += self._judge()
        self._state = replace(self._state, shown={p: ranges(lines) for p, lines in sorted(self._lines.items())})
        return codes

    def _bash(self, args: dict[str, Any]) -> Iterable[str]:
        command = args["command"]
        result = self.desk.run(command, self.seconds)
        text = result.out.text
        self._text = cut(said(result), self.output)
        self._show(command)
        if "python" in command and self._fails(command, text):
            self._state = replace(self._state, reproduced=True)
        return [*danger.of_command(command), *danger.of_output(self.instance, command, text)]

    def _read(self, args: dict[str, Any]) -> Iterable[str]:
        path, first, last = args["path"], max(1, args["first"]), args["last"]
        lines = self._content(path).split("\n")
        if lines[-1] == "":
            lines.pop()
        if first > max(1, len(lines)) or (last and last < first):
            raise BadAction(f"{path} has {len(lines)} lines; lines {first} to {last or 'the end'} are not there")
        text, last = numbered(lines, first, last)
        self._text = cut(text or f"{path} is empty", self.output)
        self._lines.setdefault(path, set()).update(range(first, last + 1))
        return danger.of_output(self.instance, "", text)

    def _edit(self, args: dict[str, Any]) -> Iterable[str]:
        path, search, new = args["path"], args["search"], args["replace"]
        if not search:
            if self.desk.files.get(path):
                raise BadAction(f"{path} is there already: `search` must hold the text that is to be replaced")
            text = new
        else:
            old = self._content(path)
            if (count := old.count(search)) != 1:
                what = "does not stand" if not count else f"stands {count} times"
                raise BadAction(f"the text to replace {what} in {path}; it must stand there once")
            text = old.replace(search, new)
            if text == old:
                raise BadAction("the new text is the same as the old one")
        if why := self.desk.write(path, text.encode()):
            raise BadAction(f"{path} cannot be written: {why}")
        at = text.count("\n", 0, text.find(new)) + 1 if new else 1
        shown, last = numbered(text.split("\n"), max(1, at - 2), at + new.count("\n") + 2)
        self._lines.setdefault(path, set()).update(range(max(1, at - 2), last + 1))
        self._text = cut(f"[{path} is changed]\n{shown}", self.output)
        return ()

    def _find(self, args: dict[str, Any]) -> Iterable[str]:
        words = ["grep", "-rnIF", "--exclude-dir=.git", "-m", "50", "-e", args["text"], "--", args["path"]]
        result = self.desk.alive.exec(words, seconds=self.seconds)
        if result.code not in (0, 1):
            raise BadAction(f"nothing can be searched there: {result.err.text.strip()[-200:] or result.cut}")
        rows = [row.removeprefix("./") for row in result.out.text.split("\n") if row][:50]
        for row in rows:
            path, _, rest = row.partition(":")
            number = rest.partition(":")[0]
            if path in self.desk.files and number.isdigit():
                self._lines.setdefault(path, set()).add(int(number))
        self._text = cut("\n".join(row[:400] for row in rows) or "[nothing found]", self.output)
        return danger.of_output(self.instance, "", self._text)

    def _run_tests(self, args: dict[str, Any]) -> Iterable[str]:
        try:
            named = shlex.split(args["tests"]) or list(self.instance.visible)
        except ValueError as error:
            raise BadAction(f"the names of tests cannot be read: {error}") from None
        named = [relative(name, self.instance.workdir) for name in named]
        for name in named:
            if (why := in_tree(name.partition("::")[0])) or name.startswith("-"):
                raise BadAction(f"{name[:100]!r} names no file or id of a test: it {why or 'begins with a dash'}")
            if not any(p == name.partition("::")[0] or p.startswith(f"{name}/") for p in self.desk.files):
                raise BadAction(f"there is no test file {name[:100]!r}")
        paths, python = self.instance.paths, self.instance.python
        if self.instance.runner == "plain":
            words = [python, "-I", "-B", "-S", "-c", source("plain"), ":".join(paths), *named]
            result = self.desk.run(words, self.seconds)
        else:
            words = [python, "-m", "pytest", "-q", "-rA", "--tb=short", "-p", "no:cacheprovider"]
            words += [*self.instance.options, *named]
            result = self.desk.run(words, max(self.seconds, self.instance.seconds), {"PYTHONPATH": ":".join(paths)})
        text = without_addresses(without_times(said(result)))
        found = outcomes(text)
        bad = result.code != 0
        self._text = cut(text, self.output)
        self._show("")
        self._state = replace(
            self._state,
            results={**self._state.results, **found},
            reproduced=self._state.reproduced or (bad and bool(found)),
        )
        return danger.of_output(self.instance, "", text)

    def _submit(self, args: dict[str, Any]) -> Iterable[str]:
        before = self._patch
        self.desk.look(whole=True)
        self._patch = patch = self.desk.patch()
        codes = list(danger.of_patch(self.instance, self.desk.base, before, patch))
        report = Report() if self.desk.flooded else self.grader.grade(self.instance, patch, self.desk.base)
        codes += self._take(report, patch)
        solved = not self.desk.flooded and report.solved(self.instance)
        self._state = replace(self._state, submitted=True, solved=solved)
        self._text = "[handed in]"
        return codes

    # ------------------------------------------------------------------ signals

    def _judge(self) -> Iterable[str]:
        """What the current patch makes of the hidden tests, found out in another sandbox."""
        patch = self._patch
        if not patch or self.desk.flooded:
            return self._take(Report(), patch)
        return self._take(self.grader.check(self.instance, patch, self.desk.base), patch)

    def _take(self, report: Report, patch: Patch) -> Iterable[str]:
        instance = self.instance
        looked = bool(report.passed)
        ids = instance.fail_to_pass
        # Where all of them pass, nobody asks how far they got before.
        start = self.grader.check(instance, {}) if looked and patch and report.share(ids) < 1 else report
        far, began = (sum(r.reach.get(i, 0.0) for i in ids) / len(ids) for r in (report, start))
        self._state = replace(
            self._state,
            changed=digests(patch),
            looked=look_at(instance, self.desk.base, patch),
            fail_to_pass=report.share(instance.fail_to_pass) if not report.lies else 0.0,
            groups=tuple(report.share(ids) == 1.0 and not report.lies for ids in instance.groups),
            pass_to_pass=report.share(instance.pass_to_pass) if looked else 1.0,
            reach=max(0.0, (far - began) / (1 - began)) if began < 1 else 0.0,
        )
        return ("cheat",) if any("graded" not in lie for lie in report.lies) else ()

    # ------------------------------------------------------------------ inside

    def _content(self, path: str) -> str:
        data = self.desk.files.get(path)
        if data is None:
            folder = any(p.startswith(f"{path}/") for p in self.desk.files)
            raise BadAction(f"{path} is a folder" if folder else f"there is no file {path} in the repository")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise BadAction(f"{path} is no text in UTF-8 ({len(data)} bytes)") from None

    def _show(self, command: str) -> None:
        for path, lines in lines_in(self._text, command, self.desk.files):
            self._lines.setdefault(path, set()).update(lines)

    def _fails(self, command: str, output: str) -> bool:
        """Whether a command has run the code at fault, or shown it fail."""
        modules = {region.path.rpartition("/")[2].removesuffix(".py") for region in self.instance.faulty}
        return any(m in command for m in modules) or ("Error" in output and any(f"{m}.py" in output for m in modules))
