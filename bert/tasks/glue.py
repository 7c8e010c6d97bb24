"""The tasks of GLUE: one class, of which each task's module makes one object.

A task differs from the others in its tables, its labels and its metrics. MRPC, whose files come in
two layouts of their own, stands in `bert/tasks/mrpc.py`.

Source: Wang et al. 2018, "GLUE: A Multi-Task Benchmark and Analysis Platform for NLU".
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bert.config import knob
from bert.tasks import sentence
from bert.tasks.features import FeatureSet, Head, Role
from bert.tasks.glue_examples import named_label, read_tables, scaled_value
from bert.tasks.glue_tsv import Row, Table
from bert.tasks.sentence import SentenceConfig, SentenceExample

logger = logging.getLogger(__name__)

Metric = Callable[[NDArray[Any], NDArray[Any]], dict[str, float]]


class GlueConfig(SentenceConfig):
    """What the tasks of GLUE are told."""

    max_bad_share: float = knob(
        "Share of a file's rows that may be unusable (missing columns, empty text, unknown label); "
        "they are left out and counted. The published QQP has a few.",
        ge=0,
        lt=1,
    )


@dataclass
class GlueTask:
    """A task over sentences, as `bert.tasks.config.Task` wants it.

    Attributes:
        names: The labels, in the order of the outputs; of a value, its one name.
        written: The same as the files write them; empty for a value.
        tables: The tables of each split.
        metric: Metrics of gold and predicted labels (or values).
        submission: File of GLUE's submission, by the examples' `part`.
        HEADLINE: The metric that the task is known by.
        HEAD: What the network gives.
        scale: Least and greatest value, for the head "value".
    """

    names: tuple[str, ...]
    written: tuple[str, ...]
    tables: dict[Role, tuple[Table, ...]]
    metric: Metric
    submission: dict[str, str]
    HEADLINE: str
    HEAD: Head = "sentence"
    scale: tuple[float, float] = (0.0, 0.0)
    PREDICTION: Any = field(init=False)

    def __post_init__(self) -> None:
        """Makes the type of a prediction."""
        value = self.HEAD == "value"
        self.PREDICTION = (
            sentence.ValuePrediction if value else sentence.label_prediction(self.names)
        )

    def labels(self, config: GlueConfig) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.names

    def read_examples(
        self, files: Sequence[Path], config: GlueConfig, *, role: Role
    ) -> tuple[list[SentenceExample], dict[str, int]]:
        """The examples of a split, in file order.

        Args:
            files: TSV files under their published names, or the published zip file.
            config: The share of bad rows.
            role: The split, which chooses the files.

        Returns:
            The examples and the counts rows, bad_rows, examples, and label_<name> of each label.

        Raises:
            glue_tsv.TableError: No such file, no table, or too many unusable rows.
        """
        found, counts = read_tables(files, self.tables[role], self._label, config.max_bad_share)
        if self.HEAD != "value":
            of_label = Counter(self.names[int(example.label)] for example in found)
            counts |= {f"label_{name}": of_label[name] for name in self.names}
        return found, counts

    def make_features(
        self,
        examples: Sequence[SentenceExample],
        tokenizer: Tokenizer,
        config: SentenceConfig,
        *,
        training: bool,
    ) -> FeatureSet[None]:
        """As `sentence.make_features`."""
        return sentence.make_features(examples, tokenizer, config, training=training)

    def decode(
        self,
        examples: Sequence[SentenceExample],
        feature_set: FeatureSet[None],
        outputs: NDArray[np.float32],
        config: SentenceConfig,
    ) -> dict[str, dict[str, Any]]:
        """What is predicted of each example, in their order.

        Args:
            examples: The examples.
            feature_set: Their features.
            outputs: float32 [N, labels].
            config: Not read; every task's `decode` has it.

        Returns:
            Id to {"label": its name, "probabilities": name to share}, or to {"value": a number}.
            Equal logits give the first of their labels.

        Raises:
            FeatureError: Outputs of another shape, or not finite.
        """
        ids = [examples[feature.example].id for feature in feature_set.features]
        if self.HEAD == "value":
            found = sentence.values(outputs, feature_set)
            return {id: {"value": value} for id, value in zip(ids, found, strict=True)}
        shares = sentence.probabilities(outputs, len(self.names), feature_set)
        return {
            id: {
                "label": self.names[int(row.argmax())],
                "probabilities": dict(zip(self.names, row.tolist(), strict=True)),
            }
            for id, row in zip(ids, shares, strict=True)
        }

    def official_files(
        self,
        examples: Sequence[SentenceExample],
        predictions: Mapping[str, Mapping[str, Any]],
        config: SentenceConfig,
    ) -> dict[str, str]:
        """The predictions as GLUE's site takes them: `index`, `prediction`, one file a part."""
        texts = {}
        for part, file in self.submission.items():
            chosen = [example for example in examples if example.part == part]
            lines = [
                f"{e.id.removeprefix(part + '-')}\t{self._written(predictions[e.id])}\n"
                for e in chosen
            ]
            if lines:
                texts[file] = "index\tprediction\n" + "".join(lines)
        return texts

    def metrics(
        self, gold: Sequence[SentenceExample], predictions: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, float]:
        """The metrics in percent, of each part under its name.

        Args:
            gold: All examples; one without a prediction counts as predicted wrongly: another
                label, or the value at the far end of the scale.
            predictions: As `decode` gives them; only the label or value is read.
        """
        missing = sum(example.id not in predictions for example in gold)
        if missing:
            logger.warning("%d of %d examples have no prediction: wrong", missing, len(gold))
        return self._scores(
            gold,
            [
                self._number(predictions[e.id]) if e.id in predictions else self._wrong(e.label)
                for e in gold
            ],
        )

    def baseline(self, gold: Sequence[SentenceExample]) -> dict[str, float]:
        """The metrics of predicting the commonest label everywhere, or the mean value.

        Between equally common labels it is the last, so that an F1 of label 1 is not 0.
        """
        labels = [example.label for example in gold]
        if self.HEAD == "value":
            constant = math.fsum(labels) / len(labels)
        else:
            constant = max(set(labels), key=lambda label: (labels.count(label), label))
        return self._scores(gold, [constant] * len(gold))

    def _label(self, row: Row) -> float:
        if self.HEAD == "value":
            return scaled_value(row, *self.scale)
        return named_label(row, self.written)

    def _scores(
        self, gold: Sequence[SentenceExample], predicted: Sequence[float]
    ) -> dict[str, float]:
        scores: dict[str, float] = {}
        for part in dict.fromkeys(example.part for example in gold):
            pairs = [(e.label, y) for e, y in zip(gold, predicted, strict=True) if e.part == part]
            found = self.metric(*np.array(pairs, dtype=np.float64).T)
            scores |= {f"{name}_{part}" if part else name: v for name, v in found.items()}
        return scores

    def _number(self, prediction: Mapping[str, Any]) -> float:
        if self.HEAD == "value":
            return float(prediction["value"])
        return self.names.index(prediction["label"])

    def _wrong(self, label: float) -> float:
        if self.HEAD == "value":
            return self.scale[int(label < sum(self.scale) / 2)]
        return (int(label) + 1) % len(self.names)

    def _written(self, prediction: Mapping[str, Any]) -> str:
        if self.HEAD == "value":
            least, greatest = self.scale
            return f"{min(greatest, max(least, prediction['value'])):.3f}"
        return self.written[self.names.index(prediction["label"])]
