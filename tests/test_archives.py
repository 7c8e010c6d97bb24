import bz2
import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.text.archives import is_archive, read_members
from bert.text.unpacked import ArchiveError, open_stream

PACK = {
    "": bytes,
    "xz": lambda data: lzma.compress(data, preset=0),
    "gz": gzip.compress,
    "bz2": bz2.compress,
}


def tar(members, form=tarfile.GNU_FORMAT, **kinds):
    """A tar archive of name to bytes; `kinds` gives members another type."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in kinds.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def read_all(data):
    return {m.name: m.stream.read() for m in read_members(open_stream(data), where="a.tar")}


# What is read


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.text("abc\u00e9\u4e2d-_", min_size=1, max_size=30), st.binary(max_size=2000), min_size=1
    )
)
def test_every_member_comes_back_in_order(pack, form, members):
    found = read_all(PACK[pack](tar(members, form)))
    assert list(found.items()) == list(members.items())


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_come_back(form):
    name = "/".join(["folder" * 10] * 9)
    assert read_all(tar({name: b"A."}, form)) == {name: b"A."}


def test_folders_are_left_out_and_dots_removed_from_names():
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        folder = tarfile.TarInfo("./x")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        info = tarfile.TarInfo("./x/a.txt")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"A."))
    assert read_all(target.getvalue()) == {"x/a.txt": b"A."}


def test_archives_in_archives_are_read_without_being_held():
    inner = lzma.compress(tar({"a.txt": b"A." * 50_000}))
    middle = tar({"inner.xz": inner, "b.txt": b"B."})
    found = []
    for outer in read_members(open_stream(gzip.compress(tar({"middle.tar": middle}))), where="o"):
        for member in read_members(outer.stream, where="m"):
            if is_archive(member.stream):
                found += [m.stream.read() for m in read_members(member.stream, where="i")]
            else:
                found.append(member.stream.read())
    assert found == [b"A." * 50_000, b"B."]


def test_a_member_that_is_not_read_is_skipped():
    data = tar({"a": b"A" * 100_000, "b": b"B" * 100_000, "c": b"C."})
    found = []
    for member in read_members(open_stream(lzma.compress(data)), where="a"):
        if member.name != "a":
            found.append(member.stream.read(2))
    assert found == [b"BB", b"C."]


def test_a_member_cannot_be_read_after_the_next_one_was_asked_for():
    members = read_members(open_stream(tar({"a": b"A" * 100_000, "b": b"B."})), where="a")
    first = next(members)
    next(members)
    with pytest.raises(ValueError, match="after the next one was asked for"):
        first.stream.read()


def test_several_packed_streams_with_padding_are_one_archive():
    data = tar({"a": b"A" * 5000, "b": b"B."})
    joined = lzma.compress(data[:3000]) + bytes(8) + lzma.compress(data[3000:]) + bytes(4)
    assert read_all(joined) == {"a": b"A" * 5000, "b": b"B."}


def test_what_is_an_archive_is_known_by_its_bytes():
    assert is_archive(open_stream(tar({"a": b"A."})))
    assert all(is_archive(open_stream(pack(b"A."))) for name, pack in PACK.items() if name)
    assert not any(is_archive(open_stream(data)) for data in (b"", b"A.\n" * 500, bytes(1024)))


@pytest.mark.parametrize("pack", PACK)
def test_memory_does_not_grow_with_members_or_their_number(pack):
    few = PACK[pack](tar({"a": os.urandom(1 << 22)}))
    many = PACK[pack](tar({f"{n}": b"" for n in range(2000)}))
    for data in (few, many):
        stream = open_stream(data)
        tracemalloc.start()
        for member in read_members(stream, where="a"):
            while member.stream.read(1 << 16):
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 << 20


# What is refused


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE],
)
def test_links_and_devices_are_refused(kind):
    data = tar({"a": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(ArchiveError, match=r"a.tar: 'a' is a link, a device or a sparse file"):
        read_all(data)


def test_sparse_files_are_refused():
    data = bytearray(tar({"a": b""}))
    data[156:157] = tarfile.GNUTYPE_SPARSE
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    with pytest.raises(ArchiveError, match="sparse file"):
        read_all(bytes(data))


@pytest.mark.parametrize("name", ["/a", "../a", "x/../../a", "x\\a", "a\nb", "."])
def test_names_that_lead_out_or_hold_odd_characters_are_refused(name):
    with pytest.raises(ArchiveError, match="is absolute, leads out of the archive"):
        read_all(tar({name: b"A."}, tarfile.PAX_FORMAT))


@pytest.mark.parametrize("pack", ["xz", "gz", "bz2"])
@pytest.mark.parametrize("cut", [30, 400, 1200])
def test_a_packed_archive_that_is_cut_off_is_refused(pack, cut):
    data = PACK[pack](tar({"a": os.urandom(3000)}))
    with pytest.raises(ArchiveError, match=r"cut off .* data"):
        read_all(data[:-cut])


@pytest.mark.parametrize("pack", ["xz", "gz", "bz2"])
def test_a_packed_archive_with_a_damaged_byte_is_refused(pack):
    data = bytearray(PACK[pack](tar({"a": os.urandom(3000)})))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ArchiveError, match="damaged or cut off"):
        read_all(bytes(data))


@pytest.mark.parametrize("size", [512, 700, 1024, 1536, 2048])
def test_a_tar_archive_cut_anywhere_is_refused(size):
    data = tar({"a": b"A" * 512, "b": b"B" * 512})
    with pytest.raises(ArchiveError, match=r"cut off|in the middle of a member|damaged"):
        read_all(data[:size])


def test_a_damaged_header_is_not_taken_for_the_end():
    data = bytearray(tar({"a": b"A.", "b": b"B.", "c": b"C."}))
    data[1024] ^= 0xFF
    with pytest.raises(ArchiveError, match="without the two empty blocks"):
        read_all(bytes(data))


NO_ARCHIVES = {
    "text": b"It is a text.",
    "gzip of a text": gzip.compress(b"A."),
    "zeros": bytes(10240),
}


# Named, because gzip's header has the time, and all workers must find the same tests.
@pytest.mark.parametrize("data", NO_ARCHIVES.values(), ids=NO_ARCHIVES)
def test_what_is_no_archive_is_refused(data):
    with pytest.raises(ArchiveError, match="holds no tar archive"):
        read_all(data)


def test_a_bomb_is_refused_early():
    bomb = lzma.compress(tar({"a": bytes(200 << 20)}), preset=0)
    member = next(read_members(open_stream(bomb), where="a"))
    pieces = iter(lambda: len(member.stream.read(1 << 16)), 0)
    read = []
    with pytest.raises(ArchiveError, match=r"expands from .* made to harm"):
        read.extend(pieces)
    assert sum(read) < 70 << 20


def test_a_header_that_announces_a_huge_name_is_refused_unread():
    data = bytearray(tar({"x" * 200: b""}))
    data[124:136] = b"%011o\0" % (1 << 32)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    with pytest.raises(ArchiveError, match="announces 4294967296 bytes"):
        read_all(bytes(data))


def test_an_xz_stream_that_asks_for_gigabytes_is_refused():
    data = bytearray(lzma.compress(tar({"a": b"A."})))
    end = 12 + 4 * (data[12] + 1)
    assert data[14:16] == b"\x21\x01"  # the block's filter: LZMA2, with one byte, the dictionary
    data[16] = 38  # 2 GiB
    data[end - 4 : end] = zlib.crc32(data[12 : end - 4]).to_bytes(4, "little")
    with pytest.raises(ArchiveError, match="Memory usage limit exceeded"):
        read_all(bytes(data))
