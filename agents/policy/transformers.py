"""A policy over any Hugging Face causal language model, in this process, on CPU and CUDA by the same code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from agentgym.agents.policy.context import Append, ContextPolicy, History, Plan
from agentgym.agents.policy.engine import Engine, Generated, Scored
from agentgym.agents.policy.sampling import check_sampling, pick
from agentgym.agents.policy.template import Template
from agentgym.agents.policy.text import observation_text
from agentgym.agents.policy.tree import prefix_free
from agentgym.agents.policy.types import Decision, Request, Segment, uniform
from agentgym.errors import ModelFolderError, PolicyError, UsageError

__all__ = ["VALUE_HEAD", "TransformersPolicy"]

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "spiece.model")
VALUE_HEAD = "value_head.safetensors"

Candidates = tuple[tuple[int, ...], ...]


class TransformersPolicy:
    """Acts by scoring the admissible actions or by free generation; remembers every episode's tokens.

    Args:
        model: a Hugging Face causal language model.
        tokenizer: its tokenizer; the chat template is used when it has one.
        context: what stays in view (`Append`, `LastK`, `Summarise`, or one's own `ContextPolicy`).
        mode: "score" chooses among ``request.admissible`` by the model's probability of each; "generate" lets the model
            write; "auto" scores when the request lists admissible actions and generates otherwise.
        temperature: of sampling, above 0. Candidates are sampled with probability proportional to
            ``exp(logprob / temperature)``, logprob summed over a candidate's tokens.
        top_p: nucleus of sampling, in (0, 1].
        max_new_tokens: longest generated action, end mark included.
        stop: texts that end a generated action, besides the end marks of the model. The action's text ends before the
            first of them; its tokens are those the model produced.
        parse: text -> action for generated actions. By default the admissible action that reads the same, or the text.
        render: action -> text for admissible actions.
        critic: adds a value head (linear, from the last hidden state of the prompt; starts at 0).
        max_cached_tokens: bound of the key-value memory, see `Engine`.

    Candidates get the end mark appended only when one of them is the beginning of another; otherwise they are told
    apart without it, and single-token actions cost no pass of their own.

    Attributes:
        engine: the batched core, with counters.
        wants_admissible: whether requests should list the admissible actions (unless only generating).
        wants_env: False.
        value_head: the critic, or None.
        template: how texts become tokens.
    """

    wants_env = False

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        context: ContextPolicy | None = None,
        mode: Literal["auto", "score", "generate"] = "auto",
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_new_tokens: int = 64,
        stop: Sequence[str] = (),
        parse: Callable[[str], Any] | None = None,
        render: Callable[[Any], str] = str,
        critic: bool = False,
        max_cached_tokens: int = 131_072,
    ) -> None:
        check_sampling(temperature, top_p)
        if mode not in ("auto", "score", "generate"):
            raise UsageError(f"expected mode 'auto', 'score' or 'generate', got {mode!r}")
        if isinstance(stop, str) or not all(stop):
            raise UsageError(f"expected stop as a sequence of non-empty texts, got {stop!r}")
        if max_new_tokens < 1:
            raise UsageError(f"expected max_new_tokens of at least 1, got {max_new_tokens}")
        self.model, self.tokenizer = model, tokenizer
        self.context: ContextPolicy = Append() if context is None else context
        self.mode, self.temperature, self.top_p = mode, temperature, top_p
        self.max_new_tokens, self.stop, self.parse, self.render = max_new_tokens, tuple(stop), parse, render
        self.value_head: nn.Linear | None = None
        if critic:
            self.value_head = nn.Linear(model.config.get_text_config().hidden_size, 1)
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)
            self.value_head.to(next(model.parameters()).device)
        self.template = Template(tokenizer)
        self.engine = Engine(model, max_cached_tokens=max_cached_tokens, value_head=self.value_head)
        generation = getattr(model, "generation_config", None)
        ends = getattr(generation, "eos_token_id", None)
        self._stop_ids = self.template.stop_ids | frozenset(
            [ends] if isinstance(ends, int) else ends if ends is not None else []
        )
        self._histories: dict[int, History] = {}
        self._encoded: dict[tuple[str, ...], Candidates] = {}
        self._version = 0

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | Literal["auto"] = "auto",
        **options: Any,
    ) -> TransformersPolicy:
        """Load model, tokenizer and (with ``critic=True``) the value head, if saved, from a folder or the hub.

        Args:
            source: a folder, or a hub id such as "owner/name".
            device: default: CUDA when there is one, else the CPU.
            dtype: of the weights; "auto" takes the one they were saved in.
            options: for the constructor.

        Raises:
            ModelFolderError: a missing folder, one without model or tokenizer, or a hub id that cannot be loaded.
        """
        _check_folder(str(source))
        try:
            tokenizer = AutoTokenizer.from_pretrained(source)
            model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
        except (OSError, ValueError, SafetensorError) as error:
            first = str(error).strip().partition("\n")[0][:300]
            raise ModelFolderError(
                f"{str(source)!r} cannot be loaded as a causal language model: {first} (expected a folder with"
                " config.json, weights and tokenizer, or the id of a model on the hub that can be reached)"
            ) from error
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        policy = cls(model.to(device).eval(), tokenizer, **options)
        head = Path(source) / VALUE_HEAD
        if policy.value_head is not None and head.exists():
            policy.value_head.load_state_dict(load_file(head, device=str(device)))
        return policy

    def save(self, folder: str | Path) -> None:
        """Write model, tokenizer and value head as an ordinary Hugging Face folder."""
        with _no_bars():
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        if self.value_head is not None:
            save_file({k: v.contiguous() for k, v in self.value_head.state_dict().items()}, Path(folder) / VALUE_HEAD)

    @property
    def wants_admissible(self) -> bool:
        """Whether the loop should ask the environment for the applicable actions."""
        return self.mode != "generate"

    # -- the policy contract ------------------------------------------------------------------------------------------

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Decide for every request.

        Raises:
            PolicyError: for steps out of order, an episode asked twice in one batch, scoring without admissible
                actions, or admissible actions that read the same to the tokenizer.
            UsageError: when a context no longer fits the model.
        """
        plans = self._plan(requests)
        scored = [i for i, request in enumerate(requests) if self._scores(request)]
        written = [i for i, request in enumerate(requests) if not self._scores(request)]
        decisions: dict[int, Decision] = {}
        if scored:
            candidates = [self._candidates(requests[i]) for i in scored]
            answers = self.engine.score(
                [requests[i].episode for i in scored], [plans[i].tokens for i in scored], candidates
            )
            for i, options, answer in zip(scored, candidates, answers, strict=True):
                decisions[i] = self._chosen(requests[i], plans[i], options, answer)
        if written:
            outputs = self.engine.generate(
                [requests[i].episode for i in written],
                [plans[i].tokens for i in written],
                max_new_tokens=self.max_new_tokens,
                stop_ids=self._stop_ids,
                stop_when=self._stops if self.stop else None,
                temperature=self.temperature,
                top_p=self.top_p,
                greedy=[requests[i].greedy for i in written],
                uniforms=np.stack([self._uniforms(requests[i]) for i in written]),
            )
            for i, output in zip(written, outputs, strict=True):
                decisions[i] = self._said(requests[i], plans[i], output)
        for i, (request, plan) in enumerate(zip(requests, plans, strict=True)):
            self._commit(request, plan, decisions[i])
        return [decisions[i] for i in range(len(requests))]

    def record(self, requests: Sequence[Request], actions: Sequence[Any]) -> list[Decision]:
        """Enter actions that were chosen elsewhere (demonstrations) as if the policy had taken them.

        The segments are those `act` would have made; log-probabilities are NaN (not computed).

        Raises:
            PolicyError: as `act`, and for an action that is not among the admissible ones when those are scored.
        """
        decisions = []
        for request, plan, action in zip(requests, self._plan(requests), actions, strict=True):
            candidates, chosen = None, -1
            tokens = self.written(action)
            if self._scores(request):
                candidates = self._candidates(request)
                chosen = next((k for k, a in enumerate(request.admissible or ()) if a == action), -1)
                if chosen < 0:
                    raise PolicyError(f"the recorded action {action!r:.200} is not among the admissible ones")
                tokens = candidates[chosen]
            unknown = np.full(len(tokens), np.nan)
            segment = _segment(plan, tokens, unknown, unknown, candidates, chosen)
            decisions.append(Decision(action, segment))
            self._commit(request, plan, decisions[-1])
        return decisions

    def written(self, action: Any) -> tuple[int, ...]:
        """The tokens of an action as a model that generates would write it, end mark included."""
        return self.template.action(self.render(action)) + self.template.end

    def fork(self, parent: int, child: int) -> None:
        """The episode ``child`` goes on with a copy of what ``parent`` has seen so far (tree rollouts)."""
        history = self._histories.get(parent)
        if history is not None:
            self._histories[child] = history.fork()

    def end(self, episode: int) -> None:
        """Forget an episode."""
        self._histories.pop(episode, None)
        self.engine.drop(episode)

    # -- training -----------------------------------------------------------------------------------------------------

    @property
    def trainable(self) -> bool:
        """Whether policy-gradient training on this policy's segments is sound; see `untrainable_reason`."""
        return not self.untrainable_reason

    @property
    def untrainable_reason(self) -> str:
        """Why not to train on what this policy samples; '' when it is fine."""
        if self.top_p < 1.0:
            return (
                f"top_p={self.top_p} samples from a nucleus that segments do not store, so the behaviour distribution"
                " cannot be recomputed; use top_p=1.0 while collecting for training"
            )
        return ""

    def parameters(self) -> Iterator[nn.Parameter]:
        """All parameters: the model's, then the value head's."""
        yield from self.model.parameters()
        if self.value_head is not None:
            yield from self.value_head.parameters()

    @property
    def weights_version(self) -> int:
        """The version last set, 0 at first."""
        return self._version

    def set_weights_version(self, version: int) -> None:
        """Say which weights the model now has; a new number forgets everything computed with the old ones."""
        if version != self._version:
            self._version = version
            self.flush()

    def flush(self) -> None:
        """Forget everything computed (not the episodes' histories)."""
        self.engine.flush()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _scores(self, request: Request) -> bool:
        return self.mode == "score" or (self.mode == "auto" and request.admissible is not None)

    def _plan(self, requests: Sequence[Request]) -> list[Plan]:
        if len({request.episode for request in requests}) != len(requests):
            raise PolicyError("expected at most one request per episode in a batch")
        histories = [self._histories.get(request.episode) or History(request.goal) for request in requests]
        for request, history in zip(requests, histories, strict=True):
            if request.step != len(history.turns):
                raise PolicyError(
                    f"expected step {len(history.turns)} of episode {request.episode}, got step {request.step};"
                    " call end(episode) before an episode number is used again"
                )
        texts = [observation_text(request.observation) for request in requests]
        self._summarise(requests, histories, texts)
        return [history.plan(text, self.template, self.context) for history, text in zip(histories, texts, strict=True)]

    def _summarise(self, requests: Sequence[Request], histories: Sequence[History], texts: Sequence[str]) -> None:
        """Let the model answer its context policy's question wherever a segment is about to end."""
        asking: list[tuple[int, History, list[int]]] = []
        longest = 0
        for request, history, text in zip(requests, histories, texts, strict=True):
            if not history.turns or history.summary[0] == len(history.turns):
                continue
            action = history.turns[-1][1]
            question = self.context.question(history, len(self.template.turn(action, text)))
            if question is not None:
                prompt = history.tokens + list(self.template.turn(action, question.text))
                asking.append((request.episode, history, prompt))
                longest = max(longest, question.max_tokens)
        if asking:
            episodes, of, prompts = zip(*asking, strict=True)
            answers = self.engine.generate(
                episodes, prompts, max_new_tokens=longest, stop_ids=self._stop_ids, greedy=True
            )
            for history, answer in zip(of, answers, strict=True):
                history.summary = len(history.turns), self.template.say(tuple(answer.tokens.tolist()))

    def _commit(self, request: Request, plan: Plan, decision: Decision) -> None:
        assert decision.segment is not None  # every decision of this policy has one
        history = self._histories.setdefault(request.episode, History(request.goal))
        history.commit(plan, tuple(decision.segment.action.tolist()))

    def _candidates(self, request: Request) -> Candidates:
        if not request.admissible:
            raise PolicyError(
                f"scoring needs admissible actions, episode {request.episode} lists none;"
                " ask the environment to list them, or use mode='generate'"
            )
        texts = tuple(map(self.render, request.admissible))
        tokens = self._encoded.get(texts)
        if tokens is None:
            tokens = tuple(map(self.template.action, texts))
            if not prefix_free(tokens):
                tokens = tuple(t + self.template.end for t in tokens)
            first = {t: k for k, t in reversed(list(enumerate(tokens)))}
            for k, t in enumerate(tokens):
                if first[t] != k:
                    raise PolicyError(
                        f"the actions {texts[first[t]]!r} and {texts[k]!r} are the same tokens to this tokenizer;"
                        " use one that knows their words"
                    )
            if len(self._encoded) >= 4096:
                self._encoded.clear()
            self._encoded[texts] = tokens
        return tokens

    def _uniforms(self, request: Request) -> np.ndarray[Any, np.dtype[np.float64]]:
        if request.greedy:
            return np.zeros(self.max_new_tokens)
        return uniform(request.seed, request.episode, request.step, n=self.max_new_tokens)

    def _chosen(self, request: Request, plan: Plan, candidates: Candidates, answer: Scored) -> Decision:
        assert request.admissible is not None  # checked where the candidates were made
        u = 0.0 if request.greedy else float(uniform(request.seed, request.episode, request.step)[0])
        index, logprob = pick(answer.totals, u, temperature=self.temperature, top_p=self.top_p, greedy=request.greedy)
        behaviour = np.zeros(len(candidates[index]))
        behaviour[0] = logprob
        segment = _segment(plan, candidates[index], answer.logprobs[index], behaviour, candidates, index)
        return Decision(request.admissible[index], segment, answer.value, logprob)

    def _said(self, request: Request, plan: Plan, output: Generated) -> Decision:
        tokens = tuple(output.tokens.tolist())
        text = self.template.say(tokens)
        for stop in self.stop:
            text = text.partition(stop)[0]
        text = text.strip()
        action: Any = text
        if self.parse is not None:
            action = self.parse(text)
        elif request.admissible is not None:
            # Compared as tokens: a word-level tokenizer does not give back the spaces it was given.
            said = self.template.action(text)
            action = next((a for a in request.admissible if self.template.action(self.render(a)) == said), text)
        segment = _segment(plan, tokens, output.logprob, output.logprob_behaviour)
        logprob = float(output.logprob_behaviour.sum())
        return Decision(action, segment, output.value, logprob, "" if action == text else text)

    def _stops(self, tokens: list[int]) -> bool:
        # A token is at least one character, so a stop text that has just been completed lies in this tail.
        tail = tokens[-max(map(len, self.stop)) - 8 :]
        text = self.tokenizer.decode(tail, skip_special_tokens=True)
        return any(stop in text for stop in self.stop)


def _segment(
    plan: Plan,
    tokens: tuple[int, ...],
    logprob: np.ndarray[Any, np.dtype[np.float64]],
    behaviour: np.ndarray[Any, np.dtype[np.float64]],
    candidates: Candidates | None = None,
    chosen: int = -1,
) -> Segment:
    return Segment(
        plan.index,
        np.array(plan.new, dtype=np.int64),
        np.array(tokens, dtype=np.int64),
        logprob,
        behaviour,
        candidates,
        chosen,
    )


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without transformers' own progress bars, which flicker by for small models; as before afterwards."""
    bars: Any = logging  # its functions have no annotations
    was = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if was:
            bars.enable_progress_bar()


def _check_folder(source: str) -> None:
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists() and not (folder / "adapter_config.json").exists():
            raise ModelFolderError(f"the folder {source!r} holds no model: expected a config.json in it")
        if not any((folder / name).exists() for name in _TOKENIZER_FILES):
            raise ModelFolderError(
                f"the folder {source!r} holds a model but no tokenizer: expected one of {', '.join(_TOKENIZER_FILES)};"
                " save the tokenizer there with tokenizer.save_pretrained(folder)"
            )
    elif folder.exists():
        raise ModelFolderError(f"expected a model folder, {source!r} is a file")
    elif source.startswith((".", "/", "~")) or source.count("/") > 1 or source.endswith("/"):
        raise ModelFolderError(f"there is no folder {source!r}; expected a model folder or a hub id 'owner/name'")
