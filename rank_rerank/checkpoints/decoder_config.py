"""DecoderConfig: the shape of a causal language model of the Llama kind, read from a Hugging Face config.json.

Qwen3, Qwen2 and Llama are one architecture with three switches: biases of the attention, norms of query and key heads,
and one table for words in and words out.
"""

from dataclasses import dataclass
from pathlib import Path

from rank_rerank.checkpoints.config_variants import check_epsilon
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.rotary_positions import checked_theta
from rank_rerank.checkpoints.transformer_config import CONFIG_FILE
from rank_rerank.errors import CheckpointFormatError

MODEL_TYPES = ("qwen3", "qwen2", "llama")
LIMITS = {
    "vocab_size": 4_000_000,
    "hidden_size": 32_768,
    "num_layers": 512,
    "num_heads": 512,
    "num_key_heads": 512,
    "head_size": 1_024,
    "intermediate_size": 262_144,
    "max_positions": 1_048_576,
}


@dataclass(frozen=True)
class DecoderConfig:
    """The sizes and choices that turn a set of tensors into a causal language model.

    Attributes:
        model_type: one of MODEL_TYPES, as config.json spells it.
        vocab_size: rows of the word embedding table.
        hidden_size: numbers per token between layers.
        num_layers: layers.
        num_heads: heads of queries per layer.
        num_key_heads: heads of keys and values; each serves num_heads / num_key_heads heads of queries.
        head_size: numbers per token in one head; num_heads × head_size need not be hidden_size.
        intermediate_size: numbers per token inside a feed-forward block, after the gate.
        max_positions: the longest text in tokens.
        norm_eps: added to the mean square in RMS norms.
        theta: base of the rotary angles: angle = position * theta ** (-2k / head_size).
        has_tied_embeddings: words out are scored by the table of words in.
        has_head_norms: query and key heads pass an RMS norm before they are rotated (Qwen3).
        attention_bias: whether query, key and value have a bias.
        output_bias: whether the attention's output has one.
        mlp_bias: whether the feed-forward block has biases.
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_key_heads: int
    head_size: int
    intermediate_size: int
    max_positions: int
    norm_eps: float
    theta: float
    has_tied_embeddings: bool
    has_head_norms: bool
    attention_bias: bool
    output_bias: bool
    mlp_bias: bool


def is_causal(config: JsonSettings) -> bool:
    """Whether a config.json describes a causal language model, also one that was converted to a classifier."""
    return is_causal_classifier(config) or _names(config, "ForCausalLM")


def is_causal_classifier(config: JsonSettings) -> bool:
    """Whether the table of words was reduced to one row that gives the score: Qwen3ForSequenceClassification."""
    return _names(config, "ForSequenceClassification") and config.get("model_type", "") in MODEL_TYPES


def _names(config: JsonSettings, suffix: str) -> bool:
    return any(word.endswith(suffix) for word in config.get_words("architectures"))


def read_decoder_config(folder: Path) -> DecoderConfig:
    """Read config.json of a model folder.

    Raises:
        CheckpointFormatError: it is missing or damaged, asks for code of its own, or describes an architecture or an
            option that this library does not compute.
    """
    config = JsonSettings.read(folder, CONFIG_FILE)
    model_type = config.get("model_type", "")
    if model_type not in MODEL_TYPES or "auto_map" in config:
        raise CheckpointFormatError(
            f'{CONFIG_FILE}: the causal architecture "{model_type[:40]}" is not supported, or has code of its own; '
            f"supported are {', '.join(MODEL_TYPES)}"
        )
    _refuse_variants(config)
    hidden_size = config.get("hidden_size", 4096)
    num_heads = config.get("num_attention_heads", 32)
    num_key_heads = config.get_optional_int("num_key_value_heads")
    head_size = config.get_optional_int("head_dim")
    is_llama, states_bias = model_type == "llama", config.get("attention_bias", default=False)
    return _checked(
        DecoderConfig(
            model_type=model_type,
            vocab_size=config.get("vocab_size", 32_000 if is_llama else 151_936),
            hidden_size=hidden_size,
            num_layers=config.get("num_hidden_layers", 32),
            num_heads=num_heads,
            num_key_heads=(num_heads if is_llama else 32) if num_key_heads is None else num_key_heads,
            head_size=_head_size(model_type, hidden_size, num_heads) if head_size is None else head_size,
            intermediate_size=config.get("intermediate_size", 11_008 if is_llama else 22_016),
            max_positions=config.get("max_position_embeddings", 2048 if is_llama else 32_768),
            norm_eps=config.get("rms_norm_eps", 1e-6),
            theta=_theta(config),
            has_tied_embeddings=config.get("tie_word_embeddings", default=False),
            has_head_norms=model_type == "qwen3",
            # Qwen2 has these three biases, whatever its settings say
            attention_bias=model_type == "qwen2" or states_bias,
            output_bias=model_type != "qwen2" and states_bias,
            mlp_bias=is_llama and config.get("mlp_bias", default=False),
        )
    )


def _head_size(model_type: str, hidden_size: int, num_heads: int) -> int:
    return 128 if model_type == "qwen3" else hidden_size // max(num_heads, 1)


def _theta(config: JsonSettings) -> float:
    """From "rope_parameters", which transformers 5 writes, or from the key before it; only plain rotary angles."""
    old = config.get_optional_float("rope_theta")
    theta = 10_000.0 if old is None else old
    for key in ("rope_parameters", "rope_scaling"):
        found = config.get_object(key)
        if found is None:
            continue
        kinds = {found.get("rope_type", "default"), found.get("type", "default")}
        if kinds != {"default"}:
            raise CheckpointFormatError(f'{CONFIG_FILE}: only the rope_type "default" is supported')
        theta = found.get("rope_theta", theta)
    return checked_theta(theta)


def _refuse_variants(config: JsonSettings) -> None:
    """Options that change what the layers compute."""
    if config.get("hidden_act", "silu") != "silu":
        raise CheckpointFormatError(f'{CONFIG_FILE}: a causal model\'s "hidden_act" must be "silu"')
    if config.get("use_sliding_window", default=False) or set(config.get_words("layer_types")) - {"full_attention"}:
        raise CheckpointFormatError(f"{CONFIG_FILE}: sliding windows in a causal model are not supported")


def _checked(config: DecoderConfig) -> DecoderConfig:
    for name, limit in LIMITS.items():
        if not 1 <= getattr(config, name) <= limit:
            raise CheckpointFormatError(f"{CONFIG_FILE}: {name} must be from 1 to {limit}")
    if config.num_heads % config.num_key_heads or config.head_size % 2:
        raise CheckpointFormatError(
            f"{CONFIG_FILE}: heads of queries must be a multiple of those of keys, and of an even size"
        )
    check_epsilon(config.norm_eps)
    return config
