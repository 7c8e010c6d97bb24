import io
import lzma
import os
import tarfile

import pytest

from bert.config import check
from bert.text import openwebtext
from bert.text.decoding import DecodingError
from bert.text.extract import extract
from bert.text.openwebtext import OpenWebTextConfig, list_items, read_item
from bert.text.unpacked import ArchiveError

SECTION = {
    "format": "openwebtext",
    "raw": "owt",
    "pattern": "*",
    "licence": "testing only",
    "min_characters": 10,
    "drop_paragraphs": ["photo", "advertisement continue reading"],
}
TEXTS = {
    "urlsf_subset00-1_data/0000000-aa.txt": b"First page. It is long.\n\nPhoto\n\nIt goes\non.",
    "urlsf_subset00-1_data/0000001-bb.txt": "Second caf\u00e9 page.".encode(),
    "urlsf_subset00-2_data/0000100-cc.txt": b"Third page, in caf\xe9s.\r\n\r\nIt ends.",
    "urlsf_subset01-1_data/0000200-dd.txt": b"Fourth page it is.",
}
DOCUMENTS = [
    ("urlsf_subset00-1_data/0000000-aa.txt", ["First page.", "It is long.", "It goes on."]),
    ("urlsf_subset00-1_data/0000001-bb.txt", ["Second caf\u00e9 page."]),
    ("urlsf_subset00-2_data/0000100-cc.txt", ["Third page, in caf\u00e9s.", "It ends."]),
    ("urlsf_subset01-1_data/0000200-dd.txt", ["Fourth page it is."]),
]


def tar(members):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def data_archives(texts=TEXTS):
    """Name to bytes of the `*_data.xz` archives."""
    folders = sorted({name.partition("/")[0] for name in texts})
    return {
        f"{folder}.xz": lzma.compress(
            tar({n.partition("/")[2]: d for n, d in texts.items() if n.startswith(f"{folder}/")})
        )
        for folder in folders
    }


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def published(folder):
    inner = {f"openwebtext/{name}": data for name, data in data_archives().items()}
    return write(folder, {"openwebtext.tar.xz": lzma.compress(tar(inner))})


def subsets(folder):
    archives = data_archives()
    return write(
        folder,
        {
            f"urlsf_subset0{n}.tar": tar(
                {f"openwebtext/{k}": v for k, v in archives.items() if f"subset0{n}" in k}
            )
            for n in (0, 1)
        },
    )


LAYOUTS = {
    "published": published,
    "subsets": subsets,
    "data archives": lambda folder: write(folder / "openwebtext", data_archives()),
    "texts": lambda folder: write(folder / "openwebtext", TEXTS),
    "texts packed again": lambda folder: write(
        folder, {"a.tar.xz": lzma.compress(tar({f"owt/{n}": d for n, d in TEXTS.items()}))}
    ),
}


def read(files, **changes):
    config = check(OpenWebTextConfig, SECTION | changes, where="a test")
    documents, counts = [], dict.fromkeys(openwebtext.COUNTS, 0)
    for item in list_items(files, config):
        found, names = read_item(item, config)
        documents += found
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    return documents, counts


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("small", [0, 1 << 20])
def test_all_layouts_give_the_same_documents_and_names(tmp_path, monkeypatch, layout, small):
    monkeypatch.setattr(openwebtext, "_SMALL_ARCHIVE", small)
    documents, counts = read(LAYOUTS[layout](tmp_path))
    assert documents == DOCUMENTS
    assert (counts["files"], counts["archives"]) in {(4, 3), (4, 0)}
    assert counts["dropped_paragraphs"] == 1
    assert (counts["encoding_utf-8"], counts["encoding_cp1252"]) == (3, 1)


def test_names_are_those_of_metadata_lists(tmp_path):
    listed = "urlsf_subset00-1_data/0000001-bb.txt\nurlsf_subset01-1_data/0000200-dd.txt\n"
    documents, _ = read(published(tmp_path))
    assert set(listed.split()) < {document.name for document in documents}


