"""Worlds that wait: coroutines run on their family's loop thread, whoever calls."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agentgym.world import loop_thread, wait
from tests.toy import make


async def _where() -> tuple[str, str]:
    await asyncio.sleep(0)
    return threading.current_thread().name, type(asyncio.get_running_loop()).__name__


def test_a_value_is_itself_and_an_awaitable_is_computed_on_the_familys_thread() -> None:
    assert wait(3, "toy") == 3
    assert wait(None, "toy") is None
    assert wait(_where(), "toy")[0] == "agentgym-toy"
    assert wait(_where(), "other")[0] == "agentgym-other"
    assert loop_thread("toy") is loop_thread("toy") is not loop_thread("other")


def test_what_a_coroutine_raises_arrives_at_the_caller() -> None:
    async def breaks() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        wait(breaks(), "toy")


def test_many_threads_get_one_loop() -> None:
    with ThreadPoolExecutor(8) as pool:
        loops = set(pool.map(lambda k: loop_thread("crowd"), range(64)))
    assert len(loops) == 1


def test_worlds_of_one_family_wait_side_by_side() -> None:
    """Two coroutines that wait for each other finish only if both are on the loop at once."""
    first, second = wait(_events(), "toy")

    async def meet(mine: asyncio.Event, other: asyncio.Event) -> bool:
        mine.set()
        return await other.wait()

    with ThreadPoolExecutor(2) as pool:
        a = pool.submit(lambda: wait(meet(first, second), "toy"))
        b = pool.submit(lambda: wait(meet(second, first), "toy"))
        assert a.result(timeout=30)
        assert b.result(timeout=30)


async def _events() -> tuple[asyncio.Event, asyncio.Event]:
    return asyncio.Event(), asyncio.Event()


def _play(answers: Any) -> None:
    env = make(asynchronous=True)
    answers.put([repr(env.reset(seed=1)), repr(env.step("right"))])


def test_a_forked_child_starts_a_loop_of_its_own() -> None:
    """The child inherits the loop but not its thread; waiting on it would never end."""
    env = make(asynchronous=True)
    expected = [repr(env.reset(seed=1)), repr(env.step("right"))]
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_play, args=(answers,), daemon=True)
    child.start()
    try:
        assert answers.get(timeout=60) == expected
        child.join(60)
        assert child.exitcode == 0
    finally:
        child.kill()


@pytest.mark.parametrize("view", ["text", "array"])
def test_coroutines_change_nothing_but_the_thread(view: Any) -> None:
    told = []
    for asynchronous in (False, True):
        env = make(view, asynchronous=asynchronous)
        said: list[Any] = [env.reset(seed=5)]
        said += [env.step(env.task.actions[k]) for k in (1, 1, 0, 2)]  # type: ignore[attr-defined]  # a CorridorTask
        saved = env.snapshot()
        said += [env.step(env.task.actions[1]), env.restore(saved), env.step(env.task.actions[1])]  # type: ignore[attr-defined]
        env.close()
        told.append(repr(said))
    assert told[0] == told[1]
