"""Rules about the face towards Gymnasium: making, its own checker, and rendering."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

from agentgym.check.report import Broken, NotApplicable, Rule
from agentgym.check.subject import Subject
from agentgym.check.trace import fingerprint

__all__ = ["RULES"]


def made(subject: Subject) -> str:
    return type(subject.make().unwrapped).__name__


def gymnasium_checker(subject: Subject) -> str:
    env = subject.make().unwrapped
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(env, skip_render_check=True, skip_close_check=True)
        except AssertionError as error:
            raise Broken("gymnasium.utils.env_checker.check_env to pass", str(error), "see Gymnasium's Env") from None
    told = "; ".join(dict.fromkeys(str(w.message).splitlines()[0][:100] for w in caught))
    return f"{len(caught)} warning(s): {told}" if caught else "no warnings"


def render(subject: Subject) -> str:
    if subject.spec is None:
        raise NotApplicable("without a spec the render mode cannot be chosen")
    modes = [mode for mode in subject.make().metadata.get("render_modes", ()) if mode in ("ansi", "rgb_array")]
    if "ansi" not in modes:
        raise Broken("render mode 'ansi'", str(modes), "render as text, everywhere")
    for mode in modes:
        env = gymnasium.make(subject.spec, render_mode=mode)
        try:
            env.reset(seed=subject.seeds[0])
            picture = env.render()
        finally:
            env.close()
        if mode == "ansi" and not isinstance(picture, str):
            raise Broken("a str in mode ansi", type(picture).__name__, "mend World.render")
        if mode == "rgb_array" and not _is_picture(picture):
            raise Broken("uint8[h, w, 3] in mode rgb_array", fingerprint(picture), "mend World.render")
    return ", ".join(modes)


def _is_picture(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3


RULES = (
    Rule("make/works", "The environment can be made.", made),
    Rule("gymnasium/checker", "Gymnasium's own checker is content.", gymnasium_checker),
    Rule("render/modes", "Every declared render mode gives what Gymnasium expects.", render),
)
