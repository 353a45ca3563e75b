"""Cohere v1, ``POST /v1/rerank`` with fields of its own: cohere's Client, Dify, RAGFlow."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import Field

from rank_rerank.documents import Document
from rank_rerank.errors import InvalidItemError
from rank_rerank.serving.dialects.dialect import Dialect, Question, has_any, question
from rank_rerank.serving.dialects.fields import Answered, RerankBody
from rank_rerank.serving.dialects.results import object_of, results_of


class CohereV1Body(RerankBody):
    """Cohere's first version: documents may be objects, of which some fields are read."""

    rank_fields: list[str] | None = Field(default=None, description="fields that are read, one after the other (text)")
    max_chunks_per_doc: int | None = Field(default=None, description="ignored: see long_documents")

    def read_documents(self) -> list[Document]:
        """The documents; of objects the fields that are to be read, joined by spaces."""
        if not self.rank_fields or self.documents is None:
            return super().read_documents()
        return [self._document(item, index) for index, item in enumerate(self.documents)]

    def _document(self, item: object, index: int) -> Document:
        if isinstance(item, str):
            return Document(item)
        if not isinstance(item, Mapping):
            raise InvalidItemError(f"documents[{index}] must be a text, or an object with the fields of rank_fields")
        values = cast("Mapping[str, Any]", item)
        read = [values.get(name) for name in self.rank_fields or ()]
        return Document(" ".join(str(value) for value in read if value is not None))


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = CohereV1Body.model_validate(values)

    def reply(answered: Answered) -> dict[str, Any]:
        return object_of(results_of(body, answered), answered, "1")

    return question(body, reply)


COHERE_V1 = Dialect("Cohere v1", CohereV1Body, read, has_any("rank_fields", "max_chunks_per_doc"))
