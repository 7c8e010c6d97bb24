import bz2
import json
import subprocess
import sys

import pytest

from bert.config import ConfigError
from bert.manifest import ROOT, read_manifest, sha256_file, write_manifest
from bert.text.decoding import DecodingError
from bert.text.documents import read_documents
from bert.text.extract import ExtractError, extract, load_extract_section, select_files
from bert.text.wikistreams import DumpError

WIKIPEDIA = {
    "format": "wikipedia",
    "raw": "dump",
    "pattern": "*.xml*",
    "licence": "CC-BY-SA-4.0",
    "min_characters": 5,
    "drop_sections": [],
}
BOOKS = {
    "format": "books",
    "raw": "books",
    "pattern": "*.txt",
    "licence": "public domain in the USA",
    "chapters_are_documents": False,
}
RESULTS4 = {"format": "results4", "raw": "results4", "pattern": "part-*", "licence": "CC-BY-SA-4.0"}


def dump(numbers, padding=0):
    """A dump in which every third page is a redirect and every seventh a talk page."""
    comment = "&lt;!--" + "x" * padding + "--&gt;"
    pages = "".join(
        f"<page><title>P{n}</title><ns>{int(n % 7 == 0)}</ns><id>{n + 100}</id>"
        + ("<redirect title='x' />" if n % 3 == 0 else "")
        + f"<revision><text>Page {n} is [[here|so]].{comment} "
        f"{'It goes on. ' * (n % 50)}</text></revision></page>"
        for n in numbers
    )
    return f"<mediawiki>{pages}</mediawiki>".encode()


def config_of(tmp_path, values):
    file = tmp_path / "section.json"
    file.write_text(json.dumps(values))
    return load_extract_section(file)


def raw_files(tmp_path, contents, name="raw"):
    """Writes raw files and their fetch manifest."""
    listed = []
    for file, data in contents.items():
        path = tmp_path / "files" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        listed.append({"path": str(path), "sha256": sha256_file(path), "bytes": len(data)})
    manifest = tmp_path / f"{name}.json"
    write_manifest(
        manifest, stage="fetch", config=[], inputs={}, counts={}, outputs=[], files=listed
    )
    return manifest


def run(tmp_path, values, contents, workers=1):
    """Selects and extracts; returns the bytes and the counts."""
    config = config_of(tmp_path, values)
    receipt = read_manifest(raw_files(tmp_path, contents), stage="fetch")
    files = [path for path, _ in select_files(receipt, config.pattern).values()]
    counts = extract(config, files, tmp_path, workers=workers)
    return counts, (tmp_path / "documents.txt").read_bytes()


def names(tmp_path):
    return (tmp_path / "names.txt").read_text("utf-8").splitlines()


# The stage


def test_a_dump_becomes_documents_and_every_page_is_counted(tmp_path):
    contents = {"b.xml": dump([7, 8]), "a.xml.bz2": bz2.compress(dump(range(1, 5)))}
    counts, data = run(tmp_path, WIKIPEDIA, contents)
    sentences = [
        "Page 1 is so.\nIt goes on.\n",
        "Page 2 is so.\n" + "It goes on.\n" * 2,
        "Page 4 is so.\n" + "It goes on.\n" * 4,
        "Page 8 is so.\n" + "It goes on.\n" * 8,
    ]
    assert data.decode() == "\n".join(sentences)
    assert names(tmp_path) == ["101", "102", "104", "108"]
    assert counts == {
        "documents": 4,
        "sentences": 19,
        "bytes": len(data),
        "dropped_sentences": 0,
        "files": 2,
        "pages": 6,
        "skipped_disambiguation": 0,
        "skipped_namespace": 1,
        "skipped_not_wikitext": 0,
        "skipped_redirect": 1,
        "skipped_short": 0,
    }


def test_books_become_documents_in_the_order_of_their_names(tmp_path):
    contents = {"b.txt": b"It was B.", "a.txt": b"It was caf\xe9.", "c.txt": b"", "d.md": b"No."}
    counts, data = run(tmp_path, BOOKS, contents)
    assert data.decode() == "It was caf\u00e9.\n\nIt was B.\n"
    assert names(tmp_path) == ["a.txt", "b.txt"]
    assert {name: count for name, count in counts.items() if count} == {
        "documents": 2,
        "sentences": 2,
        "bytes": len(data),
        "encoding_cp1252": 1,
        "encoding_utf-8": 2,
        "files": 3,
        "skipped_empty": 1,
    }


