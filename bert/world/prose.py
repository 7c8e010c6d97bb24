"""Prose from facts: templates are chosen and filled.

A sentence is kept as pieces, so that a wiki link can be set and an answer be located without
searching the text.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from string import Formatter

import numpy as np

from bert.world import names
from bert.world.facts import KINDS, VALUE_TYPES, Entity, World, pick
from bert.world.templates import QUESTIONS, TEMPLATES

_LINKED_TYPES = {"person", "town", "work", "organisation", "country"}
_GRAMMAR = {"s", "wrote", "written", "maker"}


@dataclass(frozen=True)
class Piece:
    """A stretch of text.

    Attributes:
        text: As it reads.
        page: Title of the article it names, or "".
        relation: The relation of the sentence's subject whose value it is, or "".
    """

    text: str
    page: str = ""
    relation: str = ""


@dataclass(frozen=True)
class Sentence:
    """A sentence about one subject; its text is the pieces end to end."""

    subject: str
    pieces: tuple[Piece, ...]

    def text(self) -> str:
        """The sentence as it reads."""
        return "".join(piece.text for piece in self.pieces)

    def told(self) -> dict[str, tuple[int, str]]:
        """Relation to (character offset, text) of the value told in this sentence."""
        found: dict[str, tuple[int, str]] = {}
        offset = 0
        for piece in self.pieces:
            if piece.relation:
                found[piece.relation] = (offset, piece.text)
            offset += len(piece.text)
        return found


def relations_in(template: str) -> frozenset[str]:
    """The relations whose values a template tells."""
    fields = {field for _, field, _, _ in Formatter().parse(template) if field}
    return frozenset(fields - _GRAMMAR)


_TELLINGS = {
    kind: tuple((template, relations_in(template)) for template in TEMPLATES[kind])
    for kind in KINDS
}


def templates_for(kind: str, relations: Collection[str]) -> list[str]:
    """The templates that tell exactly these relations."""
    return [template for template, told in _TELLINGS[kind] if told == frozenset(relations)]


def tell(world: World, entity: Entity, template: str, mention: str = "name") -> Sentence:
    """Fills a template.

    Args:
        world: The world, to know which values are names of entities.
        entity: The subject.
        template: A template of its kind whose relations it has.
        mention: How the subject is called: "name", "short" (surname) or "pronoun". A pronoun is
            used only where the subject opens the sentence.
    """
    pieces: list[Piece] = []
    for literal, field, _, _ in Formatter().parse(template):
        if literal:
            pieces.append(Piece(literal))
        if field == "s":
            pieces += _subject(
                entity, mention if not pieces else mention.replace("pronoun", "name")
            )
        elif field in _GRAMMAR:
            pieces.append(Piece(_grammar(entity, field)))
        elif field:
            pieces += _value(world, entity, field)
    first = pieces[0]
    capital = Piece(first.text[0].upper() + first.text[1:], first.page, first.relation)
    return Sentence(entity.name, (capital, *pieces[1:]))


def ask(entity: Entity, relation: str, rng: np.random.Generator) -> str:
    """A question about one fact of an entity."""
    template = pick(rng, QUESTIONS[entity.kind, relation])
    subject = "".join(piece.text for piece in _subject(entity, "name"))
    fields = [field for _, field, _, _ in Formatter().parse(template) if field and field != "s"]
    return template.format(s=subject, **{field: _grammar(entity, field) for field in fields})


def narrate(
    world: World,
    entity: Entity,
    relations: Sequence[str],
    rng: np.random.Generator,
    *,
    pronouns: bool = True,
) -> list[Sentence]:
    """Tells all `relations` that the entity has, each exactly once, roughly in their order.

    With `pronouns`, the subject may be called by surname or pronoun after the first sentence; a
    pronoun never follows a sentence that names another person.
    """
    left = [r for r in relations if r in entity.facts and (entity.kind, r) in QUESTIONS]
    sentences: list[Sentence] = []
    while left:
        options = [t for t, told in _TELLINGS[entity.kind] if left[0] in told and told <= set(left)]
        template = pick(rng, options)
        mention = _mention(rng, entity, sentences) if pronouns else "name"
        sentences.append(tell(world, entity, template, mention))
        left = [r for r in left if r not in relations_in(template)]
    return sentences


def contradict(world: World, entity: Entity, relation: str, rng: np.random.Generator) -> Entity:
    """The entity with another value of the same type for one of its facts."""
    unfit = {entity.facts[relation], entity.name}
    value = pick(rng, [v for v in world.values(entity.kind, relation) if v not in unfit])
    return replace(entity, facts={**entity.facts, relation: value})


def reword(kind: str, template: str, rng: np.random.Generator) -> str:
    """Another template that tells exactly the same relations, or the same one if it is alone."""
    options = [t for t in templates_for(kind, relations_in(template)) if t != template]
    return pick(rng, options) if options else template


def _mention(rng: np.random.Generator, entity: Entity, before: list[Sentence]) -> str:
    draw = rng.random()
    if not before or draw < 0.65:
        return "name"
    others = {VALUE_TYPES[entity.kind, relation] for relation in before[-1].told()}
    if draw < 0.8 and not others & {"person", "organisation"}:
        return "pronoun"
    return "short"


def _subject(entity: Entity, mention: str) -> list[Piece]:
    if mention == "pronoun":
        return [Piece(entity.pronoun)]
    name = entity.name if mention == "name" else entity.short
    article = [Piece("the ")] if entity.kind == "organisation" else []
    return [*article, Piece(name, page=entity.name)]


def _value(world: World, entity: Entity, relation: str) -> list[Piece]:
    value = entity.facts[relation]
    value_type = VALUE_TYPES[entity.kind, relation]
    page = value if value_type in _LINKED_TYPES else ""
    article = [Piece("the ")] if value_type == "organisation" else []
    return [*article, Piece(value, page, relation)]


def _grammar(work: Entity, field: str) -> str:
    kind = work.facts["kind"]
    makers = {made: maker for maker, made in names.PROFESSIONS.items() if made}
    wrote, written = names.MAKING[kind]
    return {"wrote": wrote, "written": written, "maker": makers[kind]}[field]
