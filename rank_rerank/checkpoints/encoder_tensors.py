"""The tensors of an encoder under one set of names, whatever its architecture calls them; none missing, none odd.

Names given out: ``embeddings.word``, ``.position``, ``.type``, ``.norm``, ``.projection``; for layer i
``layers.i.query``, ``.key``, ``.value``, ``.output``, ``.attention_norm``, ``.up``, ``.down``, ``.output_norm``; for
ModernBERT and mGTE ``layers.i.qkv`` instead of three; for ModernBERT ``final_norm``; for MPNet ``distances.bias``; for
DeBERTa ``distances.table``, ``.norm``, ``layers.i.distance_key`` and ``.distance_query``, ``convolution`` [out, in per
group, kernel] and ``convolution.norm``. Each but the tables with
``.weight`` and, where there is one, ``.bias``. Matrices are [out, in], as stored.
"""

from collections.abc import Iterator, Mapping

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.tensor_rows import TensorRows
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError

# a model with a head keeps its encoder under a name of its own
PREFIXES = (
    "",
    "bert.",
    "roberta.",
    "distilbert.",
    "electra.",
    "model.",
    "xlm_roberta.",
    "camembert.",
    "mpnet.",
    "deberta.",
    "new.",
)
# tensors of an encoder's file that no token vector depends on
BESIDE_ENCODER = ("pooler.dense.weight", "pooler.dense.bias", "position_ids", "token_type_ids")
Shape = tuple[int, ...]

BERT_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "output_norm": "output.LayerNorm",
}
DISTILBERT_NAMES = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "output_norm": "output_layer_norm",
}
MPNET_NAMES = BERT_NAMES | {
    "query": "attention.attn.q",
    "key": "attention.attn.k",
    "value": "attention.attn.v",
    "output": "attention.attn.o",
    "attention_norm": "attention.LayerNorm",
}
DEBERTA_NAMES = BERT_NAMES | {name: f"attention.self.{name}_proj" for name in ("query", "key", "value")}
LAYER_NAMES = {"distilbert": DISTILBERT_NAMES, "mpnet": MPNET_NAMES, "deberta-v2": DEBERTA_NAMES}


def read_encoder_tensors(tensors: TensorFiles, config: TransformerConfig) -> dict[str, AnyArray]:
    """Read all tensors of an encoder as float32, many of them views of the file.

    Raises:
        CheckpointFormatError: a tensor is missing, has another shape than the configuration says, holds NaN or
            infinity, or belongs to a layer that the configuration does not have.
    """
    return dict(EncoderTensors(tensors, config))


