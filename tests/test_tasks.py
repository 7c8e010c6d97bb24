import subprocess
import sys
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from bert.config import ConfigError, check
from bert.manifest import ROOT
from bert.tasks import mrpc, squad
from bert.tasks.config import TaskSection, task_module
from bert.tasks.features import FeatureError, framed, special_ids, token_ids

SQUAD = {
    "format": "squad",
    "version": "1.1",
    "max_seq_length": 384,
    "doc_stride": 128,
    "max_query_length": 64,
    "n_best": 20,
    "max_answer_length": 30,
    "null_threshold": 0.0,
    "max_misaligned_share": 0.001,
}
MRPC = {"format": "mrpc", "layout": "glue", "max_seq_length": 128}


def make_tokenizer(*words: str) -> Tokenizer:
    ids = {word: i for i, word in enumerate(["[UNK]", *words])}
    return Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))


def test_the_format_decides_which_configuration_a_task_has() -> None:
    for task, kind in [(SQUAD, squad.SquadConfig), (MRPC, mrpc.MrpcConfig)]:
        found = check(TaskSection, {"task": task, "seeds": [1, 2]}, where="test").task
        assert type(found) is kind
        assert found.model_dump() == task


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (SQUAD | {"doc_strid": 1}, "task.doc_strid is not a known key; did you mean `doc_stride`"),
        (MRPC | {"layout": "csv"}, "task.layout is \"csv\"; it must be 'glue' or 'microsoft'"),
        ({k: v for k, v in SQUAD.items() if k != "n_best"}, "task.n_best is missing"),
        (MRPC | {"format": "race"}, "'squad', 'mrpc'"),
        (SQUAD | {"max_misaligned_share": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_wrong_task_section_is_refused(task: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(TaskSection, {"task": task}, where="test")


def test_each_format_has_its_module_and_head() -> None:
    assert task_module("squad") is squad
    assert task_module("mrpc") is mrpc
    assert (squad.HEAD, mrpc.HEAD) == ("span", "sentence")


def test_no_task_module_imports_torch() -> None:
    modules = sorted(p.stem for p in (ROOT / "bert" / "tasks").glob("*.py") if p.stem[0] != "_")
    assert {"config", "features", "mrpc", "predictions", "squad"} <= set(modules)
    imports = "; ".join(f"import bert.tasks.{name}" for name in modules)
    command = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=True)


def test_special_tokens_frame_both_segments() -> None:
    tokenizer = make_tokenizer("[CLS]", "[SEP]")
    ids, start = framed(special_ids(tokenizer), [7, 8], [9])
    assert ids.tolist() == [1, 7, 8, 2, 9, 2]
    assert start == 4


def test_byte_level_special_tokens_frame_them_likewise() -> None:
    assert special_ids(make_tokenizer("<s>", "x", "</s>")) == (1, 3)


def test_a_vocabulary_without_special_tokens_is_refused() -> None:
    with pytest.raises(FeatureError, match=r"vocabulary of 3 tokens has no \[CLS\]"):
        special_ids(make_tokenizer("[cls]", "[sep]"))
    with pytest.raises(FeatureError, match=r"has no \[SEP\]"):
        special_ids(make_tokenizer("[CLS]"))


def test_a_tokenizer_that_cuts_or_pads_is_refused() -> None:
    cutting, padding = (make_tokenizer("[CLS]", "[SEP]") for _ in range(2))
    cutting.enable_truncation(4)
    padding.enable_padding(length=4)
    for tokenizer in (cutting, padding):
        with pytest.raises(FeatureError, match="cuts or pads"):
            special_ids(tokenizer)


def test_token_ids_come_in_order_across_chunks() -> None:
    tokenizer = make_tokenizer("x", "y")
    texts = ["x" if i % 3 else "y" for i in range(2500)]
    assert list(token_ids(tokenizer, texts)) == [[1] if i % 3 else [2] for i in range(2500)]
