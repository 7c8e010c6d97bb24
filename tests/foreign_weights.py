"""A small network and its vocabulary, for tests of import and export."""

import torch

from bert.config import check
from bert.data.vocab import load_vocabulary, write_vocabulary
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from tests.conftest import MODEL
from tests.tensorflow_checkpoint import HEADS, INNER, LAYERS, PLACES, TOKENS, WIDTH

SECTION = MODEL | {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "max_position_embeddings": PLACES,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", ".", "e"]
assert len(WORDS) == TOKENS
ROWS = 16  # 11 tokens, padded to a multiple of 8
TABLES = ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias")


def section(**changes):
    return check(ModelConfig, SECTION | changes, where="test")


def network(seed=1, **changes):
    """Weights that are all random, those of the padding, too."""
    model = BertForPretraining(section(**changes), TOKENS).eval()
    generator = torch.Generator().manual_seed(seed)
    initialize(model, 0.2, generator, positions=section(**changes).position_init)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator))
    return model


def vocabulary_folder(folder, words=WORDS):
    folder.mkdir(parents=True)
    write_vocabulary(folder, words, lowercase=True)
    return folder


def identity(folder, **changes):
    """What state.json of a checkpoint says."""
    digest = load_vocabulary(folder).sha256
    model = section(**changes).model_dump()
    return {"model": model, "vocab_size": TOKENS, "vocabulary_sha256": digest, "step": 12}


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def assert_same(found, expected, *, rows=None):
    """Equal names and bits; of the tables, if `rows` is given, only the first ones."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        some = rows if name in TABLES else None
        assert torch.equal(found[name][:some], tensor[:some]), name
