"""A fine-tuned model as a folder: what `transformers` loads, and `task.json` for this project.

The files are those of `bert.convert.huggingface`, with the task's head, its labels in config.json,
and `task.json`:

| key | meaning |
| --- | --- |
| format, version | "bert-task", 1 |
| task | its name in the configuration it was trained with |
| config | the task's section: how text becomes sequences |
| labels | names of the network's outputs, in their order |
| head | what the network gives: span, sentence, value, token |
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bert.convert.cards import shape_table, write_card
from bert.convert.huggingface import check_shapes, write_weights
from bert.convert.huggingface_config import config_out, labels_out
from bert.convert.model_folder import write_plain_json, write_tokenizer
from bert.convert.weights import shapes_of
from bert.data.vocab import load_vocabulary
from bert.model.config import ModelConfig
from bert.model.heads import task_network
from bert.tasks.config import TaskSection, task_module
from bert.tasks.features import Head

TASK_FILE = "task.json"
# Class of transformers, and its task in a model card.
ARCHITECTURES: dict[Head, tuple[str, str]] = {
    "span": ("BertForQuestionAnswering", "question-answering"),
    "sentence": ("BertForSequenceClassification", "text-classification"),
    "value": ("BertForSequenceClassification", "text-classification"),
    "token": ("BertForTokenClassification", "token-classification"),
}
_FORMAT = {"format": "bert-task", "version": 1}


class TaskFolderError(ValueError):
    """A folder that is no published task of this project."""


def export_task(
    folder: Path,
    state: Mapping[str, Tensor],
    config: ModelConfig,
    *,
    vocabulary: Path,
    name: str,
    section: TaskSection,
    card: str,
) -> dict[str, int]:
    """Writes the folder.

    Args:
        folder: An existing, empty folder.
        state: Weights of the network with its head, with the padded vocabulary rows.
        config: Section `model` they were trained with.
        vocabulary: Folder of the vocabulary.
        name: Name of the task.
        section: The task's own part of the configuration.
        card: Scores and provenance, Markdown for the model card.

    Returns:
        Counts: `parameters` and `tensors` written.

    Raises:
        HuggingFaceError: The weights are not those of the task's network, or the network is one
            that transformers' BERT is not.
        VocabError: The vocabulary is damaged.
    """
    words = load_vocabulary(vocabulary)
    task = task_module(section.task.format)
    labels = task.labels(section.task)
    architecture, pipeline = ARCHITECTURES[task.HEAD]
    values = config_out(config, words, architecture) | labels_out(task.HEAD, labels)
    expected = shapes_of(lambda: task_network(task.HEAD, config, words.size, len(labels)))
    check_shapes(state, expected)
    counts = write_weights(folder, state, words.size)
    write_plain_json(folder / "config.json", values)
    write_tokenizer(folder, vocabulary, words, config.max_position_embeddings)
    said = {"task": name, "config": section.task.model_dump(mode="json")}
    said |= {"labels": list(labels), "head": task.HEAD}
    write_plain_json(folder / TASK_FILE, _FORMAT | said)
    intro = f"A BERT encoder fine-tuned on {name}; loads as {architecture}."
    parts = [intro, shape_table(config, words, counts["parameters"]), card]
    write_card(folder / "README.md", pipeline=pipeline, title=f"BERT for {name}", parts=parts)
    return counts


def read_task_file(folder: Path) -> dict[str, Any]:
    """What `task.json` says.

    Raises:
        TaskFolderError: It is missing, damaged or of another version.
    """
    file = folder / TASK_FILE
    if not file.is_file():
        raise TaskFolderError(
            f"{file} is missing; expected a folder that the rule `publish` wrote. Name its "
            "`model` folder."
        )
    try:
        said = json.loads(file.read_bytes())
    except ValueError as error:
        raise TaskFolderError(f"{file} is not JSON ({error}). Copy the folder again.") from None
    keys = {"task", "config", "labels", "head"}
    found = {key: said.get(key) for key in _FORMAT} if isinstance(said, dict) else None
    if found != _FORMAT or not keys <= said.keys():
        raise TaskFolderError(
            f"{file} is {found}; expected {_FORMAT} with {', '.join(sorted(keys))}. Publish it "
            "with this release."
        )
    return dict(said)
