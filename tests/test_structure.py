"""Rules of the house that a reader relies on, checked on the source itself."""

import ast
import re
from pathlib import Path

import pytest

from bert.manifest import ROOT
from bert.recipe import Recipe

BERT = sorted((ROOT / "bert").rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
STAGES = [
    *("generate", "fetch", "extract", "filter", "split", "vocab", "encode", "shard", "dialect"),
    *("examine", "convert", "pretrain", "evaluate", "export"),
    *("features", "finetune", "score", "publish", "report", "gate"),
]
# For a person's hands: no rule, no section.
TOOLS = {"plan", "predict", "serve"}
# Floors, lowest first: a module imports only from its own floor and those below.
FLOORS = (
    {"leash", "log", "config", "manifest", "fetch", "ranks", "kernels"},
    {"text", "world", "optim", "model", "checkpoints"},
    {"data", "tasks"},
    {"devices"},
    {"train", "convert", "report", "examine", "predict"},
    {"sections", "agreements", "recipe", "plan"},
)


def floor_of(module):
    room = module.split(".")[1]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    return [
        node.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bert.")
    ]


def rule_blocks():
    for path in RULES:
        for block in re.split(r"^(?=rule )", path.read_text(), flags=re.MULTILINE)[1:]:
            yield re.match(r"rule (\w+):", block)[1], block


@pytest.mark.parametrize("path", BERT, ids=module_name)
def test_arrows_point_down(path):
    if path.name == "__init__.py":
        pytest.skip("packages import nothing")
    higher = [m for m in imports(path) if floor_of(m) > floor_of(module_name(path))]

    assert not higher


def test_no_two_modules_import_each_other():
    arrows = {(module_name(path), target) for path in BERT for target in imports(path)}

    assert not [(a, b) for a, b in arrows if (b, a) in arrows]


def test_bert_never_imports_the_workflow_or_scripts():
    text = "".join(path.read_text() for path in BERT)

    assert not re.search(r"^(from|import) (snakemake|scripts)", text, re.MULTILINE)


def test_one_word_names_a_stage_as_rule_script_and_section():
    rules = {name for name, _ in rule_blocks()} - {"section"}
    sections = set(Recipe.model_fields) - {"run", "model", "runtime"}

    assert rules == set(STAGES)
    assert {path.stem for path in SCRIPTS} == {*STAGES, *TOOLS}
    assert sections == set(STAGES) - {"score", "export", "features"}  # no knobs of their own


@pytest.mark.parametrize(("name", "block"), list(rule_blocks()))
def test_every_rule_has_docstring_log_benchmark_and_code_digest(name, block):
    assert re.match(rf'rule {name}:\n    """', block)
    assert f"<logs>/{'config' if name == 'section' else name}/" in block
    assert f"<benchmarks>/{'config' if name == 'section' else name}/" in block
    if name != "section":
        assert f'code=code_digest("{name}")' in block
        assert f"scripts/{name}.py" in block


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_rule_file_opens_with_its_contract(path):
    lines = path.read_text().splitlines()

    assert [line[:9] for line in lines[:3]] == ["# in:    ", "# out:   ", "# steps: "]


def test_only_fetch_touches_the_network():
    users = {
        module_name(path)
        for path in BERT
        if re.search(
            r"^(import|from) (urllib.request|http|requests|ftplib)", path.read_text(), re.M
        )
    }

    # The second listens, on this machine, for a person's browser; no rule calls it.
    assert users <= {"bert.fetch.download", "bert.predict.server"}


def test_nothing_is_unpickled():
    for path in [*BERT, *SCRIPTS]:
        loads = re.findall(r"torch\.load\([^)]*\)", path.read_text())
        assert not re.search(r"\bpickle\b", path.read_text()), path
        assert all("weights_only=True" in call for call in loads), path


def test_global_generators_are_never_used():
    pattern = r"\brandom\.(seed|random|choice|shuffle)\(|np\.random\.(?!default_rng|Generator)\w+"
    for path in [*BERT, *SCRIPTS]:
        assert not re.search(pattern, path.read_text()), path


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_thin(path):
    assert len(path.read_text().splitlines()) <= 150


@pytest.mark.parametrize("path", [p for p in BERT if p.name != "__init__.py"], ids=module_name)
def test_every_public_name_is_documented(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"
        assert not public or ast.get_docstring(node), f"{path.name}: {node.name}"


def test_no_file_names_a_machine_path():
    wrong = re.compile(r"(?<![\w.<>/])/(home|root|work|Users)/\w")
    files = [p for pattern in ("*.md", "*.yaml", "*.toml", "Makefile") for p in ROOT.glob(pattern)]
    files += [*BERT, *SCRIPTS, *RULES, *Path(ROOT / "config").rglob("*.yaml")]

    assert not [path.name for path in files if wrong.search(path.read_text())]
