"""Where labels come from: an oracle over the process record, a rule of yours, or a language model behind an endpoint.

A source answers questions in batches, in the annotator's thread. Its answer to a question is a number in [0, 1], or
None where it has none: for one message, whether it is worth a reward; for two, 1 if the first is the better, 0 if the
second is, 0.5 for neither.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agentgym.errors import EndpointError, MissingExtra, UsageError
from agentgym.rewards.credit.checks import number, one_of

__all__ = ["EndpointSource", "OracleSource", "Question", "RuleSource", "Source", "label_of", "preference_of"]


@dataclass(frozen=True)
class Question:
    """What is asked about.

    Attributes:
        message: what the environment said.
        other: a second message to compare it with; '' asks about the first alone.
        record: numbers of the step it came with: ``milestones_before``, ``milestones``, ``progress_before``,
            ``progress``, ``danger``, ``grounded``, ``reward``.
    """

    message: str
    other: str = ""
    record: Mapping[str, float] = field(default_factory=dict)


class Source(Protocol):
    """Anything that labels. Called in the annotator's thread; `close` may be called from another one."""

    def label(self, questions: Sequence[Question]) -> Sequence[float | None]:
        """One answer per question."""

    def close(self) -> None:
        """Give up what is under way; further calls do nothing."""


class OracleSource:
    """Labels by the process record of the step: the tutor that knows the task.

    Args:
        rule: "milestone": 1 where a milestone was first reached; "progress": 1 where progress rose by more than
            ``least``. A step that did something unsafe is 0 by both.
        least: smallest rise of progress that counts, in [0, 1).
    """

    def __init__(self, rule: Literal["milestone", "progress"] = "milestone", *, least: float = 0.0) -> None:
        one_of("rule", rule, ("milestone", "progress"))
        number("least", least, 0.0, 1.0, open_high=True)
        self.rule, self.least = rule, least

    def label(self, questions: Sequence[Question]) -> list[float | None]:
        """0 or 1 for every message; None for comparisons and for messages without a record."""
        return [self._one(q) for q in questions]

    def close(self) -> None:
        """Nothing to close."""

    def _one(self, q: Question) -> float | None:
        if q.other or not q.record:
            return None
        if q.record["danger"]:
            return 0.0
        if self.rule == "milestone":
            return float(int(q.record["milestones"]) & ~int(q.record["milestones_before"]) != 0)
        return float(q.record["progress"] - q.record["progress_before"] > self.least)


class RuleSource:
    """Labels by a function of yours.

    Args:
        rule: question -> number in [0, 1], or None for no answer.
    """

    def __init__(self, rule: Callable[[Question], float | None]) -> None:
        self.rule = rule

    def label(self, questions: Sequence[Question]) -> list[float | None]:
        """The function's answers."""
        return [self.rule(q) for q in questions]

    def close(self) -> None:
        """Nothing to close."""


