"""Questions on short contexts, in SQuAD 1.1's JSON.

A context tells facts of several entities, so that values of the same type stand beside the right
one: an answer is found by matching the question's subject and relation, not by type.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bert.world.articles import some_facts
from bert.world.facts import (
    KINDS,
    VALUE_TYPES,
    Entity,
    GenerateConfig,
    World,
    pick,
    sample,
    split_subjects,
    stream,
)
from bert.world.prose import ask

_CONTEXTS_PER_ARTICLE = 5


@dataclass(frozen=True)
class Told:
    """One fact as told in a context: `context[start : start + len(text)] == text`."""

    entity: Entity
    relation: str
    start: int
    text: str


def build_squad(world: World, config: GenerateConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """The train and dev files. They share no subject, hence no context.

    In dev, as in SQuAD, a question has several annotators' answers where spans can differ.
    """
    rng = stream(config, 3)
    train, dev = split_subjects(world, config)
    return (
        _file(world, config, rng, train, config.train_questions, several=False),
        _file(world, config, rng, dev, config.dev_questions, several=True),
    )


def _file(
    world: World,
    config: GenerateConfig,
    rng: np.random.Generator,
    subjects: list[Entity],
    questions: int,
    *,
    several: bool,
) -> dict[str, Any]:
    paragraphs: list[dict[str, Any]] = []
    prefix = "dev" if several else "train"
    left = questions
    while left:
        context, facts = write_context(world, _group(rng, subjects), rng)
        asked = sample(rng, facts, min(config.questions_per_context, left))
        qas = [
            {
                "id": f"{prefix}-{len(paragraphs):05d}-{i}",
                "question": ask(fact.entity, fact.relation, rng),
                "answers": _answers(context, fact, several=several),
            }
            for i, fact in enumerate(asked)
        ]
        paragraphs.append({"context": context, "qas": qas})
        left -= len(asked)
    size = _CONTEXTS_PER_ARTICLE
    data = [
        {"title": f"Annals_{prefix}_{i // size + 1}", "paragraphs": paragraphs[i : i + size]}
        for i in range(0, len(paragraphs), size)
    ]
    return {"data": data, "version": "1.1"}


def write_context(
    world: World, subjects: list[Entity], rng: np.random.Generator
) -> tuple[str, list[Told]]:
    """Tells two or three facts of each subject, and returns the text and what it tells."""
    blocks = [some_facts(world, s, rng, int(rng.integers(2, 4)), pronouns=False) for s in subjects]
    sentences = [sentence for block in blocks for sentence in block]
    if rng.random() < 0.5:
        sentences = sample(rng, sentences, len(sentences))
    facts: list[Told] = []
    context = ""
    for sentence in sentences:
        context += " " if context else ""
        for relation, (offset, text) in sentence.told().items():
            facts.append(
                Told(world.entities[sentence.subject], relation, len(context) + offset, text)
            )
        context += sentence.text()
    return context, facts


def _group(rng: np.random.Generator, subjects: list[Entity]) -> list[Entity]:
    """Three subjects, of one kind half the time."""
    kind = pick(rng, KINDS)
    same = [s for s in subjects if s.kind == kind]
    return sample(rng, same if len(same) >= 3 and rng.random() < 0.5 else subjects, 3)


def _answers(context: str, fact: Told, *, several: bool) -> list[dict[str, Any]]:
    """The value, and in dev the spans that another reader might have marked."""
    spans = [fact.start]
    value_type = VALUE_TYPES[fact.entity.kind, fact.relation]
    if several:
        spans.append(fact.start)
        leading = {"year": "in ", "profession": "a ", "organisation": "the "}.get(value_type, "")
        if leading and context[: fact.start].endswith(" " + leading):
            spans.append(fact.start - len(leading))
    end = fact.start + len(fact.text)
    return [{"answer_start": start, "text": context[start:end]} for start in spans]
