"""Small SQuAD files, examples and logits."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bert.tasks.squad import SquadConfig
from bert.tasks.squad_json import Answer, SquadExample

CONTEXT = "Ada Lovelace wrote the first program in 1843, near London."


def make_config(**changes: Any) -> SquadConfig:
    values: dict[str, Any] = {
        "format": "squad",
        "version": "1.1",
        "max_seq_length": 24,
        "doc_stride": 4,
        "max_query_length": 6,
        "n_best": 20,
        "max_answer_length": 30,
        "null_threshold": 0.0,
        "max_misaligned_share": 0.0,
    }
    return SquadConfig(**(values | changes))


def make_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """A word-level WordPiece tokenizer over the words and characters of the texts."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = [w for t in texts for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(t))]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(words)), "##s"]
    ids = {word: i for i, word in enumerate(dict.fromkeys(vocab))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    return tokenizer


def make_example(
    answer: str, *, context: str = CONTEXT, question: str = "Who ?", id_: str = "q1"
) -> SquadExample:
    return SquadExample(id_, question, context, (Answer(answer, context.index(answer), True),))


def without_answer(id_: str = "q1", *, context: str = CONTEXT) -> SquadExample:
    return SquadExample(id_, "Who ?", context, (), impossible=True)


def question(id_: str = "q1", text: str = "Ada", start: int = 0) -> dict[str, Any]:
    return {"id": id_, "question": "Who ?", "answers": [{"text": text, "answer_start": start}]}


def impossible_question(id_: str = "q1") -> dict[str, Any]:
    plausible = [{"text": "Ada", "answer_start": 0}]
    return {
        "id": id_,
        "question": "Who ?",
        "answers": [],
        "is_impossible": True,
        "plausible_answers": plausible,
    }


def write_squad(
    path: Path, *questions: dict[str, Any], context: str = CONTEXT, version: str = "1.1"
) -> Path:
    paragraphs = [{"context": context, "qas": list(questions)}]
    path.write_text(
        json.dumps({"version": version, "data": [{"title": "Ada", "paragraphs": paragraphs}]})
    )
    return path


def logits_at(
    length: int, start: int, end: int, value: float = 5.0, *, null: float = 0.0
) -> NDArray[np.float32]:
    """Logits [length, 2] of 0 but for one start and one end, and for both of the first token."""
    logits = np.zeros((length, 2), dtype=np.float32)
    logits[0] = null
    logits[start, 0] = value
    logits[end, 1] = value
    return logits
