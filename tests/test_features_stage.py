"""The stage `features`, as the workflow calls it: the same bytes for any number of workers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bert.config import check
from bert.data.vocab import load_tokenizer, load_vocabulary, write_vocabulary
from bert.manifest import ROOT, read_manifest, sha256_file, write_manifest
from bert.tasks import conll
from bert.tasks.config import TaskSection
from bert.tasks.conll_file import ConllExample
from bert.tasks.feature_stage import pack_examples
from bert.tasks.features import CHUNK, FeatureError
from bert.tasks.features_file import read_features

TASK: dict[str, Any] = {
    "format": "conll",
    "word_column": 0,
    "tag_column": 1,
    "scheme": "bio",
    "types": ["PER"],
    "max_seq_length": 8,
}
SENTENCES = {"train": 2 * CHUNK + 7, "dev": 30}


def write_task(folder: Path, task: dict[str, Any], files: dict[str, Path]) -> None:
    (folder / "task.json").write_text(json.dumps({"task": task}))
    for role, file in files.items():
        listed = [{"path": str(file), "sha256": sha256_file(file), "bytes": file.stat().st_size}]
        write_manifest(
            folder / f"{role}.json", stage="fetch", config=[], inputs={}, counts={}, outputs=[],
            files=listed,
        )  # fmt: skip


def write_vocab(folder: Path) -> Path:
    folder.mkdir()
    letters = [chr(97 + i) for i in range(26)]
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    write_vocabulary(folder, [*specials, *letters, *(f"##{c}" for c in letters)], lowercase=True)
    return folder


def features(folder: Path, workers: int) -> subprocess.CompletedProcess[str]:
    """Runs the script into <folder>/<workers>; exits with 3 if that has loaded torch."""
    arguments = {"config": folder / "task.json", "workers": workers, "vocab": folder / "vocab"}
    arguments |= {role: folder / f"{role}.json" for role in ("train", "dev")}
    arguments |= {"output": folder / str(workers), "log": folder / "features.log"}
    argv = ["features", *(str(x) for key, value in arguments.items() for x in (f"--{key}", value))]
    code = (
        "import runpy, sys\nif __name__ == '__main__':\n"
        f" sys.argv = {argv!r}; sys.path.insert(0, {str(ROOT)!r})\n"
        " runpy.run_path('scripts/features.py', run_name='__main__')\n"
        " sys.exit(3 if 'torch' in sys.modules else 0)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stage's folders of one task, made by one worker and by two."""
    folder = tmp_path_factory.mktemp("features")
    write_vocab(folder / "vocab")
    rng = np.random.default_rng(1)
    files = {}
    for role, count in SENTENCES.items():
        lines = []
        for _ in range(count):
            for _ in range(rng.integers(1, 8)):
                word = "".join(rng.choice(list("abcxyz"), rng.integers(1, 4)))
                lines.append(f"{word} {rng.choice(['O', 'B-PER'])}")
            lines.append("")
        files[role] = folder / f"eng.{role}"
        files[role].write_text("\n".join(lines))
    write_task(folder, TASK, files)
    for workers in (1, 2):
        done = features(folder, workers)
        assert done.returncode == 0, done.stderr
    return folder


def test_the_number_of_workers_changes_no_byte(made: Path) -> None:
    names = ["dev.h5", "manifest.json", "train.h5"]
    assert sorted(p.name for p in (made / "1").iterdir()) == names
    for name in names:
        assert (made / "1" / name).read_bytes() == (made / "2" / name).read_bytes()


def test_what_is_read_is_what_the_task_makes(made: Path) -> None:
    section = check(TaskSection, {"task": TASK}, where="test").task
    vocabulary = load_vocabulary(made / "vocab").sha256
    tokenizer = load_tokenizer(made / "vocab")
    for role in ("train", "dev"):
        found = read_features(made / "2" / f"{role}.h5", section, vocabulary)
        examples, _ = conll.read_examples([made / f"eng.{role}"], section, role=role)
        expected = conll.make_features(examples, tokenizer, section, training=role == "train")
        assert len(examples) == SENTENCES[role]
        assert found.counts == expected.counts
        for a, b in zip(found.features, expected.features, strict=True):
            assert a.input_ids.tolist() == b.input_ids.tolist()
            assert a[1:] == b[1:]
        if role == "train":
            assert found.places == []
            continue
        for a, b in zip(found.places, expected.places, strict=True):
            assert a._fields == b._fields
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_read_places_serve_to_decode(made: Path) -> None:
    section = check(TaskSection, {"task": TASK}, where="test").task
    found = read_features(made / "1" / "dev.h5", section, load_vocabulary(made / "vocab").sha256)
    examples, _ = conll.read_examples([made / "eng.dev"], section, role="dev")
    outputs = [np.zeros((len(f.input_ids), 3), np.float32) for f in found.features]
    predictions = conll.decode(examples, found, outputs, section)
    assert predictions == {e.id: ["O"] * len(e.words) for e in examples}


def test_the_receipt_states_counts_digests_and_inputs(made: Path) -> None:
    receipt = read_manifest(made / "1" / "manifest.json", stage="features")
    counts = receipt["counts"]
    assert counts["train_examples"] == counts["train_sentences"] == SENTENCES["train"]
    assert counts["dev_examples"] == 30
    assert counts["train_features"] > SENTENCES["train"]
    assert counts["train_cut_sentences"] > 0
    assert receipt["config"] == {"task": TASK}
    assert receipt["inputs"] == {
        "dev/0/eng.dev": sha256_file(made / "eng.dev"),
        "train/0/eng.train": sha256_file(made / "eng.train"),
        "vocabulary": load_vocabulary(made / "vocab").sha256,
    }
    for name in ("train.h5", "dev.h5"):
        assert receipt["outputs"][name]["sha256"] == sha256_file(made / "1" / name)


def test_bad_data_leaves_no_folder(tmp_path: Path) -> None:
    write_vocab(tmp_path / "vocab")
    good, bad = tmp_path / "eng.train", tmp_path / "eng.dev"
    good.write_text("a O\n")
    bad.write_text("a O\nb I-DATE\n")
    write_task(tmp_path, TASK, {"train": good, "dev": bad})
    done = features(tmp_path, 1)
    assert done.returncode == 1
    assert "eng.dev, line 2: the tag is 'I-DATE'" in done.stderr
    assert not (tmp_path / "1").exists()
    assert not (tmp_path / ".1.tmp").exists()


def test_examples_that_give_no_feature_are_refused_with_the_counts(tmp_path: Path) -> None:
    vocab = write_vocab(tmp_path / "vocab")
    section = check(TaskSection, {"task": TASK}, where="test").task
    with pytest.raises(FeatureError, match=r"1 examples gave not one feature .*'features': 0"):
        pack_examples([ConllExample("1", (), ())], vocab, section, training=True, workers=2)
