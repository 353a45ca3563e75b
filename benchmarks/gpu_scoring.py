"""Part of bench_gpu.py: MaxSim on the device against float64, the bandwidth of a copy, einsum, and other kernels.

Every row first compares its scores with a float64 computation on the stored numbers, and that one with the reference in
NumPy. "of_copy" is the rate at which documents are read over the rate of a plain copy, bytes read and written.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from gpu_parts import Part

from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.maxsim_reference import maxsim_reference
from rank_rerank.scoring.packed_documents import PackedDocuments

NUM_QUERY_TOKENS, DIM, LENGTH = 32, 128, 180
# per query token, against float64 on the stored numbers
ALLOWED = {"float32": 2e-6, "float16": 2e-6, "bfloat16": 2e-6, "int8": 5e-3, "signs": 2e-5}
CHUNK_TOKENS = 1 << 18
COPY_BYTES = 1 << 31
MOST_FOR_SLOW_KERNELS = 10_000
# tokens of a block, stages, warps, and the most registers of a thread
SWEEP = {
    "float32": ((64, 2, 4, 168),),
    "float16": ((64, 3, 4, None), (64, 2, 4, 168)),
    "bfloat16": ((64, 3, 4, None),),
    "int8": ((64, 2, 4, 128), (32, 3, 4, 96)),
    "signs": ((64, 2, 4, 128), (32, 4, 2, 128)),
}


@dataclass
class Case:
    """One query and documents on the device.

    Attributes:
        name: for people.
        query: [32, 128] float32, unit rows, in main memory.
        vectors: [num_tokens, 128] float32 on the device.
        offsets: [num_documents + 1] in main memory.
    """

    name: str
    query: np.ndarray
    vectors: Any
    offsets: np.ndarray

    def stored(self, storage: str) -> tuple[PackedDocuments, Any]:
        """Documents as a storage keeps them, and the numbers that they stand for as float32."""
        vectors, scales = self.vectors, None
        if storage == "int8":
            scales = vectors.abs().amax(dim=1) / 127
            packed = (vectors / scales[:, None]).round().to(torch.int8)
            exact = packed.float() * scales[:, None]
        elif storage == "signs":
            places = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], device=vectors.device, dtype=torch.uint8)
            packed = ((vectors > 0).view(len(vectors), -1, 8) * places).sum(dim=2).to(torch.uint8)
            exact = (vectors > 0).float() * 2 - 1
        else:
            packed = vectors.to(getattr(torch, storage))
            exact = packed.float()
        return PackedDocuments(TokenEmbeddings(packed, self.offsets), token_scales=scales), exact

    def expected(self, exact: Any) -> np.ndarray:
        """Scores in float64."""
        query = torch.from_numpy(self.query).to(exact.device, torch.float64)
        lengths = torch.from_numpy(np.diff(self.offsets)).to(exact.device)
        owners = torch.repeat_interleave(torch.arange(len(lengths), device=exact.device), lengths)
        best = torch.full((len(lengths), len(query)), -torch.inf, dtype=torch.float64, device=exact.device)
        for part, owner in zip(exact.split(CHUNK_TOKENS), owners.split(CHUNK_TOKENS), strict=True):
            best.scatter_reduce_(0, owner[:, None].expand(-1, len(query)), part.double() @ query.T, "amax")
        return best.sum(dim=1).cpu().numpy()


def make_case(part: Part, num_documents: int, lengths: str) -> Case:
    """Seeded unit vectors."""
    random = np.random.default_rng(0)
    sizes = np.full(num_documents, LENGTH)
    if lengths != "uniform":
        sizes = np.exp(random.normal(np.log(270), 0.35, num_documents)).clip(5, 300).astype(np.int64)
    generator = torch.Generator(part.device).manual_seed(0)
    vectors = torch.empty((int(sizes.sum()), DIM), device=part.device)
    for chunk in vectors.split(CHUNK_TOKENS):
        chunk.copy_(torch.nn.functional.normalize(torch.randn(chunk.shape, generator=generator, device=part.device)))
    query = random.standard_normal((NUM_QUERY_TOKENS, DIM)).astype(np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    return Case(f"{lengths}, {num_documents}", query, vectors, np.asarray(offsets_of_lengths(sizes.tolist())))


def main() -> None:
    """Everything, the most important first."""
    part = Part.from_arguments(__doc__)
    if part.is_warm_up:
        measure_sizes(part, [("uniform", 100)], None)
        return
    copy_rate = measure_copy(part)
    part.attempt("float64 on the device is the reference", partial(check_reference, part))
    count = 20 if part.is_short else 100
    measure_sizes(part, [("uniform", count)], copy_rate)
    measure_overhead(part)
    if not part.is_short:
        measure_sizes(part, [("uniform", 10_000), ("uniform", 100_000)], copy_rate)
    part.attempt("several queries at once", partial(measure_many, part))
    if not part.is_short:
        sweep(part, copy_rate)
        measure_sizes(part, [("scifact", 10_000), ("uniform", 1000), ("scifact", 100)], copy_rate)


def measure_sizes(part: Part, sizes: list[tuple[str, int]], copy_rate: float | None) -> None:
    """Every kernel and every storage for documents of some lengths and numbers."""
    for lengths, count in sizes:
        case = make_case(part, count, lengths)
        for storage in ("float16", "float32", "int8", "bfloat16", "signs"):
            if part.has_time():
                measure_storage(part, case, storage, copy_rate)
        if count <= MOST_FOR_SLOW_KERNELS and not part.is_brief:
            measure_cpu(part, case)


def measure_copy(part: Part) -> float | None:
    """Bytes read and written per second by a copy that no cache holds."""
    size = 1 << 22 if part.is_short else COPY_BYTES
    source = torch.ones(size // 4, device=part.device)
    target = torch.empty_like(source)
    times = part.wall_ms(lambda: target.copy_(source), 0.2)
    rate = 2 * size / times["best_ms"] * 1e3
    part.emit("copy", bytes=size, tera_bytes_s=rate / 1e12, **times)
    return rate


def check_reference(part: Part) -> dict[str, Any]:
    """The float64 computation that all rows are compared with, itself compared with the definition."""
    case = make_case(part, 20, "scifact")
    exact = case.vectors.cpu().numpy()
    documents = [exact[a:b] for a, b in zip(case.offsets[:-1], case.offsets[1:], strict=True)]
    error = np.abs(case.expected(case.vectors) - maxsim_reference(case.query, documents)).max()
    if error > 1e-4:
        raise AssertionError(f"off by {error}")
    return {"largest_difference": float(error)}


def measure_storage(part: Part, case: Case, storage: str, copy_rate: float | None) -> None:
    """Our kernels, and what else computes this storage."""
    packed, exact = case.stored(storage)
    expected = case.expected(exact)
    del exact
    for name, run, allowed in methods(part, case, packed, storage):
        what = f"maxsim {case.name}: {name}, {storage}"
        part.attempt(what, partial(measure, part, packed, expected, copy_rate, (run, allowed)))
    if part.device == "cuda":
        torch.cuda.empty_cache()


def measure(
    part: Part, packed: PackedDocuments, expected: np.ndarray, copy_rate: float | None, method: tuple[Any, float | None]
) -> dict[str, Any]:
    """Compare, then time."""
    run, allowed = method
    scores = run()
    scores = scores.cpu().numpy() if hasattr(scores, "cpu") else scores.get() if hasattr(scores, "get") else scores
    error = float(np.abs(scores.astype(np.float64) - expected).max()) / NUM_QUERY_TOKENS
    row = {"error_a_query_token": error, "allowed": allowed, "is_right": allowed is None or error <= allowed}
    row |= part.wall_ms(run, 0.05 if part.is_brief else 0.1) | part.device_ms(run, 5)
    row["document_bytes"] = packed.embeddings.vectors.nbytes
    if copy_rate and "kernel_ms" in row:
        row["of_copy"] = row["document_bytes"] / (row["kernel_ms"] / 1e3) / copy_rate
        row["of_copy_wall"] = row["document_bytes"] / (row["wall_ms"] / 1e3) / copy_rate
    return row


def methods(
    part: Part, case: Case, packed: PackedDocuments, storage: str
) -> Iterator[tuple[str, Callable[[], Any], float | None]]:
    """Name, call, and the error allowed per query token; None for what others compute."""
    query = torch.from_numpy(case.query).to(part.device)
    num_documents = len(case.offsets) - 1
    if part.device == "cuda":
        if not part.is_brief or num_documents <= MOST_FOR_SLOW_KERNELS:
            yield "triton", lambda: maxsim(case.query, packed, kernel="triton"), ALLOWED[storage]
        yield "triton, trusted", lambda: maxsim(case.query, packed, kernel="triton", trusted=True), ALLOWED[storage]
    if part.is_brief and storage != "float16":
        return
    if num_documents <= MOST_FOR_SLOW_KERNELS and not part.is_brief:
        yield "torch", lambda: maxsim(case.query, packed, kernel="torch"), ALLOWED[storage] * 10
    if (
        part.device == "cuda"
        and not part.is_brief
        and find_spec("cupy")
        and storage != "bfloat16"
        and num_documents <= MOST_FOR_SLOW_KERNELS
    ):
        import cupy

        there = PackedDocuments(
            TokenEmbeddings(cupy.from_dlpack(packed.embeddings.vectors), case.offsets),
            token_scales=None if packed.token_scales is None else cupy.from_dlpack(packed.token_scales),
        )
        yield "cupy", lambda: maxsim(case.query, there), ALLOWED[storage] * 10
    if storage in {"float16", "float32", "bfloat16"}:
        vectors = packed.embeddings.vectors
        if len(set(np.diff(case.offsets).tolist())) == 1 and num_documents <= MOST_FOR_SLOW_KERNELS:
            cube, asked = vectors.view(num_documents, -1, DIM), query.to(vectors.dtype)
            yield "einsum", lambda: torch.einsum("qd,ntd->nqt", asked, cube).amax(dim=2).float().sum(dim=1), None


def measure_cpu(part: Part, case: Case) -> None:
    """The compiled kernel on all processors of this machine, on the same numbers."""
    for storage in ("float32", "float16"):
        vectors = case.vectors.to(getattr(torch, storage)).cpu().numpy()
        documents = TokenEmbeddings(vectors, case.offsets)
        part.attempt(
            f"maxsim {case.name}: compiled on the CPU, {storage}",
            lambda documents=documents: part.wall_ms(lambda: maxsim(case.query, documents), 0.3),
        )


def measure_many(part: Part) -> dict[str, Any]:
    """16 queries at once, each row as if it were alone."""
    from rank_rerank.scoring.maxsim import maxsim_many

    case = make_case(part, 20 if part.is_short else 1000, "scifact")
    packed, _ = case.stored("float16")
    queries = [case.query[: 4 + number] for number in range(16)]
    together = maxsim_many(queries, packed).cpu().numpy()
    alone = np.stack([maxsim(query, packed).cpu().numpy() for query in queries])
    return {
        "largest_difference": float(np.abs(together - alone).max()),
        "same_bits": bool((together == alone).all()),
        **part.wall_ms(lambda: maxsim_many(queries, packed), 0.2),
    }


def sweep(part: Part, copy_rate: float | None) -> None:
    """Other sizes of blocks, numbers of stages and limits of registers for the Triton kernel."""
    from rank_rerank.scoring.tensors import blocks as module
    from rank_rerank.scoring.tensors.maxsim_triton import forget_plans

    case = make_case(part, 10_000, "uniform")
    blocks, registers = dict(module.NARROW_BLOCKS), dict(module.MAX_REGISTERS)
    for storage, trials in SWEEP.items():
        if not part.has_time(4):
            return
        packed, exact = case.stored(storage)
        expected = case.expected(exact)
        del exact
        for tokens, num_stages, warps, limit in trials:
            module.NARROW_BLOCKS[storage], module.MAX_REGISTERS[storage] = (tokens, num_stages, warps), limit
            forget_plans()
            run = partial(maxsim, case.query, packed, kernel="triton", trusted=True)
            part.attempt(
                f"sweep {storage}: {tokens} tokens a block, {num_stages} stages, {warps} warps, registers: {limit}",
                partial(measure, part, packed, expected, copy_rate, (run, ALLOWED[storage])),
            )
        module.NARROW_BLOCKS, module.MAX_REGISTERS = dict(blocks), dict(registers)
        forget_plans()


def measure_overhead(part: Part) -> None:
    """What Python and small kernels cost around the one that counts: the calls of 100 documents, by function."""
    import cProfile
    import io
    import pstats

    case = make_case(part, 20 if part.is_short else 100, "uniform")
    packed, _ = case.stored("float16")

    def run() -> dict[str, Any]:
        maxsim(case.query, packed, trusted=True)
        if part.is_short:
            return {"profile_of_200_calls": "on a GPU only"}
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(200):
            maxsim(case.query, packed, trusted=True)
        part.wait()
        profiler.disable()
        text = io.StringIO()
        pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(25)
        print(text.getvalue(), file=sys.stderr)
        return {"profile_of_200_calls": text.getvalue()}

    part.attempt("where the time of 100 documents goes", run)


if __name__ == "__main__":
    main()
