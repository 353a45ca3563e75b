"""What a process loads when the kernels that it needs were compiled by an earlier one."""

import json
import subprocess
import sys

import pytest

from rank_rerank.inference.compiled.loading import is_supported
from rank_rerank.kernels.cache import cache_folder
from rank_rerank.kernels.executable_memory import can_map_code
from rank_rerank.kernels.processor import vector_path

NEEDED = {"rank_rerank", "numpy", "tokenizers"}
if not can_map_code():
    NEEDED.add("llvmlite")  # it holds the linker that loads machine code
if sys.platform != "linux":
    NEEDED.add("llvmlite")  # it tells what the processor has
PROGRAM = """
import json, sys
before = set(sys.modules)
import rank_rerank
TEXTS = ["Paris is the capital of France. It rains there.", "Berlin is the capital of Germany."]
reranker = rank_rerank.load()
{use}
print(json.dumps([name for name in set(sys.modules) - before if "." not in name]))
"""
USES = {
    "rerank": 'reranker.rerank("capital of France", TEXTS)',
    "spans": 'assert reranker.rerank("capital of France", TEXTS, spans=True)[0].spans',
    "an int8 store": """
import tempfile
with tempfile.TemporaryDirectory() as folder:
    store = rank_rerank.EmbeddingStore.create(folder, reranker.encoder, rank_rerank.Compression("int8"))
    store.add(["a", "b"], texts=TEXTS)
    assert len(reranker.rerank("capital of France", store.select(["a", "b"]))) == 2
""",
}


def loaded_packages(use):
    """The packages, other than Python's own, that a new process has loaded after a use."""
    program = [sys.executable, "-c", PROGRAM.format(use=use)]
    result = subprocess.run(program, capture_output=True, text=True, check=True)
    return {name for name in json.loads(result.stdout) if name not in sys.stdlib_module_names and name != "__mp_main__"}


@pytest.mark.skipif(cache_folder() is None, reason="no folder can keep compiled kernels here")
@pytest.mark.skipif(not is_supported(vector_path()), reason="the model runs in ONNX Runtime on this processor")
@pytest.mark.parametrize("use", USES)
def test_a_warm_process_loads_what_it_needs_and_nothing_else(use):
    if loaded_packages(USES[use]) != NEEDED:  # it had to compile
        assert loaded_packages(USES[use]) == NEEDED
