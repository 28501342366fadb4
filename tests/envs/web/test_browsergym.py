"""Neighbours: BrowserGym's environments with our signals, and ours where BrowserGym's observation is expected."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import agentgym  # noqa: F401  (registers)
from agentgym.envs.web.browsergym import BROWSERGYM, LikeBrowserGym, read_signals, wrap
from agentgym.errors import UsageError

Need = Callable[[object, str, str], None]


def login(user: str) -> dict[str, Any]:
    """A milestone file's content for MiniWoB's login page, whose fields have no names."""
    return {
        "horizon": 8,
        "within": ["http://miniwob.test/", "file://"],
        "milestones": [
            {"name": "user", "when": {"element": {"role": "textbox", "value": re.escape(user)}}},
            {"name": "password", "when": {"element": {"role": "textbox", "value": "•+"}}},
        ],
        "dangers": [{"name": "boasted", "description": "It told a secret.", "when": {"said": "(?i)password"}}],
    }


def written(folder: Path, content: Any) -> Path:
    path = folder / "signals.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def ours() -> Iterator[LikeBrowserGym]:
    made = LikeBrowserGym(gymnasium.make("agentgym/MiniWoB-login-user-v0", observation=BROWSERGYM, reward="world"))
    yield made
    made.close()


def test_our_observation_has_browsergyms_keys_and_types(ours: LikeBrowserGym) -> None:
    seen, info = ours.reset(seed=0)
    assert seen in ours.observation_space
    assert {k: type(v) for k, v in seen.items()} == {
        "chat_messages": tuple,
        "goal": str,
        "goal_object": tuple,
        "open_pages_urls": tuple,
        "open_pages_titles": tuple,
        "active_page_index": np.ndarray,
        "url": str,
        "screenshot": np.ndarray,
        "dom_object": dict,
        "axtree_object": dict,
        "extra_element_properties": dict,
        "focused_element_bid": str,
        "last_action": str,
        "last_action_error": str,
        "elapsed_time": np.ndarray,
    }
    assert (seen["screenshot"].dtype, seen["screenshot"].shape) == (np.uint8, (214, 332, 3))
    assert (seen["active_page_index"].dtype, seen["active_page_index"].tolist()) == (np.int64, [0])
    assert (seen["elapsed_time"].dtype, seen["elapsed_time"].tolist()) == (np.float64, [0.0])
    assert seen["goal_object"] == ({"type": "text", "text": info["goal"]},)
    assert seen["open_pages_titles"] == ("Login User Task",)
    numbered = {n["browsergym_id"] for n in seen["axtree_object"]["nodes"] if "browsergym_id" in n}
    assert numbered & seen["extra_element_properties"].keys()
    seen = ours.step("send_msg_to_user('hello')")[0]
    assert seen["chat_messages"][-1] == {"role": "assistant", "message": "hello", "timestamp": 0.0}
    assert seen["elapsed_time"].tolist() == [0.5]


def test_an_observation_without_the_parts_is_refused() -> None:
    with pytest.raises(UsageError, match="BROWSERGYM"):
        LikeBrowserGym(gymnasium.make("agentgym/MiniWoB-login-user-v0"))


def test_a_milestone_file_gives_signals(ours: LikeBrowserGym, tmp_path: Path) -> None:
    env = wrap(ours, "login", read_signals(written(tmp_path, login("x"))))
    _, info = env.reset(seed=0)
    assert info["process"]["progress"] == 0
    peek: Any = ours.env.unwrapped
    ids = {n.id: str(n.bid) for n in peek.peek().nodes}
    steps = [
        (f"fill({ids['username']!r}, 'x')", 1 / 3, 0b01, False),
        (f"fill({ids['password']!r}, 'y')", 2 / 3, 0b11, False),
        (f"clear({ids['username']!r})", 1 / 3, 0b11, False),
        ("send_msg_to_user('the password is y')", 1 / 3, 0b11, True),
        ("click('999')", 1 / 3, 0b11, False),
    ]
    anchors = []
    for action, progress, milestones, danger in steps:
        *_, info = env.step(action)
        record = info["process"]
        assert record["progress"] == pytest.approx(progress)
        assert (record["milestones"], record["danger"]) == (milestones, danger)
        anchors.append(record["anchor"])
    assert not info["process"]["grounded"]
    assert anchors[3] == anchors[4] != anchors[2]
    assert env.unwrapped.task.progress_kind == "proxy"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "is not JSON"),
        ([], "must be an object"),
        ({"steps": []}, "must be an object with horizon"),
        ({"horizon": 0}, "whole number"),
        ({"within": "http://a.test"}, "list of addresses"),
        ({"milestones": [{"name": "a b", "when": {"url": "x"}}]}, "identifier"),
        ({"milestones": [{"name": "a", "when": {}}]}, "empty"),
        ({"milestones": [{"name": "a", "when": {"url": "("}}]}, "regular expression"),
        ({"milestones": [{"name": "a", "when": {"element": {"colour": "red"}}}]}, "role, name"),
        ({"dangers": [{"name": "a", "when": {"any": {}}}]}, "list of conditions"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_signals(written(tmp_path, content))


def test_conditions_join(tmp_path: Path, ours: LikeBrowserGym) -> None:
    when = {"url": "login-user", "any": [{"text": "^Nobody$"}, {"not": {"action": "click"}}]}
    rule = read_signals(written(tmp_path, {"milestones": [{"name": "a", "when": when}]})).milestones[0]
    env = wrap(ours, "login", read_signals(written(tmp_path, login("x"))))
    env.reset(seed=0)
    env.step("noop()")
    assert rule.holds(env.peek())
    env.step("click('1')")
    assert not rule.holds(env.peek())


@pytest.mark.parametrize(
    ("env_id", "said"), [("miniwob.click-test", "must be one of BrowserGym"), ("browsergym/nothere.x", "pip install")]
)
def test_what_is_not_there_is_said(env_id: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        gymnasium.make("agentgym/BrowserGym-v0", env_id=env_id)


@pytest.mark.timeout(900)  # of which the installation takes most, where it was not made before
def test_browsergyms_own_environment_gets_the_record(need: Need, tmp_path: Path) -> None:
    """Beside BrowserGym itself: in an environment of its own, which the benchmark makes (and so does CI, here)."""
    benchmarks = Path(__file__).parents[3] / "benchmarks"
    made = subprocess.run(
        [sys.executable, "-c", PEERS, *([] if os.environ.get("CI") else ["only if ready"])],
        cwd=benchmarks,
        capture_output=True,
        text=True,
        check=True,
    )
    need(made.stdout.strip(), "BrowserGym in an environment of its own", "run `python benchmarks/web.py --quick` once")
    python, variables = json.loads(made.stdout.splitlines()[-1])
    file = written(tmp_path, login("USER"))
    done = subprocess.run(
        [python, str(Path(__file__).with_name("browsergym_side.py")), str(file)],
        env=os.environ | variables | {"PYTHONPATH": str(benchmarks.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]


PEERS = """
import json, sys, web
if len(sys.argv) < 2 or (web.peers_home() / "ready").exists():
    python, variables = web.peers()
    print(json.dumps([str(python), variables]))
"""
