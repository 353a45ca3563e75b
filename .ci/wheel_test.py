"""Test the built wheel as a user has it: only the base install, no source tree, no network, no compiler.

usage: python wheel_test.py WHEEL      (in the environment the wheel was installed into, beside scifact_claim.jsonl)
"""

import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

CLAIM = "Increased vessel density along with a reduction in fibrosis decreases the efficacy of chemotherapy treatments."


def main() -> None:
    """Run every check; the first that fails ends the script with its message."""
    check_contents(Path(sys.argv[1]))
    check_nothing_heavy_was_installed()
    check_nothing_is_compiled()
    check_main_job_without_network()
    check_command()
    check_install_hints()
    print("wheel test passed")  # noqa: T201


def check(holds: object, message: str) -> None:
    """Stop with a message unless it holds."""
    if not holds:
        raise SystemExit(f"wheel test failed: {message}")


def check_contents(wheel: Path) -> None:
    """The model is there once, its licence and card beside it, and no test or example."""
    names = zipfile.ZipFile(wheel).namelist()
    models = [name for name in names if name.endswith((".onnx", ".safetensors"))]
    check(len(models) == 1, f"one model file expected, found {models}")
    for name in ("LICENSE", "README.md", "provenance.json", "tokenizer.json", "onnx_config.json"):
        check(f"rank_rerank/bundled/{name}" in names, f"{name} of the bundled model is missing")
    check("rank_rerank/py.typed" in names, "py.typed is missing")
    trusted = "haystack_integrations/components/rankers/rank_rerank/__init__.py"
    packages = {str(Path(name).parent) for name in names if name.startswith("haystack_integrations/")}
    check(trusted in names and packages == {str(Path(trusted).parent)}, "the package that Haystack trusts is missing")
    check(not [name for name in names if name.startswith(("tests/", "examples/", "benchmarks/"))], "stray files")
    check(wheel.stat().st_size < 40e6, f"the wheel has {wheel.stat().st_size / 1e6:.0f} MB")  # noqa: PLR2004
    check(wheel.name.endswith("-py3-none-any.whl"), "the wheel is for one platform only")
    kernels = [name for name in names if name.startswith("rank_rerank/kernels/prebuilt/")]
    counts = Counter(KERNEL_NAME.search(name).group(1) for name in kernels)  # type: ignore[union-attr]
    check(counts == KERNELS, f"kernels per path: {KERNELS} expected, found {dict(counts)}")


# kernels of a path: fourteen forms of MaxSim, and the two passes where it multiplies bytes or pairs
KERNELS = {"avx2-vnni": 20, "avx512-vnni": 20, "neon-dotprod": 20, "avx2": 20, "avx512": 20, "neon": 18}
KERNEL_NAME = re.compile(f"-({'|'.join(KERNELS)})-(?:matches-|float32-|int16-)?[0-9]+[.]kernel$")
WITHOUT_COMPILER = """
import sys, tempfile
sys.modules["numba"] = sys.modules["llvmlite"] = None
import rank_rerank
texts = ["Paris is the capital of France. It rains there.", "Berlin is the capital of Germany."]
reranker = rank_rerank.load()
assert "compiled" in reranker.encoder.transformer.description, reranker.encoder.transformer.description
assert reranker.rerank("capital of France", texts, spans=True)[0].spans
with tempfile.TemporaryDirectory() as folder:
    store = rank_rerank.EmbeddingStore.create(folder, reranker.encoder, rank_rerank.Compression("int8"))
    store.add(["a", "b"], texts=texts)
    assert reranker.rerank("capital of France", store.select(["a", "b"]))[0].id == "a"
from rank_rerank.kernels.loading import find_origin
from rank_rerank.cli.every_kernel import every_kernel
from rank_rerank.kernels.processor import vector_path
origins = {find_origin(spec) for spec in every_kernel(vector_path())}
assert origins == {"prebuilt"}, origins
loaded = [name for name in sys.modules if name.partition(".")[0] in ("numba", "llvmlite") and sys.modules[name]]
assert not loaded, loaded
"""


