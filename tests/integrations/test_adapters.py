"""What holds for every adapter: its package is asked for, with the command that installs it, and nothing else loads."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rank_rerank.devices import install_command

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = {
    "langchain_compressor": ("langchain_core", "langchain"),
    "llama_index_postprocessor": ("llama_index.core", "llamaindex"),
    "haystack_ranker": ("haystack", "haystack"),
    "pyterrier_transformer": ("pyterrier", "pyterrier"),
    "lancedb_reranker": ("lancedb", "lancedb"),
    "dspy_retriever": ("dspy", "dspy"),
    "mcp_server": ("mcp.server.mcpserver", "mcp"),
}


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_without_its_package_an_adapter_says_which_command_installs_it(adapter):
    package, extra = ADAPTERS[adapter]
    program = (
        "import importlib, sys\n"
        f"sys.modules[{package!r}] = None\n"
        "from rank_rerank.errors import MissingDependencyError\n"
        "try:\n"
        f"    importlib.import_module('rank_rerank.integrations.{adapter}')\n"
        "except MissingDependencyError as error:\n"
        "    print(error)\n"
    )
    message = run(program)
    assert f'needs the package "{package.partition(".")[0]}"' in message
    assert message.endswith(install_command(extra))


def test_every_extra_is_there_and_has_no_upper_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for _, extra in ADAPTERS.values():
        assert extras[extra]
        assert not [needed for needed in extras[extra] if "<" in needed or "==" in needed]


def test_the_forms_and_the_search_load_nothing_heavy():
    program = (
        "import sys\n"
        "import rank_rerank.integrations.compatible, rank_rerank.integrations.folder_search.folder_search\n"
        "import rank_rerank.integrations.qdrant_points, rank_rerank.integrations.stored_vectors\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'numba', 'pandas', 'pyarrow', 'bm25s', 'qdrant_client'}\n"
        "heavy |= {'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run(program) == "[]"


def test_importing_the_package_imports_no_adapter():
    program = "import sys, rank_rerank\nprint([name for name in sys.modules if 'rank_rerank.integrations' in name])"
    assert run(program) == "[]"
