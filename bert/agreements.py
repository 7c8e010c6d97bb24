"""What the sections of a recipe must agree on; every problem is one sentence."""

import re

from bert.sections import Sections
from bert.train.config import PhaseConfig

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def disagreements(recipe: Sections) -> list[str]:
    """All problems between sections; none in a recipe that can run."""
    problems = [*_name_problems(recipe), *_weight_problems(recipe), *_length_problems(recipe)]
    problems += [*_key_problems(recipe), *_split_problems(recipe)]
    if (recipe.encode.phase2 is None) != (recipe.pretrain.phase2 is None):
        problems.append(
            "encode.phase2 and pretrain.phase2 must both be there or both be null; one is not."
        )
    problems += [*_objective_problems(recipe), *_start_problems(recipe)]
    problems += [*_execution_problems(recipe), *_given_problems(recipe)]
    if not recipe.sources and recipe.needs_text:
        problems.append("extract has no source; name at least one text source.")
    return problems


def _execution_problems(recipe: Sections) -> list[str]:
    """K-FAC reads the linear maps through hooks, which compiled and traced blocks leave out."""
    execution = recipe.runtime.execution
    phases = {"phase1": recipe.pretrain.phase1, "phase2": recipe.pretrain.phase2}
    return [
        f"pretrain.{name}.kfac needs runtime.execution eager or lazy, but it is {execution}; "
        "change one of the two."
        for name, phase in phases.items()
        if phase is not None and phase.kfac is not None and execution in ("graph", "trace")
    ]


def _name_problems(recipe: Sections) -> list[str]:
    known = {name for name, items in recipe.fetch.items() if items}
    sources = [(name, recipe.extract[name]) for name in recipe.sources]
    wanted = {f"extract.{n}.raw": s.raw for n, s in sources if s is not None}
    for number in (1, 2):
        if given := recipe.given(str(number)):
            key = f"shard.given.phase{number}"
            wanted |= {f"{key}.train": given.train, f"{key}.held_out": given.held_out}
    for name, task in recipe.tasks.items():
        wanted |= {f"finetune.{name}.train": task.train, f"finetune.{name}.dev": task.dev}
    if recipe.vocab.kind == "given":
        wanted["vocab.raw"] = recipe.vocab.raw
    for key, item in (
        ("convert.raw", None if recipe.convert is None else recipe.convert.raw),
        ("split.held_out.list", recipe.split.held_out.list),
        ("split.train_list", recipe.split.train_list),
    ):
        wanted |= {key: item} if item is not None else {}
    if recipe.filter is not None and recipe.filter.contamination is not None:
        for name, reference in recipe.filter.contamination.named().items():
            wanted[f"filter.contamination.references.{name}.raw"] = reference.raw
    return [
        f"{key} is {value!r}, which `fetch` does not have (it has {', '.join(sorted(known))})"
        for key, value in wanted.items()
        if value not in known
    ]


def _key_problems(recipe: Sections) -> list[str]:
    """Names that are chosen freely become folders, parts of file names and words of commands.

    A dot would cut the key path of a section: `finetune.a.task` is a part of the task `a`.
    """
    chosen = {"fetch": list(recipe.fetch), "extract": list(recipe.extract)}
    chosen |= {"finetune": list(recipe.finetune), "dialect": list(recipe.dialect or {})}
    return [
        f"{section} has the name {name!r}; expected letters, digits, _ and -, beginning with a "
        "letter or digit. Rename it."
        for section, names in chosen.items()
        for name in names
        if not _NAME.fullmatch(name)
    ]


def _split_problems(recipe: Sections) -> list[str]:
    """One item for both splits, where neither file names nor lists of ids tell them apart."""
    return [
        f"finetune.{name}.train and finetune.{name}.dev are both {task.train!r}, whose files do "
        "not say which split they are, so the task would be scored on what it was trained on; "
        "name two items."
        for name, task in recipe.tasks.items()
        if task.train == task.dev
        and (task.task.format in ("squad", "conll") or getattr(task.task, "layout", "") == "glue")
    ]


