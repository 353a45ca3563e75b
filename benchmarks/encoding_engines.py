"""Everything that encodes in bench_encoding.py behind one face: token ids of texts in, unit vectors of tokens out."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.export.trial_session import OnnxSession
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer
from rank_rerank.kernels.processor import vector_path
from rank_rerank.tokenization.token_batch import TokenBatch

BATCH_TOKENS = 4096
MAX_TOKENS = 512
NO_TOKEN = 10**5  # an id beyond the vocabulary

Texts = Sequence[Any]
Encode = Callable[[Texts], list[Any]]


@dataclass(frozen=True)
class Engine:
    """One way to compute the model.

    Attributes:
        name: of runtime and precision.
        way: how texts are fed to it.
        encode: token ids of texts → [num_tokens, dim] of each, in their order.
        path: the vector path of a compiled one.
        takes_any_ids: it takes ids that no text was tokenized to.
    """

    name: str
    way: str
    encode: Encode
    path: str = ""
    takes_any_ids: bool = True


def compiled(folder: Path, num_threads: int, path: str | None = None) -> list[Engine]:
    """The library's own runtime on the bundled weights, on the best vector path or on a named one."""
    config, chosen = read_transformer_config(folder), vector_path(path)
    transformer = NumbaTransformer.from_onnx(folder / "model_int8.onnx", config, num_threads, chosen)

    def encode(texts: Texts) -> list[Any]:
        batch = make_batch(texts)
        return np.split(transformer.encode(batch), batch.offsets[1:-1])

    name = "compiled INT8" if path is None else f"compiled INT8, {chosen.name}"
    return [Engine(name, f"packed, {num_threads} texts at once", encode, chosen.name)]


def onnx(name: str, model: bytes, num_threads: int) -> list[Engine]:
    """A graph in ONNX Runtime, in each of the ways that are in use."""
    single, many, pool = OnnxSession(model), OnnxSession(model, num_threads), ThreadPoolExecutor(num_threads)

    def one_text_a_call(texts: Texts) -> list[Any]:
        return list(pool.map(lambda text: single.encode([text])[0], texts))

    def one_text_on_all_threads(texts: Texts) -> list[Any]:
        return [many.encode([text])[0] for text in texts]

    def batches(texts: Texts) -> list[Any]:
        return in_batches(texts, many.encode, map)

    def batches_a_thread(texts: Texts) -> list[Any]:
        return in_batches(texts, single.encode, pool.map)

    return [
        Engine(name, f"one text a call, {num_threads} calls at once", one_text_a_call),
        Engine(name, f"batches of {BATCH_TOKENS} tokens, {num_threads} threads a call", batches),
        Engine(name, f"batches of {BATCH_TOKENS} tokens, {num_threads} calls at once", batches_a_thread),
        Engine(name, f"one text a call, {num_threads} threads a call", one_text_on_all_threads),
    ]


def limbed(name: str, model: Path, tokenizer: Path, num_threads: int, text_of: dict[bytes, str]) -> list[Engine]:
    """The session of ONNX Runtime 1.20 that limbed has in C++, on a graph, where it is installed; it tokenizes itself.

    Its markers and its list of punctuation are switched off, so that it computes the same vectors as the others.
    """
    if find_spec("limbed") is None:
        return []
    from limbed._core import LateEmbedder

    ids = Tokenizer.from_file(str(tokenizer)).token_to_id
    special = [ids(token) for token in ("[CLS]", "[SEP]", "[PAD]", "[MASK]")]
    model_path, tokenizer_path = str(model), str(tokenizer)

    def open_one(threads: int) -> Any:
        return LateEmbedder(model_path, tokenizer_path, False, threads, -1, -1, *special, NO_TOKEN, [special[2]])  # noqa: FBT003 - its C++ takes positions

    single, many, pool = open_one(1), open_one(num_threads), ThreadPoolExecutor(num_threads)

    def encode_with(session: Any, texts: Texts) -> list[Any]:
        found = session.encode_docs([text_of[text.tobytes()] for text in texts], MAX_TOKENS, True)  # noqa: FBT003
        return [found[row, : len(text)] for row, text in enumerate(texts)]

    def one_text_a_call(texts: Texts) -> list[Any]:
        return list(pool.map(lambda text: encode_with(single, [text])[0], texts))

    def batches(texts: Texts) -> list[Any]:
        return in_batches(texts, lambda some: encode_with(many, some), map)

    ways = {
        f"one text a call, {num_threads} calls at once, from text": one_text_a_call,
        f"batches of {BATCH_TOKENS} tokens, {num_threads} threads a call, from text": batches,
    }
    return [Engine(name, way, encode, takes_any_ids=False) for way, encode in ways.items()]


def torch_bf16(encoder: Any, projection: Any, num_threads: int) -> list[Engine]:
    """The model in PyTorch, the encoder's weights and activations in bfloat16."""
    import copy

    import torch

    return torch_engine(copy.deepcopy(encoder), torch.bfloat16, num_threads, projection)


