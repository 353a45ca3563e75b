import subprocess
import sys

import rank_rerank


def test_public_names():
    assert (
        sorted(rank_rerank.__all__)
        == rank_rerank.__all__
        == [
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


def test_import_loads_no_heavy_package():
    program = (
        "import sys, rank_rerank\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'numba', 'llvmlite', 'onnx', 'pandas', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


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
