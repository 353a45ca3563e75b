"""Whatever is passed to the functions that work on rankings is read as meant, or refused by a typed error."""

import contextlib
import math
import warnings

import model_folders
import numpy as np
import pytest

import rank_rerank
from rank_rerank import refinement
from rank_rerank.arguments import check_callback, check_choice, check_flag, check_kind, check_number, check_path
from rank_rerank.calibration.calibration import Calibration
from rank_rerank.calibration.fitting import expected_calibration_error, fit_calibration
from rank_rerank.documents import Document
from rank_rerank.encoding import Compression, Pooling, Projection, TokenEmbeddings, normalize_rows, pool
from rank_rerank.errors import (
    InputError,
    InvalidArgumentError,
    InvalidItemError,
    InvalidTextError,
    NonFiniteError,
    RankRerankError,
)
from rank_rerank.explanation import render_report, save_heat_map
from rank_rerank.explanation.snippets import find_snippet
from rank_rerank.rankings import RankedDocument, Ranking
from rank_rerank.rerankers import RerankRequest
from rank_rerank.rerankers.tasks import RankOptions
from rank_rerank.scoring import CrossEncoder
from rank_rerank.storage import EmbeddingStore, ModelIdentity, hold_in_memory

STRANGE = [
    None, "2", b"x", "none", 2.5, math.nan, math.inf, -math.inf, True, -1, 0, 10**400, 1j, [], [1], [None], {}, (), {1},
    object(), np.ones(2), np.array(["a"]), np.array([None, 1], object), np.ones((2, 2)), np.array(3), lambda: None,
    Document("a"), [["a", "b"], ["a"]], type, float("1e308"), np.float32(1), np.ma.array([1.0]),
]  # fmt: skip
HITS = tuple(
    RankedDocument(index, 3.0 - index, 0.9 - index / 10, Document(f"t{index}", f"d{index}"), truncated=False)
    for index in range(3)
)
RANKING = Ranking("q", HITS)
VECTORS = np.eye(3)
ROWS = TokenEmbeddings.from_list([VECTORS])
MODEL = ModelIdentity.foreign("m", 3)
CALIBRATION = Calibration(1.0, 0.0, 0.0)
SCORES = np.arange(20.0)
CALLS = {
    "fuse": refinement.fuse,
    "fuse one": lambda value: refinement.fuse([value]),
    "fuse method": lambda value: refinement.fuse([["a"]], value),
    "fuse weights": lambda value: refinement.fuse([["a"]], weights=value),
    "fuse normalization": lambda value: refinement.fuse([RANKING], "comb_sum", normalization=value),
    "fuse rrf_k": lambda value: refinement.fuse([["a"]], rrf_k=value),
    "fuse top_k": lambda value: refinement.fuse([["a"]], top_k=value),
    "fuse score": lambda value: refinement.fuse([{"a": value, "b": 1.0}], "comb_sum"),
    "blend": lambda value: refinement.blend(value, [1, 2, 3]),
    "blend scores": lambda value: refinement.blend(RANKING, value),
    "blend weight": lambda value: refinement.blend(RANKING, [1, 2, 3], weight=value),
    "mmr": lambda value: refinement.mmr(value, VECTORS),
    "mmr vectors": lambda value: refinement.mmr(RANKING, value),
    "mmr trade_off": lambda value: refinement.mmr(RANKING, VECTORS, trade_off=value),
    "mmr top_k": lambda value: refinement.mmr(RANKING, VECTORS, top_k=value),
    "dpp": lambda value: refinement.dpp(value, VECTORS),
    "dpp vectors": lambda value: refinement.dpp(RANKING, value),
    "dpp trade_off": lambda value: refinement.dpp(RANKING, VECTORS, trade_off=value),
    "duplicates": lambda value: refinement.drop_near_duplicates(value, VECTORS),
    "duplicates vectors": lambda value: refinement.drop_near_duplicates(RANKING, value),
    "duplicates threshold": lambda value: refinement.drop_near_duplicates(RANKING, VECTORS, threshold=value),
    "dense query": lambda value: refinement.dense_scores(value, VECTORS),
    "dense vectors": lambda value: refinement.dense_scores(VECTORS[0], value),
    "dense dims": lambda value: refinement.dense_scores(VECTORS[0], VECTORS, dims=value),
    "matryoshka head": lambda value: refinement.refine_matryoshka(
        VECTORS[0], VECTORS, head_dims=value, keep=1, top_k=1
    ),
    "matryoshka keep": lambda value: refinement.refine_matryoshka(
        VECTORS[0], VECTORS, head_dims=1, keep=value, top_k=1
    ),
    "matryoshka top_k": lambda value: refinement.refine_matryoshka(
        VECTORS[0], VECTORS, head_dims=1, keep=3, top_k=value
    ),
    "statistics encoder": lambda value: refinement.TokenStatistics.fit(value, ["a"]),
    "calibration slope": lambda value: Calibration(value, 0.0, 0.0),
    "calibration intercept": lambda value: Calibration(1.0, 0.0, value),
    "calibration pairs": lambda value: Calibration(1.0, 0.0, 0.0, value),
    "calibration error": lambda value: Calibration(1.0, 0.0, 0.0, 0, value),
    "calibration steps": lambda value: Calibration(1.0, 0.0, 0.0, steps=value),
    "relevance": lambda value: CALIBRATION.relevance(value, 3),
    "relevance tokens": lambda value: CALIBRATION.relevance(SCORES, value),
    "fit scores": lambda value: fit_calibration(value, [3] * 20, [0, 1] * 10),
    "fit tokens": lambda value: fit_calibration(SCORES, value, [0, 1] * 10),
    "fit labels": lambda value: fit_calibration(SCORES, [3] * 20, value),
    "fit method": lambda value: fit_calibration(SCORES, [3] * 20, [0] * 10 + [1] * 10, value),
    "calibration measured": lambda value: expected_calibration_error(value, [0, 1]),
    "calibrate": lambda value: rank_rerank.calibrate(value, [("q", "d", True)]),
    "select": RANKING.select,
    "trec": RANKING.to_trec,
    "trec tag": lambda value: RANKING.to_trec("q", value),
    "snippet": lambda value: find_snippet(value, ()),
    "snippet spans": lambda value: find_snippet("text", [value]),
    "snippet characters": lambda value: find_snippet("text", (), max_characters=value),
    "snippet list": lambda value: find_snippet("text", value),
    "report": lambda value: render_report(value, ()),
    "report explanations": lambda value: render_report("q", value),
    "report hits": lambda value: render_report("q", (), value),
    "calibration file": Calibration.read,
    "calibration saved": lambda value: CALIBRATION.save(check_path(value, "path") / "no/such/folder"),
    "heat map": lambda value: save_heat_map(None, value),
    "normalize": normalize_rows,
    "from_list": TokenEmbeddings.from_list,
    "projection applied": Projection(3, 2).apply,
    "projection by a matrix": Projection(3, 2, np.eye(3, 2)).apply,
    "compression projects": Compression().project,
    "pool normalize": lambda value: pool(ROWS, Pooling(2, "sequential"), normalize=value),
    "held": lambda value: hold_in_memory(value, Compression(), MODEL),
    "held compression": lambda value: hold_in_memory(ROWS, value, MODEL),
    "held identity": lambda value: hold_in_memory(ROWS, Compression(), value),
    "identity": MODEL.check,
    "store verified": EmbeddingStore.verify_folder,
    "store opened": EmbeddingStore.open,
    "trusted": lambda value: rank_rerank.maxsim(VECTORS, [VECTORS], trusted=value),
    "many queries": lambda value: rank_rerank.scoring.maxsim_many(value, [VECTORS]),
    "loaded precision": lambda value: rank_rerank.load(precision=value),
    "loaded runtime": lambda value: rank_rerank.load(runtime=value),
    "path": lambda value: check_path(value, "x"),
    "callback": lambda value: check_callback(value, "x"),
    "options top_k": lambda value: RankOptions(top_k=value),
    "options store": lambda value: RankOptions(store=value),
    "options spans": lambda value: RankOptions(spans=value),
    "options long": lambda value: RankOptions(long_documents=value),
    "options progress": lambda value: RankOptions(show_progress=value),
    "request": lambda value: RerankRequest("q", ["a"], top_k=value),
    "stage keep": lambda value: rank_rerank.CascadeStage(rank_rerank.DenseReranker(len), value),
    "stage budget": lambda value: rank_rerank.CascadeStage(rank_rerank.DenseReranker(len), 1, value),
    "cascade first": lambda value: rank_rerank.CascadeReranker(value, [rank_rerank.CascadeStage(None)]),
    "cascade stages": lambda value: rank_rerank.CascadeReranker(rank_rerank.DenseReranker(len), value),
    "dense reranker": rank_rerank.DenseReranker,
    "dense key": lambda value: rank_rerank.DenseReranker(len, value),
    "dense reranker dims": lambda value: rank_rerank.DenseReranker(len, "vector", value),
    "number": lambda value: check_number(value, "x", 0, 1),
    "choice": lambda value: check_choice(value, "x", ("a",)),
    "flag": lambda value: check_flag(value, "x"),
    "kind": lambda value: check_kind(value, "x", Ranking),
}


