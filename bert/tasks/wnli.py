"""WNLI: does a sentence entail the same one with a pronoun resolved? Two sentences.

GLUE averages accuracy. A sentence that stands in both splits mostly has the other label in the dev
data (GLUE's FAQ, question 12), so what has learned scores below the majority class; Devlin et al.
2019 leave the task out.

Source: Levesque et al. 2011, "The Winograd Schema Challenge"; Wang et al. 2018 (GLUE).
"""

from typing import Literal

from bert.config import knob
from bert.tasks.glue import GlueConfig, GlueTask
from bert.tasks.glue_tsv import Table
from bert.tasks.sentence_metrics import accuracy


class WnliConfig(GlueConfig):
    """Winograd schemas as entailment."""

    format: Literal["wnli"] = knob("Task format: WNLI, Winograd schemas.")


TASK = GlueTask(
    names=("not_entailment", "entailment"),
    written=("0", "1"),
    tables={
        "train": (Table("train.tsv", "sentence1", "sentence2", "label", id="index"),),
        "dev": (Table("dev.tsv", "sentence1", "sentence2", "label", id="index"),),
    },
    metric=accuracy,
    submission={"": "WNLI.tsv"},
    HEADLINE="accuracy",
)
