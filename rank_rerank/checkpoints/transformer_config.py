"""TransformerConfig: the shape of an encoder, read from a Hugging Face config.json.

Only architectures that this library computes itself are read, so nothing here leads to code from a model's repository.
Defaults for missing keys are those of the architecture's first configuration class, which writes only what differs.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from rank_rerank.checkpoints.config_variants import (
    check_activation,
    check_epsilon,
    read_pad_token_id,
    refuse_true,
    refuse_variants,
)
from rank_rerank.checkpoints.convolution import ConvolutionConfig, read_convolution
from rank_rerank.checkpoints.gated_layers import GatedConfig, is_known_code, read_gated
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.relative_positions import RelativeConfig, read_bias, read_disentangled
from rank_rerank.checkpoints.rotary_positions import RotaryConfig, read_rotary
from rank_rerank.errors import CheckpointFormatError

CONFIG_FILE = "config.json"
BERT_TYPES = ("bert", "electra")
ROBERTA_TYPES = ("roberta", "xlm-roberta", "camembert")
MODEL_TYPES = (*BERT_TYPES, *ROBERTA_TYPES, "distilbert", "modernbert", "mpnet", "deberta-v2", "new")
# far beyond any published encoder, and small enough that a product of two fits a machine's integers
LIMITS = {
    "vocab_size": 4_000_000,
    "hidden_size": 16_384,
    "num_layers": 256,
    "num_heads": 256,
    "intermediate_size": 131_072,
    "max_positions": 1_048_576,
    "embedding_size": 16_384,
}


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes and choices that turn a set of tensors into an encoder.

    Attributes:
        model_type: one of MODEL_TYPES, as config.json spells it.
        vocab_size: rows of the word embedding table.
        hidden_size: numbers per token between layers.
        num_layers: layers.
        num_heads: attention heads per layer; hidden_size is a multiple of it.
        intermediate_size: numbers per token inside a feed-forward block (after the gate, for ModernBERT).
        max_positions: the longest text in tokens, special ones included.
        layer_norm_eps: added to the variance.
        activation: of the feed-forward block: one of config_variants.ACTIVATIONS. "gelu" is the exact one with erf,
            "gelu_new" and "gelu_pytorch_tanh" are the approximation by tanh.
        pad_token_id: the id that padding would have.
        type_vocab_size: rows of the token type table; 0 for none. A single text is of type 0 throughout.
        position_offset: the row of the position table that the first token uses: RoBERTa's keep pad_token_id + 1 rows
            that no token can use, and the table has max_positions + position_offset rows.
        embedding_size: numbers per word embedding; differs from hidden_size in ELECTRA only, which then projects.
        rotary: how positions enter where there is no position table (ModernBERT), else None.
        relative: how scores of attention depend on distances (MPNet, DeBERTa), else None.
        has_positions: whether there is a position table, which DeBERTa mostly does without.
        gated: rotary positions and gated feed-forward blocks in layers that are else BERT's (mGTE), else None.
        convolution: of the embeddings, added to the first layer's output (the largest DeBERTas), else None.
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_positions: int
    layer_norm_eps: float
    activation: str
    pad_token_id: int
    type_vocab_size: int = 0
    position_offset: int = 0
    embedding_size: int = 0
    rotary: RotaryConfig | None = None
    relative: RelativeConfig | None = None
    has_positions: bool = True
    gated: GatedConfig | None = None
    convolution: ConvolutionConfig | None = None

    @property
    def head_size(self) -> int:
        """Numbers per token in one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def is_rotated(self) -> bool:
        """Whether queries and keys are turned by their positions; feed-forward blocks have a gate then, too."""
        return self.rotary is not None or self.gated is not None

    @property
    def is_roberta(self) -> bool:
        """Whether a token's position counts only the tokens before it that are not padding."""
        return self.model_type in (*ROBERTA_TYPES, "mpnet")


