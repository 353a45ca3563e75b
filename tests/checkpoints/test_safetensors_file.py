import json
import os
import struct

import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.checkpoints.model_files import file_inside, find_weights
from rank_rerank.checkpoints.safetensors_file import SafetensorsFile, TensorFiles
from rank_rerank.errors import CheckpointFormatError


def build(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(2,), start=0, end=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def write(folder, content, name="model.safetensors"):
    (folder / name).write_bytes(content)
    return folder / name


NUMBERS = np.array([[1.5, -2.0], [0.0, 3.25]], np.float32)


def test_every_dtype_is_given_as_float32(tmp_path):
    bf16 = (NUMBERS.view(np.uint32) >> 16).astype(np.uint16)
    whole = np.array([1, 2, 3], np.int8)
    parts = {
        "f32": ("F32", NUMBERS),
        "f16": ("F16", NUMBERS.astype(np.float16)),
        "f64": ("F64", NUMBERS.astype(np.float64)),
        "bf16": ("BF16", bf16),
        "i8": ("I8", whole),
        "u8": ("U8", whole.astype(np.uint8)),
        "i64": ("I64", whole.astype(np.int64)),
    }
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, array) in parts.items():
        header[name] = entry(dtype, array.shape, len(data), len(data) + array.nbytes)
        data += array.tobytes()
    file = SafetensorsFile(write(tmp_path, build(header, data)))
    assert list(file) == list(parts)
    for name in ("f32", "f16", "f64", "bf16"):
        assert np.array_equal(file[name], NUMBERS)
        assert file[name].dtype == np.float32
    for name in ("i8", "u8", "i64"):
        assert file[name].tolist() == [1, 2, 3]


def test_what_the_formats_own_writer_wrote(tmp_path):
    torch_free = pytest.importorskip("safetensors.numpy")
    tensors = {"a": NUMBERS, "b": np.arange(6, dtype=np.float16).reshape(1, 2, 3), "empty": np.zeros((0, 4), "f4")}
    torch_free.save_file(tensors, tmp_path / "model.safetensors")
    file = SafetensorsFile(tmp_path / "model.safetensors")
    assert {name: file.shape(name) for name in file} == {name: array.shape for name, array in tensors.items()}
    assert all(np.array_equal(file[name], array) for name, array in tensors.items())


