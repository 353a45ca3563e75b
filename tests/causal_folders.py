"""A small causal reranker of the Qwen3-Reranker kind: random weights, and a tokenizer with the family's rules."""

from functools import cache
from pathlib import Path

import numpy as np
from model_folders import write_json, write_safetensors

HIDDEN, INNER, LAYERS, HEADS, KEY_HEADS, HEAD = 32, 48, 3, 4, 2, 12
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# of the vocabulary, but not special: the family's tokenizers have them so
THOUGHTS = ("<think>", "</think>")
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = (
    "Given a web search query, retrieve relevant passages that answer the query",
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided.",
    'Note that the answer can only be "yes" or "no". system user assistant <Instruct>: <Query>: <Document>:',
    "Paris is the capital, and the largest city, of France. What is the capital of France?",
    "Bananas are rich in potassium, and the capital of Germany is Berlin since 1990.",
)


@cache
def tokenizer_json():
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*CORPUS * 3, *["yes", "no"] * 20], trainer)
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in CONTROL])
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in THOUGHTS])
    return tokenizer.to_str()


def config_of(kind, **options):
    from tokenizers import Tokenizer

    return {
        "architectures": [{"qwen3": "Qwen3", "qwen2": "Qwen2", "llama": "Llama"}[kind] + "ForCausalLM"],
        "model_type": kind,
        "vocab_size": Tokenizer.from_str(tokenizer_json()).get_vocab_size() + 5,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "head_dim": HIDDEN // HEADS if kind == "qwen2" else HEAD,
        "max_position_embeddings": 512,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-6,
        **options,
    }


def tensors_of(config):
    rng = np.random.default_rng(0)
    kind, head, hidden = config["model_type"], config["head_dim"], config["hidden_size"]
    inner = config["intermediate_size"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    has_biases = kind == "qwen2" or config.get("attention_bias", False)
    for layer in range(config["num_hidden_layers"]):
        here = f"model.layers.{layer}"
        for name, size in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
            shapes[f"{here}.self_attn.{name}.weight"] = (size, hidden)
            if has_biases:
                shapes[f"{here}.self_attn.{name}.bias"] = (size,)
        shapes[f"{here}.self_attn.o_proj.weight"] = (hidden, queries)
        if has_biases and kind != "qwen2":
            shapes[f"{here}.self_attn.o_proj.bias"] = (hidden,)
        if kind == "qwen3":
            shapes |= {f"{here}.self_attn.{name}_norm.weight": (head,) for name in "qk"}
        for name, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))):
            shapes[f"{here}.mlp.{name}_proj.weight"] = shape
            if config.get("mlp_bias"):
                shapes[f"{here}.mlp.{name}_proj.bias"] = shape[:1]
        shapes |= {f"{here}.{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
    return {
        # norms near one, the rest large enough that every part shows in the score
        name: (rng.normal(size=shape) * 0.2 + ("norm" in name)).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_causal(folder, kind="qwen3", tensors=None, **options):
    """A folder as the family's authors publish it; it is recognised by "rerank" in its name."""
    folder, config = Path(folder), config_of(kind, **options)
    write_json(folder / "config.json", config)
    write_json(
        folder / "tokenizer_config.json",
        {
            "model_max_length": 131072,
            "pad_token": CONTROL[0],
            "eos_token": CONTROL[2],
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    write_safetensors(folder / "model.safetensors", tensors_of(config) if tensors is None else tensors)
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    return folder


def write_converted(folder, kind="qwen3", **options):
    """The same, converted to a classifier of one label: the difference of the two answers' rows is all that is kept."""
    tensors = tensors_of(config_of(kind))
    yes, no = (tensors["model.embed_tokens.weight"][number] for number in answer_ids())
    tensors["score.weight"] = (yes - no)[None]
    architecture = config_of(kind)["architectures"][0].replace("ForCausalLM", "ForSequenceClassification")
    labels = {"architectures": [architecture], "id2label": {"0": "LABEL_0"}, "pad_token_id": 0}
    return write_causal(folder, kind, tensors, **labels, **options)


def answer_ids():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json())
    return tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")


TEMPLATE = """<|im_start|>system
Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer \
can only be "yes" or "no".<|im_end|>
<|im_start|>user
<Instruct>: {{ messages | selectattr("role", "eq", "system") | map(attribute="content") | first \
| default("Find what answers the query") }}
<Query>: {{ messages | selectattr("role", "eq", "query") | map(attribute="content") | first }}
<Document>: {{ messages | selectattr("role", "eq", "document") | map(attribute="content") | first }}<|im_end|>
<|im_start|>assistant
<think>

</think>

"""


def write_chat(folder, template=TEMPLATE, transformer=(), score=(), **stated):
    """The same as sentence-transformers 6 saves it: a chat template, and the module that names the answers."""
    write_causal(folder)
    kinds = (("", "sentence_transformers.base.modules.transformer.Transformer"),)
    kinds += (("1_LogitScore", "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"),)
    listed = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (path, kind) in enumerate(kinds)]
    write_json(folder / "modules.json", listed)
    yes_id, no_id = answer_ids()
    answers = {"true_token_id": yes_id, "false_token_id": no_id, "module_input_name": "causal_logits", **dict(score)}
    write_json(folder / "1_LogitScore" / "config.json", answers)
    logits = {"method": "forward", "method_output_name": "logits"}
    settings = {
        "transformer_task": "text-generation",
        "modality_config": {"text": logits, "message": {**logits, "format": "flat"}},
        "module_output_name": "causal_logits",
        **dict(transformer),
    }
    write_json(folder / "sentence_bert_config.json", settings)
    write_json(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder", **stated})
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder
