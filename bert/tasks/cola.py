"""CoLA: is a sentence acceptable English? One sentence.

GLUE averages Matthews correlation.

Source: Warstadt et al. 2018, "Neural Network Acceptability Judgments".
"""

from typing import Literal

from bert.config import knob
from bert.tasks.glue import GlueConfig, GlueTask
from bert.tasks.glue_tsv import Table
from bert.tasks.sentence_metrics import matthews

# The published files do not name their columns.
_HEADER = ("source", "label", "mark", "sentence")


class ColaConfig(GlueConfig):
    """Acceptability of sentences."""

    format: Literal["cola"] = knob("Task format: CoLA, acceptable sentences.")


TASK = GlueTask(
    names=("unacceptable", "acceptable"),
    written=("0", "1"),
    tables={
        "train": (Table("train.tsv", "sentence", None, "label", header=_HEADER),),
        "dev": (Table("dev.tsv", "sentence", None, "label", header=_HEADER),),
    },
    metric=matthews,
    submission={"": "CoLA.tsv"},
    HEADLINE="matthews",
)
