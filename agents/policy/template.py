"""Text to tokens in pieces, so that a context can grow by whole pieces and nothing is ever tokenised twice.

A segment is ``opening + action + turn + action + turn ...`` where actions are the ids the model produced. With a chat
template the pieces around the contents are cut out of the template's own rendering; without one a plain format is
used. Contents (goals, observations) come from the world, so they are encoded with special tokens taken as ordinary
text: a page that contains ``<|im_end|>`` cannot end its turn.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from agentgym.errors import ModelFolderError

__all__ = ["Template"]

_MARKS = ("QX0XQ", "QX1XQ", "QX2XQ")
_CACHED_TEXTS = 16_384


class Template:
    """The pieces of a conversation for one tokenizer.

    Args:
        tokenizer: a Hugging Face tokenizer; its chat template is used when it has one.

    Attributes:
        end: the tokens that close an action; never empty.
        stop_ids: tokens at which generation of an action ends.

    Raises:
        ModelFolderError: if the tokenizer can close no action (neither a chat template, a newline nor an end token).
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._cache: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        eos = tokenizer.eos_token_id
        if tokenizer.chat_template is not None:
            before, goal_gap, invite, close, again = self._chat_pieces()
            self._first, self._gap, self._invite = self._frame(before), goal_gap, self._frame(invite)
            closing = self._frame(close)
            # The close runs from the action's end mark into the next header; the mark alone ends an action.
            size = closing.index(eos) + 1 if eos in closing else 1
            self.end, self._next = closing[:size], closing[size:]
            self._invite_again = self._frame(again)
            self._observation, self._answer_prefix = "{}", ""
        else:
            bos = tokenizer.bos_token_id
            self._first = () if bos is None else (bos,)
            self._gap, self._observation, self._answer_prefix = "\n", "Observation: {}\n", " "
            self._invite = self._invite_again = self._frame("Action:")
            self.end = self._frame("\n") or (() if eos is None else (eos,))
            self._next = ()
        if not self.end:
            raise ModelFolderError(
                "expected a tokenizer with a chat template, a newline or an end token to close an action; it has none"
            )
        self.stop_ids = frozenset(([] if eos is None else [eos]) + ([self.end[0]] if len(self.end) == 1 else []))

    def opening(self, goal: str, observation: str, note: str = "") -> tuple[int, ...]:
        """The start of a segment up to where the model answers: goal, note on what was dropped, observation."""
        said = self.text(goal + self._gap) if goal else ()
        if note:
            said += self.text(note + self._gap)
        return self._first + said + self.text(self._observation.format(observation)) + self._invite

    def turn(self, action: tuple[int, ...], observation: str) -> tuple[int, ...]:
        """What follows ``action``: its end mark unless it has one, the next observation, the next invitation."""
        close = () if action[-len(self.end) :] == self.end else self.end
        return close + self._next + self.text(self._observation.format(observation)) + self._invite_again

    def action(self, text: str) -> tuple[int, ...]:
        """The tokens of an action without its end mark."""
        return self.text(self._answer_prefix + text)

    def say(self, action: tuple[int, ...]) -> str:
        """The text of an action's tokens, without end marks."""
        if action[-len(self.end) :] == self.end:
            action = action[: -len(self.end)]
        text: str = self.tokenizer.decode(action, skip_special_tokens=True)
        return text.strip()

    def text(self, text: str) -> tuple[int, ...]:
        """Tokens of a content; looks of special tokens are ordinary text. Remembered."""
        tokens = self._cache.get(text)
        if tokens is None:
            tokens = tuple(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))
            self._cache[text] = tokens
            if len(self._cache) > _CACHED_TEXTS:
                self._cache.popitem(last=False)
        return tokens

    def _frame(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _chat_pieces(self) -> tuple[str, str, str, str, str]:
        user, assistant, later = _MARKS
        opening = self._render([("user", user)])
        whole = self._render([("user", user), ("assistant", assistant), ("user", later)])
        before, found, invite = opening.partition(user)
        _, answered, rest = whole.partition(assistant)
        close, followed, again = rest.partition(later)
        if not (found and answered and followed):
            raise ModelFolderError(
                "the tokenizer's chat template does not show user and assistant messages as they are"
            )
        return before, "\n\n", invite, close, again

    def _render(self, messages: list[tuple[str, str]]) -> str:
        chat = [{"role": role, "content": content} for role, content in messages]
        text: str = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return text
