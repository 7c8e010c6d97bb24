"""The vocabulary of a run: what the stage `vocab` writes and all later stages read.

A folder holds `tokenizer.json`, as `tokenizers` and `transformers` load it, and the same vocabulary
in the files of its kind: `vocab.txt` for WordPiece (see `bert.data.wordpiece`), `vocab.json` and
`merges.txt` for byte-level BPE (see `bert.data.bytelevel`).
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bert.data import bytelevel, wordpiece
from bert.data.bytelevel import Merge
from bert.data.vocab_config import VocabError

logger = logging.getLogger(__name__)

Kind = Literal["wordpiece", "bytelevel"]
VOCABULARY_FILES: dict[Kind, tuple[str, ...]] = {
    "wordpiece": ("vocab.txt",),
    "bytelevel": ("vocab.json", "merges.txt"),
}
GIVEN_FILES = ("vocab.txt", "tokenizer.json", "vocab.json", "merges.txt")
_ROLES: dict[Kind, dict[str, str]] = {
    "wordpiece": dict(
        zip(("pad", "unk", "cls", "sep", "mask"), wordpiece.SPECIAL_TOKENS, strict=True)
    ),
    "bytelevel": dict(
        zip(("cls", "pad", "sep", "unk", "mask"), bytelevel.SPECIAL_TOKENS, strict=True)
    ),
}
_IS_CONTINUATION = {
    "wordpiece": wordpiece.is_continuation,
    "bytelevel": bytelevel.is_continuation,
}


class Lexicon(NamedTuple):
    """A vocabulary as given or trained, before it is written.

    Attributes:
        tokens: In the order of their ids.
        merges: Of byte-level BPE; None for WordPiece.
    """

    tokens: list[str]
    merges: list[Merge] | None = None


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens and what the stages ask of them.

    Attributes:
        kind: "wordpiece" or "bytelevel".
        tokens: Token of each id.
        lowercase: Whether text is lower-cased before it is looked up.
        sha256: Digest of the bytes of `vocab.txt`, or of `vocab.json` and `merges.txt` in a row.
        is_continuation: bool, [size]; True for pieces that continue a word.
        special_tokens: Role (pad, unk, cls, sep, mask) to token.
        pad_id: Id of the padding token; likewise `unk_id`, `cls_id`, `sep_id` and `mask_id`.
    """

    kind: Kind
    tokens: tuple[str, ...]
    lowercase: bool
    sha256: str
    is_continuation: NDArray[np.bool_]
    special_tokens: dict[str, str]
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


def read_given(files: Sequence[Path]) -> tuple[Lexicon, list[Path]]:
    """The vocabulary among the files of a raw item, and the files it was read from.

    The only file, or among several: vocab.txt, else tokenizer.json, else vocab.json with
    merges.txt. A file whose name ends in .json is byte-level BPE.

    Raises:
        VocabError: No such files, or they do not hold a vocabulary.
    """
    named: dict[str, list[Path]] = {}
    for file in files:
        named.setdefault(file.name, []).append(file)
    for names in (("vocab.txt",), ("tokenizer.json",), ("vocab.json", "merges.txt")):
        chosen = [file for name in names for file in named.get(name, [])]
        if len(chosen) == len(names) == len({file.name for file in chosen}):
            break
    else:
        chosen = [
            f for f in files if len(files) == 1 and f.name not in ("vocab.json", "merges.txt")
        ]
    if not chosen:
        raise VocabError(
            f"vocab.raw names an item of {len(files)} files ({', '.join(list(named)[:5])}); "
            "expected one vocabulary: vocab.txt, or tokenizer.json, or vocab.json and merges.txt."
        )
    if len(chosen) == 2:
        return Lexicon(*bytelevel.read_vocab_and_merges(*chosen)), chosen
    (file,) = chosen
    if file.suffix == ".json":
        return Lexicon(*bytelevel.read_tokenizer_json(file)), chosen
    return Lexicon(wordpiece.parse_tokens(file.read_bytes(), str(file))), chosen


