"""QQP: do two questions ask the same? Two sentences.

GLUE averages accuracy and F1. Accuracy stands for the task here: most published results on the dev
data name it.

Source: Iyer et al. 2017, "First Quora Dataset Release: Question Pairs".
"""

from typing import Literal

from bert.config import knob
from bert.tasks.glue import GlueConfig, GlueTask
from bert.tasks.glue_tsv import Table
from bert.tasks.sentence_metrics import accuracy_and_f1


class QqpConfig(GlueConfig):
    """Duplicates among questions."""

    format: Literal["qqp"] = knob("Task format: QQP, pairs of questions.")


TASK = GlueTask(
    names=("not_duplicate", "duplicate"),
    written=("0", "1"),
    tables={
        "train": (Table("train.tsv", "question1", "question2", "is_duplicate", id="id"),),
        "dev": (Table("dev.tsv", "question1", "question2", "is_duplicate", id="id"),),
    },
    metric=accuracy_and_f1,
    submission={"": "QQP.tsv"},
    HEADLINE="accuracy",
)