def test_a_results4_folder_passes_through_without_its_other_files(tmp_path):
    contents = {
        "part-00001-of-00002": b"C.\n",
        "part-00000-of-00002": b"A.\nB.\n\nB.\n",
        "eval.txt": b"held out.\n",
        "results4.md5": b"\xff",
    }
    counts, data = run(tmp_path, RESULTS4, contents)
    assert data == b"A.\nB.\n\nB.\n\nC.\n"
    expected = {"documents": 3, "sentences": 4, "bytes": len(data)}
    assert counts == expected | {"files": 2, "line_breaks_in_sentences": 0}


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    contents = {f"{n}.xml": dump(range(300 * n, 300 * (n + 1)), padding=5000) for n in range(2)}
    results = [run(tmp_path, WIKIPEDIA, contents, workers) for workers in (1, 2, 7)]
    assert results[0] == results[1] == results[2]
    assert results[0][0]["documents"] > 300
    books = {f"{n}.txt": f"It was book {n}.".encode() for n in range(9)}
    assert run(tmp_path, BOOKS, books, 1) == run(tmp_path, BOOKS, books, 3)


def test_what_is_written_is_in_the_text_format(tmp_path):
    odd = "<mediawiki><page><title>A</title><ns>0</ns><id>1</id><revision><text>An&amp;#8232;ox "
    odd += "&amp;#10; is. "
    odd += "So&amp;#12; is.\x85It is.\u2028\u2028We go.</text></revision></page></mediawiki>"
    counts, _ = run(tmp_path, WIKIPEDIA, {"a.xml": odd.encode()})
    assert list(read_documents(tmp_path / "documents.txt")) == [
        ["An ox is.", "So is.", "It is.", "We go."]
    ]
    assert counts["sentences"] == 4


# Guards


@pytest.mark.parametrize(
    ("values", "contents"),
    [
        (WIKIPEDIA, {"a.xml": b"<mediawiki></mediawiki>"}),
        (WIKIPEDIA, {"a.xml": dump([3, 7])}),
        (BOOKS, {"a.txt": b"\n\nCHAPTER I\n"}),
        (RESULTS4, {"part-0": b"\n"}),
    ],
)
def test_a_source_without_documents_is_an_error(tmp_path, values, contents):
    with pytest.raises(ExtractError, match=f"No document in the raw files of '{values['raw']}'"):
        run(tmp_path, values, contents)


@pytest.mark.parametrize("values", [WIKIPEDIA, BOOKS, RESULTS4])
def test_a_pattern_that_matches_no_file_is_an_error(tmp_path, values):
    with pytest.raises(ExtractError, match=r"None of the 1 raw files matches.*x.dat.*`pattern`"):
        run(tmp_path, values, {"x.dat": b""})


def test_a_missing_file_is_an_error(tmp_path):
    manifest = raw_files(tmp_path, {"a.txt": b"A.", "b.txt": b"B."})
    (tmp_path / "files" / "b.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"b.txt is missing; the rule `fetch` brings it"):
        select_files(read_manifest(manifest, stage="fetch"), "*.txt")


def test_a_file_that_changed_since_it_was_fetched_is_an_error(tmp_path):
    manifest = raw_files(tmp_path, {"a.txt": b"A."})
    (tmp_path / "files" / "a.txt").write_bytes(b"A.B")
    with pytest.raises(ExtractError, match=r"a.txt has 3 bytes; it had 2 when it was fetched"):
        select_files(read_manifest(manifest, stage="fetch"), "*.txt")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("values", "contents", "error"),
    [
        (WIKIPEDIA, {"a.xml": dump([1])[:-20]}, DumpError),
        (BOOKS, {"a.txt": b"It is.", "b.txt": b"\x00"}, DecodingError),
        (RESULTS4, {"part-0": b"A.\n\xff\n"}, DecodingError),
    ],
)
def test_bad_files_are_errors_with_any_number_of_workers(
    tmp_path, values, contents, error, workers
):
    with pytest.raises(error):
        run(tmp_path, values, contents, workers)


