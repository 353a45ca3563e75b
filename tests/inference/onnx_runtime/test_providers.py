"""Execution providers. Run with a build of ONNX Runtime that has OpenVINO, the tests of a real one run too."""

import logging
import shutil

import numpy as np
import onnxruntime
import pytest
from onnx_folders import DIM, write_onnx_folder

import rank_rerank
from rank_rerank.checkpoints.find import bundled_folder, find_checkpoint
from rank_rerank.errors import DeviceError, InvalidArgumentError
from rank_rerank.inference.execution_provider import ExecutionProvider, is_provider
from rank_rerank.inference.onnx_runtime import providers
from rank_rerank.inference.onnx_runtime.onnx_transformer import OnnxTransformer
from rank_rerank.inference.onnx_runtime.providers import check_nodes, count_nodes

MODEL_FILE = bundled_folder() / "model_int8.onnx"
OPENVINO = "OpenVINOExecutionProvider"


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("openvino", OPENVINO),
        ("OpenVINOExecutionProvider", OPENVINO),
        ("DirectML", "DmlExecutionProvider"),
        ("TensorRT", "TensorrtExecutionProvider"),
        ("Azure", "AzureExecutionProvider"),
    ],
)
def test_names(name, full):
    assert ExecutionProvider(name).full_name == full


def test_devices_and_providers_are_told_apart():
    assert [is_provider(name) for name in ("cuda", "CoreML", "cpu", "auto", "mps", "cuda:1")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("device", ["coreml", ExecutionProvider("CoreML"), ExecutionProvider("nonsense")])
def test_a_provider_that_is_not_here_is_refused_not_replaced(device):
    with pytest.raises(DeviceError, match=r"it has .*CPUExecutionProvider"):
        rank_rerank.load(device=device)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5,), "name"),
        ((None,), "name"),
        (("",), "name"),
        (("cpu", None), "options"),
        (("cpu", [1]), "options"),
        (("cpu", {}, "yes"), "strict"),
    ],
)
def test_what_names_no_provider_is_refused(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ExecutionProvider(*arguments)


def test_providers_can_be_told_apart_in_sets():
    assert len({ExecutionProvider("cpu"), ExecutionProvider("cpu", {}), ExecutionProvider("cpu", {"a": "1"})}) == 2


def test_a_device_that_is_neither_is_refused():
    with pytest.raises(DeviceError, match='"mps" is neither'):
        rank_rerank.load(device="mps")


def test_nodes_are_counted():
    nodes = count_nodes(MODEL_FILE, ExecutionProvider("cpu"))
    assert list(nodes) == ["CPUExecutionProvider"]
    assert nodes["CPUExecutionProvider"] > 50


def test_a_part_on_the_cpu_is_warned_of_and_refused_when_strict(monkeypatch, caplog):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [OPENVINO, "CPUExecutionProvider"])
    monkeypatch.setattr(providers, "count_nodes", lambda *_: {OPENVINO: 3, "CPUExecutionProvider": 40})
    with caplog.at_level(logging.WARNING, "rank_rerank"):
        assert check_nodes(MODEL_FILE, ExecutionProvider("openvino"))[OPENVINO] == 3
    assert "3 of 43 nodes" in caplog.text
    with pytest.raises(DeviceError, match="3 of 43 nodes"):
        check_nodes(MODEL_FILE, ExecutionProvider("openvino", strict=True))


@pytest.mark.parametrize("strict", [False, True])
def test_a_provider_that_runs_nothing_is_refused(monkeypatch, strict):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [OPENVINO, "CPUExecutionProvider"])
    monkeypatch.setattr(providers, "count_nodes", lambda *_: {"CPUExecutionProvider": 43})
    with pytest.raises(DeviceError, match="0 of 43 nodes"):
        check_nodes(MODEL_FILE, ExecutionProvider("openvino", strict=strict))


def test_a_provider_that_ends_the_process_is_refused(monkeypatch):
    monkeypatch.setattr(providers.sys, "executable", "/bin/false")
    with pytest.raises(DeviceError, match="the process ended with 1"):
        count_nodes(MODEL_FILE, ExecutionProvider("cpu"))


def test_a_provider_that_fails_says_why(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(DeviceError, match=r"model\.onnx does not run on CPUExecutionProvider"):
        count_nodes(tmp_path / "model.onnx", ExecutionProvider("cpu"))


has_openvino = pytest.mark.skipif(
    OPENVINO not in onnxruntime.get_available_providers(), reason="needs onnxruntime-openvino in place of onnxruntime"
)


@pytest.fixture(scope="module")
def fp32_folder(tmp_path_factory):
    """A model without INT8 nodes, which would keep a provider from taking it whole."""
    pytest.importorskip("onnx")
    return write_onnx_folder(tmp_path_factory.mktemp("fp32"))


TEXTS = ["a text", "another text that is longer than the first", "one"]


def test_the_small_model_is_sound(fp32_folder):
    encoder = rank_rerank.TokenEncoder.from_pretrained(fp32_folder, runtime="onnx")
    together = encoder.encode_documents(TEXTS)
    alone = np.concatenate([encoder.encode_document(text).vectors for text in TEXTS])
    assert together.vectors == pytest.approx(alone, abs=1e-5)
    assert np.abs(together.vectors[0] - together.vectors[len(encoder.encode_document(TEXTS[0]).vectors)]).max() > 1e-3


@has_openvino
def test_openvino_computes_what_the_cpu_computes(fp32_folder):
    provider = ExecutionProvider("OpenVINO", {"device_type": "CPU"})
    there = rank_rerank.TokenEncoder.from_pretrained(fp32_folder, device=provider, precision="fp32")
    here = rank_rerank.TokenEncoder.from_pretrained(fp32_folder, precision="fp32", runtime="onnx")
    assert OPENVINO in there.transformer.description
    expected = here.encode_documents(TEXTS).vectors
    # OpenVINO computes in bfloat16 where the processor has it
    assert np.einsum("td,td->t", there.encode_documents(TEXTS).vectors, expected).min() > 0.999


@has_openvino
def test_openvino_takes_all_of_a_model_without_int8(fp32_folder):
    provider = ExecutionProvider("OpenVINO", {"device_type": "CPU"}, strict=True)
    assert set(count_nodes(fp32_folder / "model.onnx", provider)) == {OPENVINO}
    transformer = OnnxTransformer(fp32_folder / "model.onnx", DIM, "fp32", provider=provider)
    assert "CPUExecutionProvider" not in transformer.description


@has_openvino
def test_strict_openvino_runs_all_of_a_model_or_refuses(tmp_path):
    provider = ExecutionProvider("OpenVINO", {"device_type": "CPU"}, strict=True)
    shutil.copy(MODEL_FILE, tmp_path / "model.onnx")
    try:
        transformer = OnnxTransformer(tmp_path / "model.onnx", find_checkpoint().dim, "int8", provider=provider)
    except DeviceError as error:
        assert OPENVINO in str(error)  # noqa: PT017 - either answer is right, silence is not
    else:
        assert "CPUExecutionProvider" not in transformer.description
