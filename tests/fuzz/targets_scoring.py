"""Public functions that work on arrays: embeddings, MaxSim, compression."""

import numpy as np
from call_targets import (
    Target,
    always,
    check_embeddings,
    check_finite,
    check_scores,
    one_of,
)
from fuzz_child import Fault
from wild_values import DIM, matrices, vectors

import rank_rerank
from rank_rerank import Compression, Pooling, Projection, TokenEmbeddings
from rank_rerank.encoding import BestWindows, normalize_rows, pool
from rank_rerank.explanation import align_tokens
from rank_rerank.kernels.processor import usable_vector_paths
from rank_rerank.scoring.maxsim import maxsim, maxsim_many, maxsim_matches, maxsim_top_k
from rank_rerank.scoring.packed_documents import PackedDocuments
from rank_rerank.scoring.screened_documents import ScreenedDocuments

KERNELS = (None, None, None, "numba", "reference", *(f"numba-{path.name}" for path in usable_vector_paths()))


def packed(rng):
    return TokenEmbeddings.from_list(matrices(rng) or [vectors(rng, 2)])


def documents(rng):
    """Every form that a user may have document vectors in."""
    form = rng.randrange(6)
    if form == 0:
        return packed(rng)
    if form == 1:
        return vectors(rng, 12).reshape(3, 4, DIM)
    if form == 2:
        return [matrix.astype(rng.choice(("f2", "f8"))) for matrix in matrices(rng)]
    if form == 3:
        embeddings = packed(rng)
        whole = TokenEmbeddings((embeddings.vectors * 100).astype(np.int8), embeddings.offsets)
        return PackedDocuments(whole, token_scales=np.full(whole.num_tokens, 0.01, np.float32))
    if form == 4:
        return PackedDocuments(packed(rng), candidates=np.zeros(rng.randint(0, 3), np.int64))
    return matrices(rng)


def query(rng):
    return vectors(rng, rng.choice((1, 2, 5, 17)))


def offsets(rng):
    return np.array(
        sorted([0, *(rng.randint(0, 8) for _ in range(rng.randint(0, 4))), 8]), rng.choice((np.int64, np.int32))
    )


def check_maxsim(scores, arguments, target):
    if arguments.get("trusted", False) is False:
        check_scores(scores, target)


def check_against_reference(scores, arguments, target):
    """What a kernel returns is what the definition gives, up to the rounding of its products and sums."""
    check_maxsim(scores, arguments, target)
    query_vectors, document_vectors = arguments["query_embeddings"], arguments["document_embeddings"]
    if arguments["trusted"]:
        return  # NaN too
    if not all(isinstance(each, np.ndarray | list | TokenEmbeddings) for each in (query_vectors, document_vectors)):
        return  # an iterator would be at its end
    if any(getattr(each, "dtype", None) in (np.int8, np.uint8) for each in (document_vectors, *document_vectors)):
        return  # bytes are multiplied by a query that is rounded to bytes
    rest = {name: value for name, value in arguments.items() if name not in ("kernel", "num_threads")}
    expected = maxsim(**rest, kernel="reference")
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=1))
    target.require(np.allclose(scores, expected, rtol=1e-3, atol=1e-3 * largest), "other scores than the definition")


def check_matches(matches, arguments, target):
    check_maxsim(matches.scores, arguments, target)
    target.require(np.asarray(matches.indices).min(initial=0) >= -1, "an index below -1")


def check_compressed(compressed, arguments, target):
    check_embeddings(compressed, arguments, target)
    if compressed.scales is not None:
        check_finite(compressed.scales, arguments, target)


def check_rows(scores, arguments, target):
    check_maxsim(scores.reshape(-1), arguments, target)


def check_top(top, arguments, target):
    check_maxsim(top.scores, arguments, target)


def score_embeddings(vectors, offsets):
    return maxsim(np.ones((2, DIM), np.float32), TokenEmbeddings(vectors, offsets))


def score_packed(**given):
    return maxsim(np.ones((2, DIM), np.float32), PackedDocuments(**given))


def score_screened(**given):
    """The best two of screened documents, which are exactly the best two of all."""
    embeddings, candidates = given["embeddings"], given["candidates"]
    top = maxsim_top_k(np.ones((2, DIM), np.float32), ScreenedDocuments(**given), 2)
    plain = {name: value for name, value in given.items() if name != "rounded"}
    scores = maxsim(np.ones((2, DIM), np.float32), PackedDocuments(**plain))
    if embeddings is not None and candidates is None and not np.array_equal(top.scores, np.sort(scores)[::-1][:2]):
        raise Fault("ScreenedDocuments", "returned others than the best")
    return top


def check_alignments(found, arguments, target):
    # a document without tokens has no similarities
    check_finite([pair.similarity for pair in found if pair.document_token >= 0], arguments, target)
    target.require(all(pair.similarity == -np.inf for pair in found if pair.document_token < 0), "a match with nothing")


def check_size(size, _, target):
    target.require(type(size) is int and size > 0, "what is no size")


SCREENED = ScreenedDocuments(TokenEmbeddings(np.ones((6, DIM), np.float32), np.array([0, 1, 4, 6])))
SCORING = {
    "query_embeddings": query,
    "document_embeddings": documents,
    "num_threads": one_of(None, 1, 2, 3),
    "kernel": one_of(*KERNELS),
    "trusted": one_of(False, False, True),
}
WEIGHTED = {**SCORING, "query_weights": one_of(None, None, [1.0])}

