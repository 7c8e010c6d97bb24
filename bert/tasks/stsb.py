"""STS-B: how similar are two sentences, from 0 to 5? A value.

GLUE averages Pearson and Spearman correlation. Spearman stands for the task here, as in Devlin et
al. 2019, table 1.

Source: Cer et al. 2017, "SemEval-2017 Task 1".
"""

from typing import Literal

from bert.config import knob
from bert.tasks.glue import GlueConfig, GlueTask
from bert.tasks.glue_tsv import Table
from bert.tasks.sentence_metrics import correlations


class StsbConfig(GlueConfig):
    """Similarity of sentence pairs."""

    format: Literal["stsb"] = knob("Task format: STS-B, similarity of two sentences.")


TASK = GlueTask(
    names=("similarity",),
    written=(),
    tables={
        "train": (Table("train.tsv", "sentence1", "sentence2", "score", id="index"),),
        "dev": (Table("dev.tsv", "sentence1", "sentence2", "score", id="index"),),
    },
    metric=correlations,
    submission={"": "STS-B.tsv"},
    HEADLINE="spearman",
    HEAD="value",
    scale=(0.0, 5.0),
)