class EncoderTensors(Mapping[str, AnyArray]):
    """The tensors of an encoder, each read when it is asked for; names, shapes and errors as read_encoder_tensors.

    Args:
        tensors: the files.
        config: the encoder's shape.

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape, or of a layer that there is not.
    """

    def __init__(self, tensors: TensorFiles, config: TransformerConfig) -> None:
        wanted = {found: (source, shape) for found, source, shape in wanted_tensors(config)}
        prefix = find_prefix(tensors, wanted["embeddings.word"][0])
        refuse_more_layers(tensors, prefix, {source for source, _ in wanted.values()})
        self._tensors = tensors
        self._names = {
            found: check_tensor(tensors, prefix + source, shape) for found, (source, shape) in wanted.items()
        }

    def __getitem__(self, name: str) -> AnyArray:
        return self._tensors[self._names[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def words(self) -> TensorRows:
        """The table of words, row by row."""
        return self._tensors.open_rows(self._names["embeddings.word"])


def unread_tensors(tensors: TensorFiles, config: TransformerConfig) -> tuple[str, ...]:
    """The names of tensors that belong to no encoder of this shape: a head's, for instance.

    What BERT keeps beside its encoder and no token vector passes through is not among them: the pooler, and buffers.

    Raises:
        CheckpointFormatError: the weights are not of the architecture in config.json.
    """
    wanted = {source for _, source, _ in wanted_tensors(config)}
    prefix = find_prefix(
        tensors, next(source for found, source, _ in wanted_tensors(config) if found == "embeddings.word")
    )
    bare = {name: _modern(name.removeprefix(prefix)) for name in tensors}
    return tuple(name for name, short in bare.items() if short not in wanted and not short.endswith(BESIDE_ENCODER))


def read_tensor(tensors: TensorFiles, name: str, shape: Shape) -> AnyArray:
    """Read one tensor.

    Raises:
        CheckpointFormatError: it is missing, has another shape, or holds NaN or infinity.
    """
    return tensors[check_tensor(tensors, name, shape)]


def check_tensor(tensors: TensorFiles, name: str, shape: Shape) -> str:
    """The name under which a tensor is stored.

    Raises:
        CheckpointFormatError: it is missing, or has another shape.
    """
    if name not in tensors:
        # the names that TensorFlow's models had
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    if name not in tensors:
        raise CheckpointFormatError(
            f'{tensors.paths[0].name}: the tensor "{name}" is missing; a new one would be random'
        )
    if tensors.shape(name) != shape:
        raise CheckpointFormatError(
            f'{tensors.paths[0].name}: the tensor "{name}" has the shape {list(tensors.shape(name))}, '
            f"config.json says {list(shape)}"
        )
    return name


def find_prefix(tensors: Mapping[str, AnyArray], name: str) -> str:
    """What stands before the names of a model's tensors in its file, told by one of them.

    Raises:
        CheckpointFormatError: there is no such tensor.
    """
    for prefix in PREFIXES:
        if prefix + name in tensors:
            return prefix
    raise CheckpointFormatError(
        f'the weights have no tensor "{name}", so they are not of the architecture in config.json'
    )


def refuse_more_layers(tensors: Mapping[str, AnyArray], prefix: str, known: set[str]) -> None:
    """Refuse tensors of layers that the configuration does not have.

    Raises:
        CheckpointFormatError: there is one.
    """
    layers = ("encoder.layer.", "transformer.layer.", "layers.")
    for name in tensors:
        bare = name.removeprefix(prefix)
        if name.startswith(prefix) and bare.startswith(layers) and _modern(bare) not in known:
            raise CheckpointFormatError(f'the weights have a tensor "{name[:80]}" that config.json says nothing of')


def _modern(name: str) -> str:
    """The name that a tensor of TensorFlow's models has today."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def wanted_tensors(config: TransformerConfig) -> Iterator[tuple[str, str, Shape]]:
    """Name given out, name in the file after the prefix, shape."""
    if config.gated is not None:
        return _wanted_of_gated(config, is_packed=config.gated.is_packed)
    return _wanted_of_modernbert(config) if config.rotary is not None else _wanted_of_bert(config)


def _wanted_of_bert(config: TransformerConfig) -> Iterator[tuple[str, str, Shape]]:
    hidden, inner, embedding = config.hidden_size, config.intermediate_size, config.embedding_size
    is_distilbert = config.model_type == "distilbert"
    positions = config.max_positions + config.position_offset
    yield "embeddings.word", "embeddings.word_embeddings.weight", (config.vocab_size, embedding)
    if config.has_positions:
        yield "embeddings.position", "embeddings.position_embeddings.weight", (positions, embedding)
    if config.type_vocab_size:
        yield "embeddings.type", "embeddings.token_type_embeddings.weight", (config.type_vocab_size, embedding)
    yield from with_bias("embeddings.norm", "embeddings.LayerNorm", (embedding,))
    if embedding != hidden:
        yield from with_bias("embeddings.projection", "embeddings_project", (hidden, embedding))
    names = LAYER_NAMES.get(config.model_type, BERT_NAMES)
    yield from _wanted_of_distances(config)
    if config.convolution is not None:
        sizes = (hidden, hidden // config.convolution.num_groups, config.convolution.kernel_size)
        yield from with_bias("convolution", "encoder.conv.conv", sizes)
        yield from with_bias("convolution.norm", "encoder.conv.LayerNorm", (hidden,))
    shapes = {"up": (inner, hidden), "down": (hidden, inner), "attention_norm": (hidden,), "output_norm": (hidden,)}
    for layer in range(config.num_layers):
        for found, source in names.items():
            where = f"{'transformer' if is_distilbert else 'encoder'}.layer.{layer}.{source}"
            yield from with_bias(f"layers.{layer}.{found}", where, shapes.get(found, (hidden, hidden)))


def _wanted_of_distances(config: TransformerConfig) -> Iterator[tuple[str, str, Shape]]:
    relative, hidden = config.relative, config.hidden_size
    if relative is None:
        return
    if relative.kind == "bias":
        yield "distances.bias", "encoder.relative_attention_bias.weight", (relative.num_rows, config.num_heads)
        return
    yield "distances.table", "encoder.rel_embeddings.weight", (relative.num_rows, hidden)
    if relative.has_norm:
        yield from with_bias("distances.norm", "encoder.LayerNorm", (hidden,))
    terms = [("key", relative.has_key_term), ("query", relative.has_query_term)]
    for layer in range(config.num_layers if relative.has_own_layers else 0):
        for name in (name for name, is_there in terms if is_there):
            where = f"encoder.layer.{layer}.attention.self.pos_{name}_proj"
            yield from with_bias(f"layers.{layer}.distance_{name}", where, (hidden, hidden))


def _wanted_of_modernbert(config: TransformerConfig) -> Iterator[tuple[str, str, Shape]]:
    rotary = config.rotary
    if rotary is None:
        return
    hidden, inner = config.hidden_size, config.intermediate_size
    norm, attention, mlp = rotary.norm_bias, rotary.attention_bias, rotary.mlp_bias
    yield "embeddings.word", "embeddings.tok_embeddings.weight", (config.vocab_size, hidden)
    yield from with_bias("embeddings.norm", "embeddings.norm", (hidden,), has_bias=norm)
    for layer in range(config.num_layers):
        here = f"layers.{layer}"
        if layer > 0:
            yield from with_bias(f"{here}.attention_norm", f"{here}.attn_norm", (hidden,), has_bias=norm)
        yield from with_bias(f"{here}.qkv", f"{here}.attn.Wqkv", (3 * hidden, hidden), has_bias=attention)
        yield from with_bias(f"{here}.output", f"{here}.attn.Wo", (hidden, hidden), has_bias=attention)
        yield from with_bias(f"{here}.output_norm", f"{here}.mlp_norm", (hidden,), has_bias=norm)
        yield from with_bias(f"{here}.up", f"{here}.mlp.Wi", (2 * inner, hidden), has_bias=mlp)
        yield from with_bias(f"{here}.down", f"{here}.mlp.Wo", (hidden, inner), has_bias=mlp)
    yield from with_bias("final_norm", "final_norm", (hidden,), has_bias=norm)


def _wanted_of_gated(config: TransformerConfig, *, is_packed: bool) -> Iterator[tuple[str, str, Shape]]:
    hidden, inner = config.hidden_size, config.intermediate_size
    yield "embeddings.word", "embeddings.word_embeddings.weight", (config.vocab_size, hidden)
    if config.type_vocab_size:
        yield "embeddings.type", "embeddings.token_type_embeddings.weight", (config.type_vocab_size, hidden)
    yield from with_bias("embeddings.norm", "embeddings.LayerNorm", (hidden,))
    heads = {"qkv": 3 * hidden} if is_packed else dict.fromkeys(("query", "key", "value"), hidden)
    for layer in range(config.num_layers):
        found, source = f"layers.{layer}", f"encoder.layer.{layer}"
        for name, size in heads.items():
            stored = name if is_packed else name[0]
            yield from with_bias(f"{found}.{name}", f"{source}.attention.{stored}_proj", (size, hidden))
        yield from with_bias(f"{found}.output", f"{source}.attention.o_proj", (hidden, hidden))
        yield from with_bias(f"{found}.attention_norm", f"{source}.attn_ln", (hidden,))
        yield from with_bias(f"{found}.up", f"{source}.mlp.up_gate_proj", (2 * inner, hidden), has_bias=False)
        yield from with_bias(f"{found}.down", f"{source}.mlp.down_proj", (hidden, inner))
        yield from with_bias(f"{found}.output_norm", f"{source}.mlp_ln", (hidden,))


def with_bias(found: str, source: str, shape: Shape, *, has_bias: bool = True) -> Iterator[tuple[str, str, Shape]]:
    """A weight and, where there is one, its bias: name given out, name in the file, shape."""
    yield f"{found}.weight", f"{source}.weight", shape
    if has_bias:
        yield f"{found}.bias", f"{source}.bias", shape[:1]
