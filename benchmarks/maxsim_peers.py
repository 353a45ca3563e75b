"""What bench_maxsim.py times of others: every implementation of MaxSim on a CPU that pip installs.

What a peer can prepare once (packing, padding, its index) is done before the clock starts. A peer that is not installed
is no row; `missing` says which.
"""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from maxsim_methods import Method, Workload
from workloads import version_or_none

from rank_rerank.devices import default_num_threads

MAX_PADDED_BYTES = 3 * 2**30
# per query token: float32 in any order of additions
EXACT = 1e-5
TOP = 10
# the module that a peer is imported as → its name on PyPI and the version that the tables were made with
PEERS = {
    "maxsim_cpu": ("maxsim-cpu", "0.1.0"),
    "lateweave": ("lateweave", "0.2.0"),
    "limbed": ("limbed-py", "0.1.7"),
    "colbandit": ("colbandit", "0.1.0"),
    "numkong": ("numkong", "7.8.6"),
    "torch": ("torch", ""),
    "pylate": ("pylate", "1.6.0"),
    "sentence_transformers": ("sentence-transformers", "6.2.0"),
}


def missing() -> list[str]:
    """The peers that are not installed, as pip takes them."""
    return [
        f"{name}=={version}" if version else name
        for module, (name, version) in PEERS.items()
        if find_spec(module) is None
    ]


def versions() -> dict[str, str]:
    """The versions of those that are installed."""
    return {name: found for name, _ in PEERS.values() if (found := version_or_none(name))}


def peers(workload: Workload, expected: np.ndarray) -> list[Method]:
    """A method for each that is installed, and NumPy's matrix product."""
    query, documents = workload.query, workload.documents
    vectors, starts = documents.vectors, documents.offsets[:-1]
    methods = [
        Method(
            "NumPy", lambda: np.maximum.reduceat(vectors @ query.T, starts).sum(axis=1), vectors.nbytes, expected, EXACT
        )
    ]
    for module in PEERS:
        if find_spec(module):
            methods += MAKERS[module](workload, expected)
    return methods


def maxsim_cpu(workload: Workload, expected: np.ndarray) -> list[Method]:
    """mixedbread's, in Rust and libxsmm, on all threads."""
    import maxsim_cpu

    query, matrices = workload.query, list(workload.documents)
    size = workload.documents.vectors.nbytes
    run = lambda: maxsim_cpu.maxsim_scores_variable(query, matrices)  # noqa: E731
    return [Method("maxsim-cpu", run, size, expected, EXACT)]


def lateweave(workload: Workload, expected: np.ndarray) -> list[Method]:
    """Packed documents, multiplied by the OpenBLAS in its wheel."""
    import lateweave

    query, vectors = workload.query, workload.documents.vectors
    lengths, threads = np.diff(workload.documents.offsets), default_num_threads()
    run = lambda: lateweave.maxsim_scores_packed(query, vectors, lengths, threads=threads)  # noqa: E731
    return [Method("lateweave", run, vectors.nbytes, expected, EXACT)]


def limbed(workload: Workload, expected: np.ndarray) -> list[Method]:
    """Loops in C++, one document per call."""
    from limbed import compute_maxsim

    query, matrices = workload.query, list(workload.documents)
    run = lambda: np.array([compute_maxsim(query, matrix) for matrix in matrices])  # noqa: E731
    return [Method("limbed", run, workload.documents.vectors.nbytes, expected, EXACT)]


def colbandit(workload: Workload, expected: np.ndarray) -> list[Method]:
    """Finds ten documents without scoring all, on one thread per query; it may miss some of the best."""
    import colbandit

    index = colbandit.ColBandit().index(list(workload.documents))
    find_top = lambda query, count: index.search(query, k=count)[0]  # noqa: E731
    run = lambda: find_top(workload.query, TOP)  # noqa: E731
    return [Method("colbandit, its ten best", run, workload.documents.vectors.size, expected, find_top=find_top)]


def numkong(workload: Workload, expected: np.ndarray) -> list[Method]:
    """The sum of angular distances, 1 − cosine, of bfloat16 precision; one document per call."""
    import numkong

    query = workload.query
    packed_query = numkong.maxsim_pack(query)
    packed = [numkong.maxsim_pack(matrix) for matrix in workload.documents]
    run = lambda: len(query) - np.array([numkong.maxsim_packed(packed_query, item) for item in packed])  # noqa: E731
    return [Method("numkong", run, workload.documents.vectors.nbytes, expected)]


def torch(workload: Workload, expected: np.ndarray) -> list[Method]:
    """One matrix product, and the largest number of each segment."""
    import torch

    torch.set_num_threads(default_num_threads())
    tensor, asked = torch.from_numpy(workload.documents.vectors), torch.from_numpy(workload.query)
    counts = torch.from_numpy(np.diff(workload.documents.offsets))

    def segments() -> np.ndarray:
        best = torch.segment_reduce(tensor @ asked.T, "max", lengths=counts, axis=0, unsafe=True)
        return best.sum(dim=1).numpy()

    return [Method("torch", segments, workload.documents.vectors.nbytes, expected, EXACT)]


def pylate(workload: Workload, expected: np.ndarray) -> list[Method]:
    """Padded documents and their mask."""
    from pylate.scores import colbert_scores

    def score(query: object, padded: object, mask: object) -> np.ndarray:
        return colbert_scores(query, padded, documents_mask=mask)[0].numpy()

    return padded_method("PyLate", score, workload, expected)


def sentence_transformers(workload: Workload, expected: np.ndarray) -> list[Method]:
    """Padded documents and their mask."""
    from sentence_transformers.util import maxsim

    def score(query: object, padded: object, mask: np.ndarray) -> np.ndarray:
        return maxsim(query, padded, b_mask=mask.bool())[0].numpy()

    return padded_method("sentence-transformers", score, workload, expected)


def padded_method(
    name: str, score: Callable[..., np.ndarray], workload: Workload, expected: np.ndarray
) -> list[Method]:
    """A method on padded documents, where they fit into memory."""
    import torch

    torch.set_num_threads(default_num_threads())
    counts = torch.from_numpy(np.diff(workload.documents.offsets))
    longest, matrices = int(counts.max()), [torch.from_numpy(np.ascontiguousarray(m)) for m in workload.documents]
    if 4 * len(matrices) * longest * workload.query.shape[1] > MAX_PADDED_BYTES:
        return []
    padded = torch.nn.utils.rnn.pad_sequence(matrices, batch_first=True)
    mask, query = (torch.arange(longest)[None] < counts[:, None]).float(), torch.from_numpy(workload.query)[None]
    return [Method(name, lambda: score(query, padded, mask), padded.nbytes, expected, EXACT)]


MAKERS = {
    "maxsim_cpu": maxsim_cpu,
    "lateweave": lateweave,
    "limbed": limbed,
    "colbandit": colbandit,
    "numkong": numkong,
    "torch": torch,
    "pylate": pylate,
    "sentence_transformers": sentence_transformers,
}
