"""What a run of a phase says first: what it computes, with what, on what, and one instance.

One record of the log with a line for each topic, so that a log file alone tells what was run.
"""

import logging
import math
import os
import textwrap
from collections.abc import Iterator

import numpy as np
import yaml
from torch import nn

from bert.config import Section
from bert.data.batches import find_samples, make_stream
from bert.data.vocab import Vocabulary
from bert.devices.device import describe_device
from bert.devices.words import device_words
from bert.examine.samples import sample_texts
from bert.manifest import code_digest, git_commit, versions
from bert.optim.kfac_shapes import predict_bytes
from bert.ranks.launchers import find_launcher
from bert.train.setup import Setup

logger = logging.getLogger(__name__)

_NAME_WIDTH = 11
_LINE_WIDTH = 110
_FP32 = 4  # bytes
_MOMENTS = 2  # of each weight; LAMB and AdamW alike
_OTHER_STAGES = {
    *("finetune_threads", "finetune_processes", "finetune_checkpoint_steps"),
    *("workers", "downloads"),
}


def say_opening(setup: Setup, model: nn.Module, vocabulary: Vocabulary, first_step: int) -> None:
    """Writes the opening of a run to the log; meant for rank 0.

    Args:
        setup: The phase.
        model: The network that owns the weights.
        vocabulary: Of the run, to show an instance as text.
        first_step: First step of this job, 1 in a run that begins.

    Raises:
        ValueError: The vocabulary is not that of the shards.
    """
    _check_vocabulary(setup, vocabulary)
    head = f"phase {setup.phase} {'begins' if first_step == 1 else f'goes on at step {first_step}'}"
    topics = {
        "steps": _steps(setup),
        "data": _data(setup),
        "batch": _batch(setup),
        "model": _model(setup),
        "parameters": _parameters(model),
        "memory": _memory(setup, model),
        "device": _device(setup),
        "ranks": _ranks(setup),
        "versions": _versions(),
        "config": _yaml(setup.config, set()),
        "runtime": _yaml(setup.runtime, _OTHER_STAGES),
        "instance": _instance(setup, vocabulary),
    }
    logger.info("%s", "\n".join([head, *_in_columns(topics)]))


