"""``agentgym/Remote-v0``: an environment that runs behind `agentgym serve`, with the record that it has there."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium

from agentgym.env import expect_type
from agentgym.envs.remote.line import Line
from agentgym.envs.remote.shared import Berth
from agentgym.errors import UsageError, WorldError
from agentgym.serve.codec import ProtocolError, space
from agentgym.serve.server import read_token
from agentgym.spaces import shareable
from agentgym.task import Actor, ProgressKind

__all__ = ["RemoteEnv", "RemoteMilestone", "RemoteTask"]


@dataclass(frozen=True)
class RemoteMilestone:
    """A milestone's name, sentence, and whether a solution must pass through it."""

    name: str
    description: str
    required: bool


@dataclass(frozen=True)
class RemoteTask:
    """What the server tells of a task; fields as of `agentgym.Task`."""

    id: str
    milestones: tuple[RemoteMilestone, ...]
    dangers: dict[str, str]
    progress_kind: ProgressKind
    horizon: int
    has_success: bool
    no_oracle: str
    words: tuple[str, ...] | None

    @property
    def event_codes(self) -> tuple[str, ...]:
        """As `agentgym.Task.event_codes`."""
        return tuple(f"milestone:{m.name}" for m in self.milestones) + tuple(f"danger:{c}" for c in self.dangers)

    def __getattr__(self, name: str) -> Any:
        if name == "vocabulary" and self.words is not None:
            return lambda: list(self.words or ())
        raise AttributeError(name)

    @classmethod
    def read(cls, told: Any) -> RemoteTask:
        """From the server's words."""
        try:
            fields = dict(told)
            words = fields.pop("vocabulary")
            fields["milestones"] = tuple(RemoteMilestone(*each) for each in fields["milestones"])
            return cls(**fields, words=None if words is None else tuple(words))
        except (TypeError, KeyError, ValueError) as error:
            raise ProtocolError(f"expected the description of a task: {error}") from error


