"""A published task, loaded for use."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from bert.config import check
from bert.convert.huggingface_config import section_in
from bert.convert.task_folder import TASK_FILE, TaskFolderError, read_task_file
from bert.convert.weights import misfits
from bert.data.vocab import load_tokenizer, load_vocabulary
from bert.model.config import ModelConfig
from bert.model.heads import task_network
from bert.tasks.config import Task, TaskSection, task_module


class Published(NamedTuple):
    """A fine-tuned model and all that its task needs.

    Attributes:
        network: With its head, on the CPU, fp32, in evaluation mode.
        config: Shape of its encoder.
        tokenizer: As in training.
        task: Module of the task.
        task_config: Its section.
        name: Name of the task in the configuration it was trained with.
    """

    network: nn.Module
    config: ModelConfig
    tokenizer: Tokenizer
    task: Task
    task_config: Any
    name: str


def load_published(folder: Path) -> Published:
    """Reads a folder that the rule `publish` wrote.

    Raises:
        TaskFolderError: A file is missing, damaged, or does not fit the others.
        HuggingFaceError: config.json is not that of a BERT.
        ConfigError: The task's section or the network's shape is not valid.
        VocabError: The vocabulary is damaged.
    """
    said = read_task_file(folder)
    where = str(folder / TASK_FILE)
    task_config = check(TaskSection, {"task": said["config"]}, where=where).task
    task = task_module(task_config.format)
    labels = task.labels(task_config)
    if (said["labels"], said["head"]) != (list(labels), task.HEAD):
        raise TaskFolderError(
            f"{where} has head {said['head']} with labels {said['labels']}; this release's task "
            f"{task_config.format} has {task.HEAD} with {list(labels)}. Use the release that "
            "published it."
        )
    values, state = _read(folder)
    shape, vocab_size = section_in(values, str(folder / "config.json"))
    shape |= {"position_init": "normal", "vocab_multiple": 1, "next_sentence": False}
    config = check(ModelConfig, shape, where=str(folder / "config.json"))
    found = load_vocabulary(folder).size
    with torch.device("meta"):  # no memory, and no random numbers, for weights that are replaced
        network = task_network(task.HEAD, config, vocab_size, len(labels))
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    problems = misfits(state, expected)
    if found != vocab_size:
        problems.append(f"the vocabulary has {found} tokens and config.json {vocab_size}")
    if problems:
        raise TaskFolderError(
            f"{folder} is of parts that do not fit each other in {len(problems)} places: "
            f"{'; '.join(problems[:5])}. Copy the folder again."
        )
    network.load_state_dict(state, assign=True)
    tokenizer = load_tokenizer(folder)
    return Published(network.eval(), config, tokenizer, task, task_config, said["task"])


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        values = json.loads((folder / "config.json").read_text("utf-8"))
        return values, load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise TaskFolderError(
            f"{folder} is missing a file or is damaged: {error}. Copy the folder again."
        ) from None