def _in_columns(topics: dict[str, str]) -> Iterator[str]:
    """Names on the left, long lines broken on the right."""
    for name, text in topics.items():
        for line in text.splitlines():
            broken = textwrap.wrap(
                line, _LINE_WIDTH, subsequent_indent=" " * (len(line) - len(line.lstrip()) + 2),
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
            for part in broken or [""]:
                yield f"  {name:<{_NAME_WIDTH}} {part}".rstrip()
                name = ""  # noqa: PLW2901


def _steps(setup: Setup) -> str:
    steps, batch = setup.config.steps, setup.config.batch
    samples = steps * batch
    epochs = samples / setup.train.num_instances
    limit = setup.config.budget_hours
    most = "" if limit is None else f"at most, {limit:g} h of training end the phase; "
    return f"{most}{steps:,} of {batch:,} instances = {samples:,} samples, {epochs:.2f} epochs"


def _data(setup: Setup) -> str:
    train, held_out = setup.train, setup.held_out
    return (
        f"{train.num_instances:,} instances of {_mean_length(setup):.1f} tokens on average, up to "
        f"{train.info.max_seq_length}, {train.num_tokens:,} tokens in {len(train.files):,} shards; "
        f"held out {held_out.num_instances:,} instances"
    )


def _mean_length(setup: Setup) -> float:
    return setup.train.num_tokens / setup.train.num_instances


def _batch(setup: Setup) -> str:
    """Micro-batches are cut by tokens, so their number of instances is a mean."""
    share = setup.config.batch / setup.ranks.world
    fitting = setup.runtime.micro_batch_tokens / _mean_length(setup)
    instances = min(share, max(1.0, fitting))
    ranks = "1 rank" if setup.ranks.world == 1 else f"{setup.ranks.world} ranks"
    count = math.ceil(share / instances)
    return (
        f"{setup.config.batch:,} instances = {ranks} x {count:,} "
        f"micro-batch{'' if count == 1 else 'es'} of about {instances:,.0f} instances "
        f"(up to {setup.runtime.micro_batch_tokens:,} tokens)"
    )


def _model(setup: Setup) -> str:
    model = setup.model
    head = "MLM and next-sentence head" if model.next_sentence else "MLM head"
    return (
        f"{model.num_hidden_layers} layers, width {model.hidden_size:,}, "
        f"{model.num_attention_heads} heads, feed-forward {model.intermediate_size:,} "
        f"({model.hidden_act}), {model.max_position_embeddings:,} positions, "
        f"{setup.train.info.vocab_size:,} tokens, {head}"
    )


def _parameters(model: nn.Module) -> str:
    counts = {"encoder": 0, "embeddings": 0, "heads": 0}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        found = next((part for part in ("encoder", "embeddings") if part in parts), "heads")
        counts[found] += parameter.numel()
    each = " + ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"{sum(counts.values()):,} = {each}"


def _memory(setup: Setup, model: nn.Module) -> str:
    """What is sure to be held on each rank; activations depend on the instances."""
    weights = _FP32 * sum(p.numel() for p in model.parameters())
    owners = setup.ranks.world if setup.runtime.shard_optimizer else 1
    parts = {"weights": weights, "gradients": weights, "moments": _MOMENTS * weights // owners}
    if setup.ranks.world > 1 and setup.runtime.all_reduce.dtype != "fp32":
        parts["gradients on their way"] = weights // 2
    if setup.config.kfac is not None:
        kfac = predict_bytes(setup.model, setup.config.kfac, setup.ranks.world)
        parts["K-FAC"] = kfac.factors + kfac.sums + kfac.inverses
    each = " + ".join(f"{name} {_mb(size)}" for name, size in parts.items())
    return f"{_mb(sum(parts.values()))} MB on each rank = {each}, and activations"


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f}" if size >= 1e8 else f"{size / 1e6:,.1f}"


def _device(setup: Setup) -> str:
    return device_words(describe_device(setup.device, setup.runtime))


def _ranks(setup: Setup) -> str:
    launcher = find_launcher(os.environ)
    by = "started alone" if launcher is None else f"started by {launcher.name}"
    reduce = setup.runtime.all_reduce
    how = f", gradients travel as {reduce.dtype}" if setup.ranks.world > 1 else ""
    return f"{setup.ranks.world}, {by}{how}"


def _versions() -> str:
    found = versions()
    libraries = ", ".join(f"{n} {found[n]}" for n in ("python", "torch", "numpy") if n in found)
    commit = (git_commit() or "none")[:12]
    return f"{libraries}; git commit {commit}, code digest {code_digest('pretrain')[:12]}"


def _yaml(section: Section, without: set[str]) -> str:
    values = section.model_dump(mode="json", exclude=without)
    return str(yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=1000))


def _instance(setup: Setup, vocabulary: Vocabulary) -> str:
    """The first sample of step 1 as training sees it."""
    config = setup.config
    epoch, index = find_samples(setup.train, np.zeros(1, np.int64), config.seed, setup.phase)
    seen = make_stream(
        setup.train, epoch, index, config.masking, seed=config.seed, phase=setup.phase
    )
    (text,) = sample_texts(seen, vocabulary)
    return f"first of step 1, predicted tokens as {{original>shown}}: {text}"


def _check_vocabulary(setup: Setup, vocabulary: Vocabulary) -> None:
    expected = setup.train.info.vocabulary_sha256
    if vocabulary.sha256 != expected:
        raise ValueError(
            f"The vocabulary has sha256 {vocabulary.sha256[:12]}, but the shards were made with "
            f"{expected[:12]}; give the folder that the rule `vocab` of the same run wrote."
        )