def read_transformer_config(folder: Path) -> TransformerConfig:
    """Read config.json of a model folder.

    Raises:
        CheckpointFormatError: it is missing or damaged, asks for code of its own, or describes an architecture,
            an activation or a size that this library does not compute.
    """
    config = JsonSettings.read(folder, CONFIG_FILE)
    if "auto_map" in config and not is_known_code(config):
        raise CheckpointFormatError(
            f'{CONFIG_FILE}: "auto_map" asks for code from the model\'s repository, which this library never runs. '
            "Use a model of a known architecture, or one that its authors exported to ONNX"
        )
    model_type = config.get("model_type", "")
    if model_type not in MODEL_TYPES:
        raise CheckpointFormatError(
            f'{CONFIG_FILE}: the architecture "{model_type[:40]}" is not supported; supported are '
            f"{', '.join(MODEL_TYPES)}"
        )
    return _checked(_READERS.get(model_type, _read_bert)(config, model_type))


def _read_bert(config: JsonSettings, model_type: str) -> TransformerConfig:
    refuse_variants(config)
    is_roberta = model_type in ROBERTA_TYPES
    pad_token_id = read_pad_token_id(config, 1 if is_roberta else 0)
    offset = pad_token_id + 1 if is_roberta else 0
    hidden_size = config.get("hidden_size", 256 if model_type == "electra" else 768)
    return TransformerConfig(
        model_type=model_type,
        vocab_size=config.get("vocab_size", {"roberta": 50265}.get(model_type, 30522)),
        hidden_size=hidden_size,
        num_layers=config.get("num_hidden_layers", 12),
        num_heads=config.get("num_attention_heads", 4 if model_type == "electra" else 12),
        intermediate_size=config.get("intermediate_size", 1024 if model_type == "electra" else 3072),
        max_positions=config.get("max_position_embeddings", 512) - offset,
        layer_norm_eps=config.get("layer_norm_eps", 1e-12),
        activation=_activation(config, "hidden_act"),
        pad_token_id=pad_token_id,
        type_vocab_size=config.get("type_vocab_size", 2),
        position_offset=offset,
        embedding_size=config.get("embedding_size", 128) if model_type == "electra" else hidden_size,
    )


def _read_distilbert(config: JsonSettings, model_type: str) -> TransformerConfig:
    hidden_size = _either(config, "hidden_size", "dim", 768)
    return TransformerConfig(
        model_type=model_type,
        vocab_size=config.get("vocab_size", 30522),
        hidden_size=hidden_size,
        num_layers=_either(config, "num_hidden_layers", "n_layers", 6),
        num_heads=_either(config, "num_attention_heads", "n_heads", 12),
        intermediate_size=config.get("hidden_dim", 3072),
        max_positions=config.get("max_position_embeddings", 512),
        layer_norm_eps=1e-12,  # not a setting of this architecture
        activation=_activation(config, "activation"),
        pad_token_id=read_pad_token_id(config, 0),
        embedding_size=hidden_size,
    )


def _read_modernbert(config: JsonSettings, model_type: str) -> TransformerConfig:
    hidden_size = config.get("hidden_size", 768)
    num_layers = config.get("num_hidden_layers", 22)
    if not 1 <= num_layers <= LIMITS["num_layers"]:
        raise _bad_size("num_layers")
    return TransformerConfig(
        model_type=model_type,
        vocab_size=config.get("vocab_size", 50368),
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=config.get("num_attention_heads", 12),
        intermediate_size=config.get("intermediate_size", 1152),
        max_positions=config.get("max_position_embeddings", 8192),
        layer_norm_eps=config.get("norm_eps", 1e-5),
        activation=_activation(config, "hidden_activation"),
        pad_token_id=read_pad_token_id(config, 50283),
        embedding_size=hidden_size,
        rotary=read_rotary(config, num_layers),
    )


def _read_mpnet(config: JsonSettings, model_type: str) -> TransformerConfig:
    hidden_size = config.get("hidden_size", 768)
    # padding has the position 1 whatever its id is, and tokens begin after it
    return TransformerConfig(
        model_type=model_type,
        vocab_size=config.get("vocab_size", 30527),
        hidden_size=hidden_size,
        num_layers=config.get("num_hidden_layers", 12),
        num_heads=config.get("num_attention_heads", 12),
        intermediate_size=config.get("intermediate_size", 3072),
        max_positions=config.get("max_position_embeddings", 512) - 2,
        layer_norm_eps=config.get("layer_norm_eps", 1e-12),
        activation=_activation(config, "hidden_act"),
        pad_token_id=1,
        position_offset=2,
        embedding_size=hidden_size,
        relative=read_bias(config),
    )