@pytest.mark.parametrize("name", CALLS)
def test_strange_values_are_read_or_refused_by_a_typed_error(name):
    refused = 0
    for value in STRANGE:
        try:
            found = CALLS[name](value)
        except RankRerankError as error:
            refused += "0x" not in str(error)  # no address of an object
        else:
            assert is_finite(found)
    assert refused >= len(STRANGE) // 2


@pytest.mark.parametrize("name", ["query", "documents", "queries", "lists", "text_key", "threshold", "min_similarity"])
def test_strange_values_into_a_reranker(reranker, name):
    calls = {
        "query": lambda value: reranker.rerank(value, ["a"]),
        "documents": lambda value: reranker.rerank("q", value),
        "queries": lambda value: reranker.rerank_many(value, [["a"], ["b"]]),
        "lists": lambda value: reranker.rerank_many(["q", "r"], value),
        "text_key": lambda value: reranker.rerank("q", ["a"], text_key=value),
        "threshold": lambda value: reranker.with_spans(reranker.rerank("q", ["a"]), threshold=value),
        "min_similarity": lambda value: reranker.explain("q", "a", min_similarity=value),
    }
    for value in STRANGE:
        with contextlib.suppress(InputError):
            calls[name](value)


@pytest.mark.parametrize("name", ["query", "documents", "one document"])
def test_strange_values_into_a_cross_encoder(tmp_path, name):
    encoder = CrossEncoder.from_pretrained(model_folders.write_cross_encoder(tmp_path), device="cpu")
    calls = {
        "query": lambda value: encoder.score(value, ["a"]),
        "documents": lambda value: encoder.score("whale", value),
        "one document": lambda value: encoder.score("whale", ["a", value]),
    }
    for value in STRANGE:
        with contextlib.suppress(InputError):
            assert is_finite(calls[name](value).relevance)
    with pytest.raises(InvalidTextError, match="surrogate"):
        calls[name]("\ud800" if name != "documents" else ["\ud800"])


