"""GridWorld: drives minigrid's own environments and looks at them fast."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from inspect import signature
from typing import Any, Literal, NamedTuple, get_args

import minigrid.envs
import numpy as np
from gymnasium import spaces
from minigrid.core.grid import Grid
from minigrid.core.world_object import WorldObj
from minigrid.minigrid_env import MiniGridEnv

from agentgym.anchor import hash64
from agentgym.envs.grid import codes, words
from agentgym.envs.grid.actions import ActionFormat, check, decode, encode
from agentgym.envs.grid.features import FEATURES, features
from agentgym.envs.grid.sight import Board
from agentgym.envs.grid.state import ACTIONS, GridState, Level, admissible, replace_cell
from agentgym.errors import UsageError
from agentgym.world import Events, World

__all__ = ["GridSnapshot", "GridWorld", "View", "default_actions"]

View = Literal["array", "text", "memory", "features"]

_CHARSET = "".join(map(chr, range(32, 127))) + "\n"
_FIXED = tuple(codes.KINDS.index(kind) for kind in ("empty", "wall", "goal", "lava"))
_EMPTY_ROW = codes.LUT[codes.EMPTY]


class GridSnapshot(NamedTuple):
    """A point to come back to: plain values, so it pickles and any other instance can restore it."""

    level: Level
    state: GridState
    memory: bytes
    mission: str
    steps: int
    layout: int
    error: str


class GridWorld(World[GridState]):
    """A minigrid level: minigrid draws it and decides what every action does; same seeds give minigrid's own levels.

    Args:
        view: what the agent sees.
            ``array``: minigrid's dict observation ``image`` uint8[7, 7, 3], ``direction`` 0 to 3, ``mission`` (a Text
            space; minigrid's MissionSpace cannot be serialised);
            ``text``: the strict partial view in words; ``memory``: one short sentence with memory of what was seen
            (see `agentgym.envs.grid.words`). Both are dicts ``text``, ``error``;
            ``features``: a short vector float32 of the true map (see `agentgym.envs.grid.features`).
        actions: ``index`` (Discrete(7), minigrid's numbers), ``words`` or ``phrases`` (Text spaces, see
            `agentgym.envs.grid.actions`); by default ``index`` for the array and features views, else ``words``.
        landmarks: what the memory view tracks, in order.

    Actions that are not applicable are answered without touching the grid; only minigrid's step counter moves on, so
    that its own reward (``Events.reward``, for ``ProcessEnv(reward="world")``) stays the original's.
    """

    render_modes = ("ansi", "rgb_array", "human")
    forkable = True
    portable_snapshots = True

    def __init__(
        self,
        view: View = "array",
        actions: ActionFormat | None = None,
        landmarks: Sequence[words.Landmark] = (),
    ) -> None:
        if view not in get_args(View):
            raise UsageError(f"view must be one of {get_args(View)}, got {view!r}")
        fmt: ActionFormat = actions or default_actions(view)
        if fmt not in ("index", "words", "phrases"):
            raise UsageError(f"actions must be 'index', 'words' or 'phrases', got {actions!r}")
        self.view: View = view
        self.format: ActionFormat = fmt
        self.landmarks = tuple(landmarks)
        self.observation_space = _observation_space(view)
        self.action_space = (
            spaces.Discrete(len(ACTIONS)) if fmt == "index" else spaces.Text(max_length=80, charset=_CHARSET)
        )
        self._envs: dict[str, MiniGridEnv] = {}
        self._env: MiniGridEnv
        self._level: Level
        self._state: GridState
        self._board: Board
        self._memory: Board
        self._view: bytes
        self._tracked: list[tuple[words.Landmark, tuple[int, ...]]]
        self._layout: int
        self._error = ""

    @staticmethod
    def check_level(level: Level) -> None:
        """Refuse arguments that minigrid's class does not take, before an episode begins.

        Raises:
            TypeError: as the class itself would.
        """
        cls = getattr(minigrid.envs, level.cls)
        taken = {
            name for base in cls.__mro__ if "__init__" in vars(base) for name in signature(base.__init__).parameters
        }
        for name in level.kwargs:
            if name not in taken:
                raise TypeError(f"{level.cls}.__init__() got an unexpected keyword argument {name!r}")

    # ------------------------------------------------------------------ World

    def reset(self, setup: Level, rng: np.random.Generator, seed: int | None = None) -> None:
        """Have minigrid draw a level of ``setup`` from ``rng``."""
        self._enter(setup, rng)
        env = self._env
        env.reset()
        cells = bytes(map(_code, env.grid.grid))
        self._see(_state(env, cells), Board(bytes(len(cells)), env.width, outside=codes.UNSEEN))
        self._layout = hash64(self._state.view())
        self._error = ""

    def act(self, action: Any) -> Events:
        """Check the action against its format and the state; if it is applicable, let minigrid carry it out."""
        before, env = self._state, self._env
        if self.format == "index":
            number, self._error = check(int(action), before)
        else:
            number, self._error = decode(action, before, self.format)
        if self._error:
            env.step_count += 1
            return Events(grounded=False, error=self._error)
        _, reward, _, _, _ = env.step(number)
        cells, front = before.cells, before.front
        code = _code(env.grid.grid[front])
        if code != cells[front]:
            cells = replace_cell(cells, front, code)
            self._board.set(front, code)
        self._state = _state(env, cells)
        self._look()
        return Events(reward=float(reward))

    def observe(self) -> Any:
        """What the agent sees, in the form of `view`."""
        state = self._state
        if self.view == "features":
            return features(state)
        if self.view == "array":
            image = np.empty((7, 7, 3), np.uint8)
            image[:, ::-1] = codes.LUT[np.frombuffer(self._view, np.uint8)].reshape(7, 7, 3).swapaxes(0, 1)
            image[3, 6] = _EMPTY_ROW if state.carrying == codes.EMPTY else codes.LUT[state.carrying]
            return {"image": image, "direction": state.dir, "mission": self.mission}
        if self.view == "text":
            text = words.view_text(state, self._view, self.mission)
        else:
            text = words.memory_sentence(state, self._view, self._memory, self._tracked)
        return {"text": text, "error": self._error}

    def state(self) -> GridState:
        """The true state; immutable."""
        return self._state

    def admissible(self) -> tuple[Any, ...]:
        """The applicable actions in the environment's format."""
        return tuple(encode(a, self._state, self.format) for a in admissible(self._state))

    def snapshot(self) -> GridSnapshot:
        """See `GridSnapshot`."""
        return GridSnapshot(
            self._level,
            self._state,
            bytes(self._memory.cells),
            self.mission,
            self._env.step_count,
            self._layout,
            self._error,
        )

    def restore(self, snapshot: GridSnapshot, rng: np.random.Generator) -> None:
        """Rebuild minigrid's objects from the snapshot's state."""
        self._enter(snapshot.level, rng)
        env, s = self._env, snapshot.state
        env.grid = Grid(env.width, env.height)
        env.grid.grid = [_object(code) for code in s.cells]
        env.agent_pos, env.agent_dir = (s.pos % s.width, s.pos // s.width), s.dir
        env.carrying = _object(s.carrying)  # type: ignore[assignment]  # minigrid annotates None alone
        env.mission, env.step_count = snapshot.mission, snapshot.steps
        if snapshot.mission.startswith("pick up"):  # "… the green ball": minigrid knows its ball by identity
            sought = snapshot.mission.split()[-2:]
            things = [*env.grid.grid, env.carrying]
            thing = next((o for o in things if o is not None and [o.color, o.type] == sought), None)
            vars(env)["obj"] = thing  # an attribute of these two classes, not of MiniGridEnv
        memory = Board(bytes(len(s.cells)), s.width)
        memory.cells[:] = snapshot.memory
        self._see(s, memory)
        self._layout, self._error = snapshot.layout, snapshot.error

    def render(self, mode: str) -> Any:
        """``ansi``: the whole map, two characters a cell; ``rgb_array`` and ``human``: minigrid's own renderer."""
        env = self._env
        if mode == "ansi":
            return f"{env.mission}\n{env.pprint_grid()}"  # type: ignore[no-untyped-call]  # minigrid is partly typed
        env.render_mode = mode
        try:
            return env.render()  # type: ignore[no-untyped-call]  # minigrid is partly typed
        finally:
            env.render_mode = None

    def close(self) -> None:
        """Close minigrid's windows, if any."""
        for env in self._envs.values():
            env.close()  # type: ignore[no-untyped-call]  # minigrid is partly typed

    # ------------------------------------------------------------------ beyond World

    @property
    def mission(self) -> str:
        """minigrid's mission string of this episode."""
        return str(self._env.mission)

    def layout_id(self) -> int:
        """64-bit hash of the level as it was drawn: walls, doors, things and the agent's place and direction.

        Hold out layouts by this, never by seed: small levels repeat (there are 48 of DoorKey-5x5).
        """
        return self._layout

    # ------------------------------------------------------------------ inside

    def _enter(self, level: Level, rng: np.random.Generator) -> None:
        """Make ``level`` the current one, with its minigrid environment kept from the last time."""
        key = repr(level)
        if key not in self._envs:
            env = getattr(minigrid.envs, level.cls)(**level.kwargs)
            env.gen_obs = dict  # the view is cut from `Board` instead; minigrid's own takes ten times longer
            self._envs[key] = env
        self._level, self._env = level, self._envs[key]
        self._env._np_random = rng

    def _see(self, state: GridState, memory: Board) -> None:
        """Start looking at a state with a memory of what was seen before."""
        self._state, self._memory = state, memory
        self._board = Board(state.cells, state.width)
        present = set(state.cells) | {state.carrying}
        present |= {codes.with_door(c, d) for c in present if codes.KIND[c] == codes.DOOR for d in range(3)}
        self._tracked = [
            (name, tuple(c for c in words.landmark_codes(name) if c in present)) for name in self.landmarks
        ]
        self._look()

    def _look(self) -> None:
        s = self._state
        masks, self._view = self._board.look(s.pos, s.dir, through=self._env.see_through_walls)
        if self.view == "memory":
            self._memory.remember(s.pos, s.dir, masks, self._view)


def default_actions(view: View) -> ActionFormat:
    """Numbers for what networks read, words for texts."""
    return "index" if view in ("array", "features") else "words"


def _observation_space(view: View) -> spaces.Space[Any]:
    if view == "features":
        return spaces.Box(-1.0, 1.0, (FEATURES,), np.float32)
    if view == "array":
        return spaces.Dict(
            {
                "image": spaces.Box(0, 255, (7, 7, 3), np.uint8),
                "direction": spaces.Discrete(4),
                "mission": spaces.Text(max_length=80, min_length=0, charset=_CHARSET),
            }
        )
    return spaces.Dict(
        {
            "text": spaces.Text(max_length=2048, charset=_CHARSET),
            "error": spaces.Text(max_length=256, min_length=0, charset=_CHARSET),
        }
    )


def _code(thing: WorldObj | None) -> int:
    """Code of one of minigrid's objects."""
    return codes.EMPTY if thing is None else codes.pack(*thing.encode())


def _object(code: int) -> WorldObj | None:
    """One of minigrid's objects from its code; those that never change are shared."""
    return _shared(code) if codes.KIND[code] in _FIXED else _new(code)


def _new(code: int) -> WorldObj | None:
    return WorldObj.decode(*codes.LUT[code].tolist())


_shared = cache(_new)


def _state(env: MiniGridEnv, cells: bytes) -> GridState:
    x, y = env.agent_pos
    return GridState(cells, env.width, int(y) * env.width + int(x), int(env.agent_dir), _code(env.carrying))
