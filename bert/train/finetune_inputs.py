"""What a fine-tuning run is given: sections, features, gold, first weights; and its identity."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from bert.checkpoints.checkpoint import check_checkpoint, checkpoint_digests, load_checkpoint
from bert.config import load_section
from bert.data.vocab import Vocabulary, load_vocabulary
from bert.fetch.fetched import fetched_files
from bert.manifest import code_digest, sha256_file, sha256_json
from bert.model.config import ModelConfig
from bert.tasks.config import Task, TaskSection, task_module
from bert.tasks.features import Feature
from bert.tasks.features_file import read_features
from bert.train.dev_set import DevSet
from bert.train.finetune_config import FinetuneConfig
from bert.train.finetune_setup import Learner, Tuning, build_learner, build_model


class Files(NamedTuple):
    """Where it lies."""

    config: Path  # section: what one run is told
    task_config: Path  # section: the task's own
    model: Path  # section
    train: Path  # features to train on
    dev: Path  # features to predict
    gold: Path  # fetch manifest of the dev data
    vocab: Path  # folder
    checkpoint: Path | None  # None: random weights


class Given(NamedTuple):
    """The sections, and digests of the rest."""

    files: Files
    config: FinetuneConfig
    task_config: Any
    model: ModelConfig
    vocabulary: Vocabulary
    inputs: dict[str, str]  # name to sha256

    @property
    def task(self) -> Task:
        """The task's module."""
        return task_module(self.task_config.format)

    def identity(self, seed: int) -> str:
        """Digest of all that the result depends on."""
        sections = (self.config, self.task_config, self.model)
        plain = [section.model_dump(mode="json") for section in sections]
        return sha256_json([plain, seed, self.inputs, code_digest("finetune")])


class Data(NamedTuple):
    """What is trained on and predicted."""

    features: list[Feature]
    dev: DevSet
    counts: dict[str, int]


def read_given(files: Files) -> Given:
    """Reads the sections and digests the files.

    Raises:
        ConfigError: A section is not valid.
        FileNotFoundError: A file is missing.
    """
    vocabulary, gold = load_vocabulary(files.vocab), fetched_files(files.gold)
    inputs = {f"gold/{i}/{file.name}": sha256_file(file) for i, file in enumerate(gold)}
    inputs |= {f"features/{file.name}": sha256_file(file) for file in (files.train, files.dev)}
    inputs |= {} if files.checkpoint is None else checkpoint_digests(files.checkpoint)
    return Given(
        files,
        load_section(FinetuneConfig, files.config),
        load_section(TaskSection, files.task_config).task,
        load_section(ModelConfig, files.model),
        vocabulary,
        inputs | {"vocabulary": vocabulary.sha256},
    )


def read_data(given: Given) -> Data:
    """Reads the features and the dev examples, and counts them.

    Raises:
        FeaturesFileError: Features of another task section or vocabulary, or a damaged file.
    """
    files, config, sha256 = given.files, given.task_config, given.vocabulary.sha256
    train = read_features(files.train, config, sha256)
    dev = read_features(files.dev, config, sha256)
    examples, _ = given.task.read_examples(fetched_files(files.gold), config, role="dev")
    counts = {f"train_{name}": count for name, count in train.counts.items()}
    counts |= {f"dev_{name}": count for name, count in dev.counts.items()}
    counts |= {"examples": len({feature.example for feature in train.features})}
    counts |= {"features": len(train.features), "dev_examples": len(examples)}
    return Data(train.features, DevSet(given.task, config, examples, dev), counts)


def start(given: Given, tuning: Tuning) -> Learner:
    """The network at the start of the run, with its optimizer.

    Raises:
        CheckpointError: The checkpoint is of another model or vocabulary.
    """
    pretrained: dict[str, Tensor] | None = None
    if given.files.checkpoint is not None:
        loaded = load_checkpoint(given.files.checkpoint)
        expected: dict[str, Any] = {"vocabulary_sha256": given.vocabulary.sha256}
        expected |= {"model": given.model.model_dump()}
        check_checkpoint(given.files.checkpoint, loaded.state, expected)
        pretrained = loaded.model
    labels = given.task.labels(given.task_config)
    model = build_model(len(labels), given.model, given.vocabulary.size, tuning, pretrained)
    return build_learner(model, tuning)
