import json
import subprocess
import sys
from pathlib import Path

import pytest

from bert.config import ConfigError, check
from bert.manifest import ROOT, read_manifest, sha256_file
from bert.world import names
from bert.world.facts import (
    KINDS,
    VALUE_TYPES,
    Entity,
    GenerateConfig,
    World,
    split_subjects,
    stream,
)
from bert.world.generate import generate
from bert.world.history import build_world
from bert.world.prose import narrate, relations_in, tell, templates_for
from bert.world.templates import QUESTIONS, TEMPLATES

SMALL = {
    "seed": 3,
    "people": 60,
    "towns": 12,
    "works": 24,
    "organisations": 10,
    "first_year": 1700,
    "last_year": 1899,
    "books": 6,
    "chapters_per_book": 2,
    "scenes_per_chapter": 2,
    "train_questions": 90,
    "dev_questions": 41,
    "questions_per_context": 4,
    "train_pairs": 300,
    "dev_pairs": 100,
    "paraphrase_share": 0.67,
    "dev_subject_share": 0.25,
}


def config_with(**changes: object) -> GenerateConfig:
    return check(GenerateConfig, SMALL | changes, where="test")


def world_of(config: GenerateConfig) -> World:
    return build_world(config, stream(config, 0))


WORLD = world_of(config_with())


def test_same_config_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        folder = tmp_path / name
        folder.mkdir()
        generate(config_with(seed=seed), folder)
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        digests.append({str(p.relative_to(folder)): sha256_file(p) for p in files})
    assert digests[0] == digests[1]
    assert digests[0].keys() == digests[2].keys()
    assert not set(digests[0].values()) & set(digests[2].values())


def test_script_writes_the_folder_with_a_manifest_of_every_file(tmp_path: Path) -> None:
    section = tmp_path / "generate.json"
    section.write_text(json.dumps(SMALL), "utf-8")
    # `-c` gives the same bytes for any hash seed: no set or dict order may leak into the output.
    outputs = []
    for hash_seed in ("1", "2"):
        output = tmp_path / f"out-{hash_seed}"
        command = [sys.executable, str(ROOT / "scripts" / "generate.py"), "--config", str(section)]
        command += ["--output", str(output), "--log", str(tmp_path / "log" / "generate.txt")]
        environment = {
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": str(ROOT),
            "PATH": "/usr/bin:/bin",
        }
        subprocess.run(command, check=True, env=environment)
        outputs.append(read_manifest(output / "manifest.json", stage="generate"))
        listed = outputs[-1]["outputs"]
        files = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()}
        assert set(listed) == files - {"manifest.json"}
        assert all(sha256_file(output / name) == entry["sha256"] for name, entry in listed.items())
    assert outputs[0] == outputs[1]
    counts = outputs[0]["counts"]
    assert counts["articles"] == 60 + 12 + 24 + 10
    assert (counts["books"], counts["train_questions"], counts["dev_questions"]) == (6, 90, 41)
    assert (counts["train_pairs"], counts["train_paraphrases"]) == (300, 201)


def test_every_relation_of_every_kind_can_be_told_alone_and_asked() -> None:
    for kind, relation in VALUE_TYPES:
        if relation != "birth_day":  # told in the lead only
            assert templates_for(kind, {relation}), (kind, relation)
            assert (kind, relation) in QUESTIONS
    for kind in KINDS:
        told = {r for template in TEMPLATES[kind] for r in relations_in(template)}
        assert {(kind, r) for r in told} <= set(VALUE_TYPES)


def test_facts_refer_to_entities_of_the_right_kind() -> None:
    for entity in WORLD.entities.values():
        for relation, value in entity.facts.items():
            value_type = VALUE_TYPES[entity.kind, relation]
            if value_type in KINDS:
                assert WORLD.entities[value].kind == value_type
            else:
                assert value not in WORLD.entities


def test_history_is_possible() -> None:
    for person in WORLD.of_kind("person"):
        born, died = int(person.facts["birth_year"]), int(person.facts["death_year"])
        assert 1740 <= born < died - 20
        assert died <= 1899
        assert person.facts["birth_town"] != person.facts["home_town"]
        if "teacher" in person.facts:
            teacher = WORLD.entities[person.facts["teacher"]].facts
            assert int(teacher["birth_year"]) + 15 <= born <= int(teacher["death_year"]) - 15
            assert teacher["profession"] == person.facts["profession"]
    for work in WORLD.of_kind("work"):
        author = WORLD.entities[work.facts["author"]].facts
        assert int(author["birth_year"]) < int(work.facts["year"]) < int(author["death_year"])
        assert names.PROFESSIONS[author["profession"]] == work.facts["kind"]
    for club in WORLD.of_kind("organisation"):
        founder = WORLD.entities[club.facts["founder"]].facts
        assert int(founder["birth_year"]) < int(club.facts["founded"]) < int(founder["death_year"])
    for town in WORLD.of_kind("town"):
        assert town.facts["river"] in names.RIVERS[town.facts["country"]]


def test_narration_tells_each_fact_once_and_truly() -> None:
    rng = stream(config_with(), 9)
    for entity in WORLD.entities.values():
        relations = [r for r in entity.facts if r != "birth_day"]
        sentences = narrate(WORLD, entity, relations, rng)
        told = [(relation, text) for s in sentences for relation, (_, text) in s.told().items()]
        assert sorted(told) == sorted((r, entity.facts[r]) for r in relations)
        for sentence in sentences:
            for start, text in sentence.told().values():
                assert sentence.text()[start : start + len(text)] == text


def test_pronoun_opens_a_sentence_only() -> None:
    facts = {"birth_town": "Wolfham", "club": "Oak Guild", "birth_year": "1800"}
    entity = Entity("Mara Fenorin", "person", "she", "Fenorin", facts)
    world = World({entity.name: entity})

    def text(template: str, mention: str) -> str:
        return tell(world, entity, template, mention).text()

    assert text("{s} was born in {birth_town}.", "pronoun") == "She was born in Wolfham."
    assert text("{s} joined {club}.", "short") == "Fenorin joined the Oak Guild."
    assert text("{club} had {s} as a member.", "pronoun") == (
        "The Oak Guild had Mara Fenorin as a member."
    )
    assert text("It was in {birth_year} that {s} was born.", "name") == (
        "It was in 1800 that Mara Fenorin was born."
    )


def test_names_are_unique_across_kinds_and_fit_latin_1() -> None:
    people = [f"{first} {last}" for _, first, last in names.person_names()]
    every = [*people, *names.town_names(), *names.work_titles(), *names.organisation_names()]
    assert len(set(every)) == len(every)
    "".join(every).encode("latin-1")
    assert all(not a.isascii() for a in names.ACCENTED)


def test_split_of_subjects_is_disjoint_and_complete() -> None:
    train, dev = split_subjects(WORLD, config_with())
    assert {e.name for e in train} | {e.name for e in dev} == set(WORLD.entities)
    assert len(train) + len(dev) == len(WORLD.entities)
    assert {e.kind for e in dev} == set(KINDS)
    assert sum(e.kind == "person" for e in dev) == 15


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"people": 10**6}, r"people is 1000000, but the name lists make only 5280 .* lower it"),
        ({"first_year": 1800}, r"is 99 years; expected at least 160.*Widen"),
        ({"towns": 161}, r"towns is 161"),
        ({"paraphrase_share": 1.0}, r"paraphrase_share is 1.0"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_with(**changes)
