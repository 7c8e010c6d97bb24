"""The vocabulary: its file, its checks, and the tokenizer made of it.

`vocab.txt` has one token a line, the line number is the id; `##` marks a piece that continues a
word. `tokenizer.json` beside it is the same vocabulary with its text rules, as `tokenizers` and
`transformers` load it. A vocabulary is given (a file) or trained (see `bert.data.wordpiece`).
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from bert.config import Section, check, knob, load_values

logger = logging.getLogger(__name__)

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"
# A longer word is one [UNK], as in Google's tokenization.py: it bounds the time of a greedy match.
_MAX_WORD_CHARACTERS = 100


class VocabError(ValueError):
    """A vocabulary that cannot serve a BERT."""


class GivenVocab(Section):
    """A vocabulary that somebody else made."""

    kind: Literal["given"] = knob("Origin of the vocabulary: a file.")
    raw: str = knob("name of the fetch item that holds vocab.txt", min_length=1)
    lowercase: bool = knob("lower-case the text and strip accents, as uncased vocabularies need")


class WordPieceVocab(Section):
    """A vocabulary trained on the text parts."""

    kind: Literal["wordpiece"] = knob("Origin of the vocabulary: trained on the text parts.")
    size: int = knob("number of tokens, special ones included; Google's uncased: 30522", ge=6)
    lowercase: bool = knob("lower-case the text and strip accents")
    min_frequency: int = knob("occurrences in the corpus below which a pair is not merged", ge=1)
    limit_alphabet: int = knob("number of characters kept, the most frequent ones", ge=1)


VocabConfig = Annotated[GivenVocab | WordPieceVocab, Field(discriminator="kind")]


class _VocabSection(Section):
    vocab: VocabConfig


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens and what the stages ask of them.

    Attributes:
        tokens: Token of each id.
        lowercase: Whether text is lower-cased before it is looked up.
        sha256: Digest of the bytes of `vocab.txt`.
        is_continuation: bool, [size]; True for pieces that continue a word.
        pad_id: Id of [PAD]; likewise `unk_id`, `cls_id`, `sep_id` and `mask_id`.
    """

    tokens: tuple[str, ...]
    lowercase: bool
    sha256: str
    is_continuation: NDArray[np.bool_]
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.tokens)

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of the five special tokens."""
        return frozenset((self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id))


def load_vocab_config(file: Path) -> GivenVocab | WordPieceVocab:
    """Reads the section from the JSON file that the rule was handed.

    Raises:
        ConfigError: Lists every problem.
        FileNotFoundError: The file is missing.
    """
    return check(_VocabSection, {"vocab": load_values(file)}, where=str(file)).vocab


def choose_vocab_file(files: Sequence[Path]) -> Path:
    """The vocabulary among the files of a raw item: the only file, or the one named vocab.txt.

    Raises:
        VocabError: There is no such file.
    """
    found = [file for file in files if file.name == "vocab.txt"] if len(files) > 1 else list(files)
    if len(found) != 1:
        raise VocabError(
            f"vocab.raw names an item of {len(files)} files, {len(found)} of them named vocab.txt; "
            "expected one file, or one vocab.txt among them."
        )
    return found[0]


def parse_tokens(data: bytes, where: str) -> list[str]:
    """Tokens of the bytes of a `vocab.txt`; the list is checked.

    Args:
        data: UTF-8, one token a line; Windows line ends are accepted.
        where: Where the bytes came from, for the message.

    Raises:
        VocabError: Not UTF-8, an empty line, a token twice, or a special token missing.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise VocabError(f"{where}: {error}; expected UTF-8, one token a line.") from None
    # Not `splitlines`: some vocabularies hold U+2028 and its like as tokens.
    tokens = [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]
    check_tokens(tokens, where)
    return tokens


def check_tokens(tokens: Sequence[str], where: str) -> None:
    """Refuses an empty token, a token twice, or a missing special token.

    Raises:
        VocabError: Names the tokens or lines and, where it can be told, the likely cause.
    """
    missing = [token for token in SPECIAL_TOKENS if token not in set(tokens)]
    if missing:
        raise VocabError(
            f"{where} has {len(tokens)} tokens, but not {', '.join(missing)}; expected all of "
            f"{', '.join(SPECIAL_TOKENS)}. {_likely_cause(tokens, missing)}"
        )
    if "" in tokens:
        raise VocabError(f"{where}, line {tokens.index('') + 1} is empty; expected a token.")
    twice = [token for token, count in Counter(tokens).items() if count > 1]
    if twice:
        lines = [str(i) for i, token in enumerate(tokens, start=1) if token == twice[0]]
        raise VocabError(
            f"{where}: {len(twice)} tokens stand there more than once, the first is "
            f"{twice[0]!r} (lines {', '.join(lines[:3])}). Get the original file."
        )


