"""Section `vocab`, and the error of a vocabulary that cannot serve."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bert.config import Section, check, knob, load_values


class VocabError(ValueError):
    """A vocabulary that cannot serve a BERT."""


class _Vocab(Section):
    lowercase: bool = knob(
        "lower-case the text; WordPiece: and strip accents, as uncased vocabularies need"
    )
    coverage_megabytes: int = knob("text of each source that the coverage report reads, MiB", ge=1)


class GivenVocab(_Vocab):
    """A vocabulary that somebody else made."""

    kind: Literal["given"] = knob("Origin of the vocabulary: files.")
    raw: str = knob(
        "name of the fetch item with vocab.txt, or tokenizer.json, or vocab.json and merges.txt, "
        "or one archive (.zip, .tar.gz) with them",
        min_length=1,
    )


class WordPieceVocab(_Vocab):
    """A WordPiece vocabulary trained on the text parts."""

    kind: Literal["wordpiece"] = knob("Origin of the vocabulary: trained on the text parts.")
    size: int = knob("number of tokens, special ones included; Google's uncased: 30522", ge=6)
    min_frequency: int = knob("occurrences in the corpus below which a pair is not merged", ge=1)
    limit_alphabet: int = knob("number of characters kept, the most frequent ones", ge=1)


class ByteLevelVocab(_Vocab):
    """A byte-level BPE vocabulary trained on the text parts."""

    kind: Literal["bytelevel"] = knob("Origin of the vocabulary: trained on the text parts.")
    size: int = knob(
        "number of tokens, special ones and the 256 bytes included; RoBERTa: 50265", ge=262
    )
    min_frequency: int = knob("occurrences in the corpus below which a pair is not merged", ge=1)


VocabConfig = Annotated[GivenVocab | WordPieceVocab | ByteLevelVocab, Field(discriminator="kind")]


class _VocabSection(Section):
    vocab: VocabConfig


def load_vocab_config(file: Path) -> GivenVocab | WordPieceVocab | ByteLevelVocab:
    """Reads the section from the JSON file that the rule was handed.

    Raises:
        ConfigError: Lists every problem.
        FileNotFoundError: The file is missing.
    """
    return check(_VocabSection, {"vocab": load_values(file)}, where=str(file)).vocab
