"""RTE: does a text entail a hypothesis? Two sentences, from the challenges RTE1 to 3 and 5.

GLUE averages accuracy.

Source: Dagan et al. 2006; Bar-Haim et al. 2006; Giampiccolo et al. 2007; Bentivogli et al. 2009.
"""

from typing import Literal

from bert.config import knob
from bert.tasks.glue import GlueConfig, GlueTask
from bert.tasks.glue_tsv import Table
from bert.tasks.sentence_metrics import accuracy

_LABELS = ("entailment", "not_entailment")


class RteConfig(GlueConfig):
    """Textual entailment."""

    format: Literal["rte"] = knob("Task format: RTE, textual entailment.")


TASK = GlueTask(
    names=_LABELS,
    written=_LABELS,
    tables={
        "train": (Table("train.tsv", "sentence1", "sentence2", "label", id="index"),),
        "dev": (Table("dev.tsv", "sentence1", "sentence2", "label", id="index"),),
    },
    metric=accuracy,
    submission={"": "RTE.tsv"},
    HEADLINE="accuracy",
)
