"""Small published models with random weights, one a head."""

from pathlib import Path

import torch

from bert.config import check
from bert.convert.task_folder import export_task
from bert.data.vocab import write_vocabulary
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import task_network
from bert.tasks.config import TaskSection, task_module
from tests.conftest import MODEL

CONTEXT = "Ada Lovelace wrote the first program in 1843, near London. Bob lived in Ávila."
WORDS = ["ada", "bob", "first", "in", "london", "lovelace", "near", "the", "who", "wrote"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?'\u201c"
TOKENS = [*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS[:36])]
SECTIONS = {
    "squad": {
        "format": "squad",
        "version": "2.0",
        "max_seq_length": 24,
        "doc_stride": 4,
        "max_query_length": 6,
        "n_best": 8,
        "max_answer_length": 6,
        "null_threshold": 0.0,
        "max_misaligned_share": 0.0,
    },
    "sst2": {"format": "sst2", "max_seq_length": 16, "max_bad_share": 0.0},
    "rte": {"format": "rte", "max_seq_length": 24, "max_bad_share": 0.0},
    "mrpc": {"format": "mrpc", "layout": "glue", "max_seq_length": 24},
    "conll": {
        "format": "conll",
        "word_column": 0,
        "tag_column": 1,
        "scheme": "bio",
        "types": ["PER", "LOC"],
        "max_seq_length": 12,
    },
    "stsb": {"format": "stsb", "max_seq_length": 24, "max_bad_share": 0.0},
}


def publish(folder: Path, name: str, seed: int = 1) -> Path:
    """A published folder of the task with large random weights, so that answers differ."""
    model = check(ModelConfig, MODEL | {"initializer_range": 0.3}, where="a test")
    section = check(TaskSection, {"task": SECTIONS[name]}, where="a test")
    task = task_module(section.task.format)
    network = task_network(task.HEAD, model, len(TOKENS), len(task.labels(section.task)))
    initialize(network, 0.3, torch.Generator().manual_seed(seed), positions="normal")
    vocabulary, output = folder / "vocab", folder / "model"
    for made in (vocabulary, output):
        made.mkdir(parents=True)
    write_vocabulary(vocabulary, TOKENS, lowercase=True)
    export_task(
        output,
        network.state_dict(),
        model,
        vocabulary=vocabulary,
        name=name,
        section=section,
        card="Of a test.",
    )
    return output