def _read_deberta(config: JsonSettings, model_type: str) -> TransformerConfig:
    hidden_size, num_heads = config.get("hidden_size", 1536), config.get("num_attention_heads", 24)
    head_size = hidden_size // max(1, num_heads)
    for key, size in (
        ("embedding_size", hidden_size), ("pooler_hidden_size", hidden_size), ("attention_head_size", head_size)
    ):  # fmt: skip
        if config.get(key, size) != size:
            raise CheckpointFormatError(f'{CONFIG_FILE}: "{key}" must be {size}, which follows from the other sizes')
    convolution = read_convolution(config, hidden_size)
    if convolution is not None:
        convolution = replace(convolution, activation=check_activation(convolution.activation, "conv_act"))
    max_positions = config.get("max_position_embeddings", 512)
    return TransformerConfig(
        model_type=model_type,
        vocab_size=config.get("vocab_size", 128100),
        hidden_size=hidden_size,
        num_layers=config.get("num_hidden_layers", 24),
        num_heads=num_heads,
        intermediate_size=config.get("intermediate_size", 6144),
        max_positions=max_positions,
        layer_norm_eps=config.get("layer_norm_eps", 1e-7),
        activation=_activation(config, "hidden_act"),
        pad_token_id=read_pad_token_id(config, 0),
        type_vocab_size=config.get("type_vocab_size", 0),
        embedding_size=hidden_size,
        relative=read_disentangled(config, max_positions),
        has_positions=config.get("position_biased_input", default=True),
        convolution=convolution,
    )


def _read_new(config: JsonSettings, model_type: str) -> TransformerConfig:
    for key in ("is_decoder", "add_cross_attention"):
        refuse_true(config, key)
    hidden_size = config.get("hidden_size", 768)
    return TransformerConfig(
        model_type=model_type,
        vocab_size=config.get("vocab_size", 30528),
        hidden_size=hidden_size,
        num_layers=config.get("num_hidden_layers", 12),
        num_heads=config.get("num_attention_heads", 12),
        intermediate_size=config.get("intermediate_size", 3072),
        max_positions=config.get("max_position_embeddings", 2048),
        layer_norm_eps=config.get("layer_norm_eps", 1e-12),
        activation=_activation(config, "hidden_act"),
        pad_token_id=read_pad_token_id(config, 0),
        type_vocab_size=config.get("type_vocab_size", 1),
        embedding_size=hidden_size,
        has_positions=False,
        gated=read_gated(config),
    )


def _either(config: JsonSettings, general: str, own: str, default: int) -> int:
    """DistilBERT's own name of a size, or the general one, which transformers takes first."""
    return config.get(general, config.get(own, default))


def _activation(config: JsonSettings, key: str) -> str:
    return check_activation(config.get(key, "gelu"), key)


def _checked(config: TransformerConfig) -> TransformerConfig:
    for name, limit in LIMITS.items():
        if not 1 <= getattr(config, name) <= limit:
            raise _bad_size(name)
    if config.hidden_size % config.num_heads:
        raise CheckpointFormatError(f"{CONFIG_FILE}: the hidden size must be a multiple of the number of heads")
    if config.rotary is not None and (config.head_size % 2 or config.rotary.window < 1):
        raise CheckpointFormatError(f"{CONFIG_FILE}: rotary positions need an even head size and a window")
    if config.gated is not None and config.head_size % 2:
        raise CheckpointFormatError(f"{CONFIG_FILE}: rotary positions need an even head size")
    if not 0 <= config.type_vocab_size <= LIMITS["vocab_size"]:
        raise _bad_size("type_vocab_size")
    if not 0 <= config.pad_token_id < config.vocab_size:
        raise CheckpointFormatError(f'{CONFIG_FILE}: "pad_token_id" is outside the vocabulary')
    check_epsilon(config.layer_norm_eps)
    return config


def _bad_size(name: str) -> CheckpointFormatError:
    return CheckpointFormatError(f"{CONFIG_FILE}: {name} must be from 1 to {LIMITS.get(name, LIMITS['vocab_size'])}")


_READERS = {
    "distilbert": _read_distilbert,
    "modernbert": _read_modernbert,
    "mpnet": _read_mpnet,
    "deberta-v2": _read_deberta,
    "new": _read_new,
}
