"""Real lengths: instances of given shards, or of text that the project makes up itself."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml
from instances import VOCABULARY

from bert.config import check
from bert.data.batches import find_samples
from bert.data.corpus import Corpus
from bert.data.encode import Part, encode_part
from bert.data.index import open_corpus
from bert.data.instance_config import InstanceConfig
from bert.data.masking import original_ids
from bert.data.shards import Instances, ShardInfo
from bert.data.tokenise import Tokeniser
from bert.data.train_wordpiece import train_wordpiece
from bert.data.vocab import load_vocabulary, write_vocabulary
from bert.data.vocab_config import WordPieceVocab
from bert.manifest import ROOT
from bert.text.documents import write_documents
from bert.world.books import write_books
from bert.world.facts import GenerateConfig, World, stream
from bert.world.generate import write_articles
from bert.world.history import build_world


def open_given(manifests: Sequence[Path]) -> dict[int, Corpus]:
    """The corpora that the manifests list, by their longest length.

    Args:
        manifests: Of `shard` or `encode`, of one phase or of both.
    """
    phases: dict[Path, list[Path]] = {}
    for manifest in manifests:
        phases.setdefault(manifest.parent.resolve(), []).append(manifest)
    opened = [open_corpus(sorted(found))[0] for found in phases.values()]
    return {corpus.info.max_seq_length: corpus for corpus in opened}


def make_corpora(folder: Path) -> dict[int, Corpus]:
    """Instances of 128 and of 512 tokens from articles and books of the demo's world, in seconds.

    The vocabulary is trained on them, so it is small; the corpus says that it has 30,522 tokens, so
    that the head is as large as BERT's.
    """
    text, vocab = folder / "text", folder / "vocab"
    vocab.mkdir(parents=True)
    recipe = yaml.safe_load((ROOT / "config" / "recipes" / "demo.yaml").read_text())
    world_config = check(GenerateConfig, recipe["generate"], where="config/recipes/demo.yaml")
    world = build_world(world_config, stream(world_config, 0))
    write_documents(text, _documents(world, world_config))
    trained = WordPieceVocab(
        kind="wordpiece", lowercase=True, size=4000, min_frequency=2, limit_alphabet=100,
        coverage_megabytes=1,
    )  # fmt: skip
    write_vocabulary(vocab, train_wordpiece([text], trained)[0], lowercase=True)
    return {128: _encode(text, vocab, "phase1"), 512: _encode(text, vocab, "phase2")}


def _documents(world: World, config: GenerateConfig) -> Iterator[list[str]]:
    """Articles and chapters, a sentence or a paragraph a line."""
    for article in write_articles(world, config):
        yield [sentence.text() for sentence in article.sentences()]
    for book in write_books(world, config):
        for chapter in book.chapters:
            yield [" ".join(paragraph.split()) for paragraph in chapter.paragraphs]


def _encode(text: Path, vocab: Path, phase: str) -> Corpus:
    """All instances of a phase, with the settings of config/config.yaml."""
    settings = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["encode"][phase]
    config = check(InstanceConfig, settings | {"max_instances": None}, where="config/config.yaml")
    output = text.with_name(f"{phase}.h5")
    part = Part(text, int(phase[-1]), 0, None)
    encode_part(part, output, Tokeniser(vocab), load_vocabulary(vocab), config)
    return Corpus([output])


def take_instances(corpus: Corpus, count: int) -> tuple[Instances, ShardInfo]:
    """The first `count` samples in the order of training, without masks, and their facts."""
    _, index = find_samples(corpus, np.arange(count), 1, 1)
    taken = corpus.take(index)
    bare = Instances(original_ids(taken), *taken[1:4])
    vocab_size = max(corpus.info.vocab_size, VOCABULARY)
    return bare, corpus.info._replace(vocab_size=vocab_size, continuation_ids=b"")
