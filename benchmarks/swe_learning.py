"""Learning to repair: a small transformer that writes tool calls and edits, cloned from whole demonstrations.

Of the one-function families (``SWE-Smoke-v0``): a stock Llama-type model of about half a million parameters, with a
closed vocabulary of words, signs and line beginnings, sees demonstrations that open the file, replace the word at fault
and hand in. It is then tested, greedily, on held-out instances (other texts, by their hash). Everything that it
does is written token by token, as one JSON tool call a step, and carried out in a sandbox.

Figures: ``success`` on held-out instances with its interval, ``train_cpu_seconds`` of the cloning (this process),
``demos_seconds`` (wall) and ``demos_cpu_seconds`` of recording the demonstrations; and of the tested episodes
``grounded`` (share of steps) and ``edited`` (share of episodes that edited the function at fault).

Bar: success >= 0.5 on at least 200 instances in at most 150 CPU-seconds. Each seed has instances of its own to be
tested on, so that what to train and how long can be chosen on others than the one that is reported.

What is done is kept in runs/swe_learning, by seed and settings: demonstrations a hundred at a time, then the
weights. A run that was cut short, or told to end after some minutes, goes on from there. With ``--save`` the figures of
a seed stand with the results, beside those of other seeds with the same settings.

    python benchmarks/swe_learning.py --json --save
    python benchmarks/swe_learning.py --seed 1 --save
    python benchmarks/swe_learning.py --minutes 9      # as often as it takes
    python benchmarks/swe_learning.py --quick          # a few demonstrations, to see that it runs
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import string
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from common import finish, parser, saved
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agentgym.agents.evaluate.stats import wilson
from agentgym.agents.loop.collector import Collector
from agentgym.agents.loop.types import Job, Rollouts
from agentgym.agents.policy.simple import OraclePolicy
from agentgym.agents.policy.transformers import TransformersPolicy
from agentgym.agents.policy.types import Request
from agentgym.agents.train.demonstrations import Demonstrator
from agentgym.agents.train.learner import hidden_matrices
from agentgym.envs.swe.actions import call

ENV = "agentgym/SWE-Smoke-v0"
TEST_FIRST = 500_000
PART = 100
"""Demonstrations recorded at a time."""
SETTINGS = ("demos", "epochs", "lr", "muon", "batch", "hidden", "layers", "test")
"""What seeds must have in common to stand together."""
LISTENED = 0.3
"""Weight of a token that the teacher hears, beside one that it says."""
ENDED = 0.25
"""Share of demonstrations that a pass goes through to their end; the others as far as the last action but one."""
_FORMS = (
    *(f' {{"name": "{tool}", "arguments": {{"path": "' for tool in ("read", "edit")),
    *('", "search": "', '", "replace": "', '"}}', ' {"name": "submit", "arguments": {}}'),
    *("Observation:", "Action:", " is changed]", " more lines]", ".py"),
)
"""What stands in every tool call and answer: a token each, as any tokenizer that learns merges would have it."""
_OTHER = r"\n *[0-9]+  +|, -?[0-9]|\n *|  +| ?[A-Za-z_]| ?[0-9]| ?[^\sA-Za-z_0-9]|\s"
"""A line's number and indentation, a list's comma with the next digit; then whitespace, letters, digits, signs."""
_SEEN = 4
"""A word of fewer instances is spelt."""


class Teacher(OraclePolicy):
    """Opens the file at fault, replaces the word or sign at fault, hands in: the oracle, without test runs."""

    def _start(self, request: Request) -> Iterator[str]:  # type: ignore[override]
        assert request.env is not None
        base: Any = request.env.unwrapped
        path, search, replace = self.edit(base.world.instance)

        def script() -> Iterator[str]:
            yield call("read", path=path)
            yield call("edit", path=path, search=search, replace=replace)
            yield call("submit")

        return script()

    def edit(self, instance: Any) -> tuple[str, str, str]:
        """The path of the file at fault, and what to replace in it by what."""
        (path,) = instance.gold
        old, new = instance.tree.files()[path].decode().split("\n"), instance.gold[path].decode().split("\n")
        (line,) = (k for k, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
        right = self._written("\n".join(old), line, new[line])
        return path, *from_change("\n".join(old), "\n".join([*old[:line], right, *old[line + 1 :]]))

    def _written(self, source: str, line: int, right: str) -> str:
        """What is written in the place of a line (0-based) of the source."""
        return right


def from_change(old: str, new: str) -> tuple[str, str]:
    """What to replace by what: the word or sign that differs, and what follows until it stands once in the old text.

    A reader that goes forwards knows that a word is wrong once it has come to it, not where its line begins: so a quote
    that begins with it is learnt sooner than one that leads up to it. Where the text ends too soon, it begins earlier.
    """
    a, b = (re.findall(r" ?\w+| ?[^\w\s]+|\s+", text) for text in (old, new))
    at = next(k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    same = next(k for k, (x, y) in enumerate(zip(reversed(a), reversed(b), strict=False)) if x != y)
    ends = range(len(a) - min(same, len(a) - at - 1), len(a) + 1)
    for first, end in (*((at, end) for end in ends), *((first, ends[0]) for first in range(at - 1, -1, -1))):
        search = "".join(a[first:end])
        if old.count(search) == 1:
            return search, "".join(b[first : len(b) - (len(a) - end)])
    raise ValueError("the texts do not differ")


def vocabulary(instances: Sequence[Sequence[str]]) -> PreTrainedTokenizerFast:
    """A tokenizer of the words that several of these instances say; other words it spells, letter by letter."""
    seen = Counter(word for texts in instances for word in set(re.findall(r"[A-Za-z_]+", "\n".join(texts))))
    words = [word for word, count in sorted(seen.items()) if count >= _SEEN]
    piece = "|".join([*map(re.escape, _FORMS), f" ?(?:{'|'.join(words)})(?![A-Za-z_])", _OTHER])
    split = pre_tokenizers.Split(Regex(piece), behavior="isolated")
    found = {piece for texts in instances for text in texts for piece, _ in split.pre_tokenize_str(text)}
    whole = {space + w for space in ("", " ") for w in (*words, *string.ascii_letters, *string.digits, "_")}
    pieces = sorted(found | whole | {"\n", *_FORMS})
    core = Tokenizer(
        models.WordLevel({p: k for k, p in enumerate(["<pad>", "<s>", "</s>", "<unk>", *pieces])}, unk_token="<unk>")
    )
    core.pre_tokenizer, core.decoder = split, decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # not annotated upstream
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def new_policy(tokenizer: PreTrainedTokenizerFast, seed: int, hidden: int, layers: int) -> TransformersPolicy:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},  # episodes are some 210 tokens long
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(seed)
    model: Any = LlamaForCausalLM(config)
    return TransformersPolicy(model.eval(), tokenizer, mode="generate", max_new_tokens=128)


def texts_of(seeds: Sequence[int]) -> Iterator[list[str]]:
    """What training instances say: statements, files, and tool calls."""
    env: Any = gymnasium.make(ENV, split="train").unwrapped
    try:
        for seed in seeds:
            instance = env.task.setup(env.task.sample(np.random.default_rng(seed)))
            texts = [instance.statement, *(f" {call('read', path=path)}" for path in instance.tree.files())]
            for data in (*instance.tree.files().values(), *instance.gold.values()):
                lines = data.decode().split("\n")
                texts += ["\n".join(lines), *(call("edit", path="x.py", search=x, replace=x.strip()) for x in lines)]
                texts.append("".join(f"\n{k:>4}  {line}" for k, line in enumerate(lines, 1)))
            texts += ["\n".join(instance.tree.files()), f"[{next(iter(instance.gold))} is changed]\n[3 more lines]"]
            yield [*texts, "Action:", "Observation: x\nAction: {\n [handed in]\n", call("submit")]
    finally:
        env.close()


def play(policy: Any, split: str, seeds: Sequence[int], base: int, *, slots: int, greedy: bool = False) -> Rollouts:
    # A fresh sandbox for every submission: bubblewrap's is there in a fifth of the time.
    kwargs = {"split": split, "manual": False, "max_steps": 8, "backend": "bubblewrap"}
    jobs = [Job(ENV, seed, base + k, group=base + k, kwargs=kwargs, greedy=greedy) for k, seed in enumerate(seeds)]
    with Collector(slots=slots) as collector:
        return collector.collect(policy, jobs, seed=0, deterministic=True, keep=("action", "error"))


@dataclass(frozen=True)
class Shown:
    """What the teacher did, in the student's tokens.

    Attributes:
        id: int64[n] of all demonstrations, one after another.
        said: bool[n], whether the teacher said the token.
        cuts: int64[d + 1], where each demonstration begins, then n.
        seconds, cpu: what recording it took.
    """

    id: npt.NDArray[np.int64]
    said: npt.NDArray[np.bool_]
    cuts: npt.NDArray[np.int64]
    seconds: float
    cpu: float

    @classmethod
    def record(cls, policy: TransformersPolicy, seeds: Sequence[int], first: int) -> Shown:
        started, cpu = time.perf_counter(), time.process_time()
        found = play(Demonstrator(policy, Teacher()), "train", seeds, first, slots=4)
        assert not found.errors, found.errors
        assert found.steps.trajectories.success.all()
        tokens = found.tokens
        cost = time.perf_counter() - started, time.process_time() - cpu
        return cls(tokens.id.astype(np.int64), tokens.mask.astype(bool), tokens.segment_starts, *cost)

    @classmethod
    def joined(cls, parts: Sequence[Shown]) -> Shown:
        ends = np.cumsum([0, *(len(p.id) for p in parts)])
        cuts = np.concatenate([np.zeros(1, np.int64), *(p.cuts[1:] + end for p, end in zip(parts, ends, strict=False))])
        ids, said = np.concatenate([p.id for p in parts]), np.concatenate([p.said for p in parts])
        return cls(ids, said, cuts, sum(p.seconds for p in parts), sum(p.cpu for p in parts))

    def save(self, path: Path) -> None:
        beside = path.with_suffix(".part.npz")
        np.savez(beside, id=self.id, said=self.said, cuts=self.cuts, cost=[self.seconds, self.cpu])
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Shown:
        with np.load(path) as kept:
            return cls(kept["id"], kept["said"], kept["cuts"], *map(float, kept["cost"]))


def before_last(said: npt.NDArray[np.bool_]) -> int:
    """Number of tokens up to the end of the last action but one; all where there is one action only."""
    ends = np.flatnonzero(said[:-1] & ~said[1:]) + 1
    return int(ends[-1]) if len(ends) else len(said)


def clone(policy: TransformersPolicy, shown: Shown, options: argparse.Namespace) -> float:
    """Raise the likelihood of every token the teacher said; one sequence an episode. Returns the last mean loss.

    The other tokens count too, `LISTENED` of one said: names and lines come again and again in what the teacher hears,
    so that copying, which a small model is long in finding, is practised at every place. What follows the last action
    but one, a quarter of the tokens, only leads to handing in, which is learnt from some of the demonstrations
    (`ENDED`). Matrices are moved by Muon, the rest by AdamW.
    """
    whole = [slice(a, b) for a, b in itertools.pairwise(shown.cuts)]
    short = [slice(row.start, row.start + before_last(shown.said[row])) for row in whole]
    epochs, batch = options.epochs, options.batch
    model, rng = policy.model.train(), np.random.default_rng(options.seed)
    inner = hidden_matrices(model)
    others = [p for p in model.parameters() if not any(p is q for q in inner)]
    optimizers = [
        torch.optim.Muon(inner, lr=options.muon, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=options.lr, weight_decay=0.01, betas=(0.9, 0.98), fused=True),
    ]
    groups = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]
    total, loss_mean, step = epochs * -(-len(whole) // batch), 0.0, 0
    for epoch in range(epochs):
        rows = [a if ended else b for a, b, ended in zip(whole, short, rng.random(len(whole)) < ENDED, strict=True)]
        order = sorted(rng.permutation(len(rows)), key=lambda k: (rows[k].stop - rows[k].start) // 8)
        batches = [order[k : k + batch] for k in range(0, len(order), batch)]
        losses = []
        for chosen in (batches[k] for k in rng.permutation(len(batches))):
            length = max(rows[k].stop - rows[k].start for k in chosen)
            ids, weight = torch.zeros(len(chosen), length, dtype=torch.long), torch.zeros(len(chosen), length)
            for i, k in enumerate(chosen):
                size = rows[k].stop - rows[k].start
                ids[i, :size] = torch.from_numpy(shown.id[rows[k]])
                weight[i, :size] = torch.from_numpy(np.where(shown.said[rows[k]], 1.0, LISTENED))
            for group, lr in groups:
                group["lr"] = lr * min(1.0, (step + 1) / 40) * max(0.02, 1 - step / total)
            hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state
            weight, target = weight[:, 1:], ids[:, 1:]
            real = weight > 0
            each = torch.nn.functional.cross_entropy(model.lm_head(hidden[real]), target[real], reduction="none")
            said = weight[real] == 1
            loss = (each * weight[real]).sum() / said.sum()
            model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # not annotated upstream
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            losses.append(each[said].mean().item())
            step += 1
        loss_mean = float(np.mean(losses))
        print(
            f"epoch {epoch + 1} of {epochs}: loss {loss_mean:.4f}, {time.process_time():.0f} CPU-s so far", flush=True
        )
    policy.model.eval()
    policy.flush()
    return loss_mean


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--demos", type=int, default=4000)
    made.add_argument("--test", type=int, default=240)
    made.add_argument("--epochs", type=int, default=2)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--lr", type=float, default=5e-3, help="of the embeddings (AdamW)")
    made.add_argument("--muon", type=float, default=7e-3, help="learning rate of the matrices")
    made.add_argument("--batch", type=int, default=4)
    made.add_argument("--hidden", type=int, default=128)
    made.add_argument("--layers", type=int, default=2)
    made.add_argument("--minutes", type=float, default=0.0, help="begin nothing more after so long; 0 for no limit")
    made.add_argument("--out", type=Path, default=Path("runs/swe_learning"), help="where what is done is kept")
    options = made.parse_args()
    if options.quick:
        options.demos, options.test, options.epochs, options.out = 12, 4, 1, options.out / "quick"
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    demos, test, seed = options.demos, options.test, options.seed
    words = vocabulary(list(texts_of(range(40 if options.quick else 800))))
    policy = new_policy(words, seed, options.hidden, options.layers)
    shown = Shown.joined(list(recorded(policy, options, until)))
    figures: dict[str, Any] = {
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "demos_seconds": shown.seconds,
        "demos_cpu_seconds": shown.cpu,
        "tokens_per_demo": len(shown.id) / demos,
    }
    print({k: round(v, 1) for k, v in figures.items()}, flush=True)
    settings = {key: getattr(options, key) for key in SETTINGS}
    trained = "-".join(f"{value}" for key, value in settings.items() if key != "test")
    weights = options.out / f"{seed}" / f"model-{trained}"
    if (weights / "cost.json").is_file():
        policy.model.load_state_dict(torch.load(weights / "state.pt", weights_only=True))
        figures |= json.loads((weights / "cost.json").read_text())
    else:
        if time.monotonic() > until:
            raise SystemExit("the demonstrations are recorded; run it again to train")
        cpu = time.process_time()
        loss = clone(policy, shown, options)
        cost = {"loss": loss, "train_cpu_seconds": time.process_time() - cpu}
        weights.mkdir(parents=True, exist_ok=True)
        torch.save(policy.model.state_dict(), weights / "state.pt")
        (weights / "cost.json").write_text(json.dumps(cost))
        figures |= cost
    if time.monotonic() > until:
        raise SystemExit("the policy is trained; run it again to test")
    first = TEST_FIRST + 10_000 * seed
    found = play(policy, "held_out", range(first, first + test), 1 << 20, slots=8, greedy=True)
    steps = found.steps
    won = int(steps.trajectories.success.sum())
    low, high = wilson(won, test)
    edited = np.logical_or.reduceat(steps.milestones >> 2 & 1, steps.starts)
    figures |= {
        "success": won / test,
        "interval": [float(low), float(high)],
        "errors": len(found.errors),
        "grounded": float(steps.grounded.mean()),
        "edited": float(edited.mean()),
        "progress": float(steps.progress[steps.ends].mean()),
        "danger_rate": float(steps.danger.mean()),
        "steps": float(steps.lengths.mean()),
    }
    for key, value in figures.items():
        print(f"{key:20} {value}")
    last = saved("swe_learning")
    seeds = last["seeds"] if last.get("settings") == settings else {}
    finish("swe_learning", {"settings": settings, "seeds": seeds | {f"{seed}": figures}}, options)


def recorded(policy: TransformersPolicy, options: argparse.Namespace, until: float) -> Iterator[Shown]:
    """The demonstrations, in parts: from the files of earlier runs, or recorded now."""
    folder = options.out / f"{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, options.demos, PART):
        number = min(PART, options.demos - first)
        path = folder / f"demos-{first}-{number}.npz"
        if not path.is_file():
            if time.monotonic() > until:
                raise SystemExit(f"{first} of {options.demos} demonstrations are recorded; run it again")
            seeds = range(options.seed * 100_000 + first, options.seed * 100_000 + first + number)
            Shown.record(policy, seeds, first).save(path)
            print(f"{first + number} of {options.demos} demonstrations", flush=True)
        yield Shown.load(path)


if __name__ == "__main__":
    main()
