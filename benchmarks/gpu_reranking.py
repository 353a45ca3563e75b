"""Part of bench_gpu.py: too little memory, two threads, two streams, a long batch, and reranking of texts."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_parts import Part, cosines, make_texts, stream_of

import rank_rerank
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.scoring.maxsim import maxsim

QUERY = "does aspirin lower the risk of a second heart attack?"
SHARE_OF_PEAK = 0.4


def main() -> None:
    """Everything."""
    part = Part.from_arguments(__doc__)
    texts = make_texts(8 if part.is_short else 1000, seed=1, is_short=part.is_short)
    found: dict[str, Any] = {}
    part.attempt("load on the device", partial(load, part, found, "device", part.device))
    part.attempt("load on the CPU", partial(load, part, found, "cpu", "cpu"))
    for count in (4,) if part.is_short else (100, 1000):
        part.attempt(f"rerank {count} documents", partial(rerank, part, found, texts[:count]))
    part.attempt("MaxSim of vectors kept on the device", partial(kept_vectors, part, found, texts))
    part.attempt("too little memory", partial(too_little_memory, part, found, texts))
    part.attempt("two threads at once", partial(two_threads, found, texts[:300] if part.is_brief else texts))
    part.attempt("two streams at once", partial(two_streams, part))
    part.attempt("one model on two devices, which are one", partial(group, part, texts))
    if not part.is_brief:
        part.attempt("a long batch", partial(long_batch, part, found))


def load(part: Part, found: dict[str, Any], name: str, device: str) -> dict[str, Any]:
    """The bundled model."""
    import time

    begun = time.perf_counter()
    found[name] = rank_rerank.load(device=device, runtime="torch" if name == "device" and part.is_short else "auto")
    found[name].rerank(QUERY, ["a", "b"])
    part.wait()
    encoder = found[name].encoder
    return {"seconds": time.perf_counter() - begun, "runtime": encoder.transformer.description}


def rerank(part: Part, found: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """From texts to a ranking, on the device and on the CPU in turn."""
    rankings = {name: found[name].rerank(QUERY, texts) for name in ("device", "cpu")}
    orders = {name: [hit.index for hit in ranking] for name, ranking in rankings.items()}
    scores = {name: np.array([hit.score for hit in sorted(ranking, key=lambda hit: hit.index)])
              for name, ranking in rankings.items()}  # fmt: skip
    row: dict[str, Any] = {
        "same_best": orders["device"][0] == orders["cpu"][0],
        "ten_best_in_common": len(set(orders["device"][:10]) & set(orders["cpu"][:10])),
        "largest_difference_of_scores": float(np.abs(scores["device"] - scores["cpu"]).max()),
    }
    for name in ("device", "cpu"):
        times = part.wall_ms(partial(found[name].rerank, QUERY, texts), 0.4 if part.is_brief else 1.5, least=2)
        row[name] = {**times, "ms_a_document": times["wall_ms"] / len(texts)}
    row["times_the_cpu"] = row["cpu"]["wall_ms"] / row["device"]["wall_ms"]
    return row


def kept_vectors(part: Part, found: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """Documents encoded once: their float16 vectors on the device against the CPU's kernel."""
    encoder = found["device"].encoder
    documents = encoder.encode_documents(texts)
    query = encoder.encode_query(QUERY)
    vectors = torch.from_numpy(documents.vectors).to(part.device, torch.float16)
    there = TokenEmbeddings(vectors, documents.offsets)
    here = TokenEmbeddings(documents.vectors.astype(np.float16), documents.offsets)
    scores, expected = maxsim(query, there).cpu().numpy(), maxsim(query, here)
    times, cpu = part.wall_ms(lambda: maxsim(query, there), 0.3), part.wall_ms(lambda: maxsim(query, here), 0.3)
    return {
        "largest_difference": float(np.abs(scores - expected).max()),
        **times,
        "cpu_ms": cpu["wall_ms"],
        "times_the_cpu": cpu["wall_ms"] / times["wall_ms"],
        **part.device_ms(lambda: maxsim(query, there)),
    }


def long_batch(part: Part, found: dict[str, Any]) -> dict[str, Any]:
    """Texts at the model's limit, many more than one batch holds."""
    texts = [text + " " + text for text in make_texts(4 if part.is_short else 2000, seed=2, is_short=part.is_short)]
    if part.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    vectors = found["device"].encoder.encode_documents(texts)
    row = {"texts": len(texts), "tokens": vectors.num_tokens, "is_finite": bool(np.isfinite(vectors.vectors).all())}
    if part.device == "cuda":
        row["peak_bytes"] = torch.cuda.max_memory_allocated()
    return row


def two_threads(found: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """Two threads encode with one model; each gets what it gets alone."""
    encoder = found["device"].encoder
    halves = [texts[::2], texts[1::2]]
    alone = [encoder.encode_documents(half).vectors for half in halves]
    with ThreadPoolExecutor(2) as pool:
        together = [each.vectors for each in pool.map(encoder.encode_documents, halves * 2)]
    return {
        "same_bits": [a.tobytes() == b.tobytes() for a, b in zip(alone * 2, together, strict=True)],
        "largest_difference": max(float(np.abs(a - b).max()) for a, b in zip(alone * 2, together, strict=True)),
    }


def two_streams(part: Part) -> dict[str, Any]:
    """MaxSim in two threads, each on a stream of its own, over and over; every score as if it were alone."""
    random = torch.Generator().manual_seed(0)
    query = torch.randn(32, 128, generator=random)
    lots = []
    for size in (300, 170):
        vectors = torch.randn(20 * size, 128, generator=random).to(part.device, torch.float16)
        lots.append(TokenEmbeddings(vectors, np.arange(21, dtype=np.int64) * size))
    expected = [maxsim(query, lot).cpu() for lot in lots]
    streams = [torch.cuda.Stream() if part.device == "cuda" else None for _ in lots]
    part.wait()

    def work(number: int) -> bool:
        with stream_of(streams[number]):
            return all(torch.equal(maxsim(query, lots[number]).cpu(), expected[number]) for _ in range(20))

    with ThreadPoolExecutor(2) as pool:
        return {"same_bits": list(pool.map(work, range(2)))}


def group(part: Part, texts: list[str]) -> dict[str, Any]:
    """What a list of devices does, with one device named twice."""
    device = "cuda:0" if part.device == "cuda" else "cpu"
    both = rank_rerank.load(device=[device, device], runtime="torch")
    one = rank_rerank.load(device=device, runtime="torch")
    found, expected = (each.encoder.encode_documents(texts[:200]).vectors for each in (both, one))
    return {"runtime": both.encoder.transformer.description, **cosines(found, expected)}


def too_little_memory(part: Part, found: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """The memory that the process may take is cut below what a batch needs: it is halved, and the vectors stay."""
    import logging

    if part.device != "cuda":
        return {"skipped": "needs a GPU"}
    encoder = found["device"].encoder
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    expected = encoder.encode_documents(texts).vectors
    peak = torch.cuda.max_memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("rank_rerank")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + SHARE_OF_PEAK * (peak - before)) / total)
    try:
        vectors = encoder.encode_documents(texts).vectors
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        logger.removeHandler(handler)
    return {
        "bytes_of_the_model": before, "peak_bytes": peak, "halvings": len(said), "said": said[:5],
        "is_halved": bool(said), "largest_difference": float(np.abs(vectors - expected).max()),
        **cosines(vectors, expected),
    }  # fmt: skip


if __name__ == "__main__":
    main()
