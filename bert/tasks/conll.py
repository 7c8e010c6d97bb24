"""Named entities as a task: a tag for each word, in the style of CoNLL-2003.

The first word piece of a word carries its tag, the others carry none; a word is tagged by what the
network says of its first piece, each word by itself (Devlin et al. 2019, section 5.3).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from tokenizers import Tokenizer

from bert.config import Section, knob
from bert.tasks.conll_file import Columns, ConllError, ConllExample, read_conll
from bert.tasks.conll_tags import OUTSIDE, Scheme, entity_scores, tag_names
from bert.tasks.features import (
    IGNORED,
    Feature,
    FeatureError,
    FeatureSet,
    Head,
    Role,
    check_count,
    check_finite,
    special_ids,
    token_ids,
)
from bert.tasks.squad_windows import max_context, window_bounds

logger = logging.getLogger(__name__)

HEAD: Head = "token"
HEADLINE = "f1"
PREDICTION = list[Annotated[str, Field(pattern=r"^(O|[BI]-.+)$")]]
_UNKNOWN = ("[UNK]", "<unk>")


class ConllConfig(Section):
    """Named entities in files like those of CoNLL-2003."""

    format: Literal["conll"] = knob(
        "Task format: a word a line with its tag, a blank line between sentences."
    )
    word_column: int = knob("Column of the word, from 0 (CoNLL-2003: 0).", ge=0)
    tag_column: int = knob("Column of the tag, from 0 (CoNLL-2003 in English: 3).", ge=0)
    scheme: Scheme = knob(
        "How tags mark an entity's first word: bio = B- always; iob1 = I-, and B- only after "
        "another entity of the type (CoNLL-2003 as given out). The network learns bio."
    )
    types: list[str] = knob(
        "Types of entities, in the order of the network's outputs (CoNLL-2003: PER, ORG, LOC, "
        "MISC); another one in the files is an error.",
        min_length=1,
    )
    max_seq_length: int = knob(
        "Longest sequence in tokens, 2 special tokens included; a longer sentence is cut into "
        "overlapping windows, and each word tagged where it has most context.",
        ge=4,
    )

    @model_validator(mode="after")
    def _columns_and_types(self) -> Self:
        if self.word_column == self.tag_column:
            raise ValueError(
                f"word_column and tag_column are both {self.word_column}; a word and its tag "
                "stand in two columns."
            )
        if len(set(self.types)) < len(self.types) or not all(map(str.strip, self.types)):
            raise ValueError(f"types are {self.types}; name each type once, and none empty.")
        return self


class Place(NamedTuple):
    """The words that one feature tags.

    Attributes:
        words: int32 [W], their indices in the sentence.
        tokens: int32 [W], indices of their first word pieces in `input_ids`.
    """

    words: NDArray[np.int32]
    tokens: NDArray[np.int32]


def labels(config: ConllConfig) -> tuple[str, ...]:
    """O, then B- and I- of each type."""
    return tag_names(config.types)


def read_examples(
    files: Sequence[Path], config: ConllConfig, *, role: Role
) -> tuple[list[ConllExample], dict[str, int]]:
    """All sentences of the files, and the counts documents, sentences and words.

    Raises:
        ConllError: A file that is not usable, see `read_conll`.
    """
    columns = Columns(config.word_column, config.tag_column, config.scheme, tuple(config.types))
    examples, counts = read_conll(files, columns)
    logger.info("read %s", ", ".join(f"{value} {name}" for name, value in counts.items()))
    return examples, counts


def make_features(
    examples: Sequence[ConllExample], tokenizer: Tokenizer, config: ConllConfig, *, training: bool
) -> FeatureSet[Place]:
    """`[CLS] words [SEP]`, one feature a sentence, several of one that is too long.

    Windows of a long sentence begin half a window apart. Each word belongs to the window in which
    its first piece has most context, so each is learned, and tagged, exactly once.

    Args:
        examples: The sentences.
        tokenizer: Tokenizer of the vocabulary.
        config: Types and length.
        training: Whether to give targets.

    Returns:
        The features. Counts: features, cut_sentences (in several windows) and
        words_without_pieces, which the tokenizer removes and the unknown token stands for.

    Raises:
        FeatureError: The tokenizer lacks a special token, or cuts or pads.
    """
    special = special_ids(tokenizer)
    names = {name: place for place, name in enumerate(labels(config))}
    features: list[Feature] = []
    places: list[Place] = []
    counts = {"features": 0, "cut_sentences": 0, "words_without_pieces": 0}
    known = _pieces(examples, tokenizer)
    unknown = [_unknown_id(tokenizer)]
    for index, example in enumerate(examples):
        pieces = [known[word] or unknown for word in example.words]
        counts["words_without_pieces"] += sum(not known[word] for word in example.words)
        targets = np.array([names[tag] for tag in example.tags])
        made = 0
        for ids, place in _windows(pieces, config.max_seq_length - 2):
            row = np.full(len(ids) + 2, IGNORED)
            row[place.tokens] = targets[place.words]
            stream = np.array([special.cls, *ids, special.sep], np.int64)
            features.append(Feature(stream, 0, tuple(row.tolist()) if training else (), index))
            places.append(place)
            made += 1
        counts["features"] += made
        counts["cut_sentences"] += made > 1
    return FeatureSet(features, places, counts)


def decode(
    examples: Sequence[ConllExample],
    feature_set: FeatureSet[Place],
    outputs: Sequence[NDArray[np.float32]],
    config: ConllConfig,
) -> dict[str, list[str]]:
    """The likeliest tag of each word.

    Args:
        examples: The sentences.
        feature_set: Their features.
        outputs: For each feature the logits of its tokens, float32 [L, labels].
        config: The types.

    Returns:
        Sentence id to the tags of its words, in the order of `examples`; not repaired: an I- may
        follow O. Between equal logits the first label is taken.

    Raises:
        FeatureError: Outputs of another number or shape than the features, or not finite; or a
            word that no feature tags.
    """
    names = labels(config)
    check_count(len(outputs), feature_set)
    tags = [[""] * len(example.words) for example in examples]
    for feature, place, logits in zip(
        feature_set.features, feature_set.places, outputs, strict=True
    ):
        expected = (len(feature.input_ids), len(names))
        name = f"sentence {examples[feature.example].id}"
        if logits.shape != expected:
            raise FeatureError(
                f"The outputs of {name} have the shape {logits.shape}; expected {expected}, a "
                "logit a token and label. Decode with the features that the model has seen."
            )
        check_finite([logits], name)
        best = logits[place.tokens].argmax(axis=1)
        for word, label in zip(place.words.tolist(), best.tolist(), strict=True):
            tags[feature.example][word] = names[label]
    for example, row in zip(examples, tags, strict=True):
        if "" in row:
            raise FeatureError(
                f"Word {row.index('')} of sentence {example.id} is in no feature; expected each "
                "in one. Decode with the features of these very examples."
            )
    return {example.id: row for example, row in zip(examples, tags, strict=True)}


def official_files(
    examples: Sequence[ConllExample], predictions: Mapping[str, Sequence[str]], config: ConllConfig
) -> dict[str, str]:
    """Input of the script conlleval: `word gold predicted` a line, BIO, a blank line a sentence.

    A space inside a word, which only files with tabs have, is written as an underscore.
    """
    sentences = (
        "".join(
            f"{word.replace(' ', '_')} {gold} {tag}\n"
            for word, gold, tag in zip(e.words, e.tags, predictions[e.id], strict=True)
        )
        for e in examples
    )
    return {"conlleval.txt": "\n".join(sentences)}


def metrics(
    gold: Sequence[ConllExample], predictions: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Scores of conlleval in percent, see `entity_scores`.

    Args:
        gold: All sentences; in one without a prediction no entity is found and no word right.
        predictions: As `decode` gives them.

    Raises:
        ConllError: A prediction has another number of tags than its sentence has words.
    """
    missing = sum(example.id not in predictions for example in gold)
    if missing:
        logger.warning(
            "%d of %d sentences have no prediction and count as wrong", missing, len(gold)
        )
    for example in gold:
        tags = predictions.get(example.id)
        if tags is not None and len(tags) != len(example.words):
            raise ConllError(
                f"Sentence {example.id} has {len(example.words)} words, its prediction "
                f"{len(tags)} tags; expected as many. Score with the files of the fine-tuning."
            )
    return entity_scores((example.tags, predictions.get(example.id)) for example in gold)


