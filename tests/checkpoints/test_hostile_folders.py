"""Folders made to run code, to read elsewhere, or to crash: each is refused with a typed error, and nothing happens."""

import ast
import json
import os
import struct
from pathlib import Path

import model_folders as folders
import numpy as np
import pytest

import rank_rerank
from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.onnx_external_data import check_external_data
from rank_rerank.errors import CheckpointFormatError

PACKAGE = Path(rank_rerank.__file__).parent


def test_no_file_of_the_package_opens_pickles_or_evaluates_text():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.partition(".")[0] for alias in node.names} | {getattr(node, "module", "") or ""}
                assert not names & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                # kernels are generated from text of our own; nothing that reads a model may do that
                assert called not in ("eval", "exec", "compile") or path.parent.name in ("scoring", "kernels"), path
                assert called != "torch.load" or path.name == "pickle_conversion.py", path
                loose = [word for word in node.keywords if word.arg in ("allow_pickle", "trust_remote_code")]
                assert all(ast.unparse(word.value) == "False" for word in loose), path


def test_a_pickle_beside_nothing_else_is_not_opened(tmp_path):
    folders.write_pylate(tmp_path)
    canary = tmp_path / "canary"
    (tmp_path / "model.safetensors").unlink()
    code = f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    (tmp_path / "pytorch_model.bin").write_bytes(code)
    with pytest.raises(CheckpointFormatError, match="rank-rerank convert"):
        find_model(tmp_path)
    assert not canary.exists()


def test_remote_code_is_not_run(tmp_path):
    canary = tmp_path / "canary"
    config = {**folders.BERT_CONFIG, "auto_map": {"AutoModel": "modeling.Model"}}
    folders.write_bert(tmp_path, config=config)
    (tmp_path / "modeling.py").write_text(f"open({str(canary)!r}, 'w')\n")
    with pytest.raises(CheckpointFormatError, match="never runs"):
        find_model(tmp_path)
    assert not canary.exists()


def test_a_modules_class_is_not_imported(tmp_path):
    canary = tmp_path / "canary"
    folders.write_pylate(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(canary)!r}, 'w')\n")
    folders.write_modules(tmp_path, ("1_Dense", "evil.Dense"))
    assert find_model(tmp_path).dim == 8
    assert not canary.exists()


FILES = [
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "modules.json",
    "config_sentence_transformers.json",
    "1_Dense/config.json",
    "1_Dense/model.safetensors",
]


@pytest.mark.parametrize("name", FILES)
def test_no_file_may_be_a_link_out_of_the_folder(tmp_path, name):
    folder = folders.write_pylate(tmp_path / "model")
    outside = tmp_path / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(CheckpointFormatError, match="is a link out of the model folder"):
        find_model(folder)


def test_a_linked_module_folder_is_refused(tmp_path):
    folder = folders.write_pylate(tmp_path / "model")
    (folder / "1_Dense").rename(tmp_path / "elsewhere")
    (folder / "1_Dense").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointFormatError, match="is a link out of the model folder"):
        find_model(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff" * 100, b'{"a": 1, "a": 2}', b"null", b"[" * 50_000])
def test_no_damaged_file_gives_another_error(tmp_path, name, content):
    folder = folders.write_pylate(tmp_path / "model")
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointFormatError):
        rank_rerank.TokenEncoder.from_pretrained(folder)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_weights_file_is_refused(tmp_path, share):
    folder = folders.write_pylate(tmp_path)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointFormatError, match="truncated"):
        rank_rerank.load(folder)


TENSOR = "encoder.layer.1.output.dense.weight"


def damage(tensors, how):
    if how == "NaN":
        tensors[TENSOR][3, 3] = np.nan
    elif how == "is missing":
        del tensors[TENSOR]
    elif how == "has the shape":
        tensors[TENSOR] = tensors[TENSOR][:, :-1]
    elif how == "says nothing of":
        tensors["encoder.layer.2.output.dense.weight"] = tensors[TENSOR]
    else:
        tensors = {f"other.{name}": tensor for name, tensor in tensors.items()}
    return tensors


@pytest.mark.parametrize("how", ["NaN", "is missing", "has the shape", "says nothing of", "not of the architecture"])
def test_tensors_that_do_not_fit_are_refused(tmp_path, how):
    pytest.importorskip("torch")
    folders.write_pylate(tmp_path)
    folders.write_safetensors(tmp_path / "model.safetensors", damage(folders.bert_tensors(), how))
    with pytest.raises(CheckpointFormatError, match=how):
        rank_rerank.load(tmp_path, device="cpu")