class EndpointSource:
    """Asks a language model behind an OpenAI-compatible chat endpoint, one request a question; needs httpx.

    Args:
        base_url: up to and including the version, e.g. "http://localhost:8000/v1".
        model: name the server knows.
        goal: what the agent is after; stands in the prompt.
        prompt, compare: templates with ``{goal}``, ``{message}`` and, for two messages, ``{other}``.
        parse, parse_preference: answer -> number in [0, 1] or None; by default `label_of` and `preference_of`.
        api_key_env: environment variable that holds the key; no key is sent when it is unset. The key itself appears
            in no message, log or repr.
        concurrency: requests in flight at once.
        retries: further tries after 429, 5xx, a time-out or a lost connection.
        backoff: seconds before the first further try, doubled each time; a ``Retry-After`` header goes first.
        timeout: seconds for one try.
        max_tokens: longest answer.
        longest: characters of a message that are sent.

    What the environment says may be hostile and is shown to the model as it is: a label is an opinion, not a verdict.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        goal: str = "",
        prompt: str = "",
        compare: str = "",
        parse: Callable[[str], float | None] | None = None,
        parse_preference: Callable[[str], float | None] | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        retries: int = 3,
        backoff: float = 0.5,
        timeout: float = 30.0,
        max_tokens: int = 16,
        longest: int = 4000,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise UsageError(f"expected a base_url that starts with http:// or https://, got {base_url!r}")
        if concurrency < 1 or retries < 0 or not timeout > 0 or not backoff >= 0 or longest < 1:
            raise UsageError(
                "expected concurrency >= 1, retries >= 0, timeout > 0, backoff >= 0, longest >= 1; got"
                f" {concurrency}, {retries}, {timeout}, {backoff}, {longest}"
            )
        self.url = base_url.rstrip("/") + "/chat/completions"
        self.model, self.goal = model, goal
        self.prompt, self.compare = prompt or _PROMPT, compare or _COMPARE
        self.parse, self.parse_preference = parse or label_of, parse_preference or preference_of
        self.concurrency, self.retries, self.backoff, self.timeout = concurrency, retries, backoff, timeout
        self.max_tokens, self.longest = max_tokens, longest
        self._key = os.environ.get(api_key_env, "")
        self._lock = threading.Lock()
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"EndpointSource({self.url!r}, {self.model!r})"

    def label(self, questions: Sequence[Question]) -> list[float | None]:
        """The model's answers; None where what it said is no label.

        Raises:
            EndpointError: no chat completion came, a refusal (4xx), no answer after all tries, or closed meanwhile.
        """
        try:
            return asyncio.run(self._all(questions))
        except asyncio.CancelledError as error:
            raise EndpointError(f"{self.url} was given up: the source has been closed") from error

    def close(self) -> None:
        """Break off the requests in flight; may be called from any thread, and again."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                loop, task = self._running
                loop.call_soon_threadsafe(task.cancel)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _all(self, questions: Sequence[Question]) -> list[float | None]:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtra("httpx", "train") from error
        task = asyncio.current_task()
        assert task is not None
        with self._lock:
            if self._closed:
                raise EndpointError(f"{self.url} is not asked: the source has been closed")
            self._running = asyncio.get_running_loop(), task
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limit = asyncio.Semaphore(self.concurrency)
        try:
            async with httpx.AsyncClient(headers=headers, timeout=self.timeout) as client:
                tasks = [asyncio.ensure_future(self._one(client, limit, q)) for q in questions]
                try:
                    return await _together(tasks)
                finally:  # after a failure the others are called off
                    for one in tasks:
                        one.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            with self._lock:
                self._running = None

    async def _one(self, client: Any, limit: asyncio.Semaphore, question: Question) -> float | None:
        template = self.compare if question.other else self.prompt
        said = template.format(
            goal=self.goal, message=question.message[: self.longest], other=question.other[: self.longest]
        )
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": said}],
            "temperature": 0.0,
            "max_tokens": self.max_tokens,
        }
        async with limit:
            answer = await self._ask(client, body)
        return (self.parse_preference if question.other else self.parse)(answer)

    async def _ask(self, client: Any, body: Mapping[str, Any]) -> str:
        import httpx

        problem = ""
        for tried in range(self.retries + 1):
            wait = self.backoff * 2**tried
            try:
                response = await client.post(self.url, json=body)
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

    def _content(self, response: Any) -> str:
        try:
            content = response.json()["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise self._garbage(response) from error
        if not isinstance(content, str):
            raise self._garbage(response)
        return content

    def _garbage(self, response: Any) -> EndpointError:
        return EndpointError(
            f"expected a chat completion (choices[0].message.content, a text) from {self.url},"
            f" got {self._shown(response)}; is this an OpenAI-compatible server?"
        )

    def _shown(self, response: Any) -> str:
        text = response.text.replace(self._key, "***") if self._key else response.text
        return repr(text[:200])


async def _together(tasks: Sequence[asyncio.Future[float | None]]) -> list[float | None]:
    return list(await asyncio.gather(*tasks))


def label_of(answer: str) -> float | None:
    """1 for an answer that says 1 or yes, 0 for one that says 0 or no; None for one that says both or neither."""
    found = {1.0 if word.lower() in ("1", "yes") else 0.0 for word in _LABEL.findall(answer)}
    return found.pop() if len(found) == 1 else None


def preference_of(answer: str) -> float | None:
    """1 for "1", 0 for "2", 0.5 for neither, none, both, equal or tie; None where several or nothing of it is said."""
    values = {"1": 1.0, "2": 0.0}
    found = {values.get(word, 0.5) for word in _PREFERENCE.findall(answer.lower())}
    return found.pop() if len(found) == 1 else None


_LABEL = re.compile(r"(?<![\w.-])(0|1|yes|no)(?!\w|\.\d)", re.I)
_PREFERENCE = re.compile(r"(?<![\w.-])(1|2|neither|none|both|equal|tie)(?!\w|\.\d)")
_LONGEST_WAIT = 60.0  # seconds between two tries, whatever the server asks for

_PROMPT = """An agent is working on a task.
{goal}

It has just seen this message, between the lines:
---
{message}
---
Does the message show that the agent came closer to its goal? Answer with 1 for yes or 0 for no, and nothing else."""

_COMPARE = """An agent is working on a task.
{goal}

It may see one of two messages. Message 1:
---
{message}
---
Message 2:
---
{other}
---
Which message shows more progress towards the goal? Answer with 1, 2 or "neither", and nothing else."""
