"""Policies without tokens: random, oracle, array networks, plain functions; and `load_policy`, which knows all."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agentgym.agents.policy.types import Decision, Policy, Request, uniform
from agentgym.errors import MissingExtra, PolicyError, UnknownName, UsageError, nearest

__all__ = ["ArrayPolicy", "FunctionPolicy", "OraclePolicy", "RandomPolicy", "load_policy"]

_NAMES = ("random", "oracle")


class RandomPolicy:
    """Uniform over the admissible actions, or a sample of the environment's action space when none are listed.

    The draw depends on (run seed, episode, step) alone.
    """

    wants_env = True
    wants_admissible = True

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """One random action for each request.

        Raises:
            PolicyError: neither admissible actions nor an environment to ask for its action space.
        """
        return [self._one(request) for request in requests]

    def end(self, episode: int) -> None:
        """Nothing is remembered."""

    def _one(self, request: Request) -> Decision:
        u = float(uniform(request.seed, request.episode, request.step)[0])
        if request.admissible:
            index = int(u * len(request.admissible))
            return Decision(request.admissible[index], logprob=-float(np.log(len(request.admissible))))
        if request.env is None:
            raise PolicyError(
                "a random action needs admissible actions or the environment itself (its action space); got neither"
            )
        space = request.env.action_space
        space.seed(int(u * 2**53) % 2**32)
        return Decision(space.sample())


class OraclePolicy:
    """Plays the script that the task itself provides (``env.unwrapped.oracle()``), or one of its offenders.

    Args:
        offender: name in ``env.unwrapped.offenders()``; '' plays the oracle.
    """

    wants_env = True
    wants_admissible = False

    def __init__(self, offender: str = "") -> None:
        self.offender = offender
        self._scripts: dict[int, Generator[Any, Any, None]] = {}

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """The script's next action for each request.

        Raises:
            PolicyError: no environment in the request, no script, a script that ended before its episode, or one that
                was not there from the first step.
        """
        return [Decision(self._next(request)) for request in requests]

    def end(self, episode: int) -> None:
        """Close the episode's script."""
        script = self._scripts.pop(episode, None)
        if script is not None:
            script.close()

    def _next(self, request: Request) -> Any:
        script = self._scripts.get(request.episode)
        try:
            if script is None:
                script = self._scripts[request.episode] = self._start(request)
                return next(script)
            return script.send(request.observation)
        except StopIteration:
            name = self.offender or "oracle"
            raise PolicyError(
                f"the {name} ended before the episode did, at step {request.step}; its task must end when it does"
            ) from None

    def _start(self, request: Request) -> Generator[Any, Any, None]:
        if request.env is None:
            raise PolicyError("an oracle needs the environment itself; run it in process (no workers)")
        if request.step != 0:
            raise PolicyError(f"an oracle must play from step 0, episode {request.episode} is at step {request.step}")
        env = request.env.unwrapped
        script: Generator[Any, Any, None] | None
        if self.offender:
            scripts = env.offenders()
            if self.offender not in scripts:
                raise UnknownName("offender", self.offender, scripts, f"this task has {sorted(scripts) or 'none'}")
            script = scripts[self.offender]
        else:
            script = env.oracle()
        if script is None:
            raise PolicyError(f"the task of {env} has no oracle")
        return script


