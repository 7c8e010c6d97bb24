import datetime
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import Field, ValidationError, model_validator

from bert.config import ConfigError, Section, check, knob, load_section, load_values
from bert.tasks.config import TaskSection


class Dog(Section):
    kind: Literal["dog"]
    legs: int = knob("number of legs", ge=0, le=4)


class Bird(Section):
    kind: Literal["bird"]
    wing_cm: float = knob("span of a wing in centimetres", gt=0)


class Farm(Section):
    name: str
    animal: Annotated[Dog | Bird, Field(discriminator="kind")]
    herd: list[Dog]
    stalls: dict[str, Dog]
    rate: float | Literal["auto"]
    spare: Dog | None

    @model_validator(mode="after")
    def _name_fits(self) -> Self:
        if self.name == "bad":
            raise ValueError("a farm may not be called bad; choose another name.")
        return self


def farm(**changes: Any) -> dict[str, Any]:
    dog = {"kind": "dog", "legs": 4}
    values = {"name": "x", "animal": dog, "herd": [dog], "stalls": {"a": dog}, "rate": 0.5}
    return values | {"spare": None} | changes


def problems(values: Any, model: type[Section] = Farm, path: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check(model, values, where="the test", path=path)
    head, *lines = str(caught.value).splitlines()
    count = f"{len(lines)} problem" + ("s" if len(lines) > 1 else "")
    assert head == f"{count} in the configuration (the test):"
    return [line.removeprefix("  - ") for line in lines]


def test_valid_values_become_a_section() -> None:
    section = check(Farm, farm(), where="the test")
    assert section.animal == Dog(kind="dog", legs=4)
    assert section.model_dump() == farm()


def test_a_section_is_frozen() -> None:
    section = check(Farm, farm(), where="the test")
    with pytest.raises(ValidationError, match="frozen"):
        section.name = "y"  # type: ignore[misc]


def test_every_problem_is_told_at_once_with_key_value_range_and_remedy() -> None:
    bad_dog = {"kind": "dog", "legs": 5}
    found = problems(farm(name=3, animal=bad_dog, herd=[{"kind": "dog", "legs": -1}]))
    remedy = "Change it in config/config.yaml or in your overlay."
    assert found == [
        f"name is 3; it must be a valid string. {remedy}",
        f"animal.legs is 5; it must be less than or equal to 4. {remedy}",
        f"herd.0.legs is -1; it must be greater than or equal to 0. {remedy}",
    ]


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    assert problems(farm(nmae="x")) == ["nmae is not a known key; did you mean `name`?"]
    unlike = problems(farm(zzz=1))
    assert unlike == ["zzz is not a known key; remove it, or look it up in config/README.md."]


@pytest.mark.parametrize("key", ["animal", "spare"])
def test_the_nearest_key_is_sought_beside_the_unknown_one(key: str) -> None:
    dog = {"kind": "dog", "legs": 4, "lgs": 4}
    assert problems(farm(**{key: dog})) == [f"{key}.lgs is not a known key; did you mean `legs`?"]


def test_the_nearest_key_is_found_in_lists_and_mappings() -> None:
    dog = {"kind": "dog", "legs": 4, "lgs": 4}
    assert problems(farm(herd=[dog], stalls={"a b": dog})) == [
        "herd.0.lgs is not a known key; did you mean `legs`?",
        "stalls.a b.lgs is not a known key; did you mean `legs`?",
    ]


def test_a_missing_key_is_named() -> None:
    values = farm(animal={"kind": "bird"})
    del values["name"]
    assert problems(values) == [
        "name is missing; add it, config/config.yaml shows every key.",
        "animal.wing_cm is missing; add it, config/config.yaml shows every key.",
    ]


def test_the_tag_of_a_union_never_stands_in_the_key() -> None:
    found = problems(farm(rate="fast", animal={"kind": "bird", "wing_cm": -1.0}))
    assert [line.partition(" is ")[0] for line in found] == ["animal.wing_cm", "rate", "rate"]
    assert "it must be 'auto'" in found[2]


def test_an_unknown_kind_names_the_kinds_there_are() -> None:
    (found,) = problems(farm(animal={"kind": "cat"}))
    assert found.startswith('animal is {"kind": "cat"}; ')
    assert "'dog', 'bird'" in found


def test_null_removes_the_key_of_another_kind() -> None:
    bird = {"kind": "bird", "wing_cm": 1.0, "legs": None}
    assert check(Farm, farm(animal=bird), where="x").animal == Bird(kind="bird", wing_cm=1.0)
    assert "animal.wing_cm is null" in problems(farm(animal=bird | {"wing_cm": None}))[0]


@pytest.mark.parametrize(("value", "hint"), [("6e-3", True), ("-1e5", True), ("1", False)])
def test_a_number_that_yaml_reads_as_text_gets_a_hint(value: str, hint: bool) -> None:
    assert ("YAML reads 6e-3 as text" in problems(farm(rate=value))[0]) is hint


@pytest.mark.parametrize("value", [True, "4", 4.0, 4.5, [4]])
def test_nothing_is_converted_silently(value: Any) -> None:
    assert problems(farm(animal={"kind": "dog", "legs": value}))[0].startswith("animal.legs is ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_must_be_finite(value: float) -> None:
    assert "finite" in problems(farm(animal={"kind": "bird", "wing_cm": value}))[0]


def test_an_integer_serves_as_a_float() -> None:
    assert check(Bird, {"kind": "bird", "wing_cm": 3}, where="x").wing_cm == 3.0


def test_a_date_is_the_text_that_was_written() -> None:
    assert check(Farm, farm(name=datetime.date(2020, 1, 1)), where="x").name == "2020-01-01"


def test_a_rule_between_keys_is_told_as_it_is_written() -> None:
    text = "a farm may not be called bad; choose another name."
    assert problems(farm(name="bad")) == [text]
    assert problems(farm(name="bad"), path="farms.one") == [f"farms.one: {text}"]


def test_the_path_stands_before_every_key() -> None:
    assert problems({"kind": "dog"}, Dog, "farm.dog")[0].startswith("farm.dog.legs is missing")


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_a_section_that_is_no_mapping_is_refused(values: Any) -> None:
    assert "the configuration is " in problems(values)[0]


def test_a_key_that_is_a_number_is_refused_by_name() -> None:
    assert problems(farm() | {7: 1})[0].startswith("7 is not a known key")


def test_a_long_value_is_cut() -> None:
    (found,) = problems(farm(name=list(range(1000))))
    assert "..." in found
    assert len(found) < 200


def test_a_problem_is_told_once() -> None:
    class Twice(Section):
        pair: tuple[int, int] | tuple[int, int, int]

    found = problems({"pair": ["a", 1]}, Twice)
    assert len(found) == len(set(found))


def test_knob_makes_a_required_described_field() -> None:
    field = Dog.model_fields["legs"]
    assert field.is_required()
    assert field.description == "number of legs"


def test_a_section_is_loaded_from_its_json_file(tmp_path: Path) -> None:
    (tmp_path / "dog.json").write_text('{"kind": "dog", "legs": 3}')
    assert load_section(Dog, tmp_path / "dog.json").legs == 3
    (tmp_path / "dog.json").write_text('{"kind": "dog", "legs": 9}')
    with pytest.raises(ConfigError, match=r"dog\.json"):
        load_section(Dog, tmp_path / "dog.json")


def test_a_missing_section_file_names_its_rule(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="rule `section` writes it"):
        load_section(Dog, tmp_path / "dog.json")


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\xfa"])
def test_a_section_file_that_is_not_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dog.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"dog\.json is not JSON"):
        load_values(tmp_path / "dog.json")


def test_the_json_schema_forbids_unknown_keys_and_keeps_descriptions() -> None:
    schema = json.loads(json.dumps(Dog.model_json_schema()))
    assert schema["additionalProperties"] is False
    assert schema["properties"]["legs"]["description"] == "number of legs"


def test_a_key_of_another_task_is_not_offered_as_its_own_correction():
    values = {"format": "mrpc", "layout": "glue", "max_seq_length": 9, "max_bad_share": 0.1}
    with pytest.raises(ConfigError) as caught:
        check(TaskSection, {"task": values}, where="a test")
    assert "task.max_bad_share is not a known key" in str(caught.value)
    assert "did you mean `max_bad_share`" not in str(caught.value)
