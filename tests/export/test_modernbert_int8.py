"""ModernBERT in INT8: windows that cost their window, the numbers of transformers, the same bits in any batch."""

import model_folders as folders
import numpy as np
import pytest

import rank_rerank
from rank_rerank.checkpoints.find import find_checkpoint
from rank_rerank.inference.faster_runtime import faster_runtime
from rank_rerank.kernels.processor import vector_path

pytestmark = pytest.mark.filterwarnings("ignore")
WORDS = ("the", "city", "of", "France", "is", "a", "capital", "with", "rivers", "and", "bridges", "over", "them")
LENGTHS = (1, 2, 5, 9, 30, 31, 32, 60, 64, 100, 190, 260)
TEXTS = [" ".join(WORDS[(7 * length + step) % 13] for step in range(length)) for length in LENGTHS]
# as published: 64 tokens to each side, every third layer sees everything
SIZES = {"hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 2, "intermediate_size": 96}


@pytest.fixture(scope="module")
def encoder():
    """A random ModernBERT of transformers whose layers add to each other as those of trained models do."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ModernBertConfig(
        vocab_size=folders.VOCAB_SIZE, max_position_embeddings=320, pad_token_id=0, local_attention=128, **SIZES
    )
    model = transformers.ModernBertModel(config)
    for name, parameter in model.named_parameters():
        mean = float(parameter.ndim == 1 and name.endswith("weight"))
        std = 0.2 if parameter.ndim == 1 else 1.0 if "embed" in name else parameter.shape[1] ** -0.5
        torch.nn.init.normal_(parameter, mean, std)
    return model.eval()


@pytest.fixture(scope="module")
def source(encoder, tmp_path_factory):
    """A late-interaction model of it, as PyLate saves one."""
    folder = tmp_path_factory.mktemp("modernbert") / "source"
    folders.write_pylate(folder, query_length=200, document_length=280)
    encoder.save_pretrained(folder)
    folders.write_dense(folder, sizes=(64, 32))
    return folder


@pytest.fixture(scope="module")
def exported(source):
    from rank_rerank.export.folder_export import export_folder

    target = source.with_name("onnx")
    return target, export_folder(source, target, TEXTS, int8=True)


def graph(source):
    from rank_rerank.export.modernbert_graph import modernbert_graph

    return modernbert_graph(find_checkpoint(source, runtime="torch"))


def test_the_graph_gives_what_transformers_gives(source, encoder):
    import torch

    from rank_rerank.export.int8_export import serialize
    from rank_rerank.export.trial_session import OnnxSession

    random = np.random.default_rng(0)
    texts = [random.integers(5, folders.VOCAB_SIZE, length) for length in (2, 3, 31, 32, 33, 64, 66, 129, 200, 311)]
    projection = find_checkpoint(source, runtime="torch").dense[0]
    from rank_rerank.checkpoints.dense_layers import read_dense_tensors

    weight = torch.from_numpy(np.array(read_dense_tensors(projection)["linear.weight"]))
    session = OnnxSession(serialize(graph(source)))
    for text, found in zip(texts, session.encode(texts), strict=True):
        with torch.inference_mode():
            hidden = encoder(input_ids=torch.from_numpy(text)[None]).last_hidden_state[0] @ weight.T
        expected = torch.nn.functional.normalize(hidden, dim=-1).numpy()
        assert np.abs(found - expected).max() < 1e-5


def test_a_layer_with_a_window_costs_its_window(source):
    model = graph(source)
    attentions = [node for node in model.graph if node.op_type == "MultiHeadAttention"]
    with_bias = [len(node.inputs) > 5 for node in attentions]
    assert with_bias == [False, True, True, False, True]
    # 32 queries meet 64 keys to each side of them, and their own
    assert model.graph.initializers["band"].const_value.numpy().shape == (32, 64 + 32 + 64)


def test_every_runtime_reads_the_exported_file(exported, source):
    folder, result = exported
    assert result.int8.mean_cosine > 0.999
    exact = rank_rerank.TokenEncoder.from_pretrained(source, runtime="torch", device="cpu", precision="fp32")
    expected = [exact.encode_documents(TEXTS).vectors, exact.encode_queries(TEXTS[:4]).vectors]
    names = {"auto": "compiled" if faster_runtime(vector_path().name) == "numba" else "ONNX Runtime"}
    for runtime, name in (names | {"onnx": "ONNX Runtime", "torch": "PyTorch"}).items():
        ours = rank_rerank.TokenEncoder.from_pretrained(folder, runtime=runtime, device="cpu")
        assert ours.transformer.description.startswith(name)
        # queries are filled with 190 tokens that nothing looks at, most of them beyond every window
        found = [ours.encode_documents(TEXTS).vectors, ours.encode_queries(TEXTS[:4]).vectors]
        for vectors, wanted in zip(found, expected, strict=True):
            cosines = (vectors * wanted).sum(axis=1)
            assert cosines.mean() > 0.999
            assert cosines.min() > 0.99


def test_a_texts_bits_do_not_depend_on_the_batch(exported):
    for runtime in ("onnx", "auto"):
        ours = rank_rerank.TokenEncoder.from_pretrained(exported[0], runtime=runtime)
        alone = np.concatenate([ours.encode_document(text).vectors for text in TEXTS])
        assert ours.encode_documents(TEXTS).vectors.tobytes() == alone.tobytes()


def test_doctor_shows_the_gate(exported, capsys):
    from rank_rerank.cli.main import main

    assert main(["doctor", "--model", str(exported[0])]) == 0
    shown = capsys.readouterr().out
    assert f"passed: cosine to the source mean {exported[1].int8.mean_cosine:.5f}" in shown