def torch_engine(encoder: Any, dtype: Any, num_threads: int, projection: Any = None) -> list[Engine]:
    """A transformers encoder in PyTorch, in batches of like length; it is converted in place."""
    import torch

    torch.set_num_threads(num_threads)
    model = encoder.to(dtype)

    def encode_batch(texts: Texts) -> list[Any]:
        width = max(len(text) for text in texts)
        token_ids = np.zeros((len(texts), width), np.int64)
        mask = np.zeros_like(token_ids)
        for row, text in enumerate(texts):
            token_ids[row, : len(text)], mask[row, : len(text)] = text, 1
        with torch.inference_mode():
            hidden = model(torch.from_numpy(token_ids), torch.from_numpy(mask)).last_hidden_state.float()
            vectors = unit_vectors(hidden, projection)
        return [vectors[row, : len(text)] for row, text in enumerate(texts)]

    way = f"batches of {BATCH_TOKENS} tokens, {num_threads} threads"
    name = {torch.float32: "torch fp32", torch.bfloat16: "torch bf16"}[dtype]
    return [Engine(name, way, lambda texts: in_batches(texts, encode_batch, map))]


def sentence_transformers(folder: Path, num_threads: int, projection: Any = None) -> list[Engine]:
    """The encoder in sentence-transformers, as it encodes by default, where that is installed."""
    if find_spec("sentence_transformers") is None:
        return []
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Transformer

    torch.set_num_threads(num_threads)
    model = SentenceTransformer(modules=[Transformer(str(folder))], device="cpu")
    return [module_engine(model, "sentence-transformers fp32", num_threads, projection)]


def pylate(folder: Path, num_threads: int, *, has_projection: bool = False) -> list[Engine]:
    """The model in PyLate, where that is installed; without a projection of its own with one that changes nothing."""
    if find_spec("pylate") is None:
        return []
    import torch
    from pylate import models
    from sentence_transformers.models import Transformer

    torch.set_num_threads(num_threads)
    if has_projection:
        return [module_engine(models.ColBERT(str(folder), device="cpu"), "PyLate fp32", num_threads)]
    transformer = Transformer(str(folder))
    size = transformer.get_word_embedding_dimension()
    dense = models.Dense(size, size, bias=False, init_weight=torch.eye(size), activation_function=torch.nn.Identity())
    model = models.ColBERT(modules=[transformer, dense], device="cpu", do_query_expansion=False)
    return [module_engine(model, "PyLate fp32", num_threads)]


def unit_vectors(hidden: Any, projection: Any) -> Any:
    """Project (None: not at all) and bring to unit length, in float32."""
    import torch

    projected = hidden if projection is None else projection(hidden)
    return torch.nn.functional.normalize(projected, dim=-1).numpy()


def module_engine(model: Any, name: str, num_threads: int, projection: Any = None) -> Engine:
    """A model of sentence-transformers' kind, in batches of 32 as its encode makes them."""
    import torch

    def encode_batch(texts: Texts) -> list[Any]:
        width = max(len(text) for text in texts)
        features = {name: torch.zeros((len(texts), width), dtype=torch.int64) for name in ("input_ids", "mask")}
        for row, text in enumerate(texts):
            features["input_ids"][row, : len(text)], features["mask"][row, : len(text)] = torch.from_numpy(text), 1
        with torch.inference_mode():
            output = model({"input_ids": features["input_ids"], "attention_mask": features["mask"]})
            vectors = unit_vectors(output["token_embeddings"], projection)
        return [vectors[row, : len(text)] for row, text in enumerate(texts)]

    def encode(texts: Texts) -> list[Any]:
        order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
        groups = [order[first : first + 32] for first in range(0, len(order), 32)]
        return restore(groups, [encode_batch([texts[number] for number in group]) for group in groups])

    return Engine(name, f"batches of 32 texts, {num_threads} threads", encode)


def make_batch(texts: Texts) -> TokenBatch:
    """Pack token ids."""
    lengths = [len(text) for text in texts]
    everything = np.ones(sum(lengths), np.bool_)
    return TokenBatch(
        token_ids=np.concatenate(texts),
        attention_mask=everything,
        scoring_mask=everything,
        character_spans=np.zeros((sum(lengths), 2), np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        truncated=np.zeros(len(texts), np.bool_),
    )


def in_batches(texts: Texts, encode_batch: Encode, run: Callable[..., Any]) -> list[Any]:
    """Encode texts of like length together, as many as fit into the token budget with padding."""
    groups: list[list[int]] = [[]]
    for number in sorted(range(len(texts)), key=lambda number: len(texts[number])):
        if (len(groups[-1]) + 1) * len(texts[number]) > BATCH_TOKENS and groups[-1]:
            groups.append([])
        groups[-1].append(number)
    return restore(groups, list(run(lambda group: encode_batch([texts[number] for number in group]), groups)))


def restore(groups: Sequence[Sequence[int]], results: Sequence[Sequence[Any]]) -> list[Any]:
    """Results of groups in the order of the texts."""
    by_number = {
        number: vectors
        for group, found in zip(groups, results, strict=True)
        for number, vectors in zip(group, found, strict=True)
    }
    return [by_number[number] for number in range(len(by_number))]
