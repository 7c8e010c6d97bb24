"""Sentence pairs, paraphrases or not, in the layout of GLUE's MRPC files.

A paraphrase tells the same one or two facts by other templates and often in another order. A pair
that is none is made the same way and then changed in one value, in its subject, in one relation, or
by swapping roles, so that overlap of words does not give the label away.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bert.world.facts import Entity, GenerateConfig, World, pick, sample, split_subjects, stream
from bert.world.prose import Sentence, contradict, reword, tell, templates_for

HEADER = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
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
    told = sample(rng, relations, int(rng.integers(1, 3)))
    templates = [pick(rng, templates_for(entity.kind, {r})) for r in told]
    first = _joined([tell(world, entity, t) for t in templates])
    templates = [reword(entity.kind, t, rng) for t in templates]
    if label:
        second = _joined(_shuffled(rng, [tell(world, entity, t) for t in templates]))
        return Pair(1, first, second, "")
    place = int(rng.integers(len(told)))
    change, changed = _changed(world, rng, entity, told[place], templates[place], subjects)
    sentences = [tell(world, entity, t) for t in templates]
    sentences[place] = changed
    return Pair(0, first, _joined(_shuffled(rng, sentences)), change)


def _shuffled(rng: np.random.Generator, sentences: list[Sentence]) -> list[Sentence]:
    return sample(rng, sentences, len(sentences))


def _joined(sentences: list[Sentence]) -> str:
    return " ".join(sentence.text() for sentence in sentences)


def _changed(
    world: World,
    rng: np.random.Generator,
    entity: Entity,
    relation: str,
    template: str,
    subjects: list[Entity],
) -> tuple[str, Sentence]:
    """What was changed, and a sentence that no longer says the same."""
    value = entity.facts[relation]
    draw = rng.random()
    if relation == "teacher" and draw < 0.5:
        teacher = world.entities[value]
        swapped = replace(teacher, facts={"teacher": entity.name})
        return "roles", tell(world, swapped, template)
    if relation in _CONFUSED and draw < 0.2:
        other = _CONFUSED[relation]
        template = pick(rng, templates_for(entity.kind, {other}))
        return "relation", tell(world, replace(entity, facts={other: value}), template)
    others = [s for s in subjects if s.kind == entity.kind and s.name not in {entity.name, value}]
    # A work keeps its kind, or the verb would give the change away.
    others = [s for s in others if s.facts.get("kind") == entity.facts.get("kind")]
    if draw > 0.8 and others:
        return "subject", tell(world, replace(pick(rng, others), facts=entity.facts), template)
    return "value", tell(world, contradict(world, entity, relation, rng), template)
