import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from safetensors.torch import load_file, save_file

from bert.checkpoints import tensor_file
from bert.checkpoints.tensor_file import Receipt, TensorFileError, read_tensors, write_tensors

TYPES = list(tensor_file._TYPES)


def made(dtype, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 9).to(dtype)


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
tensors = st.dictionaries(
    names.filter(lambda name: name != "__metadata__"),
    st.builds(made, st.sampled_from(TYPES), shapes, st.integers(0, 9)),
    max_size=6,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(tensors)
def test_the_bytes_are_those_of_the_library(tmp_path_factory, named):
    folder = tmp_path_factory.mktemp("files")
    save_file(named, folder / "library", {"format": "pt"})

    receipt = write_tensors(folder / "own", named)

    assert (folder / "own").read_bytes() == (folder / "library").read_bytes()
    assert receipt.bytes == (folder / "own").stat().st_size
    loaded = read_tensors(folder / "own", receipt)
    assert loaded.keys() == named.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in named.items())


def test_a_tensor_of_many_pieces_and_one_that_is_turned_are_written_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_file, "_PIECE", 1000)
    named = {"long": made(torch.float32, (999, 7)), "turned": made(torch.bfloat16, (30, 70)).t()}

    write_tensors(tmp_path / "file", named)

    loaded = load_file(tmp_path / "file")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in named.items())


def test_a_file_that_ends_at_any_byte_is_refused(tmp_path):
    path = tmp_path / "file"
    receipt = write_tensors(path, {"a": made(torch.float32, (5, 7)), "b": made(torch.int64, ())})
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])

        with pytest.raises(TensorFileError, match="is no whole file of tensors"):
            read_tensors(path, None)
        with pytest.raises(TensorFileError, match=f"has {end} bytes, expected {len(data)}"):
            read_tensors(path, receipt)


def test_a_changed_bit_anywhere_is_refused(tmp_path):
    path = tmp_path / "file"
    receipt = write_tensors(path, {"a": made(torch.float32, (5, 7))})
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])

        with pytest.raises(TensorFileError, match="another checksum"):
            read_tensors(path, receipt)


def test_an_existing_file_is_not_written_over(tmp_path):
    write_tensors(tmp_path / "file", {})

    with pytest.raises(FileExistsError):
        write_tensors(tmp_path / "file", {})
    assert (
        read_tensors(
            tmp_path / "file",
            Receipt(40, 0)._replace(
                bytes=(tmp_path / "file").stat().st_size,
                crc32=tensor_file._checksum(tmp_path / "file"),
            ),
        )
        == {}
    )
