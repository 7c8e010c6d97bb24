"""A raw item that is one archive is read as the folder in it, and nothing leads out of it."""

import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile

import pytest
import torch

from bert.convert.found import WeightsError
from bert.convert.reading import read_weights
from bert.data.vocab import GIVEN_FILES, read_given
from bert.manifest import ROOT, read_manifest, sha256_file, write_json, write_manifest
from bert.text.archive_item import open_item
from bert.text.unpacked import ArchiveError
from tests.foreign_weights import assert_same, files, network, vocabulary_folder
from tests.test_archives import tar
from tests.test_reading import WRITERS

MODES = {".zip": None, ".tar": "w:", ".tar.gz": "w:gz", ".TGZ": "w:gz", ".tar.xz": "w:xz"}


def pack(folder, ending):
    """An archive of the folder, under its name, beside it."""
    archive = folder.with_name(folder.name + ending)
    if MODES[ending] is None:
        shutil.make_archive(folder, "zip", folder.parent, folder.name)
    else:
        with tarfile.open(archive, MODES[ending]) as packed:
            packed.add(folder, folder.name)
    return archive


def weights(tmp_path, layout):
    vocabulary = vocabulary_folder(tmp_path / "vocab")
    folder = tmp_path / "uncased_L-2_H-8_A-2"
    WRITERS[layout](folder, vocabulary, network().state_dict())
    return folder


def zipped(archive, members, **changes):
    """A zip of name to bytes; `changes` are set on every member."""
    with zipfile.ZipFile(archive, "w") as packed:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            for key, value in changes.items():
                setattr(info, key, value)
            packed.writestr(info, data)
    return archive


def unpack(archive, names=None):
    with open_item([archive], archive.parent / "out", names) as item:
        return {file.name: file.read_bytes() for file in item.files}


# What is read


@pytest.mark.parametrize("ending", MODES)
@pytest.mark.parametrize("layout", WRITERS)
def test_an_archive_of_any_layout_is_read_as_its_folder(tmp_path, layout, ending):
    folder = weights(tmp_path, layout)
    expected = read_weights(files(folder))

    with open_item([pack(folder, ending)], tmp_path / "run/convert") as item:
        found = read_weights(item.files)

        assert_same(found.tensors, expected.tensors)
        assert (found.said, found.skipped) == (expected.said, expected.skipped)
        assert [file.name for file in found.files] == [file.name for file in expected.files]
        assert item.left == []
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("ending", MODES)
def test_the_vocabulary_is_found_in_the_archive_and_nothing_else_unpacked(tmp_path, ending):
    folder = weights(tmp_path, "TensorFlow 1 checkpoint")
    archive = pack(folder, ending)

    with open_item([archive], tmp_path / "vocab", GIVEN_FILES) as item:
        lexicon, used = read_given(item.files)
        digests = item.digests(used)

    assert lexicon == read_given(files(folder))[0]
    assert digests == {
        archive.name: sha256_file(archive),
        f"{archive.name}/{folder.name}/vocab.txt": sha256_file(folder / "vocab.txt"),
    }
    assert [name.rpartition(".")[2] for name in sorted(item.left)] == [
        *("data-00000-of-00002", "data-00001-of-00002", "index")
    ]


def test_the_stage_vocab_takes_it_from_the_archive(tmp_path):
    archive = pack(vocabulary_folder(tmp_path / "given"), ".tar.gz")
    listed = [{"path": archive.name, "bytes": archive.stat().st_size}]
    nothing = {"config": {}, "inputs": {}, "counts": {}, "outputs": []}
    write_manifest(tmp_path / "fetch.json", stage="fetch", files=listed, **nothing)
    section = {"kind": "given", "raw": "a", "lowercase": True, "coverage_megabytes": 1}
    write_json(tmp_path / "vocab.json", section)
    command = [sys.executable, ROOT / "scripts/vocab.py", "--config", "vocab.json", "--extract"]
    command += ["--given", "fetch.json", "--output", "run/vocab"]

    subprocess.run(command, cwd=tmp_path, check=True)

    vocabulary = sha256_file(tmp_path / "given/vocab.txt")
    assert sha256_file(tmp_path / "run/vocab/vocab.txt") == vocabulary
    receipt = read_manifest(tmp_path / "run/vocab/manifest.json", stage="vocab")
    assert receipt["inputs"]["given.tar.gz"] == sha256_file(archive)
    assert receipt["inputs"]["given.tar.gz/given/vocab.txt"] == vocabulary
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["vocab"]


