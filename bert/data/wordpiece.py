"""WordPiece, the vocabulary of BERT: its file, its checks, and the tokenizer made of it.

`vocab.txt` has one token a line, the line number is the id; `##` marks a piece that continues a
word.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from bert.data.vocab_config import VocabError

# In the order of a trained vocabulary: padding, unknown, start, separator, mask.
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"
# A longer word is one [UNK], as in Google's tokenization.py: it bounds the time of a greedy match.
MAX_WORD_CHARACTERS = 100


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
        return "It is JSON: give a vocab.txt, one token a line."
    return "It is not a BERT vocabulary, or it is cut: give the vocab.txt of a BERT model."


def is_continuation(token: str) -> bool:
    """Whether a token is a piece that continues a word."""
    return token.startswith(CONTINUATION) and token != CONTINUATION


def make_wordpiece(tokens: Sequence[str], lowercase: bool) -> Tokenizer:
    """The tokenizer of a vocabulary: BERT's text clean-up, word split and greedy WordPiece."""
    ids = {token: i for i, token in enumerate(tokens)}
    model = models.WordPiece(
        vocab=ids,
        unk_token="[UNK]",
        max_input_chars_per_word=MAX_WORD_CHARACTERS,
        continuing_subword_prefix=CONTINUATION,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = text_rules(lowercase)
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"])
    )
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION, cleanup=True)
    tokenizer.add_special_tokens(sorted(SPECIAL_TOKENS, key=ids.__getitem__))
    return tokenizer


def text_rules(
    lowercase: bool,
) -> tuple[normalizers.BertNormalizer, pre_tokenizers.BertPreTokenizer]:
    """BERT's clean-up of text, and its split into words at spaces, punctuation and ideographs."""
    normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )
    return normalizer, pre_tokenizers.BertPreTokenizer()


def write_wordpiece(folder: Path, tokens: Sequence[str]) -> list[Path]:
    """Writes `vocab.txt` into `folder` and returns its path.

    Raises:
        VocabError: See `check_tokens`.
    """
    check_tokens(tokens, "The vocabulary")
    file = folder / "vocab.txt"
    file.write_bytes("".join(f"{token}\n" for token in tokens).encode("utf-8"))
    return [file]
