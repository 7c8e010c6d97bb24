import bz2
import gzip

import pytest
import zstandard

from bert.text.compression import CompressionError, compression_of, open_decompressed

TEXT = b"".join(b"%d " % n for n in range(200_000))
# With a checksum, as the command `zstd` writes it; without one, damage cannot always be seen.
ZSTD = zstandard.ZstdCompressor(write_checksum=True)
PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": ZSTD.compress}


def read(path, size=-1):
    with open_decompressed(path) as stream:
        found = b""
        while block := stream.read(size):
            found += block
    return found


@pytest.mark.parametrize("size", [-1, 1 << 10, 100_003])
@pytest.mark.parametrize("ending", PACK)
def test_compressed_text_comes_back(tmp_path, ending, size):
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(PACK[ending](TEXT))
    assert compression_of(path) == ending
    assert read(path, size) == TEXT


@pytest.mark.parametrize("ending", PACK)
def test_the_kind_is_known_by_the_bytes_not_by_the_name(tmp_path, ending):
    (tmp_path / "a.txt").write_bytes(PACK[ending](TEXT) * 2)
    assert read(tmp_path / "a.txt") == TEXT * 2


def test_a_plain_file_is_read_as_it_is(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"plain")
    assert compression_of(tmp_path / "a.txt") is None
    assert read(tmp_path / "a.txt") == b"plain"


def test_zstandard_frames_of_unknown_size_and_of_nothing_are_read(tmp_path):
    writer = zstandard.ZstdCompressor().compressobj()
    frame = writer.compress(TEXT) + writer.flush()
    (tmp_path / "a.zst").write_bytes(zstandard.compress(b"") + frame + zstandard.compress(b""))
    assert read(tmp_path / "a.zst") == TEXT


@pytest.mark.parametrize("ending", PACK)
def test_a_file_that_is_cut_off_is_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    packed = PACK[ending](TEXT)
    for size in (len(packed) - 1, len(packed) // 2):
        path.write_bytes(packed[:size])
        with pytest.raises(CompressionError, match=r"a\.\w+ ends in the middle of its compressed"):
            read(path)


@pytest.mark.parametrize("ending", PACK)
def test_a_damaged_file_is_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    packed = bytearray(PACK[ending](TEXT))
    packed[len(packed) // 2 : len(packed) // 2 + 40] = b"\xff" * 40
    path.write_bytes(packed)
    with pytest.raises(CompressionError, match=rf"holds damaged {ending} data.*Fetch it again"):
        read(path)


@pytest.mark.parametrize("ending", PACK)
def test_a_name_that_does_not_fit_the_bytes_is_refused(tmp_path, ending):
    (tmp_path / f"a{ending}").write_bytes(b"<html>")
    with pytest.raises(CompressionError, match=rf"named {ending} but starts with b'<htm'"):
        read(tmp_path / f"a{ending}")


def test_an_error_of_the_disk_is_not_taken_for_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.gz")
