import numpy as np
import pytest
from example_counts import examples
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.checkpoints.onnx_tensors import read_onnx_tensors
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.int8_weights.from_onnx import weights_from_onnx

MODEL_FILE = bundled_folder() / "model_int8.onnx"


def varint(value):
    groups = []
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def number(field, value):
    return varint(field << 3) + varint(value)


def part(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(name="w", shape=(2, 3), data_type=3, raw=bytes(6), extra=b""):
    dims = b"".join(number(1, size) for size in shape)
    return dims + number(2, data_type) + part(8, name.encode()) + part(9, raw) + extra


def model(*tensors):
    return number(1, 10) + part(7, part(2, b"graph") + b"".join(part(5, each) for each in tensors))


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"

    def write_and_read(content):
        path.write_bytes(content)
        return read_onnx_tensors(path)

    return write_and_read


def test_the_bundled_weights_are_those_that_the_onnx_package_reads():
    onnx = pytest.importorskip("onnx")
    found = read_onnx_tensors(MODEL_FILE)
    initializers = onnx.load(MODEL_FILE).graph.initializer
    assert len(found) == len(initializers) > 150
    for initializer in initializers:
        np.testing.assert_array_equal(found[initializer.name], onnx.numpy_helper.to_array(initializer))


def test_weights_are_mapped_and_cannot_be_written():
    words = read_onnx_tensors(MODEL_FILE)["embeddings.word_embeddings.weight_int8"]
    assert (words.shape, words.dtype, words.flags.writeable) == ((30522, 384), np.int8, False)


def test_shapes_may_be_packed_and_unknown_fields_are_stepped_over(read):
    packed = (
        part(1, varint(2) + varint(3)) + number(2, 1) + part(8, b"w") + part(9, np.arange(6, dtype="<f4").tobytes())
    )
    unknown = number(99, 5) + part(98, b"text") + varint(97 << 3 | 5) + bytes(4) + varint(96 << 3 | 1) + bytes(8)
    assert read(model(unknown + packed))["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


DAMAGED = {
    "empty": b"",
    "no weights": model(),
    "text": b"this is no model at all",
    "ends in a number": model(tensor()) + b"\xff",
    "a length beyond the file": varint(7 << 3 | 2) + varint(1 << 40) + b"x",
    "a length beyond its message": model(tensor() + varint(9 << 3 | 2) + varint(50)),
    "an endless number": b"\xff" * 40,
    "field 0": b"\x00\x01",
    "a group": varint(7 << 3 | 3),
    "too little data": model(tensor(raw=bytes(5))),
    "too much data": model(tensor(raw=bytes(7))),
    "a huge shape": model(tensor(shape=(1 << 62, 1 << 62))),
    "a shape whose product overflows to the right size": model(tensor(shape=(1 << 32, 1 << 32, 6))),
    "a negative size": model(tensor(shape=((1 << 64) - 2, (1 << 64) - 3))),
    "many axes": model(tensor(shape=[1] * 40 + [6])),
    "many packed axes": model(part(1, bytes([1]) * 10_000) + tensor()),
    "two of a name": model(tensor(), tensor()),
    "no name": model(tensor(name="")),
    "a name that is no text": model(number(1, 6) + number(2, 3) + part(8, b"\xff\xfe") + part(9, bytes(6))),
    "another file by location": model(tensor(extra=number(14, 1))),
    "another file by entry": model(tensor(extra=part(13, b"\x0a\x08location"))),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_hostile_files_are_refused(read, name):
    with pytest.raises(CheckpointFormatError, match=r"model\.onnx"):
        read(DAMAGED[name])


def test_too_many_fields_are_refused(read, monkeypatch):
    monkeypatch.setattr("rank_rerank.checkpoints.protocol_buffers.MAX_FIELDS", 100)
    assert len(read(model(*[tensor(name=f"w{place}") for place in range(90)]))) == 90
    with pytest.raises(CheckpointFormatError, match="too many fields"):
        read(model(*[tensor(name=f"w{place}") for place in range(110)]))


@examples(300)
@given(st.binary(max_size=200))
def test_any_bytes_give_weights_or_a_typed_error(read, content):
    try:
        read(content)
    except CheckpointFormatError:
        return


@examples(300)
@given(st.data())
def test_a_changed_byte_gives_weights_or_a_typed_error(read, data):
    content = bytearray(model(tensor(), tensor("v", (4,), 1, bytes(16))))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    try:
        read(bytes(content))
    except CheckpointFormatError:
        return


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointFormatError, match=r"nothing\.onnx cannot be read"):
        read_onnx_tensors(tmp_path / "nothing.onnx")


def test_a_model_that_computes_more_is_refused(tmp_path):
    content = MODEL_FILE.read_bytes() + part(7, part(5, tensor("projection.weight", (2, 3), 1, bytes(24))))
    (tmp_path / "model_int8.onnx").write_bytes(content)
    with pytest.raises(CheckpointFormatError, match=r"projection\.weight does not belong in a BERT encoder"):
        weights_from_onnx(tmp_path / "model_int8.onnx", read_transformer_config(bundled_folder()))


def test_weights_of_other_sizes_than_the_settings_say_are_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": 768, "num_attention_heads": 12}')
    with pytest.raises(CheckpointFormatError, match=r"model_int8\.onnx: .* config\.json says"):
        weights_from_onnx(MODEL_FILE, read_transformer_config(tmp_path))
