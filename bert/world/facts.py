"""The world itself: people, towns, works and organisations with their facts.

A fact is (subject, relation, value), all text; the value is often the name of another entity, so
that the article of a person, of the person's town and of the person's works, and several books,
all retell the same fact. Everything downstream is told from a `World`, and tests ask it for truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from pydantic import model_validator

from bert.config import Section, knob
from bert.world import names

T = TypeVar("T")

# (kind of subject, relation) -> type of the value.
VALUE_TYPES = {
    ("person", "birth_town"): "town",
    ("person", "birth_day"): "day",
    ("person", "birth_year"): "year",
    ("person", "profession"): "profession",
    ("person", "teacher"): "person",
    ("person", "home_town"): "town",
    ("person", "club"): "organisation",
    ("person", "death_year"): "year",
    ("town", "country"): "country",
    ("town", "river"): "river",
    ("town", "founded"): "year",
    ("town", "product"): "product",
    ("work", "kind"): "kind",
    ("work", "author"): "person",
    ("work", "year"): "year",
    ("work", "place"): "town",
    ("organisation", "seat"): "town",
    ("organisation", "founded"): "year",
    ("organisation", "founder"): "person",
}
KINDS = ("person", "town", "work", "organisation")


class GenerateConfig(Section):
    """Section `generate`: the sizes of the demo's world and of the files written from it."""

    seed: int = knob("Seed of the world and of every telling of it.", ge=0)
    people: int = knob("Number of people, one article each.", ge=40)
    towns: int = knob("Number of towns, one article each.", ge=8, le=len(names.town_names()))
    works: int = knob("Number of works, one article each.", ge=8, le=len(names.work_titles()))
    organisations: int = knob(
        "Number of organisations, one article each.", ge=4, le=len(names.organisation_names())
    )
    first_year: int = knob("First year in which anything happens.", ge=1000, le=1800)
    last_year: int = knob("Last year in which anything happens.", ge=1200, le=2000)
    books: int = knob("Number of books.", ge=1)
    chapters_per_book: int = knob("Chapters of a book, each about one town.", ge=1)
    scenes_per_chapter: int = knob("Scenes of a chapter, each about two or three subjects.", ge=1)
    train_questions: int = knob("Questions in squad/train.json.", ge=1)
    dev_questions: int = knob("Questions in squad/dev.json.", ge=1)
    questions_per_context: int = knob("Questions asked about one context.", ge=1, le=6)
    train_pairs: int = knob("Sentence pairs in mrpc/train.tsv.", ge=1)
    dev_pairs: int = knob("Sentence pairs in mrpc/dev.tsv.", ge=1)
    paraphrase_share: float = knob("Share of paraphrases; 0.67 in MRPC.", gt=0.0, lt=1.0)
    dev_subject_share: float = knob(
        "Share of the entities that dev.json and dev.tsv ask about, and train never.",
        ge=0.1,
        le=0.5,
    )

    @model_validator(mode="after")
    def _consistent(self) -> "GenerateConfig":
        if self.people > len(names.person_names()):
            raise ValueError(
                f"people is {self.people}, but the name lists make only "
                f"{len(names.person_names())} different names; lower it."
            )
        if self.last_year - self.first_year < 160:
            raise ValueError(
                f"first_year {self.first_year} to last_year {self.last_year} is "
                f"{self.last_year - self.first_year} years; expected at least 160, so that people "
                "can live and teach. Widen the range."
            )
        return self


@dataclass(frozen=True)
class Entity:
    """One thing that has an article.

    Attributes:
        name: Its unique name, also the title of its article.
        kind: One of `KINDS`.
        pronoun: "she", "he" or "it".
        short: Surname of a person; the name of anything else.
        facts: Relation to value, in the order in which they are told.
    """

    name: str
    kind: str
    pronoun: str
    short: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class World:
    """All entities by name, in a fixed order (people, towns, works, organisations)."""

    entities: Mapping[str, Entity]

    def of_kind(self, kind: str) -> list[Entity]:
        """Entities of one kind, in order."""
        return [entity for entity in self.entities.values() if entity.kind == kind]

    def about(self, name: str) -> list[tuple[Entity, str]]:
        """Every (subject, relation) whose value is `name`, in order."""
        return [
            (entity, relation)
            for entity in self.entities.values()
            for relation, value in entity.facts.items()
            if value == name
        ]

    def values(self, kind: str, relation: str) -> list[str]:
        """The different values of the type that `relation` has, sorted."""
        wanted = VALUE_TYPES[kind, relation]
        return sorted(
            {
                value
                for entity in self.entities.values()
                for name, value in entity.facts.items()
                if VALUE_TYPES[entity.kind, name] == wanted
            }
        )

    def fact_count(self) -> int:
        """Number of facts."""
        return sum(len(entity.facts) for entity in self.entities.values())


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One item, each with the same probability."""
    return items[int(rng.integers(len(items)))]


def sample(rng: np.random.Generator, items: Sequence[T], count: int) -> list[T]:
    """Up to `count` different items in random order."""
    return [items[int(i)] for i in rng.permutation(len(items))[:count]]


def stream(config: GenerateConfig, number: int) -> np.random.Generator:
    """The random stream of one product: 0 world, 1 articles, 2 books, 3 questions, 4 pairs."""
    return np.random.default_rng([config.seed, number])


def split_subjects(world: World, config: GenerateConfig) -> tuple[list[Entity], list[Entity]]:
    """Entities that train and dev data ask about: disjoint, the same cut for both tasks."""
    rng = stream(config, 5)
    train: list[Entity] = []
    dev: list[Entity] = []
    for kind in KINDS:
        entities = world.of_kind(kind)
        held = set(
            sample(rng, range(len(entities)), round(len(entities) * config.dev_subject_share))
        )
        train += [e for i, e in enumerate(entities) if i not in held]
        dev += [e for i, e in enumerate(entities) if i in held]
    return train, dev
