"""Articles: which facts the page of an entity tells, in which sections, and in which order.

Each page tells its subject's facts two or three times in different words (lead, section, last
section), and facts of its neighbours, so that a masked word can often be found by reading on, and
the same fact is met again on other pages.
"""

from dataclasses import dataclass

import numpy as np

from bert.world.facts import Entity, World, sample
from bert.world.prose import Sentence, narrate, tell

Paragraph = list[Sentence]


@dataclass(frozen=True)
class Article:
    """One page: `sections` are (heading, paragraphs); the lead has the heading ""."""

    entity: Entity
    sections: tuple[tuple[str, tuple[Paragraph, ...]], ...]

    def sentences(self) -> list[Sentence]:
        """All sentences in order."""
        return [s for _, paragraphs in self.sections for p in paragraphs for s in p]


@dataclass(frozen=True)
class _Plan:
    """One section: own relations, then (relation, facts) of named and of naming entities."""

    heading: str
    own: tuple[str, ...] = ()
    named: tuple[tuple[str, int], ...] = ()
    naming: tuple[tuple[str, int], ...] = ()


_MOST_NAMING = 4
_LEADS = {
    "person": "{s} ({birth_day} {birth_year} \u2013 {death_year}) was a {profession} "
    "from {birth_town}.",
    "town": "{s} is a town in {country} on the river {river}.",
    "work": "{s} is a {kind} by {author}.",
    "organisation": "{s} was founded in {seat} by {founder}.",
}
_PLANS = {
    "person": (
        _Plan("Early life", ("birth_town", "birth_year"), named=(("birth_town", 2),)),
        _Plan("Learning", ("teacher",), named=(("teacher", 3),), naming=(("teacher", 2),)),
        _Plan("Life", ("profession", "home_town", "club"), named=(("home_town", 2), ("club", 2))),
        _Plan("Works", naming=(("author", 3),)),
        _Plan("Houses", naming=(("founder", 2),)),
        _Plan("Summary", ("home_town", "birth_town", "teacher", "profession", "death_year")),
    ),
    "town": (
        _Plan("History", ("founded", "country", "product")),
        _Plan("People", naming=(("birth_town", 3), ("home_town", 3))),
        _Plan("Works", naming=(("place", 2),)),
        _Plan("Houses", naming=(("seat", 2),)),
        _Plan("Summary", ("country", "river", "product", "founded")),
    ),
    "work": (
        _Plan("History", ("author", "year", "place")),
        _Plan("Author", named=(("author", 4),)),
        _Plan("Subject", named=(("place", 3),)),
        _Plan("Summary", ("kind", "year", "author", "place")),
    ),
    "organisation": (
        _Plan("History", ("founder", "founded", "seat")),
        _Plan("Founder", named=(("founder", 4),)),
        _Plan("Town", named=(("seat", 3),)),
        _Plan("Members", naming=(("club", 2),)),
        _Plan("Summary", ("founded", "seat", "founder")),
    ),
}


def write_article(world: World, entity: Entity, rng: np.random.Generator) -> Article:
    """Tells the page of one entity. Sections with nothing to tell are left out."""
    lead = [tell(world, entity, _LEADS[entity.kind])]
    relations = sample(rng, [r for r in entity.facts if r not in lead[0].told()], 2)
    lead += narrate(world, entity, relations, rng)
    sections: list[tuple[str, tuple[Paragraph, ...]]] = [("", (lead,))]
    for plan in _PLANS[entity.kind]:
        paragraphs = _section(world, entity, plan, rng)
        if paragraphs:
            sections.append((plan.heading, tuple(paragraphs)))
    return Article(entity, tuple(sections))


def some_facts(
    world: World,
    entity: Entity,
    rng: np.random.Generator,
    count: int,
    *,
    first: tuple[str, ...] = (),
    pronouns: bool = True,
) -> list[Sentence]:
    """Tells `count` random facts of an entity in their natural order, after those in `first`."""
    rest = [r for r in entity.facts if r not in first]
    chosen = set(sample(rng, rest, count - len(first)))
    relations = [*first, *(r for r in rest if r in chosen)]
    return narrate(world, entity, relations, rng, pronouns=pronouns)


def _section(
    world: World, entity: Entity, plan: _Plan, rng: np.random.Generator
) -> list[Paragraph]:
    own = narrate(world, entity, plan.own, rng)
    for relation, count in plan.named:
        if relation in entity.facts:
            own += some_facts(world, world.entities[entity.facts[relation]], rng, count)
    paragraphs = [own + retell(world, own, rng)] if plan.named else [own]
    for relation, count in plan.naming:
        others = [other for other, link in world.about(entity.name) if link == relation]
        chosen = sample(rng, others, _MOST_NAMING)
        for i in range(0, len(chosen), 2):
            told = [
                sentence
                for other in chosen[i : i + 2]
                for sentence in some_facts(world, other, rng, count, first=(relation,))
            ]
            paragraphs.append(told + retell(world, told, rng))
    return [paragraph for paragraph in paragraphs if paragraph]


def retell(world: World, told: list[Sentence], rng: np.random.Generator) -> list[Sentence]:
    """Tells two of the facts just told again, in other words where there are any."""
    facts = [(sentence.subject, relation) for sentence in told for relation in sentence.told()]
    return [
        narrate(world, world.entities[subject], [relation], rng)[0]
        for subject, relation in sample(rng, facts, 2)
    ]
