"""Checkpoint: a model's files and the settings that say how its authors encode text."""

from dataclasses import dataclass
from pathlib import Path

from rank_rerank.errors import CheckpointFormatError


@dataclass(frozen=True)
class EncodingSettings:
    """How a text becomes tokens, and which of them are scored.

    Lengths count tokens, special ones and the marker included. A marker is inserted by id behind the first special
    token, never as text. Query expansion fills a query up to ``query_length`` with the expansion token.

    Attributes:
        query_prefix: the query marker as it stands in the vocabulary; "" for none.
        document_prefix: the document marker; "" for none.
        query_length: the most tokens a query may have.
        document_length: the most tokens a document may have.
        do_query_expansion: fill queries up to query_length.
        attend_to_expansion_tokens: whether the model may look at the filler.
        skiplist_words: words whose vectors are left out of documents (queries keep them).
        query_prefix_id: the marker's id where the checkpoint states it; None to look it up.
        document_prefix_id: likewise.
        expansion_token_id: the filler; None for the tokenizer's mask token.
    """

    query_prefix: str = ""
    document_prefix: str = ""
    query_length: int = 32
    document_length: int = 180
    do_query_expansion: bool = False
    attend_to_expansion_tokens: bool = False
    skiplist_words: tuple[str, ...] = ()
    query_prefix_id: int | None = None
    document_prefix_id: int | None = None
    expansion_token_id: int | None = None

    def __post_init__(self) -> None:
        for name in ("query_length", "document_length"):
            # [CLS], a marker, one word, [SEP]
            if getattr(self, name) < 4:  # noqa: PLR2004
                raise CheckpointFormatError(f"{name} must be at least 4 tokens")


@dataclass(frozen=True)
class Checkpoint:
    """A late-interaction model on disk.

    Attributes:
        name: what the user asked for, or "bundled".
        folder: where its files are.
        model_file: the ONNX file that the runtime opens.
        tokenizer_file: tokenizer.json.
        dim: numbers a token vector.
        settings: how its authors encode.
        precision: "int8" or "fp32": what the model file computes in.
    """

    name: str
    folder: Path
    model_file: Path
    tokenizer_file: Path
    dim: int
    settings: EncodingSettings
    precision: str
