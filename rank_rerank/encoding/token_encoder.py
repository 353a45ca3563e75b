"""TokenEncoder: texts in, token embeddings out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from rank_rerank.arguments import check_flag
from rank_rerank.arrays import BoolVector, Float32Matrix, Int64Vector
from rank_rerank.checkpoints.checkpoint import Checkpoint
from rank_rerank.documents import Queries, Texts, list_items
from rank_rerank.encoding.embedding_cache import EmbeddingCache, Key, packed
from rank_rerank.encoding.pooling import Pooling, pool
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import CheckpointFormatError, NonFiniteError
from rank_rerank.inference.choose import DEFAULT, choose_runtime
from rank_rerank.inference.load_options import LoadKeywords, LoadOptions, RuntimeOptions
from rank_rerank.inference.transformer import DeviceTransformer, Transformer
from rank_rerank.tokenization.texts import check_text
from rank_rerank.tokenization.token_batch import TokenBatch, pack
from rank_rerank.tokenization.tokenizer import Tokenizer

# documents whose vectors are held at once while streaming: at 512 tokens × 384 dims × 4 bytes, 100 MB
WINDOW = 128
# an ONNX file is held to unit length on it when it is opened; half precision is off by less than a thousandth
TRIAL_TEXT = "a text of some words"
LENGTH_TOLERANCE = 0.01
# devices on which vectors can stay
GPUS = ("cuda", "mps")


@dataclass(frozen=True, repr=False)
class TokenEncoder:
    """Encodes queries and documents as a checkpoint's authors do.

    In ONNX Runtime the vectors of a text are the same bits whatever it is encoded with: batch, order, padding and
    thread count do not matter on one machine. In PyTorch they may differ in the last bits.

    Attributes:
        checkpoint: the model's files and settings.
        tokenizer: text → tokens.
        transformer: tokens → vectors.
        cache: of documents that were encoded lately, with the bits they had; None to encode all of them.
    """

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    transformer: Transformer
    cache: EmbeddingCache | None = field(default=None, compare=False)

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path | None = None, **keywords: Unpack[LoadKeywords]
    ) -> "TokenEncoder":
        """Load an encoder.

        Args:
            name_or_folder: None for the bundled model, a folder, or a Hub name.
            keywords: revision, token, local_files_only, cache_dir, device, precision, num_threads and runtime, as of
                rank_rerank.load().

        Raises:
            CheckpointNotFoundError: there is no such model.
            CheckpointFormatError: its files are damaged or of a kind that is not supported, or it is a cross-encoder.
            DeviceError: the device is not available.
            MissingDependencyError: the model needs PyTorch, which is not installed.
            InvalidArgumentError: an option is out of its range.
        """
        options = LoadOptions.of(name_or_folder, **keywords)
        return cls.from_checkpoint(options.find_encoder(), options.runtime)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, options: RuntimeOptions = DEFAULT) -> "TokenEncoder":
        """Open a checkpoint that was found already; errors as from_pretrained."""
        tokenizer = Tokenizer(checkpoint.tokenizer_file, checkpoint.settings, options.num_threads)
        if checkpoint.transformer is not None:
            tokenizer.check_vocabulary(checkpoint.transformer.vocab_size)
        encoder = cls(checkpoint=checkpoint, tokenizer=tokenizer, transformer=choose_runtime(checkpoint, options))
        if checkpoint.is_onnx:
            encoder._check_unit_length()
        return encoder

    def __repr__(self) -> str:
        runs_in = type(self.transformer).__name__
        return f"TokenEncoder(model={self.checkpoint.name!r}, dim={self.dim}, transformer={runs_in})"

    @property
    def dim(self) -> int:
        """Numbers per token vector."""
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

    def encode_queries(self, queries: Queries) -> TokenEmbeddings:
        """Encode many queries, packed in their order; errors as encode_query, naming the index."""
        texts, names = _read_texts(queries, "queries")
        return self._encode(self.tokenizer.tokenize_queries(texts, names))

    def encode_document(self, document: str) -> TokenEmbeddings:
        """Encode one document; a document without words has no vectors.

        Raises:
            InvalidItemError: it is not a str.
            InvalidTextError: it holds lone surrogates.
        """
        return self._encode_documents([check_text(document, "the document")])

    def encode_documents(self, documents: Texts) -> TokenEmbeddings:
        """Encode many documents, packed in their order; all their vectors are held in memory at once.

        Raises:
            InvalidItemError: an item is not a str; the message has its index.
            InvalidTextError: an item holds lone surrogates; the message has its index.
        """
        return self._encode_documents(_read_texts(documents, "documents")[0])

    def stream_documents(self, documents: Texts, *, keep_on_device: bool = False) -> Iterator[TokenEmbeddings]:
        """Encode documents window by window, in their order: memory is bounded by 128 documents, not by their number.

        Args:
            documents: texts.
            keep_on_device: leave vectors on the GPU where they are computed: tensors of PyTorch, of float16 where the
                model computes in half precision. A window is tokenized while the GPU works on the one before. Without
                a GPU, and where vectors are pooled or cached, they are in main memory all the same.

        Raises:
            InvalidItemError: an item is not a str; the message has its index.
            InvalidTextError: an item holds lone surrogates; the message has its index.
        """
        texts, _ = _read_texts(documents, "documents")
        if (
            check_flag(keep_on_device, "keep_on_device")
            and isinstance(self.transformer, DeviceTransformer)
            and self._may_stay(self.transformer)
        ):
            return self._stream_on_device(self.transformer, texts)
        return (self._encode_documents(texts[first : first + WINDOW], first) for first in range(0, len(texts), WINDOW))

    def is_cached(self, documents: Texts) -> BoolVector:
        """Which documents the cache has: [num_documents]; those it has not are encoded when they are asked for.

        Raises:
            InvalidItemError: an item is not a str; the message has its index.
            InvalidTextError: an item holds lone surrogates; the message has its index.
        """
        texts, _ = _read_texts(documents, "documents")
        if self.cache is None:
            return np.zeros(len(texts), np.bool_)
        return self.cache.holds(self._keys(self.cache, texts))

    def _check_unit_length(self) -> None:
        """Refuse an ONNX file that gives vectors of another length than 1, on which MaxSim has no meaning.

        Raises:
            CheckpointFormatError: the message says what to do.
        """
        try:
            vectors = self._encode(pack([self.tokenizer.read_document(TRIAL_TEXT)])).vectors
        except NonFiniteError as error:
            raise CheckpointFormatError(f"{self.checkpoint.model_file.name} gives NaN or infinity for words") from error
        lengths = np.linalg.norm(vectors, axis=1)  # [num_tokens]
        if len(lengths) and not np.abs(lengths - 1).max() <= LENGTH_TOLERANCE:
            raise CheckpointFormatError(
                f"{self.checkpoint.model_file.name} gives token vectors of length {lengths.min():.3g} to "
                f"{lengths.max():.3g}, and MaxSim compares vectors of length 1. If the model was trained on normalised "
                'vectors, which its card says, write "normalize": true into onnx_config.json; else export it again '
                "with: rank-rerank export MODEL OUTPUT"
            )

    def _may_stay(self, transformer: DeviceTransformer) -> bool:
        pooling = self.checkpoint.pooling
        if self.cache is not None:
            return False
        return transformer.device.partition(":")[0] in GPUS and (pooling is None or pooling.factor == 1)

    def _stream_on_device(self, transformer: DeviceTransformer, texts: list[str]) -> Iterator[TokenEmbeddings]:
        """Embeddings on the device, window by window; two windows lie there at once."""
        waiting: tuple[Any, TokenBatch, int] | None = None
        for first in range(0, len(texts), WINDOW):
            batch = self.tokenizer.tokenize_documents(texts[first : first + WINDOW])
            if waiting is not None:
                yield _embeddings_on_device(*waiting)
            waiting = (transformer.encode_on_device(batch), batch, first)
        if waiting is not None:
            yield _embeddings_on_device(*waiting)

    def _encode_documents(self, documents: Sequence[str], first_text: int = 0) -> TokenEmbeddings:
        if self.cache is None:
            return self._encode_anew(documents, first_text)
        keys = self._keys(self.cache, documents)
        found = self.cache.find(keys)
        missing = [number for number, text in enumerate(found) if text is None]
        if not missing:
            return packed([text for text in found if text is not None], self.dim)
        if len(missing) == len(documents):
            made = self._encode_anew(documents, first_text)
            self.cache.keep(keys, made)
            return made
        try:
            made = self._encode_anew([documents[number] for number in missing], first_text)
        except NonFiniteError:
            return self._encode_anew(documents, first_text)  # its error has the caller's index
        kept = dict(zip(missing, self.cache.keep([keys[number] for number in missing], made), strict=True))
        return packed([kept[number] if text is None else text for number, text in enumerate(found)], self.dim)

    def _keys(self, cache: EmbeddingCache, documents: Sequence[str]) -> list[Key]:
        settings = repr((self.checkpoint.settings, self.checkpoint.pooling))
        return cache.keys([self.transformer, self.tokenizer], settings, documents)

    def _encode_anew(self, documents: Sequence[str], first_text: int) -> TokenEmbeddings:
        embeddings = self._encode(self.tokenizer.tokenize_documents(documents), first_text)
        pooling = self.checkpoint.pooling
        if pooling is None or pooling.factor == 1:
            return embeddings
        rules = Pooling(pooling.factor, protected_tokens=pooling.protected_tokens)
        return replace(pool(embeddings, rules, normalize=pooling.normalize), unknown_words=embeddings.unknown_words)

    def _encode(self, batch: TokenBatch, first_text: int = 0) -> TokenEmbeddings:
        vectors = self.transformer.encode(batch)
        _check_finite(vectors, batch.offsets, first_text)
        return _keep_scored(vectors, batch)


def _read_texts(texts: Texts, name: str) -> tuple[list[str], list[str]]:
    """The texts of a container, which must not be a text itself, and what errors call them."""
    listed = list_items(texts, name, "texts" if name == "documents" else name)
    names = [f"{name}[{index}]" for index in range(len(listed))]
    for text, text_name in zip(listed, names, strict=True):
        check_text(text, text_name)
    return listed, names


def _embeddings_on_device(vectors: Any, batch: TokenBatch, first_text: int) -> TokenEmbeddings:
    """Embeddings of the tokens that take part in MaxSim; vectors are a tensor, which is awaited."""
    sums = vectors.sum(1, dtype=vectors.new_empty(0).float().dtype)  # [num_tokens], float32
    is_finite = sums - sums == 0
    if not bool(is_finite.all()):
        _refuse_row(int(np.argmin(is_finite.cpu().numpy())), batch.offsets, first_text)
    return _keep_scored(vectors, batch)


def _keep_scored(vectors: Any, batch: TokenBatch) -> TokenEmbeddings:
    """Embeddings of the tokens that take part in MaxSim."""
    mask = batch.scoring_mask
    if mask.all():
        return TokenEmbeddings(vectors, batch.offsets, batch.truncated, batch.character_spans, batch.unknown_words)
    return TokenEmbeddings(
        vectors=vectors[mask if isinstance(vectors, np.ndarray) else np.flatnonzero(mask)],
        offsets=_offsets_of_kept(mask, batch.offsets),
        truncated=batch.truncated,
        character_spans=batch.character_spans[mask],
        unknown_words=batch.unknown_words,
    )


def _check_finite(vectors: Float32Matrix, offsets: Int64Vector, first_text: int) -> None:
    # a sum, not a product: the threads of NumPy's BLAS would go on to wait for work, and take it from ours
    with np.errstate(invalid="ignore", over="ignore"):
        finite = np.isfinite(vectors.sum(axis=1))  # [num_tokens]
    if not finite.all():
        _refuse_row(int(np.argmin(finite)), offsets, first_text)


def _refuse_row(row: int, offsets: Int64Vector, first_text: int) -> None:
    text = int(np.searchsorted(offsets, row, side="right")) - 1 + first_text
    raise NonFiniteError(f"the model gave NaN or infinity for text {text}")


def _offsets_of_kept(mask: BoolVector, offsets: Int64Vector) -> Int64Vector:
    """Where each text begins once only the masked tokens are left: [num_texts + 1]."""
    kept_before = np.concatenate([[0], np.cumsum(mask)])  # [num_tokens + 1]
    return kept_before[offsets].astype(np.int64)
