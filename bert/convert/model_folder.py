"""The files beside the weights in a folder for `transformers`: tokenizer and model card."""

import json
import shutil
from pathlib import Path
from typing import Any

from bert.data.vocab import VOCABULARY_FILES, Vocabulary
from bert.model.config import ModelConfig


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
    for name in (*VOCABULARY_FILES[vocabulary.kind], "tokenizer.json"):
        shutil.copyfile(stored / name, folder / name)
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


def write_plain_json(path: Path, values: Any) -> None:
    """Writes plain data as sorted, indented JSON."""
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")


def write_card(
    folder: Path,
    config: ModelConfig,
    vocabulary: Vocabulary,
    parameters: int,
    provenance: str,
) -> None:
    """Writes README.md.

    Args:
        folder: Where to.
        config: Shape of the network.
        vocabulary: Vocabulary.
        parameters: Numbers in the weights file.
        provenance: Where the weights come from, Markdown.
    """
    rows = {
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "attention heads": config.num_attention_heads,
        "feed-forward width": config.intermediate_size,
        "longest sequence in tokens": config.max_position_embeddings,
        "vocabulary in tokens": vocabulary.size,
        "lowercase": "yes" if vocabulary.lowercase else "no",
        "next-sentence head": "yes" if config.next_sentence else "no",
        "parameters": f"{parameters:,}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    text = (
        "---\nlibrary_name: transformers\npipeline_tag: fill-mask\ntags:\n- bert\n---\n\n"
        "# BERT\n\nA BERT encoder with its pretraining heads.\n\n"
        f"| | |\n| --- | --- |\n{table}\n\n## Provenance\n\n{provenance.strip()}\n"
    )
    (folder / "README.md").write_text(text, "utf-8")
