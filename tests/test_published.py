import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from bert.config import check
from bert.convert.huggingface_config import HuggingFaceError
from bert.convert.published import load_published
from bert.convert.task_folder import TaskFolderError, export_task
from bert.model.attention import sequences_of
from bert.tasks.config import TaskSection
from tests.published import SECTIONS, TOKENS, publish

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

LENGTHS = [9, 4, 12]
# One task a head; two of the sentence head, for its two and three outputs.
KINDS = {
    "squad": "AutoModelForQuestionAnswering",
    "mrpc": "AutoModelForSequenceClassification",
    "stsb": "AutoModelForSequenceClassification",
    "conll": "AutoModelForTokenClassification",
}


@pytest.fixture(params=KINDS)
def task(request):
    return request.param


def load(kind, folder):
    """The model of transformers, which must find every weight and no other."""
    model, info = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    assert {key: list(value) for key, value in info.items() if value} == {}
    return model.eval()


def padded_batch():
    """The same sequences padded: ids, segments, mask; and as one stream."""
    generator = torch.Generator().manual_seed(1)
    ids = [torch.randint(5, len(TOKENS), (length,), generator=generator) for length in LENGTHS]
    segments = [(torch.arange(length) >= length // 2).long() for length in LENGTHS]
    mask = [torch.ones(length, dtype=torch.long) for length in LENGTHS]
    pad = torch.nn.utils.rnn.pad_sequence
    table = [pad(part, batch_first=True) for part in (ids, segments, mask)]
    places = torch.cat([torch.arange(length) for length in LENGTHS])
    return table, (torch.cat(ids), torch.cat(segments), places, sequences_of(LENGTHS))


@torch.no_grad()
def test_a_published_model_computes_the_same_in_transformers_with_padding(tmp_path, task):
    folder = publish(tmp_path, task)
    published, theirs = load_published(folder), load(KINDS[task], folder)
    (ids, segments, mask), stream = padded_batch()

    ours = published.network(*stream)

    found = theirs(input_ids=ids, token_type_ids=segments, attention_mask=mask)
    kept = mask.bool()
    if task == "squad":
        expected = torch.stack([found.start_logits[kept], found.end_logits[kept]])
        ours = torch.stack(ours)
    else:
        expected = found.logits[kept] if task == "conll" else found.logits
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_the_folder_says_what_its_outputs_are(tmp_path, task):
    folder = publish(tmp_path, task)
    published = load_published(folder)
    config = load(KINDS[task], folder).config

    labels = published.task.labels(published.task_config)
    assert config.id2label == dict(enumerate(labels))
    assert config.label2id == {label: number for number, label in enumerate(labels)}
    problems = {"mrpc": "single_label_classification", "stsb": "regression"}
    assert config.problem_type == problems.get(task)
    said = json.loads((folder / "task.json").read_text())
    assert said["labels"] == list(labels)
    assert said["config"] == SECTIONS[task] == published.task_config.model_dump(mode="json")
    assert said["head"] == published.task.HEAD
    assert published.name == said["task"] == task


def test_publishing_and_loading_changes_no_bit_and_drops_the_padding(tmp_path, task):
    first, second = publish(tmp_path / "a", task), publish(tmp_path / "b", task)

    published = load_published(first)

    state = load_file(first / "model.safetensors")
    assert published.network.state_dict().keys() == state.keys()
    assert all(torch.equal(t, state[name]) for name, t in published.network.state_dict().items())
    assert len(TOKENS) % 8  # so there was padding
    assert len(state["bert.embeddings.word_embeddings.weight"]) == len(TOKENS)
    assert not published.network.training
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_the_tokenizer_is_that_of_the_training(tmp_path):
    published = load_published(publish(tmp_path, "mrpc"))
    assert published.tokenizer.encode("The first", "[SEP]").tokens == [
        "[CLS]", "the", "first", "[SEP]", "[UNK]", "s", "##e", "##p", "[UNK]", "[SEP]",
    ]  # fmt: skip


def changed_json(name, **values):
    def change(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | values))

    return change


def changed_weights(folder):
    state = load_file(folder / "model.safetensors")
    save_file(state | {"extra": torch.zeros(1)}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "task.json").unlink(), "expected a folder that the rule `publ"),
        (lambda folder: (folder / "task.json").write_text("{"), "task.json is not JSON"),
        (changed_json("task.json", version=2), "'version': 2}; expected .* 1} with config, head"),
        (changed_json("task.json", labels=["a", "b"]), r"with labels \['a', 'b'\]; this release"),
        (changed_json("config.json", vocab_size=3), r"shape \(\d+, 16\), expected \(3, 16\); the"),
        (changed_weights, "in 1 places: extra is unknown"),
        (lambda folder: (folder / "config.json").unlink(), "is missing a file or is damaged"),
        (
            lambda folder: shutil.copy(folder / "vocab.txt", folder / "model.safetensors"),
            "is missing a file or is damaged",
        ),
    ],
)
def test_folders_whose_parts_do_not_fit_are_refused(tmp_path, change, message):
    folder = publish(tmp_path, "mrpc")
    change(folder)
    with pytest.raises(TaskFolderError, match=message):
        load_published(folder)


def test_weights_of_another_head_are_not_published(tmp_path):
    published = load_published(publish(tmp_path, "squad"))
    section = check(TaskSection, {"task": SECTIONS["mrpc"]}, where="a test")
    with pytest.raises(HuggingFaceError, match=r"classifier.bias is missing; classifier.weight is"):
        export_task(
            tmp_path,
            published.network.state_dict(),
            published.config,
            vocabulary=tmp_path / "vocab",
            name="mrpc",
            section=section,
            card="",
        )