def _likely_cause(tokens: Sequence[str], missing: Sequence[str]) -> str:
    lowered = [token.lower() for token in missing if token.lower() in set(tokens)]
    if lowered:
        return f"It has {', '.join(lowered)} instead: it was lower-cased. Get the original file."
    if tokens[0].startswith("\ufeff"):
        return "It starts with a byte order mark: save it as UTF-8 without one."
    if tokens[0].lstrip().startswith(("{", "[{")):
        return "It is JSON: give the vocab.txt of the model, not its tokenizer.json."
    return "It is not a BERT vocabulary, or it is cut: give the vocab.txt of a BERT model."


def warn_of_case(tokens: Sequence[str], lowercase: bool) -> None:
    """Logs a warning when the vocabulary's capitals do not fit `lowercase`."""
    words = [token for token in tokens if not token.startswith("[")]
    share = sum(token != token.lower() for token in words) / max(len(words), 1)
    if lowercase and share > 0.05:
        logger.warning(
            "vocab.lowercase is true, but %.0f %% of the tokens have capitals", 100 * share
        )
    if not lowercase and share == 0:
        logger.warning(
            "vocab.lowercase is false, but no token has a capital: words with one become [UNK]"
        )


def make_tokenizer(vocab_file: Path, lowercase: bool) -> Tokenizer:
    """The tokenizer of a `vocab.txt`: BERT's text clean-up, word split and greedy WordPiece.

    It gives what `transformers.BertTokenizerFast(..., split_special_tokens=True)` and Google's
    tokenization.py give: text that happens to spell "[SEP]" is text. Set `encode_special_tokens`
    to False to have it recognised, as `transformers` does by default.
    """
    tokens = parse_tokens(vocab_file.read_bytes(), str(vocab_file))
    ids = {token: i for i, token in enumerate(tokens)}
    model = models.WordPiece(
        vocab=ids,
        unk_token="[UNK]",
        max_input_chars_per_word=_MAX_WORD_CHARACTERS,
        continuing_subword_prefix=CONTINUATION,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = text_rules(lowercase)
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"])
    )
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION, cleanup=True)
    tokenizer.add_special_tokens(sorted(SPECIAL_TOKENS, key=ids.__getitem__))
    tokenizer.encode_special_tokens = True
    return tokenizer


def text_rules(
    lowercase: bool,
) -> tuple[normalizers.BertNormalizer, pre_tokenizers.BertPreTokenizer]:
    """BERT's clean-up of text, and its split into words at spaces, punctuation and ideographs."""
    normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )
    return normalizer, pre_tokenizers.BertPreTokenizer()


def write_vocabulary(folder: Path, tokens: Sequence[str], lowercase: bool) -> list[Path]:
    """Writes `vocab.txt` and `tokenizer.json` into `folder` and returns their paths.

    Raises:
        VocabError: See `check_tokens`.
    """
    check_tokens(tokens, "The vocabulary")
    vocab_file = folder / "vocab.txt"
    vocab_file.write_bytes("".join(f"{token}\n" for token in tokens).encode("utf-8"))
    make_tokenizer(vocab_file, lowercase).save(str(folder / "tokenizer.json"))
    return [folder / "tokenizer.json", vocab_file]


def load_vocabulary(folder: Path) -> Vocabulary:
    """Reads `vocab.txt` and `tokenizer.json` of the stage's folder.

    Raises:
        FileNotFoundError: One of them is missing.
        VocabError: They do not fit each other, or the vocabulary cannot serve.
    """
    for name in ("vocab.txt", "tokenizer.json"):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder / name} is missing; the rule `vocab` writes it.")
    data = (folder / "vocab.txt").read_bytes()
    tokens = parse_tokens(data, str(folder / "vocab.txt"))
    rules = json.loads((folder / "tokenizer.json").read_bytes())
    if rules["model"]["vocab"] != {token: i for i, token in enumerate(tokens)}:
        raise VocabError(
            f"{folder}: vocab.txt and tokenizer.json hold different tokens; one was replaced. "
            "Run the rule `vocab` again."
        )
    return Vocabulary(
        tokens=tuple(tokens),
        lowercase=bool(rules["normalizer"]["lowercase"]),
        sha256=sha256(data).hexdigest(),
        is_continuation=np.array([is_continuation(token) for token in tokens], np.bool_),
        **{f"{name[1:-1].lower()}_id": tokens.index(name) for name in SPECIAL_TOKENS},
    )


def is_continuation(token: str) -> bool:
    """Whether a token is a piece that continues a word."""
    return token.startswith(CONTINUATION) and token != CONTINUATION
