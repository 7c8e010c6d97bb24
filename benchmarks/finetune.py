"""Fine-tuning and prediction: real tokens a second, beside transformers on the same features.

    python benchmarks/finetune.py --task squad
    python benchmarks/finetune.py --task mrpc
    python benchmarks/finetune.py --task squad --work predict

Features are random tokens whose lengths are spread as the task's: SQuAD's up to 384 tokens, many
of them cut there; MRPC's around 53. Variants, each a process of its own, started in turn, forwards
and backwards:

native.grouped   this project, kernels: native, as `bert.train.finetune_step` computes it
native.given     the same in the order given: what grouping by length brings
torch.grouped    kernels: torch
torch.given
hf.sdpa          transformers, bf16 autocast, padded to the longest of a micro-batch
hf.eager         the same with its eager attention

Training takes steps of `--batch` features with AdamW, prediction reads as many without gradients.
Micro-batches hold `--tokens` tokens here and as many with their padding there. Printed: medians
over the rounds of the real tokens a second, and of the ratio to the first variant's time.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bert.data.batches import cut_lengths
from bert.devices.config import ComputeConfig
from bert.devices.device import choose_device
from bert.devices.execution import prepare_model
from bert.devices.precision import autocast
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForSentence, BertForSpan
from bert.optim.clip import clip_divisor, global_norm
from bert.optim.config import AdamWConfig
from bert.optim.groups import make_optimizer
from bert.optim.moments import set_learning_rate
from bert.tasks.features import Feature, Head
from bert.train.feature_batches import longest_first, micro_batches
from bert.train.task_outputs import summed_loss

VOCAB, CPU = 30_522, torch.device("cpu")
VARIANTS = (
    "native.grouped", "native.given", "torch.grouped", "torch.given", "hf.sdpa", "hf.eager",
)  # fmt: skip


def main() -> None:
    """Starts the processes, or is one of them."""
    args = parse_args()
    if args.worker:
        print(json.dumps(measure(args)))
        return
    results: dict[str, list[dict]] = {name: [] for name in args.variants}
    for number in range(args.rounds):
        for name in args.variants if number % 2 == 0 else reversed(args.variants):
            results[name].append(start(args, name))
    first = results[args.variants[0]]
    for name, found in results.items():
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(found, first, strict=True)]
        speed = statistics.median(one["tokens"] / one["seconds"] for one in found)
        print(f"{name:16}{speed:9.0f} tokens/s   time {statistics.median(ratios):6.2f}", end="")
        print(f"   micro-batches {found[0]['micro_batches']}   loss {found[0]['loss']:.4f}")


def start(args: argparse.Namespace, name: str) -> dict:
    """The figures of one process."""
    own = [str(Path(__file__).resolve()), "--worker", name]
    for option in (
        "task",
        "work",
        "batch",
        "tokens",
        "steps",
        "hidden",
        "layers",
        "threads",
        "clock",
    ):
        own += [f"--{option}", str(getattr(args, option))]
    done = subprocess.run([sys.executable, *own], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Median seconds of a step after the first two, its tokens and micro-batches, the last loss."""
    torch.set_num_threads(args.threads)
    peer = args.worker.startswith("hf.")
    run = (peer_steps if peer else own_steps)(args)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    steps = [make_features(args, seed) for seed in range(args.steps + 2)]
    speeds, pieces, loss = [], [], 0.0
    for number, features in enumerate(steps):
        begin = clock()
        loss, count = run(features)
        took = clock() - begin
        if number > 1:
            speeds.append(took / sum(len(feature.input_ids) for feature in features))
            pieces.append(count)
    tokens = statistics.mean(sum(len(f.input_ids) for f in features) for features in steps)
    seconds = statistics.median(speeds) * tokens
    return {
        "seconds": seconds, "tokens": tokens, "loss": loss,
        "micro_batches": statistics.mean(pieces),
    }  # fmt: skip


