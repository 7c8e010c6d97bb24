import errno

import h5py
import numpy as np
import pytest

from bert.data.hdf5_file import create_hdf5
from tests.mounts import small_disk


def fill(file, size):
    file.create_dataset("plain", (size,), "u2", track_times=False)[:] = np.arange(size)
    zipped = file.create_dataset("zipped", (size,), "i4", compression="gzip", track_times=False)
    zipped[:] = np.random.default_rng(0).integers(0, 1 << 30, size)
    ragged = file.create_dataset("ragged", (3,), h5py.vlen_dtype(np.dtype("i2")), track_times=False)
    ragged[1] = np.arange(5)
    file.attrs["text"] = "x" * 1000


@pytest.mark.parametrize("size", [0, 1, 50_000])
def test_the_file_is_read_back_and_equal_content_gives_equal_bytes(tmp_path, size):
    for name in ("a", "b"):
        with create_hdf5(tmp_path / name) as file:
            fill(file, size)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with h5py.File(tmp_path / "a") as file:
        assert np.array_equal(file["plain"], np.arange(size).astype("u2"))
        assert len(file["zipped"]) == size
        assert [len(row) for row in file["ragged"]] == [0, 5, 0]
        assert file.attrs["text"] == "x" * 1000


def write(path):
    with create_hdf5(path) as file:
        fill(file, 50_000)


# The whole file has 300 kB: no room for its head, its arrays, or its last page.
@pytest.mark.parametrize("pages", [1, 2, 10, 30, 60])
def test_a_full_disk_is_one_error_that_names_the_file(tmp_path, pages):
    with (
        small_disk(tmp_path / "disk", pages * 4096) as disk,
        pytest.raises(OSError, match=r"No space left on device: .*shard\.h5") as error,
    ):
        write(disk / "shard.h5")

    assert error.value.errno == errno.ENOSPC


def fail(path):
    with create_hdf5(path):
        raise KeyError("mine")


def test_errors_of_the_caller_pass_through(tmp_path):
    with pytest.raises(KeyError, match="mine"):
        fail(tmp_path / "a")