class RemoteEnv(gymnasium.Env[Any, Any]):
    """The environment of one session of a server.

    Everything an agent, a loop or an evaluation reads is here as in the environment itself: spaces, record, task,
    admissible actions, oracle and offenders (they play there), hidden performance. Not here: the true state, and
    snapshots (`forkable` is False).

    Args:
        url: ``http://HOST:PORT``, ``https://…`` or ``unix:///PATH`` of `agentgym serve`.
        image: instead of a url, a Docker image whose command is `agentgym serve`; a container of it is started without
            network, shared by the environments of this process that name the same image and environment, and removed
            with the last of them.
        env_id: which of the server's environments; '' takes its first.
        token: what the server asks for; or ``token_file``, a file that holds it (which keeps it out of settings).
        timeout: seconds that a reset or step may take.
        start_timeout: seconds that connecting and making the environment may take.
        shared: share one session, and with it one process there, with the environments of this process that are made
            alike, as the server allows (`agentgym serve --environments N`). A loop that steps them by turns in one
            thread (``workers=0``) then pays for one message a round instead of one a step; what breaks one episode
            there breaks all of them.
        render_mode: one of the environment's, except ``human``.
        options: of the environment, as the server allows (``view``, ``admissible``, …).

    A session that breaks (a dead server, a call out of time) raises `agentgym.errors.WorldError` or `WorldTimeout`;
    the next reset opens a new one.

    Raises:
        UsageError: both or neither of url and image; what the server refuses. WorldError: nobody answers.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 10}  # noqa: RUF012  (Gymnasium's)

    def __init__(
        self,
        url: str = "",
        image: str = "",
        env_id: str = "",
        *,
        token: str = "",
        token_file: str = "",
        timeout: float = 120.0,
        start_timeout: float = 120.0,
        shared: bool = False,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if bool(url) == bool(image):
            raise UsageError("give exactly one of url= (of a server) and image= (that serves)")
        if token and token_file:
            raise UsageError("give one of token= and token_file=")
        if not timeout > 0 or not start_timeout > 0:
            raise UsageError(f"timeout and start_timeout must be above 0, got {timeout!r} and {start_timeout!r}")
        if render_mode == "human":
            raise UsageError("a remote environment has no window: render_mode must be 'ansi' or 'rgb_array'")
        self._token = read_token(Path(token_file)) if token_file else token
        self._id, self._timeout, self._start_timeout = env_id, timeout, start_timeout
        self._options = options if render_mode is None else {**options, "render_mode": render_mode}
        self._closed, self._shared = False, shared
        self._line: Line | Berth | None = None
        self._container = None
        if image:
            from agentgym.envs.remote.container import Container

            self._container = Container.of(image, env_id, start_timeout)
            url = self._container.url
        self._url = url
        try:
            told = self._connected().told
            self.observation_space = shareable(space(told["observation_space"]))
            self.action_space = space(told["action_space"])
            self.metadata = {"render_modes": told["render_modes"], "render_fps": told["render_fps"]}
            self.render_mode = render_mode
            self.reward_mode: str = told["reward"]
            self.horizon: int = told["horizon"]
            self.task = RemoteTask.read(told["task"])
        except BaseException:
            self.close()
            raise
        self._admissible: tuple[Any, ...] | None = None
        self._knows_admissible = self._asked_admissible = False
        self._hidden, self._hidden_before = float("nan"), float("nan")
        self._steps = -1
        self._ended = True

    # ------------------------------------------------------------------ Gymnasium

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As `agentgym.ProcessEnv.reset`, there."""
        super().reset(seed=seed)
        self._ended = True
        self._hidden_before, self._hidden = self._hidden, 0.0
        line = self._connected()
        match line.call("reset", [seed, options]):
            case [observation, dict(info), task, actions]:
                self.task = RemoteTask.read(task)
                self._learn(actions)
                self._ended, self._steps = False, 0
                return observation, info
        raise _strange("reset")

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As `agentgym.ProcessEnv.step`, there."""
        if self._ended or self._line is None:
            raise gymnasium.error.ResetNeeded("the episode is over (or never began): call reset() before step()")
        expect_type(self.action_space, action)
        self._ended = True
        match self._line.call("step", action):
            case [observation, float(reward), bool(terminated), bool(truncated), dict(info), actions, hidden]:
                self._learn(actions)
                self._ended = terminated or truncated
                if self._ended:
                    self._knows_admissible = False  # nobody was told: they are asked for if anybody wants them
                self._steps += 1
                self._hidden = float("nan") if hidden is None else float(hidden)
                return observation, reward, terminated, truncated, info
        raise _strange("step")

    def render(self) -> Any:
        """The picture or text made there."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() was called without a render_mode; give one to gymnasium.make")
            return None
        return self._running().call("render")

    def close(self) -> None:
        """End the session, and the container with its last environment."""
        if self._closed:
            return
        self._closed = True
        if self._line is not None:
            self._line.close()
        if self._container is not None:
            self._container.release()

    # ------------------------------------------------------------------ capabilities

    forkable = False

    def announce(self, operation: Literal["reset", "step"], argument: Any) -> None:
        """What will be asked of this environment next: an action, or [seed, options] of a reset.

        With ``shared``, the first environment that is asked sends for all that were announced. Nothing has to be
        announced, and what is announced must be asked for next.
        """
        if not isinstance(self._line, Berth) or self._line.broken:
            return
        if operation == "step":
            try:
                expect_type(self.action_space, argument)
            except TypeError:
                return  # the step will say so
            if self._ended:
                return
        self._line.announce(operation, argument)

    def admissible(self) -> tuple[Any, ...] | None:
        """The actions applicable now, or None when the world does not list them."""
        if not self._knows_admissible:
            self._learn(self._running().call("admissible"), asked=True)
        return self._admissible

    def hidden_performance(self) -> float:
        """As `agentgym.ProcessEnv.hidden_performance`; for evaluation only."""
        if self._steps == 0:
            return self._hidden_before
        if not self._ended and self._line is not None and not self._line.broken:
            return float(self._line.call("hidden_performance"))
        return self._hidden

    def oracle(self) -> Actor | None:
        """The task's own script for the running episode; it plays there."""
        return self._script("")

    def offenders(self) -> dict[str, Actor]:
        """The scripts that break the task's rules, by name."""
        found = {name: self._script(name) for name in self._running().call("offenders")}
        return {name: script for name, script in found.items() if script is not None}

    # ------------------------------------------------------------------ inside

    def _connected(self) -> Line | Berth:
        if self._closed:
            raise WorldError("this environment is closed")
        if self._line is None or self._line.broken:
            if self._line is not None:
                self._line.close()
            self._line = (Berth.of if self._shared else Line)(
                self._url,
                self._id,
                self._options,
                token=self._token,
                timeout=self._timeout,
                start_timeout=self._start_timeout,
            )
            self._asked_admissible = False
        return self._line

    def _running(self) -> Line | Berth:
        if self._line is None or self._steps < 0:
            raise gymnasium.error.ResetNeeded("there is no episode yet: call reset() first")
        return self._line

    def _learn(self, actions: Any, *, asked: bool = False) -> None:
        """Once asked for, admissible actions come with every answer."""
        self._asked_admissible |= asked
        self._knows_admissible = self._asked_admissible
        self._admissible = None if actions is None else tuple(actions)

    def _script(self, name: str) -> Actor | None:
        line = self._running()
        handle = line.call("script", name)
        return None if handle is None else _play(line, handle)


def _play(line: Line | Berth, handle: int) -> Generator[Any, Any, None]:
    while action := line.call("script_next", handle):
        yield action[0]


def _strange(what: str) -> ProtocolError:
    return ProtocolError(f"the server answered {what} in a form that is not known")
