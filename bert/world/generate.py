"""The whole demo data set: one world, told in four raw formats."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from bert.world.articles import Article, write_article
from bert.world.books import write_books
from bert.world.facts import KINDS, GenerateConfig, World, stream
from bert.world.history import build_world
from bert.world.pairs import build_pairs, write_tsv
from bert.world.questions import build_squad
from bert.world.typesetting import write_library
from bert.world.wikitext import Page, article_page, other_pages, write_dump

logger = logging.getLogger(__name__)


def generate(config: GenerateConfig, folder: Path) -> dict[str, int]:
    """Writes the dump, the books, the questions and the pairs into an empty folder.

    Layout: `wikipedia.xml.bz2`, `books/*.txt`, `squad/{train,dev}.json`, `mrpc/{train,dev}.tsv`.

    Returns:
        Counts of what was built and written.
    """
    world = build_world(config, stream(config, 0))
    counts = {kind: len(world.of_kind(kind)) for kind in KINDS} | {"facts": world.fact_count()}
    counts |= _write_dump(world, config, folder)
    counts |= _write_books(world, config, folder)
    counts |= _write_squad(world, config, folder / "squad")
    counts |= _write_mrpc(world, config, folder / "mrpc")
    logger.info("generated %s", counts)
    return counts


def write_articles(world: World, config: GenerateConfig) -> Iterator[Article]:
    """Yields the article of every entity, in random order."""
    rng = stream(config, 1)
    entities = list(world.entities.values())
    for i in rng.permutation(len(entities)):
        yield write_article(world, entities[i], rng)


def _write_dump(world: World, config: GenerateConfig, folder: Path) -> dict[str, int]:
    sentences = 0

    def pages() -> Iterator[Page]:
        nonlocal sentences
        for article in write_articles(world, config):
            sentences += len(article.sentences())
            yield article_page(world, article)
        yield from other_pages(world)

    count = write_dump(folder / "wikipedia.xml.bz2", pages())
    return {"pages": count, "articles": len(world.entities), "article_sentences": sentences}


def _write_books(world: World, config: GenerateConfig, folder: Path) -> dict[str, int]:
    books = write_books(world, config)
    write_library(folder / "books", books)
    paragraphs = sum(len(chapter.paragraphs) for book in books for chapter in book.chapters)
    return {"books": len(books), "book_paragraphs": paragraphs}


def _write_squad(world: World, config: GenerateConfig, folder: Path) -> dict[str, int]:
    folder.mkdir()
    counts = {}
    for name, data in zip(("train", "dev"), build_squad(world, config), strict=True):
        (folder / f"{name}.json").write_text(json.dumps(data, ensure_ascii=False), "utf-8")
        paragraphs = [p for article in data["data"] for p in article["paragraphs"]]
        counts[f"{name}_contexts"] = len(paragraphs)
        counts[f"{name}_questions"] = sum(len(p["qas"]) for p in paragraphs)
    return counts


def _write_mrpc(world: World, config: GenerateConfig, folder: Path) -> dict[str, int]:
    folder.mkdir()
    train, dev = build_pairs(world, config)
    write_tsv(folder / "train.tsv", train, first_id=1)
    write_tsv(folder / "dev.tsv", dev, first_id=1 + 2 * len(train))
    return {
        "train_pairs": len(train),
        "train_paraphrases": sum(pair.label for pair in train),
        "dev_pairs": len(dev),
        "dev_paraphrases": sum(pair.label for pair in dev),
    }