def test_what_is_skipped_is_counted(tmp_path):
    texts = {
        "d_data/1.txt": b"\n\n",
        "d_data/2.txt": b"Short.",
        "d_data/3.txt": b"Photo\n\nPHOTO\n",
    }
    texts |= {"d_data/4.html": b"<html>", "d_data/._5.txt": b"\0", "d_data/6.txt": b"It is a text."}
    documents, counts = read(write(tmp_path, data_archives(texts)))
    assert documents == [("d_data/6.txt", ["It is a text."])]
    assert counts == {
        "archives": 1,
        "files": 6,
        "encoding_utf-8": 4,
        "dropped_paragraphs": 2,
        "skipped_empty": 2,
        "skipped_not_txt": 2,
        "skipped_short": 1,
    }


def test_the_order_is_that_of_the_archive(tmp_path):
    members = {"2.txt": b"Two it is now.", "1.txt": b"One it is now."}
    documents, _ = read(write(tmp_path, {"x_data.xz": lzma.compress(tar(members))}))
    assert [document.name for document in documents] == ["x_data/2.txt", "x_data/1.txt"]


@pytest.mark.parametrize("small", [0, 1 << 20])
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path, small):
    files = published(tmp_path / "raw")
    config = check(OpenWebTextConfig, SECTION, where="a test")
    written = []
    for workers in (1, 2, 3):
        folder = tmp_path / str(workers)
        folder.mkdir()
        counts = extract(config, files, folder, workers=workers)
        written.append(
            (counts, *((folder / n).read_bytes() for n in ("documents.txt", "names.txt")))
        )
    assert written[0] == written[1] == written[2]
    assert written[0][2].decode().splitlines() == [name for name, _ in DOCUMENTS]


# What is refused


def test_two_layouts_of_the_same_texts_are_refused(tmp_path):
    files = [*published(tmp_path / "a"), *subsets(tmp_path / "b")]
    with pytest.raises(ArchiveError, match=r"comes twice, from .*one layout of the corpus"):
        read(files)
    files = [*LAYOUTS["texts"](tmp_path / "c"), *LAYOUTS["data archives"](tmp_path / "d")]
    with pytest.raises(ArchiveError, match="urlsf_subset00-1_data comes twice"):
        read(files)


@pytest.mark.parametrize("small", [0, 1 << 20])
def test_a_cut_off_archive_is_refused(tmp_path, monkeypatch, small):
    monkeypatch.setattr(openwebtext, "_SMALL_ARCHIVE", small)
    (file,) = published(tmp_path)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ArchiveError, match=r"openwebtext.tar.xz holds damaged or cut off xz data"):
        read([file])


def test_a_damaged_archive_inside_is_named_with_its_place(tmp_path):
    inner = {
        "openwebtext/x_data.xz": lzma.compress(tar({"1.txt": os.urandom(2000).hex().encode()}))[
            :-30
        ]
    }
    files = write(tmp_path, {"openwebtext.tar": tar(inner)})
    with pytest.raises(ArchiveError, match=r"openwebtext.tar/openwebtext/x_data.xz holds damaged"):
        read(files)


def test_texts_that_lead_out_of_the_archive_are_refused(tmp_path):
    files = write(tmp_path, {"x_data.xz": lzma.compress(tar({"../../1.txt": b"A."}))})
    with pytest.raises(ArchiveError, match="leads out of the archive"):
        read(files)


def test_a_binary_text_is_refused_with_its_place(tmp_path):
    files = write(tmp_path, data_archives({"x_data/1.txt": b"A\0B"}))
    with pytest.raises(DecodingError, match=r"x_data.xz/1.txt is no text"):
        read(files)


@pytest.mark.parametrize("layout", ["published", "texts"])
def test_pages_beyond_the_limit_are_refused(tmp_path, monkeypatch, layout):
    files = LAYOUTS[layout](tmp_path)
    monkeypatch.setattr(openwebtext, "_SMALL_ARCHIVE", 0)
    monkeypatch.setattr(openwebtext, "_LARGEST_TEXT", 20)
    with pytest.raises(ArchiveError, match="expected pages of at most"):
        read(files)


def test_a_small_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(openwebtext, "_LARGEST_UNPACKED", 1000)
    files = write(tmp_path, data_archives({f"x_data/{n}.txt": b"A." * 100 for n in range(6)}))
    with pytest.raises(ArchiveError, match="has 1200 bytes"):
        read(files)
