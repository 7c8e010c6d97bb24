"""A published model, ready to answer: requests to examples to the network to answers.

The way of an example is the one of fine-tuning's dev data: the task's `make_features`, the unpadded
batches and kernels of `bert.train`, the task's `decode`. So a text gets here what it got there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from bert.convert.published import Published, load_published
from bert.devices.config import ComputeConfig
from bert.devices.device import choose_device, describe_device
from bert.devices.execution import prepare_model
from bert.predict.found import Found
from bert.predict.heads import ADAPTERS
from bert.predict.requests import Request
from bert.train.feature_outputs import predict

Precision = Literal["fp32", "bf16"]
Answer = dict[str, Any]
# Requests that go through the model together: bounds the memory of features and outputs.
CHUNK = 1000
_MICRO_BATCH_TOKENS = 16_384
# What a model may not see of a request: the tasks' count of it, and what it is in words.
LOST = {
    "cut_questions": "the end of a question was cut: it is longer than the model reads",
    "cut_examples": "the end of a text was cut: it is longer than the model reads",
    "words_without_pieces": "a word of nothing but unknown signs was read as an unknown one",
}


class Answered(NamedTuple):
    """Answers of some requests, and how often what of them was lost, by the names of `LOST`."""

    answers: list[Answer]
    lost: dict[str, int]


class Model(NamedTuple):
    """A published model on its device."""

    published: Published
    compute: ComputeConfig
    device: torch.device


def load_model(folder: Path, precision: Precision) -> Model:
    """Loads a published folder onto the accelerator, or the CPU where there is none.

    Call it before the first tensor of the process, see `choose_device`.

    Raises:
        TaskFolderError: The folder is none, or damaged.
    """
    compute = ComputeConfig(
        device="auto",
        precision=precision,
        instruction_set=None,
        execution="eager",
        kernels="auto",
        ipex=False,
        activation_checkpointing=False,
    )
    device = choose_device(compute, 0)
    published = load_published(folder)
    published.network.to(device)
    prepare_model(published.network, compute, device)
    return Model(published, compute, device)


def describe(model: Model) -> dict[str, str]:
    """What computes, in words: parameters, device, precision, kernels."""
    said = describe_device(model.device, model.compute)
    count = sum(parameter.numel() for parameter in model.published.network.parameters())
    kernels = {"kernels": str(said["kernels"])} if "kernels" in said else {}
    return {
        "parameters": f"{count:,}",
        "device": str(said["name"]),
        "precision": model.compute.precision,
    } | kernels


def answer_all(model: Model, requests: Sequence[Request]) -> Iterator[Answered]:
    """Answers requests in their order, chunk by chunk.

    Yields:
        The answers of a chunk: `id` if the request has one, and what the task's head gives; see
        docs/predict.md.
    """
    for first in range(0, len(requests), CHUNK):
        yield _answer_chunk(model, requests[first : first + CHUNK])


def _answer_chunk(model: Model, requests: Sequence[Request]) -> Answered:
    published = model.published
    task, config = published.task, published.task_config
    adapter = ADAPTERS[task.HEAD]
    examples = adapter.examples(requests)
    made = task.make_features(examples, published.tokenizer, config, training=False)
    outputs = predict(
        published.network, made.features, task.HEAD, model.compute, _MICRO_BATCH_TOKENS,
        model.device,
    )  # fmt: skip
    found = task.decode(examples, made, outputs, config)
    predictions = [found[example.id] for example in examples]
    bodies = adapter.answers(requests, Found(made, outputs, predictions, task.labels(config)))
    answers = [
        ({} if request.id is None else {"id": request.id}) | body
        for request, body in zip(requests, bodies, strict=True)
    ]
    return Answered(answers, {name: made.counts[name] for name in LOST if made.counts.get(name)})