def baseline(gold: Sequence[ConllExample]) -> dict[str, float]:
    """Scores of the tag O for every word: F1 is 0, the accuracy is not."""
    return metrics(gold, {example.id: [OUTSIDE] * len(example.words) for example in gold})


def _pieces(examples: Sequence[ConllExample], tokenizer: Tokenizer) -> dict[str, list[int]]:
    words = list(dict.fromkeys(word for example in examples for word in example.words))
    return dict(zip(words, token_ids(tokenizer, words), strict=True))


def _unknown_id(tokenizer: Tokenizer) -> int:
    for token in _UNKNOWN:
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    raise FeatureError(
        f"The vocabulary has no {' and no '.join(_UNKNOWN)}; expected one of them. Use the "
        "vocabulary of the pretraining."
    )


def _windows(pieces: list[list[int]], size: int) -> Iterator[tuple[list[int], Place]]:
    """Word pieces of each window, and the words that it tags; none without such a word."""
    stream = [piece for word in pieces for piece in word]
    firsts = np.cumsum([0, *map(len, pieces)])[:-1]
    bounds = window_bounds(len(stream), size, size // 2)
    for (start, stop), most in zip(bounds, max_context(bounds), strict=True):
        inside = np.flatnonzero((start <= firsts) & (firsts < stop))
        words = inside[most[firsts[inside] - start]]
        if len(words):
            tokens = firsts[words] - start + 1
            yield stream[start:stop], Place(words.astype(np.int32), tokens.astype(np.int32))