def test_names_are_relative_to_the_common_folder_and_sorted(tmp_path):
    manifest = raw_files(tmp_path, {"x/b.txt": b"B.", "x/a/c.txt": b"C.", "x/d.md": b"D."})
    files = select_files(read_manifest(manifest, stage="fetch"), "*.txt")
    assert list(files) == ["a/c.txt", "b.txt"]
    assert files["b.txt"] == (tmp_path / "files/x/b.txt", sha256_file(tmp_path / "files/x/b.txt"))


# Configuration


@pytest.mark.parametrize("values", [WIKIPEDIA, BOOKS, RESULTS4])
def test_a_section_of_each_format_is_loaded(tmp_path, values):
    assert config_of(tmp_path, values).model_dump() == values


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({**BOOKS, "format": "word"}, "'word' found using 'format'"),
        ({"raw": "books"}, "extract is .*'format'"),
        ({**BOOKS, "patern": "*"}, "extract.patern is not a known key; did you mean `pattern`"),
        ({**BOOKS, "min_characters": 5}, "extract.min_characters is not a known key"),
        ({"format": "results4", "raw": "a"}, "extract.pattern is missing"),
    ],
)
def test_a_wrong_section_is_refused_by_its_key(tmp_path, values, problem):
    with pytest.raises(ConfigError, match=problem):
        config_of(tmp_path, values)


# The script


def script(tmp_path, values, manifest, *more):
    (tmp_path / "section.json").write_text(json.dumps(values))
    command = [sys.executable, str(ROOT / "scripts/extract.py")]
    command += ["--config", "section.json", "--raw", manifest.name, "--output", "out/source"]
    command += ["--log", "log/extract.log", *more]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_the_script_writes_a_folder_with_its_receipt(tmp_path):
    manifest = raw_files(tmp_path, {"a.xml.bz2": bz2.compress(dump(range(20)))})
    result = script(tmp_path, WIKIPEDIA, manifest, "--workers", "2")
    assert (result.returncode, result.stderr) == (0, "")
    folder = tmp_path / "out" / "source"
    assert sorted(p.name for p in folder.iterdir()) == [
        *("documents.txt", "manifest.json", "names.txt")
    ]
    receipt = read_manifest(folder / "manifest.json", stage="extract")
    text = folder / "documents.txt"
    assert receipt["config"] == WIKIPEDIA
    assert receipt["inputs"] == {"dump/a.xml.bz2": sha256_file(tmp_path / "files/a.xml.bz2")}
    assert receipt["outputs"] == {
        file.name: {"sha256": sha256_file(file), "bytes": file.stat().st_size}
        for file in (text, folder / "names.txt")
    }
    assert receipt["statistics"] == {"licence": "CC-BY-SA-4.0"}
    counts = receipt["counts"]
    skipped = sum(count for name, count in counts.items() if name.startswith("skipped_"))
    assert counts["documents"] + skipped == counts["pages"] == 20
    assert counts["documents"] == len(list(read_documents(text)))


@pytest.mark.parametrize(
    ("values", "contents", "problem"),
    [
        (WIKIPEDIA, {"a.xml.bz2": bz2.compress(dump([1]))[:-5]}, "ends in the middle"),
        (WIKIPEDIA, {"a.xml.bz2": b"<mediawiki/>"}, "named .bz2 but starts with"),
        (BOOKS, {"a.txt": b""}, "No document"),
        ({**BOOKS, "pattern": "*.pdf"}, {"a.txt": b"A."}, "None of the 1 raw files"),
    ],
)
def test_the_script_fails_with_one_line_and_leaves_nothing(tmp_path, values, contents, problem):
    result = script(tmp_path, values, raw_files(tmp_path, contents))
    assert result.returncode == 1
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1
    assert list((tmp_path / "out").glob("**/*")) == []


def test_the_script_keeps_the_last_good_folder_when_it_fails(tmp_path):
    script(tmp_path, BOOKS, raw_files(tmp_path, {"a.txt": b"It is good."}))
    result = script(tmp_path, BOOKS, raw_files(tmp_path, {"a.txt": b"\x00"}))
    assert result.returncode == 1
    assert (tmp_path / "out/source/documents.txt").read_bytes() == b"It is good.\n"
