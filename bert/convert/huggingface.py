"""Pretrained checkpoints as folders that `transformers` loads.

| file | content |
| --- | --- |
| config.json | shape of the network, in the names of transformers |
| model.safetensors | weights, padded vocabulary rows removed, tied matrix stored once |
| vocab.txt, or vocab.json and merges.txt | the vocabulary: WordPiece, or byte-level BPE |
| tokenizer.json, tokenizer_config.json, special_tokens_map.json | the tokenizer |
| README.md | model card: shape, parameters, provenance |

Parameter names are ours as they stand, so nothing is renamed on the way out. Fixed positions become
an ordinary table there; a network with `norm: pre` is refused.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from bert.convert.cards import shape_table, write_card
from bert.convert.huggingface_config import HuggingFaceError, config_out
from bert.convert.model_folder import write_plain_json, write_tokenizer
from bert.convert.weights import misfits, shapes_of, with_rows
from bert.data.vocab import load_vocabulary
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining


def export_folder(
    folder: Path,
    state: Mapping[str, Tensor],
    config: ModelConfig,
    *,
    vocabulary: Path,
    provenance: str,
) -> dict[str, int]:
    """Writes a folder that AutoModel, BertForPreTraining and AutoTokenizer load.

    Args:
        folder: An existing, empty folder.
        state: Weights of `BertForPretraining`, with the padded vocabulary rows.
        config: Section they were trained with.
        vocabulary: Folder of the vocabulary.
        provenance: Where the weights come from, Markdown for the model card.

    Returns:
        Counts: `parameters` and `tensors` written.

    Raises:
        HuggingFaceError: The weights are not those of `config` and the vocabulary, or the network
            is one that transformers' BERT is not.
        VocabError: The vocabulary is damaged.
    """
    words = load_vocabulary(vocabulary)
    architecture = "BertForPreTraining" if config.next_sentence else "BertForMaskedLM"
    values = config_out(config, words, architecture)
    check_shapes(state, shapes_of(lambda: BertForPretraining(config, words.size)))
    counts = write_weights(folder, state, words.size)
    write_plain_json(folder / "config.json", values)
    write_tokenizer(folder, vocabulary, words, config.max_position_embeddings)
    head = "with" if config.next_sentence else "without"
    parts = [
        f"A BERT encoder with its pretraining heads, {head} the next-sentence head.",
        shape_table(config, words, counts["parameters"]),
        f"## Provenance\n\n{provenance.strip()}",
    ]
    write_card(folder / "README.md", pipeline="fill-mask", title="BERT", parts=parts)
    return counts


def check_shapes(state: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Refuses weights that are not those of the network that is exported.

    Raises:
        HuggingFaceError: Names the first weights that differ.
    """
    if problems := misfits(state, expected):
        raise HuggingFaceError(
            "The weights of the checkpoint do not fit the configuration and the vocabulary in "
            f"{len(problems)} places: {'; '.join(problems[:5])}. Use the configuration and the "
            "vocabulary that they were trained with."
        )


def write_weights(folder: Path, state: Mapping[str, Tensor], vocab_size: int) -> dict[str, int]:
    """Writes model.safetensors without the rows that pad the vocabulary.

    Returns:
        Counts: `parameters` and `tensors` written.
    """
    weights = {name: with_rows(name, state[name], vocab_size) for name in sorted(state)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    parameters = sum(tensor.numel() for tensor in weights.values())
    return {"parameters": parameters, "tensors": len(weights)}
