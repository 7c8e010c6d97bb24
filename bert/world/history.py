"""How a world comes to be: one random draw of people, places, works and organisations."""

from dataclasses import replace

import numpy as np

from bert.world import names
from bert.world.facts import Entity, GenerateConfig, World, pick, sample

# Half of the people make works, so that works are spread over many authors.
_CREATIVE = tuple(name for name, kind in names.PROFESSIONS.items() if kind)
_ORDINARY = tuple(name for name, kind in names.PROFESSIONS.items() if not kind)


def build_world(config: GenerateConfig, rng: np.random.Generator) -> World:
    """Draws a world: towns first, then people who live there, then what people make."""
    towns = _towns(config, rng)
    people = _people(config, rng, towns)
    organisations = _organisations(config, rng, towns, people)
    people = [_with_club(person, organisations, rng) for person in people]
    works = _works(config, rng, towns, people)
    return World({e.name: e for e in [*people, *towns, *works, *organisations]})


def _towns(config: GenerateConfig, rng: np.random.Generator) -> list[Entity]:
    return [_town(config, rng, name) for name in sample(rng, names.town_names(), config.towns)]


def _town(config: GenerateConfig, rng: np.random.Generator, name: str) -> Entity:
    country = pick(rng, list(names.RIVERS))
    facts = {
        "country": country,
        "river": pick(rng, names.RIVERS[country]),
        "founded": str(config.first_year + int(rng.integers(40))),
        "product": pick(rng, names.PRODUCTS),
    }
    return Entity(name, "town", "it", name, facts)


def _people(config: GenerateConfig, rng: np.random.Generator, towns: list[Entity]) -> list[Entity]:
    drawn = sample(rng, names.person_names(), config.people)
    births = np.sort(rng.integers(config.first_year + 40, config.last_year - 60, len(drawn)))
    people: list[Entity] = []
    for name, birth in zip(drawn, births, strict=True):
        people.append(_person(config, rng, name, int(birth), towns, people))
    return sample(rng, people, len(people))


def _person(
    config: GenerateConfig,
    rng: np.random.Generator,
    name: tuple[str, str, str],
    birth: int,
    towns: list[Entity],
    elders: list[Entity],
) -> Entity:
    pronoun, first, surname = name
    birth_town, home_town = sample(rng, towns, 2)
    facts = {
        "birth_town": birth_town.name,
        "birth_day": f"{rng.integers(1, 29)} {pick(rng, names.MONTHS)}",
        "birth_year": str(birth),
        "profession": pick(rng, _CREATIVE if rng.random() < 0.5 else _ORDINARY),
    }
    teachers = [e for e in elders if _could_teach(e, birth)]
    same = [e for e in teachers if e.facts["profession"] == facts["profession"]]
    if same and rng.random() < 0.7:
        facts["teacher"] = pick(rng, same).name
    facts["home_town"] = home_town.name
    facts["death_year"] = str(min(birth + int(rng.integers(45, 80)), config.last_year))
    return Entity(f"{first} {surname}", "person", pronoun, surname, facts)


def _could_teach(elder: Entity, birth: int) -> bool:
    return int(elder.facts["birth_year"]) + 15 <= birth <= int(elder.facts["death_year"]) - 15


def _organisations(
    config: GenerateConfig,
    rng: np.random.Generator,
    towns: list[Entity],
    people: list[Entity],
) -> list[Entity]:
    drawn = sample(rng, names.organisation_names(), config.organisations)
    founders = sample(rng, people, len(drawn))
    founders += [pick(rng, people) for _ in range(len(drawn) - len(founders))]
    return [
        Entity(
            name,
            "organisation",
            "it",
            name,
            {
                "seat": pick(rng, towns).name,
                "founded": str(int(founder.facts["birth_year"]) + int(rng.integers(20, 41))),
                "founder": founder.name,
            },
        )
        for name, founder in zip(drawn, founders, strict=True)
    ]


def _with_club(person: Entity, clubs: list[Entity], rng: np.random.Generator) -> Entity:
    """The person as a member of an organisation that was founded in time, or unchanged."""
    born, died = int(person.facts["birth_year"]), int(person.facts["death_year"])
    open_ones = [c for c in clubs if born - 40 <= int(c.facts["founded"]) <= died - 5]
    if not open_ones or rng.random() < 0.4:
        return person
    facts = dict(person.facts)
    died_text = facts.pop("death_year")
    facts |= {"club": pick(rng, open_ones).name, "death_year": died_text}
    return replace(person, facts=facts)


def _works(
    config: GenerateConfig,
    rng: np.random.Generator,
    towns: list[Entity],
    people: list[Entity],
) -> list[Entity]:
    makers = [p for p in people if names.PROFESSIONS[p.facts["profession"]]]
    return [
        _work(rng, title, pick(rng, makers), towns)
        for title in sample(rng, names.work_titles(), config.works)
    ]


def _work(rng: np.random.Generator, title: str, author: Entity, towns: list[Entity]) -> Entity:
    facts = {
        "kind": names.PROFESSIONS[author.facts["profession"]],
        "author": author.name,
        "year": str(int(author.facts["birth_year"]) + int(rng.integers(20, 45))),
        "place": pick(rng, towns).name,
    }
    return Entity(title, "work", "it", title, facts)