def check_nothing_is_compiled() -> None:
    """Reranking, spans and an int8 store work on every vector path of this processor without numba and LLVM."""
    from rank_rerank.kernels.prebuilt import this_system  # noqa: PLC0415
    from rank_rerank.kernels.processor import usable_vector_paths  # noqa: PLC0415

    if this_system() is None:
        return
    for path in usable_vector_paths():
        if path.is_portable or path.integer_product == "words":  # the model runs in ONNX Runtime there
            continue
        environment = {**os.environ, "RANK_RERANK_VECTOR_PATH": path.name, "RANK_RERANK_CACHE": os.devnull}
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", WITHOUT_COMPILER], env=environment, capture_output=True, text=True, check=False
        )
        check(done.returncode == 0 and not done.stderr, f"{path.name} without a compiler: {done.stderr}")


def check_nothing_heavy_was_installed() -> None:
    """The base install is torch-free."""
    for name in ("torch", "transformers", "onnx", "pandas", "pytest"):
        check(find_spec(name) is None, f"{name} was installed")


def check_main_job_without_network() -> None:
    """The bundled model reranks though no connection can be made."""

    def refuse(*_: object) -> None:
        raise SystemExit("wheel test failed: something reached for the network")

    socket.socket.connect = refuse  # type: ignore[method-assign, assignment]
    import rank_rerank  # noqa: PLC0415

    check(Path(rank_rerank.__file__).is_relative_to(sys.prefix), "not the installed package")
    documents = [json.loads(line) for line in Path("scifact_claim.jsonl").read_text(encoding="utf-8").splitlines()]
    ranking = rank_rerank.load().rerank(CLAIM, documents, top_k=3)
    check(len(ranking) == 3, "three hits expected")  # noqa: PLR2004
    check(ranking[0].id == "20888849", "another document than expected came first")


def check_command() -> None:
    """The installed command reranks, checks itself, and refuses bad input with code 2."""
    command = str(Path(sys.executable).with_name("rank-rerank"))
    done = run(command, "rerank", CLAIM, "scifact_claim.jsonl", "--top-k", "2")
    check(done.returncode == 0 and len(done.stdout.splitlines()) == 2, f"rerank: {done.stderr}")  # noqa: PLR2004
    done = run(command, "doctor")
    check(done.returncode == 0 and "passed:" in done.stdout, f"doctor: {done.stdout}{done.stderr}")
    done = run(command, "rerank", CLAIM, "missing.txt")
    check(done.returncode == 2 and len(done.stderr.splitlines()) == 1, f"bad input: {done.stderr}")  # noqa: PLR2004


def check_install_hints() -> None:
    """What needs an optional package says which command installs it."""
    import rank_rerank  # noqa: PLC0415
    from rank_rerank.devices import import_optional, install_command  # noqa: PLC0415
    from rank_rerank.errors import MissingDependencyError  # noqa: PLC0415

    check(rank_rerank.get_gpu_device() == "cpu", "no GPU without torch")
    calls = {
        "dataframe pandas": rank_rerank.load().rerank("a", ["b"]).to_dataframe,
        "torch torch": lambda: import_optional("torch", "torch", "this"),
        "arrow pyarrow": lambda: import_optional("pyarrow", "arrow", "this"),
    }
    for names, call in calls.items():
        extra, package = names.split()
        try:
            call()
        except MissingDependencyError as error:
            check(str(error).endswith(f"Install it with: {install_command(extra)}"), f"hint: {error}")
            check(f'pip install "{package}>=' in str(error), f"hint: {error}")
        else:
            check(holds=False, message=f"{extra}: no error without the package")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command offline and keep what it says."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)  # noqa: S603


if __name__ == "__main__":
    main()