def warn_of_case(lexicon: Lexicon, lowercase: bool) -> None:
    """Logs a warning when the vocabulary's capitals do not fit `lowercase`."""
    words = [token for token in lexicon.tokens if not token.startswith(("[", "<"))]
    if lexicon.merges is not None:  # the other characters stand for bytes
        words = [token.encode("ascii", "ignore").decode() for token in words]
    share = sum(word != word.lower() for word in words) / max(len(words), 1)
    if lowercase and share > 0.05:
        logger.warning(
            "vocab.lowercase is true, but %.0f %% of the tokens have capitals", 100 * share
        )
    if not lowercase and share == 0:
        logger.warning(
            "vocab.lowercase is false, but no token has a capital: capitals of the text are lost"
        )


def write_vocabulary(
    folder: Path, tokens: Sequence[str], lowercase: bool, merges: Sequence[Merge] | None = None
) -> list[Path]:
    """Writes the files of the vocabulary's kind and `tokenizer.json`, and returns their paths.

    Args:
        folder: Where to.
        tokens: In the order of their ids.
        lowercase: Whether text is lower-cased before it is looked up.
        merges: Of byte-level BPE; None for WordPiece.

    Raises:
        VocabError: The vocabulary cannot serve.
    """
    if merges is None:
        files = wordpiece.write_wordpiece(folder, tokens)
        tokenizer = wordpiece.make_wordpiece(tokens, lowercase)
    else:
        files = bytelevel.write_byte_level(folder, tokens, merges)
        tokenizer = bytelevel.make_byte_level(tokens, merges, lowercase)
    # Not `save`, which says of a full disk neither the file nor that it is an OSError.
    (folder / "tokenizer.json").write_bytes(tokenizer.to_str(pretty=True).encode("utf-8"))
    return [folder / "tokenizer.json", *files]


def load_tokenizer(folder: Path) -> Tokenizer:
    """The library's tokenizer of the stage's folder; text that spells a special token is text.

    For WordPiece it gives what `transformers.BertTokenizerFast(..., split_special_tokens=True)` and
    Google's tokenization.py give. Set `encode_special_tokens` to False to have special tokens
    recognised, as `transformers` does by default.

    Raises:
        FileNotFoundError: The file is missing.
    """
    file = folder / "tokenizer.json"
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing; the rule `vocab` writes it.")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.encode_special_tokens = True
    return tokenizer


def load_vocabulary(folder: Path) -> Vocabulary:
    """Reads the files of the stage's folder.

    Raises:
        FileNotFoundError: One of them is missing.
        VocabError: They do not fit each other, or the vocabulary cannot serve.
    """
    kind: Kind = "bytelevel" if (folder / "vocab.json").exists() else "wordpiece"
    for name in (*VOCABULARY_FILES[kind], "tokenizer.json"):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder / name} is missing; the rule `vocab` writes it.")
    lexicon, files = read_given([folder / name for name in VOCABULARY_FILES[kind]])
    tokens, merges = lexicon
    rules = json.loads((folder / "tokenizer.json").read_bytes())
    model = rules["model"]
    same = model["vocab"] == {token: i for i, token in enumerate(tokens)}
    if not same or (merges is not None and [tuple(m) for m in model["merges"]] != merges):
        raise VocabError(
            f"{folder}: {' and '.join(VOCABULARY_FILES[kind])} and tokenizer.json hold different "
            "tokens; one was replaced. Run the rule `vocab` again."
        )
    return Vocabulary(
        kind=kind,
        tokens=tuple(tokens),
        # Byte-level BPE has a normalizer only where it is to lower-case.
        lowercase=bool((rules["normalizer"] or {"lowercase": False}).get("lowercase", True)),
        sha256=sha256(b"".join(file.read_bytes() for file in files)).hexdigest(),
        is_continuation=np.array([_IS_CONTINUATION[kind](token) for token in tokens], np.bool_),
        special_tokens=dict(sorted(_ROLES[kind].items())),
        **{f"{role}_id": tokens.index(token) for role, token in _ROLES[kind].items()},
    )
