import subprocess
import sys
from importlib import import_module

import pytest

import rank_rerank

FACES = {
    "calibration": ["Calibration", "expected_calibration_error", "fit_calibration"],
    "distributed": [
        "Columns",
        "EncodeSettings",
        "Engine",
        "ImportOptions",
        "ImportReport",
        "LocalEngine",
        "Progress",
        "RayEngine",
        "RerankSettings",
        "Summary",
        "encode_corpus",
        "import_shards",
        "rerank_run",
    ],
    "encoding": [
        "BestWindows",
        "CacheInfo",
        "Chunking",
        "Compression",
        "Pooling",
        "Projection",
        "SelfCheck",
        "TokenEmbeddings",
        "TokenEncoder",
        "normalize_rows",
        "pool",
        "self_check",
    ],
    "evaluation": [
        "Check",
        "Collection",
        "CollectionFiles",
        "Comparison",
        "Diagnosis",
        "Evaluation",
        "EvaluationOptions",
        "FittedCalibration",
        "Gate",
        "Interval",
        "JudgedCandidates",
        "JudgedRank",
        "QueryChange",
        "RankedIds",
        "Run",
        "Setting",
        "Sweep",
        "System",
        "Threshold",
        "Timing",
        "TrainingDump",
        "bootstrap_interval",
        "calibrate_system",
        "check_gate",
        "diagnose",
        "dump_training",
        "evaluate",
        "holm",
        "ndcg_at_10",
        "paired_t_test",
        "randomization_test",
        "read_collection",
        "read_run",
        "render_evaluation",
        "sweep",
        "write_collection",
        "write_run",
    ],
    "explanation": [
        "Explanation",
        "TextWord",
        "TokenAlignment",
        "align_tokens",
        "find_snippet",
        "render_report",
        "save_heat_map",
    ],
    "refinement": [
        "FusedDocument",
        "TokenStatistics",
        "blend",
        "dense_scores",
        "dpp",
        "drop_near_duplicates",
        "fuse",
        "mmr",
        "refine_matryoshka",
    ],
    "scoring": [
        "CrossEncoder",
        "MaxsimMatches",
        "PackedDocuments",
        "PairScores",
        "ScreenedDocuments",
        "TopDocuments",
        "maxsim",
        "maxsim_many",
        "maxsim_matches",
        "maxsim_top_k",
    ],
    "storage": [
        "EmbeddingStore",
        "EncodeReport",
        "JoinedStores",
        "ModelIdentity",
        "Repair",
        "ShardedStore",
        "StoredDocuments",
        "Verification",
        "add_arrow",
        "add_from_lancedb",
        "add_from_qdrant",
        "add_parquet",
        "hold_in_memory",
        "open_stores",
        "to_arrow",
        "to_lancedb",
        "to_qdrant",
        "write_parquet",
    ],
}
HEAVY = {
    *("torch", "triton", "cupy", "transformers", "safetensors", "onnxruntime", "onnx", "numba", "llvmlite"),
    *("pandas", "pyarrow", "matplotlib", "qdrant_client", "lancedb", "bm25s", "ir_measures", "huggingface_hub"),
}


def test_public_names():
    assert (
        sorted(rank_rerank.__all__)
        == rank_rerank.__all__
        == [
            "Blend",
            "CascadeReranker",
            "CascadeStage",
            "Chunking",
            "ColbertReranker",
            "Compression",
            "CrossEncoder",
            "CrossEncoderReranker",
            "DenseReranker",
            "Document",
            "EmbeddingStore",
            "ExecutionProvider",
            "Pooling",
            "Projection",
            "RankRerankError",
            "RankedDocument",
            "Ranking",
            "Reranker",
            "TokenEmbeddings",
            "TokenEncoder",
            "calibrate",
            "get_gpu_device",
            "load",
            "maxsim",
        ]
    )
    assert all(hasattr(rank_rerank, name) for name in rank_rerank.__all__)


@pytest.mark.parametrize("face", sorted(FACES))
def test_faces_export_what_users_need(face):
    module = import_module(f"rank_rerank.{face}")
    assert sorted(module.__all__) == FACES[face]
    assert all(hasattr(module, name) for name in module.__all__)
    shared = set(module.__all__) & set(rank_rerank.__all__)
    assert all(getattr(module, name) is getattr(rank_rerank, name) for name in shared)


def test_importing_the_root_and_the_faces_loads_no_heavy_package():
    imports = ", ".join(["rank_rerank", "rank_rerank.errors", *(f"rank_rerank.{face}" for face in FACES)])
    program = f"import sys, {imports}\nprint(sorted({HEAVY!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_an_execution_provider_is_plain_data():
    provider = rank_rerank.ExecutionProvider("OpenVINO", {"device_type": "GPU"}, strict=True)
    assert provider.full_name == "OpenVINOExecutionProvider"
    assert repr(provider) == "ExecutionProvider(name='OpenVINO', options={'device_type': 'GPU'}, strict=True)"


def test_what_holds_arrays_or_a_model_shows_itself_in_one_short_line(reranker, tmp_path):
    texts = ["Paris is the capital of France.", "Bananas are rich in potassium."] * 100
    embeddings = reranker.encoder.encode_documents(texts)
    query = reranker.encoder.encode_query("capital of France")
    store = rank_rerank.EmbeddingStore.create(tmp_path / "store", reranker.encoder)
    store.add(["a", "b"], texts=texts[:2])
    projection = rank_rerank.Projection.fit(embeddings.vectors, 8)
    assert repr(query) == f"TokenEmbeddings(num_texts=1, num_tokens=5, dim={reranker.encoder.dim}, dtype=float32)"
    assert repr(store).endswith("documents=2, model='bundled', dtype='int8')")
    shown = [
        embeddings,
        store,
        store.select(["b"]),
        projection,
        rank_rerank.Compression("int8", projection=projection),
        reranker.encoder,
        import_module("rank_rerank.scoring").PackedDocuments(embeddings, candidates=[0] * 1000),
        reranker.explain("capital of France", texts[0] * 20),
    ]
    for value in shown:
        assert type(value).__name__ in repr(value)
        assert "\n" not in repr(value)
        assert "array(" not in repr(value)
    assert all(len(repr(value)) < 200 for value in shown if value is not store)


def test_reranking_loads_neither_torch_nor_transformers():
    program = (
        "import sys, rank_rerank\n"
        "rank_rerank.load().rerank('a query', ['a document'])\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'pandas'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_import_configures_no_logging_and_prints_nothing():
    program = (
        "import logging, rank_rerank\nprint(logging.getLogger().handlers, logging.getLogger('rank_rerank').handlers)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (result.stdout.strip(), result.stderr) == ("[] []", "")
