"""SST-2: does a sentence of a film review praise or blame? One sentence.

GLUE averages accuracy.

Source: Socher et al. 2013, "Recursive Deep Models for Semantic Compositionality".
"""

from typing import Literal

from bert.config import knob
from bert.tasks.glue import GlueConfig, GlueTask
from bert.tasks.glue_tsv import Table
from bert.tasks.sentence_metrics import accuracy


class Sst2Config(GlueConfig):
    """Sentiment of sentences."""

    format: Literal["sst2"] = knob("Task format: SST-2, sentiment of film reviews.")


TASK = GlueTask(
    names=("negative", "positive"),
    written=("0", "1"),
    tables={
        "train": (Table("train.tsv", "sentence", None, "label"),),
        "dev": (Table("dev.tsv", "sentence", None, "label"),),
    },
    metric=accuracy,
    submission={"": "SST-2.tsv"},
    HEADLINE="accuracy",
)
