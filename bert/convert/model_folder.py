"""The files of the tokenizer in a folder for `transformers`."""

import json
import shutil
from pathlib import Path
from typing import Any

from bert.data.vocab import VOCABULARY_FILES, Vocabulary


def write_tokenizer(folder: Path, stored: Path, vocabulary: Vocabulary, longest: int) -> None:
    """Copies the vocabulary and writes the settings of its tokenizer.

    WordPiece becomes a BertTokenizer. Byte-level BPE is read from tokenizer.json as it stands: a
    RobertaTokenizer would put two separators between the texts of a pair and not lower-case.

    Args:
        folder: Where to.
        stored: Folder of the vocabulary.
        vocabulary: The same, loaded.
        longest: Longest sequence the model takes, in tokens.
    """
    copy_vocabulary(folder, stored, vocabulary)
    shutil.copyfile(stored / "tokenizer.json", folder / "tokenizer.json")
    roles = {f"{role}_token": token for role, token in vocabulary.special_tokens.items()}
    settings: dict[str, Any] = {"model_max_length": longest}
    if vocabulary.kind == "wordpiece":
        settings |= {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": vocabulary.lowercase,
            "strip_accents": None,
            "tokenize_chinese_chars": True,
        }
    else:
        settings |= {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        }
    write_plain_json(folder / "tokenizer_config.json", settings | roles)
    write_plain_json(folder / "special_tokens_map.json", roles)


def copy_vocabulary(folder: Path, stored: Path, vocabulary: Vocabulary) -> None:
    """Copies vocab.txt, or vocab.json and merges.txt."""
    for name in VOCABULARY_FILES[vocabulary.kind]:
        shutil.copyfile(stored / name, folder / name)


def write_plain_json(path: Path, values: Any) -> None:
    """Writes plain data as sorted, indented JSON."""
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