TARGETS = [
    Target("normalize_rows", normalize_rows, {"vectors": lambda rng: vectors(rng, 5)}, check_finite),
    Target(
        "pool",
        pool,
        {"embeddings": packed, "pooling": one_of(Pooling(2)), "normalize": one_of(True, False)},
        check_embeddings,
    ),
    Target("align_tokens", align_tokens, {"query_vectors": query, "document_vectors": query}, check_alignments),
    Target("maxsim", maxsim, WEIGHTED, check_against_reference, weight=6),
    Target(
        "maxsim_many",
        maxsim_many,
        {**SCORING, "query_embeddings": lambda rng: [query(rng), query(rng)]},
        check_rows,
        weight=2,
    ),
    Target("maxsim_matches", maxsim_matches, WEIGHTED, check_matches, weight=2),
    Target("maxsim_top_k", maxsim_top_k, {**SCORING, "top_k": one_of(1, 2, 9)}, check_top, weight=2),
    Target(
        "TokenEmbeddings",
        TokenEmbeddings,
        {
            "vectors": lambda rng: vectors(rng, 8),
            "offsets": offsets,
            "truncated": one_of(None, np.zeros(2, np.bool_)),
            "character_spans": one_of(None, None, np.zeros((8, 2), np.int32)),
            "unknown_words": one_of(None, None, np.zeros(2, np.float32)),
        },
        check_embeddings,
        weight=4,
    ),
    Target(
        "TokenEmbeddings, scored",
        score_embeddings,
        {"vectors": lambda rng: vectors(rng, 8), "offsets": offsets},
        check_maxsim,
        weight=4,
    ),
    Target("TokenEmbeddings.from_list", TokenEmbeddings.from_list, {"matrices": matrices}, check_embeddings, weight=2),
    Target(
        "TokenEmbeddings.select",
        lambda embeddings, indices: embeddings.select(indices),
        {"embeddings": packed, "indices": lambda _: np.zeros(2, np.int64)},
        check_embeddings,
        ("embeddings",),
        allowed=(IndexError,),
    ),
    Target(
        "PackedDocuments",
        score_packed,
        {
            "embeddings": always(TokenEmbeddings(np.ones((4, DIM), np.int8), np.array([0, 1, 4]))),
            "token_scales": one_of(None, np.ones(4, np.float32)),
            "document_scales": one_of(None, np.ones(2, np.float32)),
            "candidates": one_of(None, np.array([1, 0])),
        },
        check_maxsim,
        weight=2,
    ),
    Target(
        "ScreenedDocuments",
        score_screened,
        {
            "embeddings": packed,
            "token_scales": always(None),
            "document_scales": always(None),
            "candidates": one_of(None, np.array([0])),
            "rounded": always(None),
        },
        check_top,
        weight=2,
    ),
    Target(
        "ScreenedDocuments.choose",
        lambda candidates: maxsim_top_k(np.ones((2, DIM), np.float32), SCREENED.choose(candidates), 2),
        {"candidates": one_of(np.array([1, 0]), np.array([2]))},
        check_top,
    ),
    Target("Projection", Projection, {"dim": one_of(DIM), "projected_dim": one_of(8, 4), "matrix": one_of(None)}),
    Target("Projection.fit", Projection.fit, {"vectors": lambda rng: vectors(rng, 20), "projected_dim": one_of(4, 8)}),
    Target(
        "Projection.apply",
        lambda projection, vectors: projection.apply(vectors),
        {"projection": one_of(Projection(DIM, 8)), "vectors": lambda rng: vectors(rng, 5)},
        check_finite,
        ("projection",),
    ),
    Target(
        "Pooling",
        Pooling,
        {"factor": one_of(1, 2, 64), "method": one_of("hierarchical", "sequential"), "protected_tokens": one_of(0, 1)},
        weight=0.5,
    ),
    Target(
        "Compression",
        Compression,
        {
            "dtype": one_of("float32", "float16", "int8", "int4", "binary"),
            "rescore_dtype": one_of(None),
            "pooling": one_of(None, Pooling(2)),
            "projection": one_of(None, Projection(DIM, 8)),
        },
    ),
    Target(
        "Compression.compress",
        lambda compression, embeddings: compression.compress(embeddings),
        {
            "compression": one_of(
                *map(Compression, ("float32", "float16", "int8", "int4", "binary")), Compression(pooling=Pooling(2))
            ),
            "embeddings": packed,
        },
        check_compressed,
        ("compression",),
    ),
    Target(
        "Compression.stored_dim",
        lambda compression, dim: compression.stored_dim(dim),
        {"compression": one_of(Compression(), Compression("binary")), "dim": one_of(16, 128)},
        check_size,
        ("compression",),
    ),
    Target(
        "Compression.bytes_per_token",
        lambda compression, dim: compression.bytes_per_token(dim),
        {"compression": one_of(Compression(), Compression("binary")), "dim": one_of(16, 128)},
        check_size,
        ("compression",),
    ),
    Target(
        "Compression.project",
        lambda compression, vectors: compression.project(vectors),
        {"compression": one_of(Compression(projection=Projection(DIM, 8))), "vectors": lambda rng: vectors(rng, 5)},
        check_finite,
        ("compression",),
    ),
    Target(
        "BestWindows",
        BestWindows,
        {"length": one_of(16, 64), "num_windows": one_of(1, 3)},
        weight=0.3,
    ),
    Target(
        "Chunking",
        rank_rerank.Chunking,
        {"overlap": one_of(0, 8), "score": one_of("best_chunk", "all_tokens"), "length": one_of(None, 64)},
        weight=0.5,
    ),
]
