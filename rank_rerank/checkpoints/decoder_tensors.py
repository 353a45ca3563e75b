"""The tensors of a causal language model under one set of names; none missing, none odd.

Names given out: ``embeddings.word``; for layer i ``layers.i.attention_norm``, ``.query``, ``.key``, ``.value``,
``.query_norm``, ``.key_norm``, ``.output``, ``.output_norm``, ``.gate``, ``.up``, ``.down``; ``final_norm``; and
``answer`` [hidden_size], whose product with the last state is the log-odds of the answer.
"""

from collections.abc import Iterator

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Vector
from rank_rerank.checkpoints.checkpoint import YesNoPrompt
from rank_rerank.checkpoints.decoder_config import DecoderConfig
from rank_rerank.checkpoints.encoder_tensors import (
    Shape,
    check_tensor,
    find_prefix,
    read_tensor,
    refuse_more_layers,
    with_bias,
)
from rank_rerank.checkpoints.safetensors_file import TensorFiles

WORDS = "embed_tokens.weight"
OUTPUT = "lm_head.weight"


def read_decoder_tensors(
    tensors: TensorFiles, config: DecoderConfig, prompt: YesNoPrompt
) -> Iterator[tuple[str, AnyArray]]:
    """Read the tensors one by one as float32: a model of some billions of parameters is never in memory twice.

    Raises:
        CheckpointFormatError: a tensor is missing, has another shape than the configuration says, holds NaN or
            infinity, or belongs to a layer that the configuration does not have.
    """
    yield "embeddings.word", tensors[find_word_table(tensors, config)]
    yield from read_decoder_layers(tensors, config)
    yield "answer", read_answer(tensors, config, prompt)


def find_word_table(tensors: TensorFiles, config: DecoderConfig) -> str:
    """The name of the table of words in.

    Raises:
        CheckpointFormatError: it is missing, or has another shape than the configuration says.
    """
    return check_tensor(tensors, find_prefix(tensors, WORDS) + WORDS, (config.vocab_size, config.hidden_size))


def read_decoder_layers(tensors: TensorFiles, config: DecoderConfig) -> Iterator[tuple[str, AnyArray]]:
    """Read what lies between the words and the answer, one by one: layer after layer, then the last norm.

    Raises:
        CheckpointFormatError: as read_decoder_tensors.
    """
    prefix = find_prefix(tensors, WORDS)
    wanted = list(_wanted(config))
    refuse_more_layers(tensors, prefix, {source for _, source, _ in wanted})
    for found, source, shape in wanted:
        yield found, read_tensor(tensors, prefix + source, shape)


def read_answer(tensors: TensorFiles, config: DecoderConfig, prompt: YesNoPrompt) -> Float32Vector:
    """What the last state is multiplied by, [hidden_size]: of the table that scores every word, two rows are read.

    Raises:
        CheckpointFormatError: as read_decoder_tensors.
    """
    shape = (config.vocab_size, config.hidden_size)
    name = find_prefix(tensors, WORDS) + WORDS if config.has_tied_embeddings else OUTPUT
    answers = [prompt.yes_id] if prompt.no_id is None else [prompt.yes_id, prompt.no_id]
    if prompt.score_tensor:
        name, shape, answers = prompt.score_tensor, (1, config.hidden_size), [0]
    rows = tensors.rows(check_tensor(tensors, name, shape), np.array(answers, np.int64))
    return rows[0] - rows[1] if len(rows) > 1 else rows[0]


def _wanted(config: DecoderConfig) -> Iterator[tuple[str, str, Shape]]:
    """Name given out, name in the file after the prefix, shape."""
    hidden, inner, head = config.hidden_size, config.intermediate_size, config.head_size
    queries, keys = config.num_heads * head, config.num_key_heads * head
    for layer in range(config.num_layers):
        here, there = f"layers.{layer}", f"layers.{layer}.self_attn"
        yield f"{here}.attention_norm.weight", f"{here}.input_layernorm.weight", (hidden,)
        for found, source, size in (("query", "q_proj", queries), ("key", "k_proj", keys), ("value", "v_proj", keys)):
            shape = (size, hidden)
            yield from with_bias(f"{here}.{found}", f"{there}.{source}", shape, has_bias=config.attention_bias)
        if config.has_head_norms:
            yield f"{here}.query_norm.weight", f"{there}.q_norm.weight", (head,)
            yield f"{here}.key_norm.weight", f"{there}.k_norm.weight", (head,)
        shape = (hidden, queries)
        yield from with_bias(f"{here}.output", f"{there}.o_proj", shape, has_bias=config.output_bias)
        yield f"{here}.output_norm.weight", f"{here}.post_attention_layernorm.weight", (hidden,)
        for found, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))):
            yield from with_bias(f"{here}.{found}", f"{here}.mlp.{found}_proj", shape, has_bias=config.mlp_bias)
    yield "final_norm.weight", "norm.weight", (hidden,)
