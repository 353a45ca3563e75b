"""vLLM's rerank, told from Jina's by fields of its own: Continue, RAGFlow's Go server, litellm."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rank_rerank.serving.dialects.dialect import Dialect, Question, has_any, question
from rank_rerank.serving.dialects.fields import Answered, Ignored, RerankBody
from rank_rerank.serving.dialects.results import object_of, results_of

OWN_FIELDS = (
    "truncate_prompt_tokens", "truncation_side", "use_activation", "activation", "softmax", "cache_salt",
    "mm_processor_kwargs", "max_tokens_per_query", "chat_template_kwargs", "request_id", "padding",
)  # fmt: skip


class VllmBody(RerankBody):
    """vLLM's: results carry their document unless that is refused."""

    truncate_prompt_tokens: Ignored = Field(default=None, description="ignored: the model's own limit holds")
    max_tokens_per_doc: Ignored = Field(default=None, description="ignored: the model's own limit holds")
    max_tokens_per_query: Ignored = Field(default=None, description="ignored: the model's own limit holds")


def read(values: Mapping[str, Any]) -> Question:
    """Read a body."""
    body = VllmBody.model_validate(values)

    def reply(answered: Answered) -> dict[str, Any]:
        return object_of(results_of(body, answered, return_documents=True), answered, "1")

    return question(body, reply)


VLLM = Dialect("vLLM", VllmBody, read, has_any(*OWN_FIELDS))
