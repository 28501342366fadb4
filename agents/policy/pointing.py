"""A policy for pages: points at one of the marks, and where that takes text, writes it, token by token.

The prompt is goal, last action and page (`read_page`). The k-th candidate's score is the logit of a token that is never
read (`Lexicon.pick`) where the k-th mark stands, so all candidates cost one pass over the page. What is written behind
a field is sampled from the whole vocabulary until the stop token. Both parts make one step's segment: the candidate
chosen, then the text.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from agentgym.agents.policy.engine import Engine
from agentgym.agents.policy.lexicon import Lexicon, Notes
from agentgym.agents.policy.pages import Mark, Page, read_page
from agentgym.agents.policy.sampling import check_sampling, pick
from agentgym.agents.policy.text import observation_text
from agentgym.agents.policy.types import Decision, Request, Segment, uniform
from agentgym.errors import PolicyError

__all__ = ["Pointer", "PointingPolicy", "pointing_model", "quoted_call"]

Float = npt.NDArray[np.float64]
_REMEMBERED = 8  # tokens of the last action that stay in the prompt


class Pointer(NamedTuple):
    """How a model points: candidates stand where the token ``mark`` does, their score is the logit of ``pick``."""

    mark: int
    pick: int


@dataclass(slots=True)
class _Memory:
    """Of an episode: its words, the tokens of its last page, and what was done there."""

    notes: Notes
    page: tuple[int, ...] = ()
    did: tuple[int, ...] = ()
    steps: int = 0


@dataclass(frozen=True, slots=True)
class _Prompt:
    tokens: tuple[int, ...]
    page: Page


def pointing_model(lexicon: Lexicon, *, hidden: int = 96, layers: int = 3, heads: int = 4, seed: int = 0) -> Any:
    """A fresh ``LlamaForCausalLM`` for a lexicon, float32, on the CPU; torch's global generator is left alone."""
    config = LlamaConfig(
        vocab_size=len(lexicon),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=lexicon.pad,
        bos_token_id=lexicon.start,
        eos_token_id=lexicon.stop,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = LlamaForCausalLM(config)
    return model.eval()


class PointingPolicy:
    """See the module.

    Args:
        model: a Hugging Face causal language model over the lexicon's tokens.
        lexicon: words to tokens.
        temperature: of both parts, above 0.
        max_new_tokens: longest text, its stop token included.
        max_prompt: longer prompts lose their end, and the marks there.

    Attributes:
        pointer: what a learner needs to compute the same distribution.
    """

    wants_env = False
    wants_admissible = False

    def __init__(
        self,
        model: Any,
        lexicon: Lexicon,
        *,
        temperature: float = 1.0,
        max_new_tokens: int = 12,
        max_prompt: int = 480,
    ) -> None:
        check_sampling(temperature, 1.0)
        self.model, self.lexicon = model, lexicon
        self.temperature, self.max_new_tokens, self.max_prompt = temperature, max_new_tokens, max_prompt
        self.pointer = Pointer(lexicon.mark, lexicon.pick)
        self.engine = Engine(model)
        self._memory: dict[int, _Memory] = {}
        self._known: dict[tuple[int, ...], Float] = {}
        self._version = 0

    def save(self, folder: str | Path) -> None:
        """Write the model as a Hugging Face folder, and the words beside it."""
        self.model.save_pretrained(folder)
        (Path(folder) / "words.json").write_text(json.dumps(self.lexicon.words))

    # -- the policy contract ------------------------------------------------------------------------------------------

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Decide for every request.

        Raises:
            PolicyError: steps out of order.
        """
        prompts = [self._prompt(r) for r in requests]
        scores = self._scores([r.episode for r in requests], [p.tokens for p in prompts])
        chosen: list[tuple[int, float]] = []
        writing: list[int] = []
        for k, (request, prompt, values) in enumerate(zip(requests, prompts, scores, strict=True)):
            if not prompt.page.marks:
                chosen.append((-1, 0.0))
                continue
            u = 0.0 if request.greedy else float(uniform(request.seed, request.episode, request.step)[0])
            chosen.append(pick(values, u, temperature=self.temperature, top_p=1.0, greedy=request.greedy))
            if prompt.page.marks[chosen[-1][0]].verb != "click":
                writing.append(k)
        texts = self._texts(requests, prompts, chosen, writing)
        decisions = []
        for k, (request, prompt, (index, logprob)) in enumerate(zip(requests, prompts, chosen, strict=True)):
            tokens, behaviour = texts.get(k, ((), np.zeros(0)))
            decisions.append(self._decided(request, prompt, index, logprob, tokens, behaviour))
        return decisions

    def record(self, requests: Sequence[Request], actions: Sequence[str]) -> list[Decision]:
        """Enter actions that were chosen elsewhere (demonstrations); log-probabilities are NaN.

        Raises:
            PolicyError: an action that this policy could not take.
        """
        decisions = []
        for request, action in zip(requests, actions, strict=True):
            prompt = self._prompt(request)
            verb, bid, *text = quoted_call(action)
            index = prompt.page.owner.get(bid, -1)
            wanted = "click" if verb in ("click", "check", "uncheck") else verb
            if index < 0 or prompt.page.marks[index].verb != wanted or len(text) != (wanted != "click"):
                raise PolicyError(f"the recorded action {action!r:.200} points at nothing that this page offers for it")
            tokens = (*self._memory[request.episode].notes.text(text[0]), self.lexicon.stop) if text else ()
            unknown = np.full(len(tokens), np.nan)
            decisions.append(self._decided(request, prompt, index, np.nan, tokens, unknown, action))
        return decisions

    def end(self, episode: int) -> None:
        """Forget an episode."""
        self._memory.pop(episode, None)
        self.engine.drop(episode)

    # -- training -----------------------------------------------------------------------------------------------------

    def parameters(self) -> Iterator[nn.Parameter]:
        """The model's."""
        parameters: Iterator[nn.Parameter] = self.model.parameters()
        return parameters

    def set_weights_version(self, version: int) -> None:
        """Say which weights the model now has; a new number forgets everything computed with the old ones."""
        if version != self._version:
            self._version = version
            self.flush()

    def flush(self) -> None:
        """Forget everything computed."""
        self._known.clear()
        self.engine.flush()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _prompt(self, request: Request) -> _Prompt:
        memory = self._memory.get(request.episode) or _Memory(Notes(self.lexicon))
        self._memory[request.episode] = memory
        if request.step != memory.steps:
            raise PolicyError(
                f"expected step {memory.steps} of episode {request.episode}, got step {request.step};"
                " call end(episode) before an episode number is used again"
            )
        s, notes = self.lexicon, memory.notes
        goal = notes.text(request.goal.replace('"', ' " '))
        page = read_page(observation_text(request.observation), notes, goal)
        tokens = [s.start, *goal]
        if memory.did:
            tokens += [s.did, *memory.did]
            if isinstance(request.observation, dict) and request.observation.get("last_action_error"):
                tokens.append(s.refused)
            elif page.tokens == memory.page:
                tokens.append(s.same)
        tokens += [s.page, *page.tokens]
        if len(tokens) > self.max_prompt:
            tokens = tokens[: self.max_prompt]
            marks = page.marks[: tokens.count(s.mark)]
            owner = {bid: k for bid, k in page.owner.items() if k < len(marks)}
            page = Page(page.tokens, marks, owner)
        return _Prompt(tuple(tokens), page)

    @torch.inference_mode()
    def _scores(self, episodes: Sequence[int], prompts: Sequence[tuple[int, ...]]) -> list[Float]:
        """float64[marks] of every prompt; equal prompts are computed once."""
        mark = self.pointer.mark
        new = {p: e for p, e in zip(prompts, episodes, strict=True) if p not in self._known and mark in p}
        if new:
            first = [p.index(mark) for p in new]
            weight = self.model.get_output_embeddings().weight[self.pointer.pick]
            for prompt, start, hidden in zip(
                new, first, self.engine.hidden([*new.values()], [*new], first), strict=True
            ):
                at = np.array(prompt[start:]) == mark
                self._known[prompt] = (hidden @ weight).double().cpu().numpy()[at]
        return [self._known.get(p, np.zeros(0)) for p in prompts]

    def _texts(
        self,
        requests: Sequence[Request],
        prompts: Sequence[_Prompt],
        chosen: Sequence[tuple[int, float]],
        writing: Sequence[int],
    ) -> dict[int, tuple[tuple[int, ...], Float]]:
        """For every request that writes: its tokens, and their log-probabilities."""
        if not writing:
            return {}
        n = self.max_new_tokens
        draws = [
            np.zeros(n) if (r := requests[k]).greedy else uniform(r.seed, r.episode, r.step, n=n + 1)[1:]
            for k in writing
        ]
        written = self.engine.generate(
            [requests[k].episode for k in writing],
            [[*prompts[k].tokens, *prompts[k].page.marks[chosen[k][0]].name] for k in writing],
            max_new_tokens=n,
            stop_ids=(self.lexicon.stop,),
            temperature=self.temperature,
            greedy=[requests[k].greedy for k in writing],
            uniforms=np.stack(draws),
        )
        return {k: (tuple(w.tokens.tolist()), w.logprob_behaviour) for k, w in zip(writing, written, strict=True)}

    def _decided(
        self,
        request: Request,
        prompt: _Prompt,
        index: int,
        logprob: float,
        text: tuple[int, ...],
        behaviour: Float,
        action: str = "",
    ) -> Decision:
        memory = self._memory[request.episode]
        memory.page, memory.steps = prompt.page.tokens, memory.steps + 1
        if index < 0:
            memory.did = (self.lexicon.pad,)
            return Decision("noop()")
        mark = prompt.page.marks[index]
        # Special tokens that were written say nothing; a mark among them would be taken for one of the page.
        memory.did = (*mark.name, *(t for t in text if self.lexicon.speaks(t)))[:_REMEMBERED]
        tokens = np.array(mark.name + text, dtype=np.int64)
        both = np.zeros(len(tokens))
        both[0] = logprob
        both[len(mark.name) :] = behaviour
        segment = Segment(
            request.step,
            np.array(prompt.tokens, dtype=np.int64),
            tokens,
            np.full(len(tokens), np.nan),
            both,
            tuple(m.name for m in prompt.page.marks),
            index,
        )
        return Decision(action or _action(mark, memory.notes.say(text)), segment, logprob=float(both.sum()))


def _action(mark: Mark, text: str) -> str:
    return f"click({mark.bid!r})" if mark.verb == "click" else f"{mark.verb}({mark.bid!r}, {text!r})"


def quoted_call(action: str) -> tuple[str, ...]:
    """Verb and string arguments of an action such as ``fill('3', 'x')``.

    Raises:
        PolicyError: it is no call with string arguments.
    """
    try:
        call = ast.parse(action, mode="eval").body
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.keywords:
            given = [ast.literal_eval(a) for a in call.args]
            if given and all(isinstance(g, str) for g in given):
                return (call.func.id, *given)
    except (SyntaxError, ValueError):
        pass
    raise PolicyError(f"expected an action such as click('3') or fill('3', 'text'), got {action!r:.200}")
