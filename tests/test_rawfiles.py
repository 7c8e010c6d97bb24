import json
import re
from pathlib import Path
from typing import Any

import pytest

from bert.config import ConfigError, Section, check
from bert.fetch.deadlinks import advice, replacement
from bert.fetch.fetched import FetchError
from bert.fetch.rawfiles import RawFile, file_name, load_raw_files
from tests.web import raw

URL = "https://x.org/f"
SHA256 = "0" * 64


def config_file(folder: Path, values: Any) -> Path:
    file = folder / "fetch.wiki.json"
    file.write_text(json.dumps(values))
    return file


def test_the_items_of_one_name_are_read_from_a_json_list(tmp_path: Path) -> None:
    items = [raw("a").model_dump(), raw("https://x.org/b").model_dump()]
    assert load_raw_files(config_file(tmp_path, items)) == [raw("a"), raw("https://x.org/b")]


def test_all_problems_of_a_list_are_told_with_their_places(tmp_path: Path) -> None:
    good = raw("a").model_dump()
    bad = [good | {"size": 0}, good | {"sha265": "0"}, {"size": 3}]
    with pytest.raises(ConfigError) as caught:
        load_raw_files(config_file(tmp_path, bad))
    assert "fetch.wiki.0.size is 0" in str(caught.value)
    assert "fetch.wiki.1.sha265 is not a known key; did you mean `sha256`?" in str(caught.value)
    assert "fetch.wiki.2.location is missing" in str(caught.value)


def test_an_empty_and_a_missing_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"fetch\.wiki is an empty list"):
        load_raw_files(config_file(tmp_path, []))
    with pytest.raises(FileNotFoundError, match="rule `section` writes it"):
        load_raw_files(tmp_path / "fetch.none.json")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("ftp://x.org/f", "must be http://, https:// or a local path"),
        ("https:///f", "must be http://, https:// or a local path"),
        ("https://me:secret@x.org/f", "secrets do not belong in config"),
        ("https://x.org/a file", "percent-encoded"),
        ("ftp://x.org/f", "Most ftp servers answer to https://"),
        ("https://x.org/..", "must end in the name of a file"),
        ("", "at least 1 character"),
    ],
)
def test_an_unusable_location_is_refused(tmp_path: Path, location: str, message: str) -> None:
    values = raw("a").model_dump() | {"location": location}
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_raw_files(config_file(tmp_path, [values]))


def test_a_raw_file_is_a_section() -> None:
    assert issubclass(RawFile, Section)
    assert all(field.description for field in RawFile.model_fields.values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"checksums": "all.md5"}, "checksums is for a local folder"),
        ({"pattern": "*.gz"}, "pattern is for folders and lists"),
        ({"listing": True, "size": 3}, "stands for many files; size is for one"),
        ({"location": "https://x.org/d/", "sha256": SHA256}, "sha256 is for one"),
        ({"location": "a", "mirrors": [URL]}, "mirrors are for addresses"),
        ({"mirrors": ["https://y.org/f"]}, "mirrors need a sha256, sha1 or md5"),
        ({"mirrors": ["https://y.org/d/"], "md5": "0" * 32}, "must be a file, not ending in /"),
        ({"location": "https://x.org/d/", "mirrors": [URL]}, "must be a folder, ending in /"),
        ({"mirrors": ["ftp://y.org/f"], "md5": "0" * 32}, "must be http://, https://"),
        ({"sha1": "0" * 39}, "fetch.wiki.0.sha1"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_raw_files(config_file(tmp_path, [{"location": URL} | values]))


def test_an_address_that_ends_in_a_slash_or_is_a_listing_stands_for_many_files() -> None:
    assert not raw(URL).is_list
    assert raw("https://x.org/d/", pattern="*.gz").is_list
    assert raw("https://x.org/sha1sums.txt", listing=True).is_list
    assert raw("lists/urls.txt", listing=True).is_list
    assert not raw("a/folder/").is_list


def test_the_name_of_a_file_is_safe_for_every_file_system() -> None:
    assert file_name("https://x.org/a/b%20c.txt?x=1#y") == "b_c.txt"
    assert file_name("https://x.org/a/%2e%2e%2fpasswd") == "_passwd"
    assert file_name("https://x.org/.hidden") == "hidden"
    assert file_name("https://x.org/") == ""


# Dead addresses


@pytest.mark.parametrize(
    ("url", "instead"),
    [
        ("https://drive.google.com/file/d/1X/view", "bert-input-files.uri"),
        ("https://drive.google.com/uc?id=1X", "Skylion007/openwebtext"),
        ("https://battle.shawwn.com/sdb/books1/books1.tar.gz", "Project Gutenberg"),
        ("https://the-eye.eu/public/AI/pile_preliminary_components/books1.tar.gz", "Gutenberg"),
        ("https://s3.amazonaws.com/senteval/senteval_data/msr_paraphrase_train.txt", "fbaipublic"),
        ("https://gist.githubusercontent.com/W4ngatang/60/raw/17/download_glue_data.py", "`mrpc`"),
        ("https://worksheets.codalab.org/rest/bundles/0x/contents/blob/", "scorer"),
        ("https://github.com/allenai/bi-att-flow/blob/master/squad/evaluate-v1.1.py", "raw."),
    ],
)
def test_a_dead_address_is_refused_with_what_to_use_instead(url: str, instead: str) -> None:
    with pytest.raises(ConfigError, match=r"is a dead address: ") as caught:
        check(RawFile, {"location": url}, where="a test")
    assert instead in str(caught.value)
    assert "docs/data.md" in str(caught.value)


def test_a_live_address_is_not_called_dead() -> None:
    for url in (
        "https://dumps.wikimedia.org/enwiki/20260401/dumpstatus.json",
        "https://dl.fbaipublicfiles.com/senteval/senteval_data/msr_paraphrase_train.txt",
        "https://raw.githubusercontent.com/a/b/main/c.txt",
        "https://huggingface.co/google-bert/bert-base-uncased/resolve/main/vocab.txt",
    ):
        assert replacement(url) is None


def test_advice_belongs_to_its_address() -> None:
    assert "deletes dated dumps" in advice("https://dumps.wikimedia.org/enwiki/20200101/f.bz2")
    assert "deletes dated dumps" not in advice("https://dumps.wikimedia.org/enwiki/latest/f.bz2")
    assert "BERT_CONTACT" in advice("https://dumps.wikimedia.org/enwiki/latest/f.bz2")
    assert advice("https://x.org/f") == ""
