"""Odd corpora through the whole data engine: counts add up exactly, or one clear error."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.text.decoding import DecodingError
from bert.text.extract import ExtractError
from bert.text.jsonl import JsonLinesError
from bert.text.roles import SplitError
from tests.adding_up import check_instances, check_text
from tests.extracted import content
from tests.stages import SOURCES, STAGES, Run, as_text, plain_documents

PLAIN = [" ".join(document) for document in plain_documents(14)]
TWO_PARTS = {"split": {"parts": 2, "held_out": {"fraction": 0.2}}}
HEBREW = (
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u202ebackwards\u202c "
    "\u0645\u0631\u062d\u0628\u0627."
)
CHINESE = "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002\u6211\u4eec\u53bb\u516c\u56ed\u3002"
MARKS = "Zalgo e\u0301\u0302\u0303\u0304 \u1112\u1161\u11ab n\u0303 \u0130I\u0131 \ufb01 \u00df."
# Each is the text of some documents that stand among plain ones.
ODD = {
    "hebrew_arabic": [HEBREW, HEBREW + " \u061c\u200f."],
    "chinese": [CHINESE, CHINESE * 50],
    "combining_marks": [MARKS, "\u0301\u0301 \u0327", MARKS * 40],
    "astral": ["\U0001f469\u200d\U0001f4bb is \U00020000 \U0001d573.", "\U0010ffff \ufffe \ufeff"],
    "invisible": ["\u200b\u200d\u2060", "\u00ad\u200e", "a\u200bb\u00adc d."],
    "controls": ["a\x01b\x1bc \x7f d.", "\x02\x03", "Tab\there\x0b and\x0c there."],
    "breaks": ["One\u2028two\u2029three\x85four.", "\u2028", "\x1c\x1d\x1e"],
    "spaces": ["\u00a0\u3000\u2003", "wide\u3000space \u00a0 here."],
    "one_word": ["a", ".", "supercalifragilistic" * 40],
    "same": ["The same words.", "The same words.", "the SAME words"],
    "special_tokens": ["[CLS] [SEP] [MASK] [PAD] [UNK] ##s.", "<s> </s> \u2581 \u0120."],
}


def raw_files(form, documents):
    """The documents as raw files of a format."""
    if form == "jsonl":
        lines = (json.dumps({"text": document}) for document in documents)
        return {"a.jsonl": "\n".join(lines).encode()}
    if form == "books":
        return {f"{n:05d}.txt": document.encode() for n, document in enumerate(documents)}
    return {"part-0": "\n\n".join(documents).encode() + b"\n"}


def check_odd(folder, form, odd):
    run = Run(folder / "run", form, overlay=TWO_PARTS)

    run.give(raw_files(form, PLAIN[:9] + odd + PLAIN[9:])).make()

    check_text(run)
    check_instances(run)


@pytest.mark.parametrize("form", SOURCES)
def test_odd_text_among_plain_text_adds_up(tmp_path, form):
    check_odd(tmp_path, form, [text for texts in ODD.values() for text in texts])


@pytest.mark.slow
@pytest.mark.parametrize("form", SOURCES)
@pytest.mark.parametrize("name", ODD)
def test_each_kind_of_odd_text_adds_up(tmp_path, name, form):
    check_odd(tmp_path, form, ODD[name])


@pytest.mark.parametrize("workers", [2, pytest.param(7, marks=pytest.mark.slow)])
def test_workers_and_jobs_change_no_byte(tmp_path, workers):
    data = raw_files("text", [*PLAIN, *(text for texts in ODD.values() for text in texts)])
    jobs = {"encode": {"jobs": 1}, "shard": {"jobs": 3}}
    one = Run(tmp_path / "one").give(data).make()
    more = Run(tmp_path / "more").give(data).make(workers=workers)
    cut = Run(tmp_path / "cut", overlay=jobs).give(data).make()

    assert made_by(more) == made_by(one)
    assert files_by_name(cut) == files_by_name(one)
    assert {path.parent.name for path in (cut.folder / "shard").rglob("*.h5")} == {
        "000",
        "001",
        "002",
    }


def made_by(run):
    return {k: v for stage in STAGES for k, v in content(run.folder / stage).items()}


def files_by_name(run):
    return {path.name: path.read_bytes() for path in run.folder.rglob("*.h5")}


@pytest.mark.parametrize(
    ("ending", "form"), [("\r\n", "text"), ("\r", "text"), ("\r\n", "results4"), ("\r\n", "books")]
)
def test_line_ends_change_no_byte(tmp_path, ending, form):
    made = {}
    for name, end in (("lf", "\n"), ("other", ending)):
        files = {n: d.replace(b"\n", end.encode()) for n, d in raw_files(form, PLAIN).items()}
        run = Run(tmp_path / name, form, overlay=TWO_PARTS).give(files).make("extract")
        made[name] = content(run.folder / "extract")
    texts = [{k: v for k, v in files.items() if k.endswith(".txt")} for files in made.values()]

    assert texts[0] == texts[1]
    assert len(texts[0]) == 2


def test_blank_lines_and_a_file_without_an_end_add_up(tmp_path):
    data = as_text(plain_documents(14)).replace(b"\n\n", b"\n \t\n\n\r\n\n").rstrip()
    run = Run(tmp_path / "run", "results4", overlay=TWO_PARTS)

    run.give({"b/part-1": b"\n\n\n", "part-0": b"\n\n" + data, "part-2": b""}).make()

    assert run.manifest("extract/docs/manifest.json")["counts"]["documents"] == 14
    check_text(run)
    check_instances(run)


@pytest.mark.parametrize(("form", "ends"), [("text", ". "), ("results4", " ")])
def test_a_line_of_ten_megabytes_adds_up(tmp_path, form, ends):
    line = ends.join([*PLAIN, ""]) * (10_000_000 // len(" ".join(PLAIN)))
    sentences = {"sentences": "split"} if form == "text" else {}
    run = Run(tmp_path / "run", form, overlay=TWO_PARTS, source=sentences)

    run.give(raw_files(form, [*PLAIN[:8], line, *PLAIN[8:]])).make()

    assert run.manifest("split/manifest.json")["counts"]["documents"] == 15
    check_text(run)
    check_instances(run)


@pytest.mark.parametrize("form", SOURCES)
@pytest.mark.parametrize("text", ["One sentence.", "", "\n \n\t\n", "\x00", "\ufeff"])
def test_a_corpus_of_one_sentence_or_none_is_refused(tmp_path, form, text):
    run = Run(tmp_path / "run", form, overlay={"split": {"parts": 1, "held_out": {"fraction": 0}}})

    with pytest.raises((SplitError, ExtractError, DecodingError, JsonLinesError)) as error:
        run.give(raw_files(form, [text])).make()

    message = str(error.value)
    assert any(word in message for word in ("split.parts is 1", "'docs'", "00000.txt is no text"))
    assert not (run.folder / "split").exists()


@pytest.mark.parametrize(
    ("form", "data", "named"),
    [
        ("text", b"\xff\xfe\xfd\n", r"part-0, line 3: .*0xff.*UTF-8"),
        ("results4", b"caf\xe9\n", r"part-0, line 3: .*0xe9.*UTF-8"),
        ("results4", b"\xed\xa0\x80\n", r"part-0, line 3: .*0xed.*UTF-8"),
        ("jsonl", b'{"text": "caf\xe9"}\n', r"part-0, line 1, has .*3, .*part-0, line 3"),
        ("books", b"a\x00b" * 9, r"part-0 is no text: it holds NUL characters"),
    ],
)
def test_bytes_that_are_no_text_are_refused_with_file_and_line(tmp_path, form, data, named):
    run = Run(tmp_path / "run", form, source={"max_bad_share": 0.0} if form == "jsonl" else {})
    if form == "jsonl":
        named, data = r"bad_encoding 1.*part-0, line 3, is not UTF-8 .*0xe9", b"\n\n" + data
    elif form != "books":
        data = b"Plain.\n\n" + data

    with pytest.raises(ValueError, match=named) as error:
        run.give({"part-0": data, "part-1": b"Plain text."}).make("extract")

    assert not isinstance(error.value, UnicodeError)
    assert not (run.folder / "extract").exists() or not list((run.folder / "extract").iterdir())


def test_65k_documents_add_up(tmp_path):
    documents = [f"Word{n} and word{n * n}." for n in range(65_537)]
    run = Run(
        tmp_path / "run", overlay={"split": {"parts": 30}, "filter": {"near_duplicates": None}}
    )

    run.give({"a.txt": "\n\n".join(documents).encode()}).make()

    assert run.manifest("extract/docs/manifest.json")["counts"]["documents"] == 65_537
    check_text(run)
    check_instances(run)


nasty = st.text(
    st.sampled_from(
        [*"ab.? \n\r\t\x00\x85\u00a0\u00ad\u0301\u05d0\u200b\u202e\u2028\u4e2d\u3002\ufeff"]
    )
    | st.characters(exclude_categories=["Cs"]),
    max_size=40,
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    documents=st.lists(nasty, min_size=1, max_size=12),
    form=st.sampled_from([*SOURCES]),
    parts=st.integers(1, 3),
)
def test_any_text_adds_up_or_is_refused_with_its_name(tmp_path_factory, documents, form, parts):
    folder = tmp_path_factory.mktemp("any") / "run"
    run = Run(folder, form, {"split": {"parts": parts, "held_out": {"fraction": 0.0}}})
    files = raw_files(form, documents + PLAIN[: 2 * parts])

    try:
        run.give(files).make()
    except DecodingError as error:
        if "NUL characters" in str(error) and any(name in str(error) for name in files):
            return
        raise
    check_text(run)
    check_instances(run)
