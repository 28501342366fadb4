"""A policy behind an OpenAI-compatible chat endpoint (vLLM, llama.cpp, SGLang, hosted models)."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, TypeVar

import httpx

from agentgym.agents.policy.text import observation_text
from agentgym.agents.policy.types import Decision, Request, uniform
from agentgym.errors import EndpointError, UsageError

__all__ = ["EndpointPolicy"]

T = TypeVar("T")
_LONGEST_WAIT = 60.0  # seconds between two tries, whatever the server asks for


class EndpointPolicy:
    """Sends every episode's conversation to a server and takes the answer's text as the action.

    The conversation is goal and first observation, then answer and observation in turn; admissible actions, when
    listed, are shown with each observation and the answer is matched against them.

    Args:
        base_url: up to and including the version, e.g. "http://localhost:8000/v1".
        model: name the server knows.
        api_key_env: environment variable that holds the key; no key is sent when it is unset. The key itself appears
            in no message, log or repr.
        concurrency: requests in flight at once.
        retries: further tries after 429, 5xx, a time-out or a lost connection.
        backoff: seconds before the first further try, doubled each time; a ``Retry-After`` header goes first.
        timeout: seconds for one try.
        temperature: of the server's sampling; greedy requests send 0.
        max_new_tokens: longest answer.
        last_turns: past turns sent along; None sends all.
        parse: text -> action; default: the admissible action of that text, or the text.
        render: action -> text for admissible actions.

    Close it, or use it as a context manager. Not thread-safe.
    """

    wants_env = False
    wants_admissible = True

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        retries: int = 5,
        backoff: float = 0.5,
        timeout: float = 60.0,
        temperature: float = 1.0,
        max_new_tokens: int = 256,
        last_turns: int | None = None,
        parse: Callable[[str], Any] | None = None,
        render: Callable[[Any], str] = str,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise UsageError(f"expected a base_url that starts with http:// or https://, got {base_url!r}")
        if concurrency < 1 or retries < 0 or not timeout > 0 or not backoff >= 0:
            raise UsageError(
                "expected concurrency >= 1, retries >= 0, timeout > 0, backoff >= 0; got"
                f" {concurrency}, {retries}, {timeout}, {backoff}"
            )
        if last_turns is not None and last_turns < 0:
            raise UsageError(f"expected last_turns of at least 0, or None, got {last_turns}")
        self.url = base_url.rstrip("/") + "/chat/completions"
        self.model, self.retries, self.backoff = model, retries, backoff
        self.temperature, self.max_new_tokens, self.last_turns = temperature, max_new_tokens, last_turns
        self.parse, self.render = parse, render
        key = os.environ.get(api_key_env, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._key = key
        self._turns: dict[int, list[dict[str, str]]] = {}
        self._limit = asyncio.Semaphore(concurrency)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agentgym-endpoint", daemon=True)
        self._thread.start()
        self._client = httpx.AsyncClient(
            headers=headers, timeout=timeout, limits=httpx.Limits(max_connections=concurrency)
        )

    def __repr__(self) -> str:
        return f"EndpointPolicy({self.url!r}, {self.model!r})"

    def __enter__(self) -> EndpointPolicy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the loop's thread. May be called again."""
        if self._loop.is_closed():
            return
        self._wait(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Ask for every request at once, at most ``concurrency`` in flight.

        Raises:
            EndpointError: an answer that is no chat completion, a refusal (4xx), or no answer after all tries. Nothing
                of the batch is remembered then, so it can be asked again.
        """
        said = [self._said(request) for request in requests]
        chats = [self._chat(request, text) for request, text in zip(requests, said, strict=True)]

        async def all_answers() -> list[str]:
            tasks = [asyncio.ensure_future(self._ask(*both)) for both in zip(requests, chats, strict=True)]
            try:
                return await asyncio.gather(*tasks)
            finally:  # after a failure the others are called off
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        answers = self._wait(all_answers())
        decisions = []
        for request, text, answer in zip(requests, said, answers, strict=True):
            turns = self._turns.setdefault(request.episode, [])
            turns += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
            action = self._action(request, answer.strip())
            decisions.append(Decision(action, text="" if action == answer else answer))
        return decisions

    def fork(self, parent: int, child: int) -> None:
        """The episode ``child`` goes on with a copy of the conversation of ``parent`` (tree rollouts)."""
        if parent in self._turns:
            self._turns[child] = list(self._turns[parent])

    def end(self, episode: int) -> None:
        """Forget an episode's conversation."""
        self._turns.pop(episode, None)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _said(self, request: Request) -> str:
        text = observation_text(request.observation)
        if request.admissible:
            text += "\n\nAnswer with exactly one of these actions:\n" + "\n".join(map(self.render, request.admissible))
        return text

    def _chat(self, request: Request, text: str) -> list[dict[str, str]]:
        turns = self._turns.get(request.episode, [])
        if self.last_turns is not None:
            turns = turns[len(turns) - 2 * self.last_turns :] if 2 * self.last_turns < len(turns) else turns
        chat = [*turns, {"role": "user", "content": text}]
        if request.goal:
            chat[0] = {"role": "user", "content": f"{request.goal}\n\n{chat[0]['content']}"}
        return chat

    def _action(self, request: Request, answer: str) -> Any:
        if self.parse is not None:
            return self.parse(answer)
        return next((a for a in request.admissible or () if self.render(a) == answer), answer)

    async def _ask(self, request: Request, chat: list[dict[str, str]]) -> str:
        body = {
            "model": self.model,
            "messages": chat,
            "temperature": 0.0 if request.greedy else self.temperature,
            "max_tokens": self.max_new_tokens,
            "seed": int(uniform(request.seed, request.episode, request.step)[0] * 2**31),
        }
        async with self._limit:
            for tried in range(self.retries + 1):
                wait = self.backoff * 2**tried
                try:
                    response = await self._client.post(self.url, json=body)
                except httpx.TransportError as error:  # time-outs and lost connections
                    problem = f"{type(error).__name__}: {error}"
                else:
                    if response.status_code == 200:
                        return self._content(response)
                    problem = f"status {response.status_code}: {self._shown(response)}"
                    if response.status_code != 429 and response.status_code < 500:
                        raise EndpointError(f"{self.url} refused the request with {problem}")
                    asked = response.headers.get("retry-after", "")
                    wait = float(asked) if asked.replace(".", "", 1).isdigit() else wait
                if tried < self.retries:
                    await asyncio.sleep(min(wait, _LONGEST_WAIT))
        raise EndpointError(f"{self.url} gave no answer in {self.retries + 1} tries; the last: {problem}")

    def _content(self, response: httpx.Response) -> str:
        try:
            content = response.json()["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise self._garbage(response) from error
        if not isinstance(content, str):
            raise self._garbage(response)
        return content

    def _garbage(self, response: httpx.Response) -> EndpointError:
        return EndpointError(
            f"expected a chat completion (choices[0].message.content, a text) from {self.url},"
            f" got {self._shown(response)}; is this an OpenAI-compatible server?"
        )

    def _shown(self, response: httpx.Response) -> str:
        text = response.text.replace(self._key, "***") if self._key else response.text
        return repr(text[:200]) + (f" and {len(text) - 200} more characters" if len(text) > 200 else "")

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