def test_hidden_members_are_left_as_fetch_leaves_hidden_files(tmp_path):
    members = [("m/a.pt", b"A"), ("__MACOSX/m/._a.pt", b"B"), ("m/.git/c.pt", b"C")]
    archive = zipped(tmp_path / "m.zip", members)
    with open_item([archive], tmp_path / "out") as item:
        assert [file.name for file in item.files] == ["a.pt"]
        assert item.left == ["__MACOSX/m/._a.pt", "m/.git/c.pt"]


def test_files_that_are_no_lone_archive_are_taken_as_they_are(tmp_path):
    torch.save({}, tmp_path / "ckpt.pt")
    for given in ([tmp_path / "ckpt.pt"], [tmp_path / "a.zip", tmp_path / "b.txt"]):
        with open_item(given, tmp_path / "out") as item:
            assert item.files == given
            assert item.archive is None
    assert [file.name for file in tmp_path.iterdir()] == ["ckpt.pt"]


def test_what_a_killed_run_unpacked_is_not_taken(tmp_path):
    left = tmp_path / ".out.unpacked.tmp/old.pt"
    left.parent.mkdir()
    left.write_bytes(b"old")
    assert unpack(zipped(tmp_path / "a.zip", [("new.pt", b"new")])) == {"new.pt": b"new"}
    assert not left.parent.exists()


# What is refused


def test_an_archive_without_a_checkpoint_is_refused_by_name(tmp_path):
    archive = pack(vocabulary_folder(tmp_path / "vocab"), ".zip")
    with (
        open_item([archive], tmp_path / "out") as item,
        pytest.raises(WeightsError, match=r"vocab\.zip names 2 files with 0 checkpoints"),
    ):
        read_weights(item.files, str(archive))


def test_an_archive_without_a_vocabulary_is_refused_by_name(tmp_path):
    archive = zipped(tmp_path / "m.zip", [("m/a.pt", b"A")])
    with pytest.raises(ArchiveError, match=r"m\.zip holds 1 files \(m/a.pt\); expected vocab.txt"):
        unpack(archive, GIVEN_FILES)


@pytest.mark.parametrize("name", ["../a", "/a", "x/../../a", "x\\a", "a\nb", "."])
@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_names_that_lead_out_are_refused_and_nothing_is_written(tmp_path, ending, name):
    archive = tmp_path / f"in/bad{ending}"
    archive.parent.mkdir()
    if ending == ".zip":
        zipped(archive, [(name, b"A")])
    else:
        archive.write_bytes(tar({name: b"A"}, tarfile.PAX_FORMAT))

    with pytest.raises(ArchiveError, match="is absolute, leads out of the archive"):
        unpack(archive)
    assert files(tmp_path) == [archive]


def test_links_are_refused(tmp_path):
    link = (stat.S_IFLNK | 0o777) << 16
    archive = zipped(tmp_path / "a.zip", [("a", b"/etc/passwd")], external_attr=link)
    with pytest.raises(ArchiveError, match=r"a\.zip: 'a' is a link or a device"):
        unpack(archive)
    (tmp_path / "a.tar").write_bytes(tar({"a": b""}, type=tarfile.SYMTYPE, linkname="/etc/passwd"))
    with pytest.raises(ArchiveError, match=r"a\.tar: 'a' is a link"):
        unpack(tmp_path / "a.tar")


def test_encrypted_members_and_odd_methods_are_refused(tmp_path):
    odd = zipped(tmp_path / "odd.zip", [("a", b"A")], compress_type=zipfile.ZIP_LZMA)
    locked = zipped(tmp_path / "locked.zip", [("a", b"A")])
    data = bytearray(locked.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flags in the list of members
    locked.write_bytes(data)
    for archive in (odd, locked):
        with pytest.raises(ArchiveError, match="encrypted, or packed by another method"):
            unpack(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a", "a/b/c"), ("a/b", "a")])
def test_names_that_stand_twice_are_refused(tmp_path, names):
    archive = zipped(tmp_path / "a.zip", [(name, b"A") for name in names])
    with pytest.raises(ArchiveError, match="is there twice, or as a file and as a folder"):
        unpack(archive)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", bytes(100 << 20))
    with pytest.raises(ArchiveError, match=r"expands from .* made to harm"):
        unpack(archive)


# The head of a member, its data, the size of the list of members.
@pytest.mark.parametrize("place", [0, 60, -10])
def test_a_damaged_or_cut_zip_is_refused(tmp_path, place):
    archive = zipped(tmp_path / "a.zip", [("a", b"A" * 100)])
    data = bytearray(archive.read_bytes())
    data[place] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match="no whole plain zip file"):
        unpack(archive)
    archive.write_bytes(data[:50])
    with pytest.raises(ArchiveError, match="no whole plain zip file"):
        unpack(archive)
