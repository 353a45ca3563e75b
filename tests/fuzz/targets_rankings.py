"""Public functions that work on rankings and scores: fusion, diversity, calibration, conversions."""

import numpy as np
from call_targets import (
    Target,
    check_finite,
    check_probabilities,
    check_ranking,
    check_top_k,
    check_type,
    one_of,
)
from wild_values import vectors, words

from rank_rerank import Document, RankedDocument, Ranking, TokenEmbeddings, refinement
from rank_rerank.calibration.calibration import Calibration
from rank_rerank.calibration.fitting import expected_calibration_error, fit_calibration
from rank_rerank.calibration.settling import Settling

top_ks = one_of(None, None, 1, 2, 100)


def ranking(rng):
    count = rng.randint(0, 6)
    scores = sorted((rng.choice((rng.uniform(-2, 9), 1.0, float("-inf"))) for _ in range(count)), reverse=True)
    order = rng.sample(range(count), count)
    named = rng.random() < 0.5
    hits = tuple(
        RankedDocument(
            index, score, rng.random(), Document(words(rng), f"d{index}" if named else None), truncated=False
        )
        for index, score in zip(order, scores, strict=True)
    )
    return Ranking(words(rng), hits)


def ranked_list(rng):
    keys = rng.sample("abcdefgh", rng.randint(0, 6))
    return rng.choice((keys, {key: rng.uniform(-5, 5) for key in keys}, [(key, rng.random()) for key in keys]))


def six_vectors(rng):
    return rng.choice((vectors(rng, 6), TokenEmbeddings.from_list([vectors(rng, 3) for _ in range(6)])))


def check_fused(fused, arguments, target):
    check_finite([document.score for document in fused], arguments, target)
    scores = [document.score for document in fused]
    target.require(scores == sorted(scores, reverse=True), "documents out of order")


def check_refined(result, _, target):
    target.require(len(result) <= 6, "more hits than there were")


def to_dict(ranking):
    check_ranking(ranking, {}, TO_DICT)
    return ranking.to_dict()


def labelled(rng, count=24):
    return rng.choices((True, False), k=count)


def shares(rng):
    return [rng.random() for _ in range(24)]


def scores_of_pairs(rng):
    return np.random.default_rng(rng.getrandbits(32)).uniform(-2, 12, 24)


def lengths_of_pairs(rng):
    return np.random.default_rng(rng.getrandbits(32)).integers(1, 30, 24)


REFINED = {"ranking": ranking, "vectors": six_vectors}

TARGETS = [
    Target(
        "expected_calibration_error",
        expected_calibration_error,
        {"probabilities": shares, "labels": labelled},
        check_finite,
    ),
    Target("Calibration.read", Calibration.read, {"path": one_of("no/such/file")}, weight=0.3),
    Target(
        "fuse",
        refinement.fuse,
        {
            "rankings": lambda rng: [ranked_list(rng) for _ in range(rng.randint(1, 3))],
            "method": one_of("rrf", "isr", "borda", "comb_sum", "comb_mnz"),
            "weights": one_of(None),
            "normalization": one_of("min_max", "z_score", "distribution", "none"),
            "rrf_k": one_of(60, 1),
            "top_k": top_ks,
        },
        check_fused,
        weight=4,
    ),
    Target(
        "blend",
        refinement.blend,
        {
            "ranking": ranking,
            "first_stage": lambda rng: [rng.uniform(-9, 9) for _ in range(rng.choice((3, 6)))],
            "weight": one_of(0.0, 0.5, 1.0),
        },
        check_fused,
        weight=2,
    ),
    Target(
        "mmr",
        refinement.mmr,
        {**REFINED, "top_k": top_ks, "trade_off": one_of(0, 0.5, 1.0)},
        check_refined,
        weight=2,
    ),
    Target(
        "dpp",
        refinement.dpp,
        {**REFINED, "top_k": top_ks, "trade_off": one_of(0, 0.5, 1.0)},
        check_refined,
        weight=2,
    ),
    Target(
        "drop_near_duplicates",
        refinement.drop_near_duplicates,
        {**REFINED, "threshold": one_of(0.9, 0.1)},
        check_refined,
        weight=2,
    ),
    Target(
        "dense_scores",
        refinement.dense_scores,
        {
            "query_vector": lambda rng: vectors(rng, 1)[0],
            "vectors": lambda rng: vectors(rng, 6),
            "dims": one_of(None, 4),
        },
        check_finite,
        weight=2,
    ),
    Target(
        "refine_matryoshka",
        refinement.refine_matryoshka,
        {
            "query_vector": lambda rng: vectors(rng, 1)[0],
            "vectors": lambda rng: vectors(rng, 6),
            "head_dims": one_of(4, 8),
            "keep": one_of(3, 6),
            "top_k": one_of(1, 2),
        },
        check_finite,
        weight=2,
    ),
    Target(
        "FusedDocument",
        refinement.FusedDocument,
        {"key": one_of("a"), "score": one_of(1.0), "ranks": one_of((1,))},
        fixed=("key", "score", "ranks"),
        weight=0.1,
    ),
    Target(
        "Calibration",
        Calibration,
        {
            "slope": one_of(20.0),
            "length_slope": one_of(-0.7),
            "intercept": one_of(-8.0),
            "num_pairs": one_of(0, 100),
            "calibration_error": one_of(None, 0.1),
            "steps": one_of((), ((0.0, 0.1), (1.0, 0.9))),
            "combination": one_of(None),
            "settling": one_of(None, Settling(0.4, 2.0, (100,), (1, 3), (0.9,), (((-1.0,), (None,)),))),
        },
    ),
    Target(
        "Calibration.relevance",
        lambda calibration, scores, num_query_tokens: calibration.relevance(scores, num_query_tokens),
        {
            "calibration": one_of(Calibration(20, -0.7, -8), Calibration(20, -0.7, -8, steps=((0.0, 0.1), (1.0, 0.9)))),
            "scores": lambda rng: np.array([rng.uniform(-9, 40), 3.0, -np.inf]),
            "num_query_tokens": one_of(1, 9),
        },
        check_probabilities,
        ("calibration",),
        2,
    ),
    Target(
        "fit_calibration",
        fit_calibration,
        {
            "scores": scores_of_pairs,
            "num_query_tokens": lengths_of_pairs,
            "labels": labelled,
            "method": one_of("platt", "isotonic"),
        },
        check_type(Calibration),
        weight=0.3,
    ),
    Target(
        "Ranking.select",
        lambda ranking, positions: ranking.select(positions),
        {"ranking": ranking, "positions": lambda _: np.array([0])},
        fixed=("ranking",),
        allowed=(IndexError,),
    ),
    Target(
        "Ranking.to_trec",
        lambda ranking, query_id, tag: ranking.to_trec(query_id, tag),
        {"ranking": ranking, "query_id": one_of("q1"), "tag": one_of("run")},
        check_type(str),
        ("ranking",),
    ),
    Target("Ranking.to_dict", to_dict, {"ranking": ranking}, check_type(dict), ("ranking",), 0.5),
    Target(
        "Ranking[:]",
        lambda ranking, key: ranking[key],
        {"ranking": ranking, "key": one_of(slice(2), slice(None))},
        fixed=("ranking",),
        allowed=(IndexError, TypeError),
    ),
]
TO_DICT = next(target for target in TARGETS if target.name == "Ranking.to_dict")
__all__ = ["TARGETS", "check_top_k", "ranking"]
