"""Byte-level BPE, the vocabulary of RoBERTa: its files, its checks, and the tokenizer made of it.

`vocab.json` maps tokens to ids, `merges.txt` has one merge a line, the first ones first. A token
is a string of bytes, each written as one visible character; the space before a word belongs to the
word and is written as U+0120. Every text is read as if a space stood before it, so that a word is
the same at the start of a sentence and within, and sentences put together read like running text.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from bert.data.vocab_config import VocabError

# In the order of RoBERTa's ids: start, padding, separator, unknown, mask (there the last id).
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SPACE = "\u0120"
Merge = tuple[str, str]


def read_tokenizer_json(file: Path) -> tuple[list[str], list[Merge]]:
    """Tokens in the order of their ids, and merges, of a byte-level `tokenizer.json`.

    Whether a space is put before a text is not taken from it, see the module.

    Raises:
        VocabError: It is not plain byte-level BPE, or cannot serve, see `check_byte_level`.
    """
    values = _json_object(file)
    model = values.get("model") or {}
    found = {
        "model.type": model.get("type"),
        "pre_tokenizer.type": (values.get("pre_tokenizer") or {}).get("type"),
        "pre_tokenizer.use_regex": (values.get("pre_tokenizer") or {}).get("use_regex", True),
        "normalizer.type": (values.get("normalizer") or {}).get("type"),
        "model.ignore_merges": bool(model.get("ignore_merges")),
    }
    expected: dict[str, tuple[Any, ...]] = {
        "model.type": ("BPE",),
        "pre_tokenizer.type": ("ByteLevel",),
        "pre_tokenizer.use_regex": (True,),
        "normalizer.type": (None, "Lowercase"),
        "model.ignore_merges": (False,),
    }
    wrong = [key for key in found if found[key] not in expected[key]]
    if wrong:
        raise VocabError(
            f"{file} has {', '.join(f'{key} {found[key]!r}' for key in wrong)}; expected "
            f"{', '.join(f'{key} {expected[key][0]!r}' for key in wrong)}: the byte-level BPE of "
            "GPT-2 and RoBERTa. For WordPiece give the vocab.txt."
        )
    ids = model["vocab"] | {t["content"]: t["id"] for t in values.get("added_tokens") or []}
    # Older files write a merge as one string.
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    return _checked(ids, merges, str(file))


def read_vocab_and_merges(vocab: Path, merges: Path) -> tuple[list[str], list[Merge]]:
    """Tokens in the order of their ids, and merges, of `vocab.json` and `merges.txt`.

    Raises:
        VocabError: A file is damaged, or they cannot serve, see `check_byte_level`.
    """
    try:
        lines = merges.read_text("utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise VocabError(f"{merges}: {error}; expected UTF-8, one merge a line.") from None
    lines = lines[1:] if lines[0].startswith("#version") else lines
    pairs = [tuple(line.removesuffix("\r").split(" ")) for line in lines if line]
    return _checked(_json_object(vocab), pairs, f"{vocab} with {merges.name}")


def _json_object(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_bytes())
    except ValueError as error:
        raise VocabError(f"{file} is not JSON ({error}). Get the original file.") from None
    if not isinstance(values, dict):
        raise VocabError(f"{file} is JSON, but no object. Get the original file.")
    return values


def _checked(
    ids: Mapping[str, Any], merges: Sequence[tuple[str, ...]], where: str
) -> tuple[list[str], list[Merge]]:
    if sorted(ids.values(), key=str) != sorted(range(len(ids)), key=str):
        raise VocabError(
            f"{where}: the {len(ids)} tokens do not have the ids 0 to {len(ids) - 1}; expected "
            "each once. Get the original file."
        )
    odd = [merge for merge in merges if len(merge) != 2]
    if odd:
        raise VocabError(f"{where}: {' '.join(odd[0])!r} is no merge; expected two tokens a line.")
    tokens = sorted(ids, key=ids.__getitem__)
    pairs = [(merge[0], merge[1]) for merge in merges]
    check_byte_level(tokens, pairs, where)
    return tokens, pairs


def check_byte_level(tokens: Sequence[str], merges: Sequence[Merge], where: str) -> None:
    """Refuses a vocabulary without a special token or byte, or merges of unknown tokens.

    Raises:
        VocabError: Names the first that is missing.
    """
    known = set(tokens)
    needed = [*SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    missing = [token for token in needed if token not in known]
    missing += [
        token for merge in merges for token in (*merge, "".join(merge)) if token not in known
    ]
    if missing:
        raise VocabError(
            f"{where} has {len(tokens)} tokens, but not {missing[0]!r} ({len(missing)} are "
            f"missing); expected {', '.join(SPECIAL_TOKENS)}, the 256 bytes, and the tokens of "
            "every merge. Give the files of a RoBERTa model."
        )
    if len(known) != len(tokens):
        twice = next(a for a, b in pairwise(sorted(tokens)) if a == b)
        raise VocabError(f"{where}: {twice!r} stands there more than once.")


def is_continuation(token: str) -> bool:
    """Whether a token continues a word: it starts with no space and is not special.

    A punctuation mark right after a word continues it, too, as in RoBERTa's whole-word masking.
    """
    return not token.startswith(SPACE) and token not in SPECIAL_TOKENS


def make_byte_level(tokens: Sequence[str], merges: Sequence[Merge], lowercase: bool) -> Tokenizer:
    """The tokenizer of a vocabulary; frames a pair as `<s> A </s> B </s>`, like BERT."""
    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=list(merges)))
    set_text_rules(tokenizer, lowercase)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single="<s> $A </s>",
                pair="<s> $A </s> $B:1 </s>:1",
                special_tokens=[(token, ids[token]) for token in ("<s>", "</s>")],
            ),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(sorted(SPECIAL_TOKENS, key=ids.__getitem__))
    return tokenizer


def set_text_rules(tokenizer: Tokenizer, lowercase: bool) -> None:
    """Makes `tokenizer` split text as GPT-2 does, with a space put before it."""
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)


def write_byte_level(folder: Path, tokens: Sequence[str], merges: Sequence[Merge]) -> list[Path]:
    """Writes `vocab.json` and `merges.txt` into `folder`, as `transformers` reads them.

    Raises:
        VocabError: See `check_byte_level`.
    """
    check_byte_level(tokens, merges, "The vocabulary")
    files = [folder / "vocab.json", folder / "merges.txt"]
    ids = {token: i for i, token in enumerate(tokens)}
    files[0].write_text(json.dumps(ids, ensure_ascii=False, indent=0) + "\n", "utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    files[1].write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return files
