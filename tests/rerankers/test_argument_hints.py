import asyncio
import inspect
from typing import get_type_hints

import pytest

import rank_rerank
from rank_rerank.rerankers.argument_hints import ELSEWHERE

RERANKERS = (
    rank_rerank.ColbertReranker,
    rank_rerank.CrossEncoderReranker,
    rank_rerank.CascadeReranker,
    rank_rerank.DenseReranker,
)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("top_n", "top_k"),
        ("return_documents", "hit.text"),
        ("batch_size", "no score depends on it"),
        ("docs", "documents"),
    ],
)
def test_an_argument_of_another_library_is_answered_with_the_name_here(reranker, name, cure):
    for call in (
        lambda: reranker.rerank("a", ["b"], **{name: 3}),
        lambda: reranker.rerank_many(["a"], [["b"]], **{name: 3}),
        lambda: asyncio.run(reranker.arerank("a", ["b"], **{name: 3})),
        lambda: asyncio.run(reranker.arerank_many(["a"], [["b"]], **{name: 3})),
    ):
        with pytest.raises(TypeError, match=f"has no argument '{name}'; .*{cure}"):
            call()


def test_load_hints_too():
    with pytest.raises(TypeError, match="never run"):
        rank_rerank.load(trust_remote_code=True)


def test_an_unknown_argument_is_pythons_error(reranker):
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        reranker.rerank("a", ["b"], nonsense=1)
    with pytest.raises(TypeError, match=r"arerank\(\) got an unexpected keyword argument 'nonsense'"):
        asyncio.run(reranker.arerank("a", ["b"], nonsense=1))


@pytest.mark.parametrize("kind", RERANKERS)
def test_what_can_be_awaited_takes_the_same_arguments(kind):
    for name in ("rerank", "rerank_many"):
        method, twin = getattr(kind, name), getattr(kind, f"a{name}")
        assert inspect.signature(twin) == inspect.signature(method)
        assert get_type_hints(twin) == get_type_hints(method)
        assert twin.__qualname__ == f"{kind.__name__}.a{name}"


@pytest.mark.parametrize("kind", RERANKERS)
def test_every_reranker_hints_and_can_be_awaited(kind):
    for name in ("rerank", "rerank_many", "arerank", "arerank_many"):
        method = getattr(kind, name)
        assert inspect.iscoroutinefunction(method) == name.startswith("a")
        assert next(iter(inspect.signature(method).parameters)) == "self"
        with pytest.raises(TypeError, match="the number of hits is top_k"):
            _finish(method(None, "a", ["b"], top_n=1))


def _finish(called):
    return asyncio.run(called) if inspect.iscoroutine(called) else called


def test_no_hint_is_about_an_argument_that_there_is():
    assert not set(inspect.signature(rank_rerank.ColbertReranker.rerank).parameters) & set(ELSEWHERE)
    assert not set(inspect.signature(rank_rerank.load).parameters) & set(ELSEWHERE)
