"""Learning to repair: a small transformer that writes tool calls and edits, cloned from whole demonstrations.

Of the one-function families (``SWE-Smoke-v0``): a stock Llama-type model of about half a million parameters, with a
closed vocabulary of words, signs and line beginnings, sees demonstrations that open the file, replace the line at fault
and hand in. It is then tested, greedily, on held-out instances (other texts, by their hash). Everything that it
does is written token by token, as one JSON tool call a step, and carried out in a sandbox.

Figures: ``success`` on held-out instances with its interval, ``train_cpu_seconds`` of the cloning (this process),
``demos_seconds`` (wall) and ``demos_cpu_seconds`` of recording the demonstrations; and of the tested episodes
``grounded`` (share of steps) and ``edited`` (share of episodes that edited the function at fault).

Bar: success >= 0.5 on at least 200 instances in at most 150 CPU-seconds.

    python benchmarks/swe_learning.py --json --save
    python benchmarks/swe_learning.py --quick          # a few demonstrations, to see that it runs
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
import torch
from common import finish, parser
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agentgym.agents.evaluate.stats import wilson
from agentgym.agents.loop.collector import Collector
from agentgym.agents.loop.types import Job, Rollouts
from agentgym.agents.policy.simple import OraclePolicy
from agentgym.agents.policy.transformers import TransformersPolicy
from agentgym.agents.policy.types import Request
from agentgym.agents.train.demonstrations import Demonstrator
from agentgym.envs.swe.actions import call

ENV = "agentgym/SWE-Smoke-v0"
TEST_FIRST = 500_000
_PIECE = r"\n *|  +| ?[A-Za-z_]+| ?[0-9]| ?[^\sA-Za-z_0-9]|\s"


class Teacher(OraclePolicy):
    """Opens the file at fault, replaces the line, hands in: the oracle without the runs of the tests."""

    def _start(self, request: Request) -> Iterator[str]:  # type: ignore[override]
        assert request.env is not None
        base: Any = request.env.unwrapped
        instance = base.world.instance
        (path,) = instance.gold
        old, new = instance.tree.files()[path].decode().split("\n"), instance.gold[path].decode().split("\n")
        (line,) = (k for k, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)

        def script() -> Iterator[str]:
            yield call("read", path=path)
            search = old[line].strip()
            # The line alone where it stands once, else with the line before it.
            if "\n".join(old).count(search) == 1:
                yield call("edit", path=path, search=search, replace=new[line].strip())
            else:
                before = old[line - 1] + "\n"
                yield call("edit", path=path, search=before + old[line], replace=before + new[line])
            yield call("submit")

        return script()


def vocabulary(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of the pieces of these texts that gives every text of them back as it was."""
    split = pre_tokenizers.Split(Regex(_PIECE), behavior="isolated")
    pieces = sorted({piece for text in texts for piece, _ in split.pre_tokenize_str(text)} | {"\n"})
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
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(seed)
    model: Any = LlamaForCausalLM(config)
    return TransformersPolicy(model.eval(), tokenizer, mode="generate", max_new_tokens=128)


def texts_of(seeds: Sequence[int]) -> Iterator[str]:
    """What training instances say: statements, files, and tool calls."""
    env: Any = gymnasium.make(ENV, split="train").unwrapped
    try:
        for seed in seeds:
            rng = np.random.default_rng(seed)
            instance = env.task.setup(env.task.sample(rng))
            yield instance.statement
            for data in (*instance.tree.files().values(), *instance.gold.values()):
                text = data.decode()
                yield text
                yield from (call("edit", path="x.py", search=line, replace=line.strip()) for line in text.split("\n"))
                yield from (f"   {k}  {line}" for k, line in enumerate(text.split("\n"), 1))
            yield from (f" {call('read', path=path)}" for path in instance.tree.files())
            yield from ("\n".join(instance.tree.files()), f"[{next(iter(instance.gold))} is changed]\n[3 more lines]")
    finally:
        env.close()
    yield "Observation: x\nAction: {\n [handed in]\n[0123456789 more lines] 0 1 2 3 4 5 6 7 8 9"
    yield call("submit")


