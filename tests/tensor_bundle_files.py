"""TensorFlow's checkpoint files, written byte by byte by their specification.

Source: LevelDB, doc/table_format.md; google/snappy, format_description.txt; TensorFlow,
core/protobuf/tensor_bundle.proto.
"""

import struct

import google_crc32c
import numpy as np

HEADER = (0, b"", b"\x08\x01\x1a\x02\x08\x01")  # one data file, version 1
_TYPES = {"float32": 1, "int64": 9}


def masked(data):
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def compressed(data):
    """A Snappy block: a copy where the last 6 bytes or more stand again, literals between."""
    out, literal, place = [varint(len(data))], b"", 0
    while place < len(data):
        found = data.rfind(data[place : place + 6], 0, place)
        if found < 0 or place + 6 > len(data):
            literal += data[place : place + 1]
            place += 1
        else:
            out += [_literal(literal), bytes([5 << 2 | 2]), struct.pack("<H", place - found)]
            literal = b""
            place += 6
    return b"".join([*out, _literal(literal)])


def _literal(data):
    pieces = [data[start : start + 60] for start in range(0, len(data), 60)]
    return b"".join(bytes([len(piece) - 1 << 2]) + piece for piece in pieces)


def table(*blocks, compression=0):
    """A LevelDB table: each block a list of (shared, rest of key, value)."""
    data, handles = b"", []

    def add(entries):
        nonlocal data
        body = b"".join(
            varint(shared) + varint(len(rest)) + varint(len(value)) + rest + value
            for shared, rest, value in entries
        )
        body += struct.pack("<II", 0, 1)  # one restart, at 0
        if compression == 1:
            body = compressed(body)
        handle = varint(len(data)) + varint(len(body))
        tail = body + bytes([compression])
        data += tail + struct.pack("<I", masked(tail))
        return handle

    for entries in blocks:
        handles.append((0, entries[-1][1] + b"~", add(entries)))
    meta = add([(0, b"", b"")])
    footer = meta + add(handles)
    return data + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def entry(*, dtype=1, shape=(2,), shard=0, offset=0, size=8, crc=0, extra=b""):
    """A BundleEntryProto."""
    dims = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in shape))
    fixed = b"\x35" + struct.pack("<I", crc)
    head = b"\x08" + varint(dtype) + b"\x12" + varint(len(dims)) + dims + b"\x18" + varint(shard)
    return head + b"\x20" + varint(offset) + b"\x28" + varint(size) + fixed + extra


def write_bundle(prefix, variables, *, shards=1, compression=0):
    """A checkpoint of variables, dealt to the data files in turn; 20 keys a block."""
    data, entries = [b""] * shards, []
    for number, (name, values) in enumerate(sorted(variables.items())):
        raw, shard = values.tobytes(), number % shards
        kind = _TYPES[np.asarray(values).dtype.name]
        place = {"shard": shard, "offset": len(data[shard]), "size": len(raw)}
        line = entry(dtype=kind, shape=np.shape(values), crc=masked(raw), **place)
        entries.append((0, name.encode(), line))
        data[shard] += raw
    header = (0, b"", b"\x08" + varint(shards) + b"\x1a\x02\x08\x01")
    every = [header, *entries]
    blocks = [every[start : start + 20] for start in range(0, len(every), 20)]
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(table(*blocks, compression=compression))
    files = [index]
    for shard, content in enumerate(data):
        files.append(prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}"))
        files[-1].write_bytes(content)
    return files
