"""Small sources and what a split makes of them."""

from pathlib import Path

from bert.text.documents import Document, read_documents
from bert.text.extracted import Source
from bert.text.name_lists import NameList
from bert.text.split import (
    Division,
    SplitConfig,
    split,
)
from tests.extracted import write_sources


def documents(name: str, number: int) -> list[Document]:
    """Documents of one to three sentences, each different."""
    return [[f"{name} {i} {j} ." for j in range(1 + i % 3)] for i in range(number)]


def sources_of(folder: Path, **numbers: int) -> list[Source]:
    """Sources on disk with so many documents each."""
    return write_sources(folder, {name: documents(name, n) for name, n in numbers.items()})


def config(parts: int = 4, fraction: float | None = 0.1, seed: int = 7, **more) -> SplitConfig:
    held_out = {"fraction": fraction, "documents": None, "list": None}
    held_out |= more.pop("held_out", {})
    values = {
        "seed": seed,
        "parts": parts,
        "held_out": held_out,
        "train_list": None,
        "max_missing_share": 0.0,
        "weights": {},
        "leaks": None,
    }
    return SplitConfig.model_validate(values | more)


def run(sources: list[Source], section: SplitConfig, folder: Path, **more) -> Division:
    folder.mkdir(parents=True)
    work = folder.with_name(f"{folder.name}-work")
    work.mkdir()
    return split(sources, section, folder, work, **({"workers": 1} | more))


def parts_of(folder: Path) -> list[list[Document]]:
    return [list(read_documents(path)) for path in sorted((folder / "parts").iterdir())]


def name_list(path: Path, *names: str) -> NameList:
    path.write_text("".join(f"{name}\n" for name in names), "utf-8")
    return NameList([path])


def by_list(**more) -> SplitConfig:
    return config(2, None, held_out={"list": "validation"}, **more)


REMOVE = {"documents": "remove", "sentence_words": 5}
