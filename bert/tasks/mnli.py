"""MNLI: does a premise entail a hypothesis, contradict it, or neither? Two sentences.

GLUE averages accuracy on dev data of the training's genres (matched) and of others (mismatched).
The matched one stands for the task here; the dev data are both files.

Source: Williams et al. 2018, "A Broad-Coverage Challenge Corpus for Sentence Understanding".
"""

from typing import Literal

from bert.config import knob
from bert.tasks.glue import GlueConfig, GlueTask
from bert.tasks.glue_tsv import Table
from bert.tasks.sentence_metrics import accuracy

_LABELS = ("entailment", "neutral", "contradiction")


class MnliConfig(GlueConfig):
    """Entailment between sentences of many genres."""

    format: Literal["mnli"] = knob("Task format: MNLI, entailment, both dev files.")


def _table(file: str, part: str = "") -> Table:
    return Table(file, "sentence1", "sentence2", "gold_label", id="index", part=part)


TASK = GlueTask(
    names=_LABELS,
    written=_LABELS,
    tables={
        "train": (_table("train.tsv"),),
        "dev": (
            _table("dev_matched.tsv", "matched"),
            _table("dev_mismatched.tsv", "mismatched"),
        ),
    },
    metric=accuracy,
    submission={"matched": "MNLI-m.tsv", "mismatched": "MNLI-mm.tsv"},
    HEADLINE="accuracy_matched",
)
