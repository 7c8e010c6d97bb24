import json
from itertools import pairwise
from pathlib import Path

import pytest
import transformers

from bert.convert.model_folder import write_tokenizer
from bert.data.vocab import load_tokenizer, load_vocabulary, write_vocabulary
from tests.test_bytelevel import BYTES, MERGES
from tests.test_bytelevel import SENTENCES as BYTE_LEVEL_SENTENCES
from tests.test_wordpiece import SENTENCES, TOKENS

BOTH = {"wordpiece": (TOKENS, None, SENTENCES), "bytelevel": (BYTES, MERGES, BYTE_LEVEL_SENTENCES)}


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("kind", BOTH)
def test_auto_tokenizer_frames_and_encodes_as_in_training(
    tmp_path: Path, kind: str, lowercase: bool
) -> None:
    tokens, merges, sentences = BOTH[kind]
    stored, folder = tmp_path / "vocab", tmp_path / "model"
    stored.mkdir()
    folder.mkdir()
    write_vocabulary(stored, tokens, lowercase, merges)
    vocabulary = load_vocabulary(stored)
    write_tokenizer(folder, stored, vocabulary, longest=77)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))

    ours, theirs = load_tokenizer(stored), transformers.AutoTokenizer.from_pretrained(folder)
    ours.encode_special_tokens = False
    for first, second in pairwise(sentences):
        if not second:
            continue  # taken for no second text by transformers
        expected, found = ours.encode(first, second), theirs(first, second)
        assert found["input_ids"] == expected.ids
        assert found["token_type_ids"] == expected.type_ids
    assert theirs.model_max_length == 77
    assert theirs.mask_token == vocabulary.special_tokens["mask"]
    roles = ("pad", "unk", "cls", "sep", "mask")
    ids = [getattr(vocabulary, f"{role}_id") for role in roles]
    assert [getattr(theirs, f"{role}_token_id") for role in roles] == ids
