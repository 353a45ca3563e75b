"""TokenEncoder: texts in, token embeddings out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Matrix, Int64Vector
from rank_rerank.checkpoints.checkpoint import Checkpoint
from rank_rerank.checkpoints.find import find_checkpoint
from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.devices import check_num_threads
from rank_rerank.encoding.pooling import Pooling, pool
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidItemError, NonFiniteError
from rank_rerank.inference.choose import Device, choose_runtime
from rank_rerank.inference.transformer import Transformer
from rank_rerank.tokenization.texts import check_text
from rank_rerank.tokenization.token_batch import TokenBatch
from rank_rerank.tokenization.tokenizer import Tokenizer

# documents whose vectors are held at once while streaming: at 512 tokens × 384 dims × 4 bytes, 100 MB
WINDOW = 128


@dataclass(frozen=True)
class TokenEncoder:
    """Encodes queries and documents as a checkpoint's authors do.

    In ONNX Runtime the vectors of a text are the same bits whatever it is encoded with: batch, order, padding and
    thread count do not matter on one machine. In PyTorch they may differ in the last bits.

    Attributes:
        checkpoint: the model's files and settings.
        tokenizer: text → tokens.
        transformer: tokens → vectors.
    """

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    transformer: Transformer

    @classmethod
    def from_pretrained(  # noqa: PLR0913 - as rank_rerank.load()
        cls,
        name_or_folder: str | Path | None = None,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
        device: Device = "auto",
        precision: str = "auto",
        num_threads: int | None = None,
        runtime: str = "auto",
    ) -> "TokenEncoder":
        """Load an encoder.

        Args:
            name_or_folder: None for the bundled model, a folder, or a Hub name.
            revision: branch, tag or commit on the Hub.
            token: of the Hub, for models that are not public; None for the one that huggingface-hub keeps.
            local_files_only: take a model of the Hub from the cache, and leave the network alone.
            cache_dir: the folder of that cache; None for huggingface-hub's.
            device: "auto", "cpu"; "cuda", "cuda:N" or "mps" for weights, and for INT8 files of this library where
                PyTorch sees such a GPU; for an ONNX file an execution provider of ONNX Runtime, by name or as
                inference.providers.ExecutionProvider; ["cuda:0", "cuda:1"] for devices that share the texts.
            precision: "auto" (INT8 where the model has it; for weights fp32 on a CPU, fp16 on a GPU), "int8", "fp32",
                "fp16" or "bf16".
            num_threads: texts encoded at once; None for RANK_RERANK_NUM_THREADS, else the processors there are.
                PyTorch has a setting of its own.
            runtime: "numba" for kernels compiled for this processor, "onnx" for the model's ONNX file, "torch" for its
                weights; "auto" for what the model is made for, and for INT8 on a CPU compiled kernels where they
                compute it.

        Raises:
            CheckpointNotFoundError: there is no such model.
            CheckpointFormatError: its files are damaged or of a kind that is not supported.
            DeviceError: the device is not available.
            MissingDependencyError: the model needs PyTorch, which is not installed.
            InvalidArgumentError: an option is out of its range.
        """
        if num_threads is not None:
            check_num_threads(num_threads)
        hub = HubOptions(revision, token, local_files_only, cache_dir)
        return cls.from_checkpoint(
            find_checkpoint(name_or_folder, hub=hub, precision=precision, runtime=runtime),
            device=device,
            precision=precision,
            num_threads=num_threads,
            runtime=runtime,
        )

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        device: Device = "auto",
        precision: str = "auto",
        num_threads: int | None = None,
        runtime: str = "auto",
    ) -> "TokenEncoder":
        """Open a checkpoint that was found already; arguments and errors as from_pretrained."""
        tokenizer = Tokenizer(checkpoint.tokenizer_file, checkpoint.settings)
        if checkpoint.transformer is not None:
            tokenizer.check_vocabulary(checkpoint.transformer.vocab_size)
        transformer = choose_runtime(
            checkpoint, device=device, precision=precision, num_threads=num_threads, runtime=runtime
        )
        return cls(checkpoint=checkpoint, tokenizer=tokenizer, transformer=transformer)

    @property
    def dim(self) -> int:
        """Numbers a token vector."""
        return self.transformer.dim

    def encode_query(self, query: str) -> TokenEmbeddings:
        """Encode one query.

        Returns:
            The embeddings of one text.

        Raises:
            EmptyQueryError: the query has no words.
            InvalidItemError: it is not a str.
            InvalidTextError: it holds lone surrogates.
        """
        return self._encode(self.tokenizer.tokenize_queries([check_text(query, "the query")]))

    def encode_queries(self, queries: Sequence[str]) -> TokenEmbeddings:
        """Encode many queries, packed in their order; errors as encode_query, naming the index."""
        names = _check_texts(queries, "queries")
        return self._encode(self.tokenizer.tokenize_queries(queries, names))

    def encode_document(self, document: str) -> TokenEmbeddings:
        """Encode one document; a document without words has no vectors.

        Raises:
            InvalidItemError: it is not a str.
            InvalidTextError: it holds lone surrogates.
        """
        return self._encode_documents([check_text(document, "the document")])

    def encode_documents(self, documents: Sequence[str]) -> TokenEmbeddings:
        """Encode many documents, packed in their order; all their vectors are held in memory at once.

        Raises:
            InvalidItemError: an item is not a str; the message has its index.
            InvalidTextError: an item holds lone surrogates; the message has its index.
        """
        _check_texts(documents, "documents")
        return self._encode_documents(documents)

    def stream_documents(self, documents: Sequence[str]) -> Iterator[TokenEmbeddings]:
        """Encode documents window by window, in their order: memory is bounded by 128 documents, not by their number.

        Raises:
            InvalidItemError: an item is not a str; the message has its index.
            InvalidTextError: an item holds lone surrogates; the message has its index.
        """
        _check_texts(documents, "documents")
        return (
            self._encode_documents(documents[first : first + WINDOW], first)
            for first in range(0, len(documents), WINDOW)
        )

    def _encode_documents(self, documents: Sequence[str], first_text: int = 0) -> TokenEmbeddings:
        embeddings = self._encode(self.tokenizer.tokenize_documents(documents), first_text)
        pooling = self.checkpoint.pooling
        if pooling is None or pooling.factor == 1:
            return embeddings
        rules = Pooling(pooling.factor, protected_tokens=pooling.protected_tokens)
        return pool(embeddings, rules, normalize=pooling.normalize)

    def _encode(self, batch: TokenBatch, first_text: int = 0) -> TokenEmbeddings:
        vectors = self.transformer.encode(batch)
        _check_finite(vectors, batch.offsets, first_text)
        if batch.scoring_mask.all():
            return TokenEmbeddings(vectors, batch.offsets, batch.truncated, batch.character_spans)
        return TokenEmbeddings(
            vectors=vectors[batch.scoring_mask],
            offsets=_offsets_of_kept(batch.scoring_mask, batch.offsets),
            truncated=batch.truncated,
            character_spans=batch.character_spans[batch.scoring_mask],
        )


def _check_texts(texts: Sequence[str], name: str) -> list[str]:
    """Refuse a bare string, which would be read as a list of characters, and every item that is not valid text."""
    if isinstance(texts, str | bytes):
        raise InvalidItemError(f"{name} must be a list of texts; for one text pass [text]")
    names = [f"{name}[{index}]" for index in range(len(texts))]
    for text, text_name in zip(texts, names, strict=True):
        check_text(text, text_name)
    return names


def _check_finite(vectors: Float32Matrix, offsets: Int64Vector, first_text: int) -> None:
    finite = np.isfinite(vectors @ np.ones(vectors.shape[1], np.float32))  # [num_tokens]
    if not finite.all():
        row = int(np.argmin(finite))
        text = int(np.searchsorted(offsets, row, side="right")) - 1 + first_text
        raise NonFiniteError(f"the model gave NaN or infinity for text {text}")


def _offsets_of_kept(mask: BoolVector, offsets: Int64Vector) -> Int64Vector:
    """Where each text begins once only the masked tokens are left: [num_texts + 1]."""
    kept_before = np.concatenate([[0], np.cumsum(mask)])  # [num_tokens + 1]
    return kept_before[offsets].astype(np.int64)
