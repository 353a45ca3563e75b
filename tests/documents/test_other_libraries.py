"""Documents of LangChain, LlamaIndex and Haystack, by the attributes that their classes have."""

from collections import UserString
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from rank_rerank.documents import Document, as_documents
from rank_rerank.errors import InvalidArgumentError, InvalidItemError


@dataclass
class LangChain:
    page_content: str
    metadata: dict = field(default_factory=dict)
    id: str | None = None


@dataclass
class Haystack:
    content: str | None
    meta: dict
    id: str = "h1"
    score: float | None = None


@dataclass
class Node:
    text: str
    metadata: dict
    node_id: str


@dataclass
class NodeWithScore:
    node: Node
    score: float | None = None


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (LangChain("a", {"page": 3}), Document("a", None, {"page": 3})),
        (LangChain("a", {}, "l1"), Document("a", "l1")),
        (Haystack("a", {"page": 3}), Document("a", "h1", {"page": 3})),
        (Node("a", {"page": 3}, "n1"), Document("a", "n1", {"page": 3})),
        (NodeWithScore(Node("a", {"page": 3}, "n1"), 0.5), Document("a", "n1", {"page": 3}, 0.5)),
    ],
)
def test_text_id_and_metadata_are_read(item, expected):
    assert as_documents([item]) == [expected]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Haystack(None, {}), r"documents\[1\]: its content must be a str, this is missing"),
        (LangChain("a", {}, id=3.5), r"documents\[1\]: its id must be a str"),
        (SimpleNamespace(text="a"), r"documents\[1\].*SimpleNamespace"),
        (SimpleNamespace(text="a", metadata="secret"), r"documents\[1\].*SimpleNamespace"),
        (Node, r"documents\[1\].*type"),
    ],
)
def test_what_is_none_is_refused_with_its_index(item, message):
    with pytest.raises(InvalidItemError, match=message) as caught:
        as_documents(["a", item])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["text", "content", "page_content", "contents"])
def test_the_usual_keys_of_a_text(key):
    assert as_documents([{key: "body", "title": "T", "x": 1}]) == [Document("T body", None, {"title": "T", "x": 1})]


def test_a_key_of_the_callers_own():
    row = {"abstract": "body", "text": "another", "id": "a"}
    assert as_documents([row], text_key="abstract") == [Document("body", "a", {"text": "another"})]
    assert as_documents([{"title": "body"}], text_key="title") == [Document("body")]
    with pytest.raises(InvalidItemError, match=r'documents\[0\] has no "body".*text_key'):
        as_documents([row], text_key="body")
    with pytest.raises(InvalidItemError, match="text_key="):
        as_documents([{"abstract": "body"}])
    for wrong in (3, "", b"text"):
        with pytest.raises(InvalidArgumentError, match="text_key"):
            as_documents([row], text_key=wrong)


@pytest.mark.parametrize(
    ("item", "cure"),
    [
        ({"_id": "1", "_score": 2.0, "_source": {"text": "a"}}, r'pass item\["_source"\]'),
        ({"document": {"text": "a"}, "relevance_score": 0.5}, r'pass item\["document"\]'),
        ({"entity": {"content": "a"}, "distance": 0.5}, r'pass item\["entity"\]'),
        (SimpleNamespace(id=3, score=0.5, payload={"text": "a"}), r"Pass item\.payload"),
        (SimpleNamespace(uuid="x", properties={"content": "a"}), r"Pass item\.properties"),
        (SimpleNamespace(text="a", id=3), r"Pass vars\(item\)"),
        (SimpleNamespace(page_content="a", metadata=None), r"Pass vars\(item\)"),
        (UserString("a"), r"Pass str\(item\)"),
        (["1", "a"], r'Pass \{"id": …, "text": …\}'),
    ],
)
def test_a_hit_of_a_search_is_refused_with_the_way_to_its_document(item, cure):
    with pytest.raises(InvalidItemError, match=cure):
        as_documents([item])


def test_pairs_of_a_dict_are_refused_with_the_way_to_its_values():
    with pytest.raises(InvalidItemError, match=r"which are pairs\. Pass its values"):
        as_documents({"d1": "a text"}.items())