DUPLICATE = b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "a": {"dtype": "U8", "shape": [1], '
HOSTILE = {
    "empty": (b"", "truncated"),
    "three bytes": (b"abc", "truncated"),
    "header longer than the file": (struct.pack("<Q", 1000) + b"{}", "truncated"),
    "header of an absurd length": (struct.pack("<Q", 2**63) + b"{}", "truncated"),
    "not JSON": (build(b"{nonsense"), "not valid JSON"),
    "not UTF-8": (build(b"\xff\xfe"), "not valid JSON"),
    "deep": (build(b"[" * 200_000), "not valid JSON"),
    "not an object": (build([1]), "JSON object"),
    "a name twice": (build(DUPLICATE + b'"data_offsets": [0, 1]}}', b"x"), "not valid JSON"),
    "no fields": (build({"a": 5}), "needs a dtype"),
    "negative offset": (build({"a": entry(start=-8, end=0)}), "needs a dtype"),
    "boolean shape": (build({"a": entry(shape=(True, True))}), "needs a dtype"),
    "dtype of another size": (build({"a": entry("F8_E4M3")}, bytes(8)), "another number of bytes"),
    "dtype that is no word": (build({"a": entry(5)}, bytes(8)), "needs a dtype"),
    "unknown dtype, backwards": (build({"a": entry("F4", start=8, end=0)}, bytes(8)), "another number of bytes"),
    "shape that overflows": (build({"a": entry(shape=(2**40, 2**40))}, bytes(8)), "another number of bytes"),
    "shape of other size": (build({"a": entry(shape=(3,))}, bytes(8)), "another number of bytes"),
    "outside the file": (build({"a": entry(start=800, end=808)}, bytes(8)), "gap"),
    "overlap": (build({"a": entry(), "b": entry(start=4, end=12)}, bytes(12)), "overlap"),
    "gap": (build({"a": entry(), "b": entry(start=12, end=20)}, bytes(20)), "gap"),
    "truncated data": (build({"a": entry()}, bytes(7)), "truncated"),
    "bytes left over": (build({"a": entry()}, bytes(9)), "truncated or damaged"),
    "many axes": (build({"a": entry(shape=(1,) * 5000, end=4)}, bytes(4)), "needs a dtype"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused(tmp_path, content, message):
    with pytest.raises(CheckpointFormatError, match=message):
        SafetensorsFile(write(tmp_path, content))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
def test_weights_that_are_not_finite_are_refused_when_read(tmp_path, value, dtype):
    array = np.array([0, value], np.float32)
    stored = {
        "F32": array,
        "F16": array.astype(np.float16),
        "BF16": (array.view(np.uint32) >> 16).astype(np.uint16),
        "F64": array.astype(np.float64),
    }[dtype]
    file = SafetensorsFile(write(tmp_path, build({"w": entry(dtype, (2,), 0, stored.nbytes)}, stored.tobytes())))
    with pytest.raises(CheckpointFormatError, match='"w" holds NaN'):
        file["w"]


def test_large_but_finite_weights_are_read(tmp_path):
    array = np.full(4, 3e38, np.float32)
    file = SafetensorsFile(write(tmp_path, build({"w": entry(shape=(4,), end=16)}, array.tobytes())))
    assert np.array_equal(file["w"], array)


@examples(300)
@given(position=st.integers(0, 400), value=st.integers(0, 255))
def test_no_flipped_byte_of_the_header_gives_another_error(tmp_path_factory, position, value):
    header = {"first": entry(), "second": entry("F16", (2, 2), 8, 16)}
    content = bytearray(build(header, NUMBERS.tobytes()))
    content[position % len(content)] = value
    path = tmp_path_factory.mktemp("flip") / "model.safetensors"
    path.write_bytes(content)
    try:
        file = SafetensorsFile(path)
        assert all(file[name].size <= 8 for name in file)
    except CheckpointFormatError:
        pass


def test_parts_that_an_index_lists(tmp_path):
    write(tmp_path, build({"a": entry()}, bytes(8)), "one.safetensors")
    write(tmp_path, build({"b": entry()}, NUMBERS[0].tobytes()), "two.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    tensors = TensorFiles(find_weights(tmp_path))
    assert sorted(tensors) == ["a", "b"]
    assert np.array_equal(tensors["b"], NUMBERS[0])
    assert [path.name for path in tensors.paths] == [index.name, "one.safetensors", "two.safetensors"]


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../one.safetensors"}, "beside the index"),
        ({"a": ".."}, "outside its folder"),
        ({"a": "/etc/passwd"}, "beside the index"),
        ({"a": "absent.safetensors"}, "missing"),
        ({"b": "one.safetensors"}, 'holds the tensor "b"'),
        ({"a": 5}, "must be of type str"),
        (None, "weight_map"),
        ({"a": "one.safetensors", "c": "copy.safetensors"}, "two parts"),
    ],
)
def test_a_hostile_index_is_refused(tmp_path, weight_map, message):
    write(tmp_path, build({"a": entry()}, bytes(8)), "one.safetensors")
    write(tmp_path, build({"a": entry()}, bytes(8)), "copy.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointFormatError, match=message):
        TensorFiles(find_weights(tmp_path))


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(write(tmp_path, build({})))
    with pytest.raises(CheckpointFormatError, match="link out of the model folder"):
        find_weights(folder)


def test_a_link_of_the_hub_cache_is_followed(tmp_path):
    blobs = tmp_path / "models--owner--model" / "blobs"
    blobs.mkdir(parents=True)
    folder = tmp_path / "models--owner--model" / "snapshots" / "0123"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").symlink_to(write(blobs, build({}), "abcd"))
    assert len(TensorFiles(find_weights(folder))) == 0


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointFormatError, match="no regular file"):
        find_weights(tmp_path)


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/etc/passwd", "a\\b", "c:d", "a//b", "./a"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(CheckpointFormatError, match="outside its folder"):
        file_inside(tmp_path, name)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_a_pickle_is_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(b"cos\nsystem\n")
    with pytest.raises(CheckpointFormatError, match="rank-rerank convert"):
        find_weights(tmp_path)
    with pytest.raises(CheckpointFormatError, match=r"1_Dense/model\.safetensors is missing"):
        find_weights(tmp_path, "1_Dense")


@pytest.mark.parametrize(("dtype", "size"), [("I32", 8), ("BOOL", 2), ("U16", 4), ("F8_E5M2", 2), ("SOMETHING_NEW", 5)])
def test_unread_tensors_of_other_dtypes_do_no_harm(tmp_path, dtype, size):
    header = {"ids": entry(dtype, (2,), 0, size), "w": entry("F32", (2,), size, size + 8)}
    file = SafetensorsFile(write(tmp_path, build(header, bytes(size) + np.array([1, 2], "<f4").tobytes())))
    assert file["w"].tolist() == [1, 2]
    with pytest.raises(CheckpointFormatError, match="weights are read in"):
        file["ids"]
