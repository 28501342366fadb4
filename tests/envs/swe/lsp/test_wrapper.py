"""The reward of language servers in an environment, in a real sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gymnasium
import pytest

from agentgym.containers import backends, images
from agentgym.envs.swe.actions import call
from agentgym.envs.swe.lsp import LanguageServer, Transcript
from agentgym.envs.swe.lsp.wrapper import LanguageRewards
from agentgym.envs.swe.make import smoke_env
from agentgym.errors import UsageError

Need = Callable[[object, str, str], None]


@pytest.fixture(scope="module")
def transcript() -> Transcript:
    return Transcript()


@pytest.fixture(scope="module")
def env(need: Need, transcript: Transcript) -> Iterator[LanguageRewards]:
    found = {b.name: b.refusal for b in backends()}
    need(not all(found.values()), "a sandbox", "; ".join(found.values()))
    need(
        found["docker"] or images.here("agentgym/sandbox"), "the image agentgym/sandbox", "run `agentgym images build`"
    )
    made = LanguageRewards(smoke_env(), [transcript.recording(LanguageServer("ruff"))], scale=0.1)
    yield made
    made.close()


def _play(env: LanguageRewards) -> list[float]:
    env.reset(seed=1)
    path = next(p for p in env._world.desk.files if p.endswith(".py") and not p.startswith("test"))
    source = env._world.desk.files[path].decode()
    head = source.split("\n")[0]
    values = []
    for action in (
        call("read", path=path),
        call("edit", path=path, search=head, replace=f"import os\n{head}"),  # unused
        call("edit", path=path, search="import os\n", replace=""),
        call("edit", path=path, search=head, replace=f"{head}("),  # does not parse
        call("edit", path=path, search=f"{head}(", replace=head),
        call("edit", path=path, search="no such line", replace="x"),
    ):
        _, reward, _, _, info = env.step(action)
        assert reward == pytest.approx(0.1 * info["language"]["value"])
        values.append(info["language"]["value"])
    return values


def test_every_step_is_judged(env: LanguageRewards) -> None:
    assert _play(env) == pytest.approx([0, -0.5, 0.5, -0.4, 0, -0.1])


def test_a_record_gives_the_same_without_a_server(env: LanguageRewards, transcript: Transcript) -> None:
    live = _play(env)
    replayed = LanguageRewards(env.env, transcript.replays())
    replayed._scale = 0.1
    assert _play(replayed) == live


def test_another_family_is_refused() -> None:
    with pytest.raises(UsageError, match="SWE family"):
        LanguageRewards(gymnasium.make("CartPole-v1"))