def test_markers_without_an_embedding_are_refused(tmp_path):
    folders.write_pylate(tmp_path, query_prefix="[Q] ")
    with pytest.raises(CheckpointFormatError, match="no marker"):
        rank_rerank.TokenEncoder.from_pretrained(tmp_path)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
    tokenizer["added_tokens"].append({"id": folders.VOCAB_SIZE, "content": "[Q] ", **flags})
    folders.write_json(tmp_path / "tokenizer.json", tokenizer)
    with pytest.raises(CheckpointFormatError, match="30522 word embeddings"):
        rank_rerank.TokenEncoder.from_pretrained(tmp_path)


# --- ONNX files that keep tensors elsewhere


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def external(**entries):
    pairs = [field(1, key.encode()) + field(2, str(value).encode()) for key, value in entries.items()]
    return b"".join(field(13, pair) for pair in pairs)


def initializer(tensor):
    return field(7, field(5, tensor))


def in_a_constant(tensor):
    return field(7, field(1, field(5, field(5, tensor))))


def in_a_branch(tensor):
    return field(7, field(1, field(5, field(6, field(5, tensor)))))


def in_a_sparse_tensor(tensor):
    return field(7, field(15, field(1, tensor)))


def in_a_function(tensor):
    return field(25, field(7, field(5, field(5, tensor))))


PLACES = [initializer, in_a_constant, in_a_branch, in_a_sparse_tensor, in_a_function]


@pytest.fixture
def onnx_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(bytes(100))
    (tmp_path / "secret").write_bytes(bytes(100))
    (folder / "linked").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", folder / "hard_linked")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "../secret"}, "plain name"),
        ({"location": "/etc/passwd"}, "plain name"),
        ({"location": "sub/weights.bin"}, "plain name"),
        ({"location": "..\\secret"}, "plain name"),
        ({"location": ""}, "plain name"),
        ({"location": ".."}, "plain name"),
        ({"location": "absent"}, "missing"),
        ({"location": "linked"}, "link"),
        ({"location": "pipe"}, "missing"),
        ({"location": "hard_linked"}, "hard link"),
        ({"location": "weights.bin", "offset": 90, "length": 11}, "100 bytes, not the 101"),
        ({"location": "weights.bin", "offset": 2**70}, "100 bytes"),
        ({"location": "weights.bin", "offset": -1}, "not a valid ONNX"),
        ({"location": "weights.bin", "length": "many"}, "not a valid ONNX"),
    ],
)
def test_external_data_is_checked_wherever_it_hides(onnx_folder, place, entries, message):
    (onnx_folder / "model.onnx").write_bytes(place(external(**entries)))
    with pytest.raises(CheckpointFormatError, match=message):
        check_external_data(onnx_folder / "model.onnx")


def test_external_data_in_its_place_is_accepted(onnx_folder):
    entries = external(location="weights.bin", offset=0, length=100)
    (onnx_folder / "model.onnx").write_bytes(initializer(entries) + in_a_branch(entries))
    check_external_data(onnx_folder / "model.onnx")


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 20, field(7, b"")[:-1] + b"\x05", b"\x3f\x00", struct.pack("<Q", 2**63), b"\x3b"]
)
def test_what_is_no_message_is_refused(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(CheckpointFormatError, match=r"model\.onnx is not a valid ONNX file"):
        check_external_data(tmp_path / "model.onnx")


def test_a_graph_in_a_graph_in_a_graph_is_refused(tmp_path):
    nested = b""
    for _ in range(200):
        nested = field(1, field(5, field(6, nested)))
    (tmp_path / "model.onnx").write_bytes(field(7, nested))
    with pytest.raises(CheckpointFormatError, match="not a valid ONNX"):
        check_external_data(tmp_path / "model.onnx")


def test_the_runtime_does_not_see_a_hostile_file(onnx_folder):
    from rank_rerank.inference.onnx_runtime.onnx_transformer import OnnxTransformer

    (onnx_folder / "model.onnx").write_bytes(initializer(external(location="../secret")))
    with pytest.raises(CheckpointFormatError, match="plain name"):
        OnnxTransformer(onnx_folder / "model.onnx", 8, "fp32")


def test_the_check_agrees_with_the_onnx_package(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, 64]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weights])
    model = helper.make_model(graph)
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    check_external_data(tmp_path / "m.onnx")
    (tmp_path / "w.bin").write_bytes(bytes(100))
    with pytest.raises(CheckpointFormatError, match="has 100 bytes"):
        check_external_data(tmp_path / "m.onnx")