def _given_problems(recipe: Sections) -> list[str]:
    if recipe.shard.given is None:
        return []
    problems = []
    if (recipe.shard.given.phase2 is None) != (recipe.pretrain.phase2 is None):
        problems.append(
            "shard.given.phase2 and pretrain.phase2 must both be there or both be null; one is not."
        )
    if recipe.vocab.kind != "given":
        problems.append(
            f"vocab.kind is {recipe.vocab.kind}, but the shards are given; give the vocabulary "
            "that they were made with (vocab.kind: given)."
        )
    return problems


def _start_problems(recipe: Sections) -> list[str]:
    start, second = recipe.pretrain.phase1.start, recipe.pretrain.phase2
    before = None if recipe.convert is None else recipe.convert.before
    problems = []
    if start != "random" and before != "phase1":
        problems.append(
            f"pretrain.phase1.start is {start}, but no phase goes before it; write random, or name "
            "a checkpoint in `convert`."
        )
    if before == "phase2" and second is None:
        problems.append(
            "convert.before is phase2, but pretrain.phase2 is null; write phase1 or finetune."
        )
    if before is not None and recipe.vocab.kind != "given":
        problems.append(
            f"vocab.kind is {recipe.vocab.kind}, but `convert` takes weights that have their own "
            "vocabulary; give it (vocab.kind: given)."
        )
    if second is not None and second.start == "continued" and before is None:
        problems += _continuation_problems(recipe.pretrain.phase1, second)
    return problems


def _continuation_problems(first: PhaseConfig, second: PhaseConfig) -> list[str]:
    """A phase that takes over moments and step goes on in the schedule, too."""
    ends = [phase.schedule.total_steps for phase in (first, second)]
    begins = second.schedule.steps_before
    whole = first.steps + second.steps
    problems = []
    if begins != first.steps:
        problems.append(
            f"pretrain.phase2.schedule.steps_before is {begins}, but its start is continued, "
            f"after the {first.steps} steps of phase 1; write {first.steps}."
        )
    if ends[0] != ends[1] or ends[0] is None or ends[0] < whole:
        problems.append(
            f"schedule.total_steps is {ends[0]} in phase 1 and {ends[1]} in phase 2, whose "
            "start is continued; write the same number in both, at least the "
            f"{whole} steps of the two."
        )
    return problems


def _weight_problems(recipe: Sections) -> list[str]:
    return [
        f"split.weights.{name} weighs no source; `extract` has {', '.join(recipe.sources)}"
        for name, weight in recipe.split.weights.items()
        if weight is not None and recipe.extract.get(name) is None
    ]


def _objective_problems(recipe: Sections) -> list[str]:
    if recipe.shard.given is not None:
        return []
    problems = []
    for number in recipe.phases:
        encode, pretrain = (
            getattr(section, f"phase{number}") for section in (recipe.encode, recipe.pretrain)
        )
        if encode is None or pretrain is None:
            continue
        if recipe.model.next_sentence and not encode.has_pairs:
            problems.append(
                f"model.next_sentence is true, but encode.phase{number}.objective is "
                f"{encode.objective}, whose instances have no second task; write false."
            )
        if pretrain.masking is None and encode.masking is None:
            problems.append(
                f"pretrain.phase{number}.masking is null, which takes the stored masks, but "
                f"encode.phase{number}.masking is null, too, so none are stored; write the "
                "masking at one of the two."
            )
    return problems


def _length_problems(recipe: Sections) -> list[str]:
    longest = recipe.model.max_position_embeddings
    given = recipe.shard.given
    stage, made = ("encode", recipe.encode) if given is None else ("shard.given", given)
    lengths = {
        f"{stage}.phase{n}.max_seq_length": section.max_seq_length
        for n, section in enumerate((made.phase1, made.phase2), 1)
        if section is not None
    }
    lengths |= {
        f"finetune.{name}.task.max_seq_length": task.task.max_seq_length
        for name, task in recipe.tasks.items()
    }
    return [
        f"{key} is {length}, more than model.max_position_embeddings {longest}"
        for key, length in lengths.items()
        if length > longest
    ]