def play(policy: Any, split: str, seeds: Sequence[int], base: int, *, slots: int, greedy: bool = False) -> Rollouts:
    kwargs = {"split": split, "manual": False, "max_steps": 8}
    jobs = [Job(ENV, seed, base + k, group=base + k, kwargs=kwargs, greedy=greedy) for k, seed in enumerate(seeds)]
    with Collector(slots=slots) as collector:
        return collector.collect(policy, jobs, seed=0, deterministic=True, keep=("action", "error"))


def clone(policy: TransformersPolicy, shown: Rollouts, epochs: int, lr: float, batch: int, seed: int) -> float:
    """Raise the likelihood of every token the teacher said; one sequence an episode. Returns the last mean loss."""
    tokens = shown.tokens
    cuts = tokens.segment_starts
    rows = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    model, rng = policy.model.train(), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    total, loss_sum = epochs * -(-len(rows) // batch), 0.0
    step = 0
    for epoch in range(epochs):
        order = sorted(rng.permutation(len(rows)), key=lambda k: (rows[k].stop - rows[k].start) // 24)
        batches = [order[k : k + batch] for k in range(0, len(order), batch)]
        losses = []
        for chosen in (batches[k] for k in rng.permutation(len(batches))):
            length = max(rows[k].stop - rows[k].start for k in chosen)
            ids, mask = torch.zeros(len(chosen), length, dtype=torch.long), torch.zeros(len(chosen), length)
            for i, k in enumerate(chosen):
                size = rows[k].stop - rows[k].start
                ids[i, :size] = torch.from_numpy(tokens.id[rows[k]])
                mask[i, :size] = torch.from_numpy(tokens.mask[rows[k]].astype(np.float32))
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, (step + 1) / 40) * max(0.02, 1 - step / total)
            hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state
            said = mask[:, 1:] > 0
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[said]), ids[:, 1:][said])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            step += 1
        loss_sum = float(np.mean(losses))
        print(f"epoch {epoch + 1} of {epochs}: loss {loss_sum:.4f}, {time.process_time():.0f} CPU-s so far", flush=True)
    policy.model.eval()
    policy.flush()
    return loss_sum


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--demos", type=int, default=2000)
    made.add_argument("--test", type=int, default=240)
    made.add_argument("--epochs", type=int, default=6)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--lr", type=float, default=2e-3)
    made.add_argument("--batch", type=int, default=16)
    options = made.parse_args()
    demos, test, epochs = (12, 4, 1) if options.quick else (options.demos, options.test, options.epochs)
    torch.set_num_threads(1)
    seeds = range(options.seed * 100_000, options.seed * 100_000 + demos)
    policy = new_policy(vocabulary(list(texts_of(range(40 if options.quick else 400)))), options.seed, 128, 2)
    parameters = sum(p.numel() for p in policy.model.parameters())
    started, cpu = time.perf_counter(), time.process_time()
    shown = play(Demonstrator(policy, Teacher()), "train", seeds, 0, slots=4)
    assert not shown.errors, shown.errors
    assert shown.steps.trajectories.success.all()
    figures: dict[str, Any] = {
        "demos": demos,
        "parameters": parameters,
        "demos_seconds": time.perf_counter() - started,
        "demos_cpu_seconds": time.process_time() - cpu,
        "tokens_per_demo": len(shown.tokens) / demos,
    }
    print({k: round(v, 1) for k, v in figures.items()}, flush=True)
    cpu = time.process_time()
    figures["loss"] = clone(policy, shown, epochs, options.lr, options.batch, options.seed)
    figures["train_cpu_seconds"] = time.process_time() - cpu
    found = play(policy, "held_out", range(TEST_FIRST, TEST_FIRST + test), 1 << 20, slots=8, greedy=True)
    steps = found.steps
    won = int(steps.trajectories.success.sum())
    low, high = wilson(won, test)
    edited = np.logical_or.reduceat(steps.milestones >> 2 & 1, steps.starts)
    figures |= {
        "test": test,
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
    finish("swe_learning", figures, options)


if __name__ == "__main__":
    main()
