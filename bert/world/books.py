"""Books: two travellers go from town to town and tell each other the facts of the world.

A chapter is about one town, a scene about two or three people, works or organisations of it. In a
scene, facts are first told and then asked for, confirmed in other words ("Yes"), or corrected
("No"), so that the text itself rewards matching names, finding values and comparing sentences.
"""

from dataclasses import dataclass

import numpy as np

from bert.world import names
from bert.world.articles import some_facts
from bert.world.facts import Entity, GenerateConfig, World, pick, sample, stream
from bert.world.prose import ask, contradict, narrate, reword, tell, templates_for

_WEATHER = ("cold", "warm", "grey", "bright", "quiet", "windy")
_PARTS = ("morning", "evening", "day", "night")
_PLACES = ("market", "square", "harbour", "old bridge", "gate", "garden")
_ARRIVALS = (
    "The {part} was {weather} when {old} and {young} came to {town}.",
    "On a {weather} {part} the two travellers reached {town}.",
    "The road to {town} was long, and the {part} was {weather}.",
)
_SIGHTS = (
    "They walked to the {place} and sat down.",
    "The bells of {town} rang, and the {place} was full of people.",
    "In the {place} they drank tea and looked at the river.",
    "A {weather} wind came from the river.",
)
_OPENINGS = (
    "{old} began to tell of {subjects}.",
    "\u201cNow I will tell you of {subjects},\u201d said {old}.",
    "\u201cTell me of {subjects},\u201d said {young}.",
    "In the {place} they spoke of {subjects}.",
)
_TITLES = (
    "The Road to {town}",
    "Two Travellers in {town}",
    "A Winter in {town}",
    "Letters from {town}",
)


@dataclass(frozen=True)
class Chapter:
    """A heading and its paragraphs."""

    heading: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Book:
    """A book as it was written, before it is set in any encoding."""

    title: str
    author: str
    chapters: tuple[Chapter, ...]


@dataclass(frozen=True)
class _Stage:
    """What the scenes of a chapter share: who speaks, and where."""

    world: World
    rng: np.random.Generator
    old: str
    young: str
    town: Entity

    def line(self, template: str, subjects: str = "") -> str:
        """Fills a line of narration."""
        return template.format(
            old=self.old,
            young=self.young,
            town=self.town.name,
            subjects=subjects,
            part=pick(self.rng, _PARTS),
            weather=pick(self.rng, _WEATHER),
            place=pick(self.rng, _PLACES),
        )


def write_books(world: World, config: GenerateConfig) -> list[Book]:
    """Writes all books; each starts in another town."""
    rng = stream(config, 2)
    towns = sample(rng, world.of_kind("town"), config.towns)
    books = []
    for number in range(config.books):
        start = number * config.chapters_per_book
        route = [towns[(start + i) % len(towns)] for i in range(config.chapters_per_book)]
        books.append(_book(world, config, rng, number, route))
    return books


def _book(
    world: World, config: GenerateConfig, rng: np.random.Generator, number: int, route: list[Entity]
) -> Book:
    old, young = sample(rng, [n for group in names.FIRST_NAMES.values() for n in group], 2)
    chapters = []
    for i, town in enumerate(route, start=1):
        stage = _Stage(world, rng, old, young, town)
        paragraphs = _arrival(stage)
        for _ in range(config.scenes_per_chapter):
            paragraphs += _scene(stage)
        chapters.append(Chapter(f"CHAPTER {i}. {town.name.upper()}", tuple(paragraphs)))
    title = _TITLES[number % len(_TITLES)].format(town=route[0].name)
    author = f"{pick(rng, names.ACCENTED)} {pick(rng, list(names.surnames()))}"
    return Book(title, author, tuple(chapters))


def _arrival(stage: _Stage) -> list[str]:
    first = [stage.line(pick(stage.rng, _ARRIVALS))]
    first += [s.text() for s in some_facts(stage.world, stage.town, stage.rng, 3)]
    first.append(stage.line(pick(stage.rng, _SIGHTS)))
    return [" ".join(first)]


def _scene(stage: _Stage) -> list[str]:
    """A tale of two subjects, then talk about every fact that was told."""
    subjects = sample(stage.rng, _neighbours(stage), 2)
    told = [s for e in subjects for s in some_facts(stage.world, e, stage.rng, 2)]
    opening = stage.line(pick(stage.rng, _OPENINGS), " and ".join(_called(s) for s in subjects))
    paragraphs = [f"{opening} {' '.join(s.text() for s in told)}"]
    facts = [(s.subject, relation) for s in told for relation in s.told()]
    for subject, relation in sample(stage.rng, facts, len(facts)):
        turn = pick(stage.rng, (_question, _claim))
        paragraphs.append(turn(stage, stage.world.entities[subject], relation))
    if stage.rng.random() < 0.2:
        paragraphs.append(stage.line(pick(stage.rng, _SIGHTS)))
    return paragraphs


def _neighbours(stage: _Stage) -> list[Entity]:
    """The town's people, works and organisations, and the works of its people."""
    near = [entity for entity, _ in stage.world.about(stage.town.name)]
    works = [work for entity in near for work, _ in stage.world.about(entity.name)]
    found = {entity.name: entity for entity in [*near, *works, stage.town]}
    spare = sample(stage.rng, list(stage.world.entities.values()), 2)
    return list((found | {entity.name: entity for entity in spare}).values())


def _called(entity: Entity) -> str:
    return f"the {entity.name}" if entity.kind == "organisation" else entity.name


def _question(stage: _Stage, subject: Entity, relation: str) -> str:
    """A question and its answer in a full sentence."""
    question = ask(subject, relation, stage.rng)
    answer = _statement(stage, subject, relation)
    return f"\u201c{question}\u201d asked {stage.young}. \u201c{answer},\u201d said {stage.old}."


def _claim(stage: _Stage, subject: Entity, relation: str) -> str:
    """A claim, confirmed or corrected in other words."""
    true = stage.rng.random() < 0.5
    claimed = subject if true else contradict(stage.world, subject, relation, stage.rng)
    template = pick(stage.rng, templates_for(subject.kind, {relation}))
    claim = tell(stage.world, claimed, template).text().rstrip(".")
    template = reword(subject.kind, template, stage.rng)
    reply = tell(stage.world, subject, template).text().rstrip(".")
    verdict = "Yes" if true else "No"
    return (
        f"\u201c{claim},\u201d said {stage.young}. "
        f"\u201c{verdict},\u201d said {stage.old}, \u201c{_mid(reply)}.\u201d"
    )


def _statement(stage: _Stage, subject: Entity, relation: str) -> str:
    return narrate(stage.world, subject, [relation], stage.rng)[0].text().rstrip(".")


def _mid(statement: str) -> str:
    """A statement inside a sentence: a capital that is not part of a name is lowered."""
    first, rest = statement.split(" ", 1)
    lowered = first.lower() if first in {"The", "It", "In"} and not rest[:1].isupper() else first
    return f"{lowered} {rest}"
