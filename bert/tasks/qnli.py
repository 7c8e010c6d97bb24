"""QNLI: does a sentence hold the answer to a question? Two sentences, made of SQuAD.

GLUE averages accuracy.

Source: Wang et al. 2018, section 3.3 (GLUE), from Rajpurkar et al. 2016.
"""

from typing import Literal

from bert.config import knob
from bert.tasks.glue import GlueConfig, GlueTask
from bert.tasks.glue_tsv import Table
from bert.tasks.sentence_metrics import accuracy

_LABELS = ("entailment", "not_entailment")


class QnliConfig(GlueConfig):
    """Questions and sentences that answer them."""

    format: Literal["qnli"] = knob("Task format: QNLI, a question and a sentence.")


TASK = GlueTask(
    names=_LABELS,
    written=_LABELS,
    tables={
        "train": (Table("train.tsv", "question", "sentence", "label", id="index"),),
        "dev": (Table("dev.tsv", "question", "sentence", "label", id="index"),),
    },
    metric=accuracy,
    submission={"": "QNLI.tsv"},
    HEADLINE="accuracy",
)