@pytest.mark.parametrize("extreme", [math.nan, math.inf, -math.inf, 1e39])
@pytest.mark.parametrize(
    "call",
    [
        normalize_rows, Projection(3, 2).apply, Projection(3, 2, np.eye(3, 2)).apply, Compression().project,
        Compression(projection=Projection(3, 1)).project,
    ],
)  # fmt: skip
def test_vectors_that_are_not_finite_are_refused_where_they_become_a_result(call, extreme):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NonFiniteError):
            call(np.array([[1.0, 0, 0], [extreme, 1, 1]]))


def test_products_beyond_float32_are_refused():
    square = Projection(2, 2, np.array([[0.7, 0.7], [0.7, -0.7]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NonFiniteError):
            square.apply(np.array([[3.4e38, 3.4e38]], np.float32))
    assert np.isfinite(normalize_rows(np.full((1, 2), 3.4e38))).all()


def test_a_report_is_of_one_query(reranker):
    explanation = reranker.explain("whale", "a whale")
    with pytest.raises(InvalidArgumentError, match="another query"):
        render_report("river", [explanation])
    hits = reranker.rerank("whale", ["a whale"])
    assert render_report("whale", iter([explanation]), hits) == render_report("whale", [explanation], hits.hits)


@pytest.mark.parametrize("tokens", [2**63, -1, 1e300, 0.5])
def test_lengths_that_no_query_has_are_refused(tokens):
    with pytest.raises(InvalidArgumentError):
        fit_calibration(SCORES, [3.0] * 19 + [tokens], [0, 1] * 10)


@pytest.mark.parametrize("label", [math.nan, math.inf, -1, 0.5, 2])
def test_labels_that_are_neither_true_nor_false_are_refused(label):
    labels = [0, 1] * 9 + [1, label]
    with pytest.raises(InvalidArgumentError, match="labels must be True or False"):
        fit_calibration(SCORES, [3] * 20, labels)
    with pytest.raises(InvalidArgumentError, match="labels must be True or False"):
        expected_calibration_error(np.linspace(0, 1, 20), labels)


def is_finite(found):
    """Whether no number in a result is NaN or infinite."""
    if isinstance(found, float):
        return math.isfinite(found)
    if isinstance(found, np.ndarray):
        return bool(np.isfinite(found).all())
    if isinstance(found, list):
        return all(math.isfinite(getattr(item, "score", 0.0)) for item in found)
    return True


@pytest.mark.parametrize("scores", [[1e308, 1e308, -1e308], [5e-324, 0, 5e-324], [1.0, 1.0 + 2**-52, 1.0]])
@pytest.mark.parametrize("normalization", ["min_max", "z_score", "distribution"])
@pytest.mark.parametrize("method", ["comb_sum", "comb_mnz"])
def test_scores_of_any_size_are_normalized_to_finite_ones(scores, normalization, method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = refinement.fuse([dict(enumerate(scores))], method, normalization=normalization)
    assert [math.isfinite(document.score) for document in found] == [True] * 3
    assert found[0].key in np.flatnonzero(np.array(scores) == max(scores))


@pytest.mark.parametrize(
    ("ranking", "options"),
    [
        ({"a": 1e308}, {"normalization": "none"}),
        ({"a": 1.0}, {"weights": [1e308, 1e308]}),
        ({"a": 10**400}, {}),
    ],
)
def test_what_a_float_cannot_hold_is_refused(ranking, options):
    with pytest.raises(NonFiniteError, match="too large for a float"):
        refinement.fuse([ranking, ranking], "comb_sum", **options)


def test_columns_are_read_by_position_and_never_by_label():
    pandas = pytest.importorskip("pandas")
    first_stage = pandas.Series([9.0, 0.0, 1.0], index=[2, 0, 1])
    assert refinement.blend(RANKING, first_stage, weight=1)[0].key == "d0"
    with pytest.raises(InvalidItemError, match=r"to_dict\(\)"):
        refinement.fuse([first_stage])


@pytest.mark.parametrize("label", ["false", "0", 2, 0.5, [1], b"1"])
def test_a_label_that_says_nothing_is_refused(reranker, label):
    with pytest.raises(InvalidItemError, match=r"the label of pairs\[0\]"):
        rank_rerank.calibrate(reranker, [("q", "d", label)])


@pytest.mark.parametrize("value", [np.int64(1), np.float32(0.5), 1, 0.0])
def test_numbers_of_numpy_become_plain_ones(value):
    assert type(check_number(value, "x", 0, 1)) is float
    assert check_number(value, "x", 0, 1) == value


def test_messages_name_the_argument_the_range_and_what_came():
    for call, message in (
        (lambda: check_number(2, "weight", 0, 1), "weight must be a number from 0 to 1, not 2"),
        (lambda: check_number("a", "weight", 0), "weight must be a number of 0 or more, not of type str"),
        (lambda: check_number(math.nan, "weight"), "weight must be a number, not nan"),
        (lambda: check_number(3, "weight", most=2), "weight must be a number of 2 or less, not 3"),
        (lambda: check_choice("c", "method", ("a", "b")), 'method must be one of "a", "b"'),
        (lambda: check_flag(1, "strict"), "strict must be True or False, not of type int"),
        (lambda: check_path(1, "path"), "path must be a str or a Path, not of type int"),
        (lambda: check_path(b"a", "path"), "path must be a str or a Path, not bytes: os.fsdecode(path)"),
        (
            lambda: check_path("a\ud800", "path"),
            "path must not be empty, nor have characters that no file's name can have",
        ),
        (lambda: check_callback(1, "progress"), "progress must be a function or None, not of type int"),
        (lambda: check_kind(1, "ranking", Ranking), "ranking must be a Ranking, not of type int"),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            call()
        assert str(caught.value) == message
