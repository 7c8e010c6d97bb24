"""Sentence pairs, paraphrases or not, in the layout of GLUE's MRPC files.

A paraphrase tells the same fact by another template. A pair that is none tells another fact of the
same subject, the same fact of another subject, or the fact with its value, relation or roles
changed: a reader must know which templates mean the same, and compare names and values.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bert.world.facts import Entity, GenerateConfig, World, pick, sample, split_subjects, stream
from bert.world.prose import Sentence, contradict, reword, tell, templates_for

HEADER = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
# Shares of the non-paraphrases: another fact of the subject, the fact of another subject. The rest
# is changed in one detail, which a very small model hardly notices.
_OTHER_FACT, _OTHER_SUBJECT = 0.7, 0.2
# Relations of one value type that a careless reader takes for each other.
_CONFUSED = {
    "birth_town": "home_town",
    "home_town": "birth_town",
    "birth_year": "death_year",
    "death_year": "birth_year",
}


@dataclass(frozen=True)
class Pair:
    """Two sentences; `label` 1 says that they mean the same. `change` names how 0 was made."""

    label: int
    first: str
    second: str
    change: str


def build_pairs(world: World, config: GenerateConfig) -> tuple[list[Pair], list[Pair]]:
    """The train and dev pairs. They share no subject."""
    rng = stream(config, 4)
    train, dev = split_subjects(world, config)
    return (
        _pairs(world, config, rng, train, config.train_pairs),
        _pairs(world, config, rng, dev, config.dev_pairs),
    )


def write_tsv(path: Path, pairs: Iterable[Pair], first_id: int) -> None:
    """Writes a file as GLUE does: UTF-8 with byte-order mark, tabs, no quoting, LF."""
    lines = ["\t".join(HEADER)]
    for i, pair in enumerate(pairs):
        ids = (str(first_id + 2 * i), str(first_id + 2 * i + 1))
        lines.append("\t".join([str(pair.label), *ids, pair.first, pair.second]))
    path.write_bytes(("\n".join(lines) + "\n").encode("utf-8-sig"))


def _pairs(
    world: World,
    config: GenerateConfig,
    rng: np.random.Generator,
    subjects: list[Entity],
    count: int,
) -> list[Pair]:
    """Exactly `count` pairs with the configured share of paraphrases, in random order."""
    positive = round(count * config.paraphrase_share)
    labels = sample(rng, [1] * positive + [0] * (count - positive), count)
    return [_pair(world, rng, pick(rng, subjects), subjects, label) for label in labels]


def _pair(
    world: World, rng: np.random.Generator, entity: Entity, subjects: list[Entity], label: int
) -> Pair:
    relations = [r for r in entity.facts if len(templates_for(entity.kind, {r})) > 1]
    relation = pick(rng, relations)
    template = pick(rng, templates_for(entity.kind, {relation}))
    first = tell(world, entity, template).text()
    template = reword(entity.kind, template, rng)
    if label:
        return Pair(1, first, tell(world, entity, template).text(), "")
    spare = [r for r in relations if r not in (relation, _CONFUSED.get(relation))]
    others, draw = _others(subjects, entity), rng.random()
    if draw < _OTHER_FACT and spare:
        change = "fact"
        told = tell(world, entity, pick(rng, templates_for(entity.kind, {pick(rng, spare)})))
    elif draw < _OTHER_FACT + _OTHER_SUBJECT and others:
        change, told = (
            "subject",
            tell(world, replace(pick(rng, others), facts=entity.facts), template),
        )
    else:
        change, told = _changed(world, rng, entity, relation, template)
    return Pair(0, first, told.text(), change)


def _others(subjects: list[Entity], entity: Entity) -> list[Entity]:
    """Subjects that the facts of `entity` could be told of, none named in those facts."""
    taken = {entity.name, *entity.facts.values()}
    others = [s for s in subjects if s.kind == entity.kind and s.name not in taken]
    # A work keeps its kind, or the verb would give the change away.
    return [s for s in others if s.facts.get("kind") == entity.facts.get("kind")]


def _changed(
    world: World, rng: np.random.Generator, entity: Entity, relation: str, template: str
) -> tuple[str, Sentence]:
    """What was changed, and a sentence that differs from the fact in one detail."""
    value = entity.facts[relation]
    draw = rng.random()
    if relation == "teacher" and draw < 0.5:
        teacher = world.entities[value]
        swapped = replace(teacher, facts={"teacher": entity.name})
        return "roles", tell(world, swapped, template)
    if relation in _CONFUSED and draw < 0.3:
        other = _CONFUSED[relation]
        template = pick(rng, templates_for(entity.kind, {other}))
        return "relation", tell(world, replace(entity, facts={other: value}), template)
    return "value", tell(world, contradict(world, entity, relation, rng), template)