def make_features(args: argparse.Namespace, seed: int) -> list[Feature]:
    """A step's features: random tokens, lengths as of the task."""
    rng = np.random.default_rng(seed)
    if args.task == "squad":
        lengths = np.clip(rng.lognormal(5.1, 0.42, args.batch), 60, 384)
    else:
        lengths = np.clip(rng.normal(53, 14, args.batch), 20, 128)
    found = []
    for number, length in enumerate(lengths.astype(int)):
        place = int(rng.integers(length // 2, length))
        targets = (place, place) if args.task == "squad" else (int(rng.integers(2)),)
        found.append(Feature(rng.integers(5, VOCAB, length), length // 3, targets, number))
    return found


def own_steps(args: argparse.Namespace):
    """A function that takes one step of this project's model."""
    kernels, _, order = args.worker.partition(".")
    runtime = ComputeConfig(
        device="cpu", precision="bf16", instruction_set=None, execution="eager", kernels=kernels,
        ipex=False, activation_checkpointing=False,
    )  # fmt: skip
    choose_device(runtime, 0)
    shape = ModelConfig(
        hidden_size=args.hidden, num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64, intermediate_size=4 * args.hidden,
        hidden_act="gelu", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
        max_position_embeddings=512, type_vocab_size=2, initializer_range=0.02,
        positions="learned", position_init="normal", norm="post", layer_norm_eps=1e-12,
        vocab_multiple=8, next_sentence=True,
    )  # fmt: skip
    span = args.task == "squad"
    head: Head = "span" if span else "sentence"
    model: nn.Module = BertForSpan(shape, VOCAB) if span else BertForSentence(shape, VOCAB, 2)
    initialize(model, 0.02, torch.Generator().manual_seed(1))
    prepare_model(model, runtime, CPU)
    model.train(args.work == "train")
    optimizer = make_optimizer(model.named_parameters(), ADAMW)
    set_learning_rate(optimizer, 3e-5)

    def batches(features: list[Feature]):
        places = longest_first(features) if order == "grouped" else range(len(features))
        return micro_batches([features[i] for i in places], args.tokens, CPU, head)

    def step(features: list[Feature]) -> tuple[float, int]:
        found = []
        with torch.set_grad_enabled(args.work == "train"):
            optimizer.zero_grad(set_to_none=True)
            for batch in batches(features):
                with autocast(runtime, CPU):
                    outputs = model(*batch[:4])
                loss = summed_loss(head, outputs, batch) / len(features)
                if args.work == "train":
                    loss.backward()
                found.append(loss.detach())
        if args.work == "train":
            norm = global_norm([p.grad for p in model.parameters() if p.grad is not None])
            optimizer.step(divisor=clip_divisor(norm, 1.0))
        return float(sum(found)), len(found)

    return step


ADAMW = AdamWConfig(
    name="adamw", beta1=0.9, beta2=0.999, eps=1e-6, weight_decay=0.01, bias_correction=False,
    max_grad_norm=1.0,
)  # fmt: skip


def peer_steps(args: argparse.Namespace):
    """A function that takes one step of transformers' model."""
    import transformers  # noqa: PLC0415

    shape = transformers.BertConfig(
        vocab_size=VOCAB, hidden_size=args.hidden, num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64, intermediate_size=4 * args.hidden,
        attn_implementation=args.worker.partition(".")[2],
    )  # fmt: skip
    torch.manual_seed(1)
    span = args.task == "squad"
    kind = transformers.BertForQuestionAnswering if span else None
    model = (kind or transformers.BertForSequenceClassification)(shape)
    model.train(args.work == "train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5, fused=True)

    def step(features: list[Feature]) -> tuple[float, int]:
        optimizer.zero_grad(set_to_none=True)
        longest = max(len(feature.input_ids) for feature in features)
        found = []
        with torch.set_grad_enabled(args.work == "train"):
            for first, last in cut_lengths(np.full(len(features), longest), args.tokens):
                inputs = padded(features[first:last], span=span)
                with torch.autocast("cpu", torch.bfloat16):
                    loss = model(**inputs).loss
                loss = loss * (last - first) / len(features)
                if args.work == "train":
                    loss.backward()
                found.append(loss.detach())
        if args.work == "train":
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return float(sum(found)), len(found)

    return step


def padded(features: list[Feature], *, span: bool) -> dict[str, torch.Tensor]:
    """The inputs of transformers, padded to the longest."""
    lengths = torch.tensor([len(feature.input_ids) for feature in features])
    places = torch.arange(int(lengths.max()))
    ids = [torch.from_numpy(feature.input_ids) for feature in features]
    starts = torch.tensor([feature.segment_b_start for feature in features])
    targets = torch.tensor([feature.targets for feature in features])
    names = ("start_positions", "end_positions") if span else ("labels",)
    return {
        "input_ids": nn.utils.rnn.pad_sequence(ids, batch_first=True),
        "attention_mask": (places < lengths[:, None]).long(),
        "token_type_ids": ((places >= starts[:, None]) & (places < lengths[:, None])).long(),
        **dict(zip(names, targets.unbind(1), strict=True)),
    }


def parse_args() -> argparse.Namespace:
    """What to compare, on what."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--task", choices=["squad", "mrpc"], default="squad")
    parser.add_argument("--work", choices=["train", "predict"], default="train")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="measured in each process")
    parser.add_argument("--batch", type=int, default=32, help="features of a step")
    parser.add_argument("--tokens", type=int, default=2048, help="of a micro-batch")
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=["cpu", "wall"], default="wall",
        help="cpu: processor time, for one thread on a busy machine",
    )  # fmt: skip
    parser.add_argument("--worker", help="be the process of this variant; prints JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