class ArrayPolicy:
    """A torch network over array observations, for discrete actions.

    Args:
        net: module from float32[n, *shape] to logits [n, actions], or to (logits, values [n]).
        encode: observation -> array of fixed shape; default takes the observation itself.
        temperature: of sampling, above 0.
    """

    wants_env = False
    wants_admissible = False

    def __init__(self, net: Any, encode: Callable[[Any], Any] = np.asarray, *, temperature: float = 1.0) -> None:
        from agentgym.agents.policy.sampling import check_sampling

        check_sampling(temperature, 1.0)
        self.net, self.encode, self.temperature = net, encode, temperature

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """One action number (Python int) for each request, from one forward pass.

        Raises:
            PolicyError: observations of different shapes.
        """
        import torch

        from agentgym.agents.policy.sampling import pick

        arrays = [np.asarray(self.encode(request.observation), dtype=np.float32) for request in requests]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            raise PolicyError(f"expected observations of one shape, got {sorted(shapes)}; pass encode=")
        if not requests:
            return []
        device = next((p.device for p in self.net.parameters()), torch.device("cpu"))
        with torch.inference_mode():
            out = self.net(torch.from_numpy(np.stack(arrays)).to(device))
        logits, values = out if isinstance(out, tuple) else (out, None)
        scores = torch.log_softmax(logits.double(), dim=-1).cpu().numpy()
        decisions = []
        for i, request in enumerate(requests):
            u = float(uniform(request.seed, request.episode, request.step)[0])
            action, logprob = pick(scores[i], u, temperature=self.temperature, top_p=1.0, greedy=request.greedy)
            value = float("nan") if values is None else float(values.reshape(-1)[i])
            decisions.append(Decision(action, value=value, logprob=logprob))
        return decisions

    def end(self, episode: int) -> None:
        """Nothing is remembered."""


class FunctionPolicy:
    """A plain function observation -> action as a policy."""

    wants_env = False
    wants_admissible = False

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """The function's answer to every observation."""
        return [Decision(self.function(request.observation)) for request in requests]

    def end(self, episode: int) -> None:
        """Nothing is remembered."""


def load_policy(spec: str, **options: Any) -> Policy:
    """The policy that a name stands for.

    - ``random``, ``oracle``, ``offender:NAME``
    - ``endpoint:URL#MODEL``: an OpenAI-compatible server, e.g. ``endpoint:http://localhost:8000/v1#my-model``
    - ``module:name``: a class or function that returns a policy when called with ``options``, a policy object, or,
      when given no options, a function observation -> action
    - anything else: a model folder or hub id for `TransformersPolicy`

    Args:
        spec: the name.
        options: for the policy's constructor.

    Raises:
        UsageError: a name that is none of these (with the nearest one), or options that a name does not take.
        MissingExtra: the policy's packages are not installed.
        ModelFolderError: a folder or hub id that cannot be loaded.
    """
    head, colon, rest = spec.partition(":")
    if spec in _NAMES or head == "offender":
        if options:
            raise UsageError(f"the policy {spec!r} takes no options, got {sorted(options)}")
        if head == "offender":
            return OraclePolicy(rest)
        return RandomPolicy() if spec == "random" else OraclePolicy()
    if head == "endpoint":
        url, mark, model = rest.partition("#")
        if not (mark and url and model):
            raise UsageError(f"expected endpoint:URL#MODEL, got {spec!r}")
        try:
            from agentgym.agents.policy.endpoint import EndpointPolicy
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "httpx", "train") from error
        return EndpointPolicy(url, model, **options)
    if colon and not Path(spec).exists():
        return _own(spec, head, rest, options)
    close = nearest(spec, [*_NAMES, "endpoint", "offender"])
    if "/" not in spec and not Path(spec).exists() and close:
        raise UnknownName("policy", spec, [*_NAMES, "endpoint", "offender"], "or a model folder, hub id, module:name")
    try:
        from agentgym.agents.policy.transformers import TransformersPolicy
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "transformers", "train") from error
    return TransformersPolicy.from_pretrained(spec, **options)


def _own(spec: str, module_name: str, name: str, options: dict[str, Any]) -> Policy:
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module is there, something that it imports is not
        close = nearest(module_name, [*_NAMES, "endpoint", "offender"])
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"the policy {spec!r} names the module {module_name!r}, which cannot be found{hint}"
        ) from error
    if not hasattr(module, name):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise UnknownName(f"name in module {module_name}", name, public)
    made = getattr(module, name)
    if isinstance(made, type):
        made = made(**options)
    elif not isinstance(made, Policy) and callable(made):
        if options:
            made = made(**options)
        else:
            # A factory takes no argument, a plain function takes the observation: its signature tells.
            made = made() if _callable_without_arguments(made) else FunctionPolicy(made)
    if not isinstance(made, Policy):
        raise UsageError(
            f"{spec!r} gives {type(made).__name__}, expected something with act(requests) and end(episode)"
        )
    return made


def _callable_without_arguments(function: Callable[..., Any]) -> bool:
    import inspect

    parameters = inspect.signature(function).parameters.values()
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
