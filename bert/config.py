"""Configuration sections: how a knob is declared, loaded, and refused with every problem at once.

A section is a frozen pydantic model that stands beside the code that uses it. It has no default
values: the one place where a value stands is `config/config.yaml`, and recipes overlay it. This
module knows nothing of any particular section.
"""

import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class ConfigError(ValueError):
    """Every problem found in a configuration, one line each."""


class Section(BaseModel):
    """Base of all configuration sections: frozen, unknown keys refused, no silent conversion.

    A null removes a key that this section does not have: an overlay that chooses another kind of
    a section drops the old kind's keys with it, because overlays can add and change but not erase.
    A null under a name that looks like a mistyped key is refused like any unknown key.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_removed(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = cls.model_fields
        return {
            key: value
            for key, value in values.items()
            if value is not None
            or key in known
            or difflib.get_close_matches(key, known, cutoff=0.8)
        }


SectionT = TypeVar("SectionT", bound=Section)


def knob(description: str, **constraints: Any) -> Any:
    """Declares a field with its one-sentence description (unit included) and range, no default.

    Args:
        description: What the value means, with its unit and, if published, its source.
        constraints: pydantic bounds such as `ge`, `gt`, `le`, `lt`, `min_length`, `pattern`.
    """
    return Field(description=description, **constraints)


def check(model: type[SectionT], values: Any, *, where: str, path: str = "") -> SectionT:
    """Returns `values` as an instance of `model`.

    Args:
        model: The section class.
        values: Plain data as read from YAML or JSON.
        where: Where the values came from, for the message ("config/config.yaml and overlays").
        path: Key path of this section inside the configuration ("encode.phase1"); "" for the root.

    Raises:
        ConfigError: Lists every problem with key path, value, what is allowed, and the remedy.
    """
    try:
        # `default`: YAML reads 2020-01-01 as a date; here it is the text that was written.
        return model.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        found = [_problem(model, values, path, e) for e in error.errors()]  # type: ignore[arg-type]
        problems = list(dict.fromkeys(line for text in found for line in text.splitlines()))
        lines = "\n".join(f"  - {p}" for p in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{count} in the configuration ({where}):\n{lines}") from None


def load_section(model: type[SectionT], file: Path) -> SectionT:
    """Reads one resolved section from the JSON file that its rule was handed.

    Raises:
        ConfigError: The file does not hold a valid `model`.
        FileNotFoundError: The file is missing; the rule `section` writes it.
    """
    return check(model, load_values(file), where=str(file))


def load_values(file: Path) -> Any:
    """Plain data of the JSON file that the rule `section` wrote, not yet checked.

    Raises:
        ConfigError: The file is not JSON.
        FileNotFoundError: The file is missing.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing; the rule `section` writes it.")
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{file} is not JSON ({error}); delete it and run again.") from None


def _problem(model: type[Section], values: Any, path: str, error: dict[str, Any]) -> str:
    location = [str(part) for part in error["loc"]]
    kind = error["type"]
    # A union member's tag stands in pydantic's location but not in the file: keep only real keys.
    about_a_key = kind in {"missing", "extra_forbidden"}
    keys = _real_keys(values, location[:-1] if about_a_key else location)
    keys += location[-1:] if about_a_key else []
    key_path = ".".join(([path] if path else []) + keys) or "the configuration"
    if kind == "extra_forbidden":
        others = [key for key in _siblings(model, location[:-1]) if key != keys[-1]]
        near = difflib.get_close_matches(keys[-1], others, n=1)
        hint = (
            f"did you mean `{near[0]}`?"
            if near
            else "remove it, or look it up in config/README.md."
        )
        return f"{key_path} is not a known key; {hint}"
    if kind == "missing":
        return f"{key_path} is missing; add it, config/config.yaml shows every key."
    text = error["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{key_path}: {text}" if path or keys else text
    value = json.dumps(error["input"], ensure_ascii=False, default=str)
    value = value if len(value) <= 80 else value[:77] + "..."
    text = text[0].lower() + text[1:]
    remedy = "Change it in config/config.yaml or in your overlay."
    if isinstance(error["input"], str) and re.fullmatch(r"-?\d+e[-+]?\d+", error["input"]):
        remedy = "Write a plain number; YAML reads 6e-3 as text, 6.0e-3 as a number."
    return f"{key_path} is {value}; {text.replace('input should be', 'it must be')}. {remedy}"


def _real_keys(values: Any, location: list[str]) -> list[str]:
    keys: list[str] = []
    for part in location:
        if isinstance(values, dict) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            continue
        keys.append(part)
    return keys


def _siblings(model: Any, location: list[str]) -> Iterable[str]:
    """Known keys beside an unknown one: the fields of the model that the location leads to."""
    models = [model]
    for part in location:
        found = []
        for candidate in models:
            field = getattr(candidate, "model_fields", {}).get(part)
            found += _models_in(field.annotation) if field else [candidate]
        models = found
    return [name for m in models for name in getattr(m, "model_fields", {})]


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for argument in get_args(annotation) for m in _models_in(argument)]
