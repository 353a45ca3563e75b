import pytest
from projected_folders import MODEL_FILE, TEXTS, write_projected

import rank_rerank
from rank_rerank.checkpoints.onnx_tensors import read_onnx_nodes
from rank_rerank.errors import CheckpointFormatError

onnx = pytest.importorskip("onnx", reason='needs onnx: pip install ".[export]"')


@pytest.mark.parametrize(("dims", "has_bias"), [((128,), False), ((48, 32), True)])
def test_projections_in_the_file_are_computed_as_onnx_runtime_does(tmp_path, dims, has_bias):
    folder = write_projected(tmp_path, dims, has_bias=has_bias)
    found, expected = (
        rank_rerank.load(folder, runtime=runtime).encoder.encode_documents(TEXTS).vectors
        for runtime in ("numba", "onnx")
    )
    assert found.shape == expected.shape == (found.shape[0], dims[-1])
    assert (found * expected).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("between", ["Tanh", "Mul"])
def test_an_activation_in_the_graph_is_refused_not_left_out(tmp_path, between):
    folder = write_projected(tmp_path, between=between)
    with pytest.raises(CheckpointFormatError, match="plain linear projections"):
        rank_rerank.load(folder, runtime="numba")
    assert rank_rerank.load(folder, runtime="onnx").encoder.dim == 32


def test_auto_runs_what_is_not_compiled_in_onnx_runtime(tmp_path):
    folder = write_projected(tmp_path, between="Tanh")
    assert rank_rerank.load(folder).encoder.transformer.description.startswith("ONNX Runtime")


def test_nodes_are_those_that_the_onnx_package_reads():
    nodes = onnx.load(MODEL_FILE).graph.node
    assert [(node.operator, list(node.inputs), list(node.outputs)) for node in read_onnx_nodes(MODEL_FILE)] == [
        (node.op_type, list(node.input), list(node.output)) for node in nodes
    ]


def test_a_file_cut_short_has_no_nodes(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL_FILE.read_bytes()[:1_000_000])
    with pytest.raises(CheckpointFormatError, match="no whole ONNX file"):
        read_onnx_nodes(path)
