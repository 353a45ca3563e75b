"""Dialect: what tells a body of its kind, how it is read, and how it is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rank_rerank.rerankers import RerankRequest
from rank_rerank.serving.dialects.fields import Answered, RerankBody, Wanted


@dataclass(frozen=True)
class Question:
    """What a body asks, whatever its dialect.

    Attributes:
        request: for the core.
        num_documents: how many there are.
        wanted: model, priority, deadline.
        store: whose documents are ranked, and their ids; None for the request's own.
        reply: writes the answer's body, a value that JSON can carry.
    """

    request: RerankRequest
    num_documents: int
    wanted: Wanted
    reply: Callable[[Answered], Any]
    store: tuple[str, list[str]] | None = None


@dataclass(frozen=True)
class Dialect:
    """One client's way of asking.

    Attributes:
        name: for people.
        body: its fields.
        read: from the body's values to a question.
        is_its: whether a body on a path that several dialects share is of this one.
    """

    name: str
    body: type[Wanted]
    read: Callable[[Mapping[str, Any]], Question]
    is_its: Callable[[Mapping[str, Any]], bool] = lambda _: True


def has_any(*names: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a body has one of these fields, and not as null."""
    return lambda values: any(values.get(name) is not None for name in names)


def question(body: RerankBody, reply: Callable[[Answered], Any]) -> Question:
    """What a body of the common shape asks.

    Raises:
        InputError: the documents are not such.
    """
    documents = body.read_documents()
    if body.store is None or body.ids is None:
        return Question(body.to_request(documents), len(documents), body, reply)
    return Question(body.to_request([]), len(body.ids), body, reply, (body.store, body.ids))
