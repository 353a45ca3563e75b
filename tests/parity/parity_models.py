"""Texts, tokenizers and random encoders that both sides of a comparison load."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    "What is the capital of France?",
    "Paris is the capital, and the largest city, of France.",
    "a",
    "  white space round a text, and 3.14 numbers; (punctuation!) too...  ",
    "Unusual words: antidisestablishmentarianism, München, naïve café.",
    "東京は日本の首都です。 Привет, мир!",
    "emoji 👍🔋 and unknown ⸘ signs",
    "long text " * 60,
]


def make_tokenizer(kind):
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if kind == "xlm-roberta":
        tokenizer, names = train_unigrams(), ("<s>", "</s>", "<mask>", "<pad>", "<unk>")
    else:
        file = ROOT / "rank_rerank" / "bundled" / "tokenizer.json"
        tokenizer = train_byte_pairs() if kind == "modernbert" else Tokenizer.from_file(str(file))
        names = ("[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]")
    keys = ("cls_token", "sep_token", "mask_token", "pad_token", "unk_token")
    special = dict(zip(keys, names, strict=True))
    if kind == "xlm-roberta":
        special |= {"bos_token": "<s>", "eos_token": "</s>"}
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if kind in ("bert", "electra") else [])]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=512, model_input_names=inputs, **special
    )


def corpus():
    return (ROOT / "examples" / "bundled_model" / "calibration_texts.txt").read_text(encoding="utf-8").splitlines()


def train_byte_pairs():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))  # noqa: S106 - a token, no password
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=1500, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


def train_unigrams():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        corpus(),
        trainers.UnigramTrainer(vocab_size=1200, special_tokens=special, unk_token="<unk>"),  # noqa: S106
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def make_encoder(kind, vocab_size, task="Model", **options):
    """A random encoder whose weights are large enough that every part of it shows in the result."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": vocab_size, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    sizes["intermediate_size"] = 96
    if kind == "distilbert":
        sizes = {"vocab_size": vocab_size, "dim": 48, "n_layers": 3, "n_heads": 4, "hidden_dim": 96}
    if kind == "modernbert":
        special = {"pad_token_id": 3, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
        sizes |= {"local_attention": 16, "max_position_embeddings": 512, **special}
    if kind == "xlm-roberta":
        sizes |= {"max_position_embeddings": 514, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    if kind == "electra":
        sizes |= {"embedding_size": 24}
    if kind == "mpnet":
        sizes |= {"max_position_embeddings": 514}
    if kind == "deberta-v2":
        stated = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True}
        stated |= {"position_buckets": 16, "max_relative_positions": 256, "norm_rel_ebd": "layer_norm"}
        options = {**stated, "position_biased_input": False, **options}
    names = {
        "bert": "Bert",
        "mpnet": "MPNet",
        "deberta-v2": "DebertaV2",
        "distilbert": "DistilBert",
        "electra": "Electra",
        "modernbert": "ModernBert",
        "xlm-roberta": "XLMRoberta",
    }
    config = getattr(transformers, f"{names[kind]}Config")(**sizes, **options)
    encoder = getattr(transformers, f"{names[kind]}{task}")(config)
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float("norm" in name.lower() and "bias" not in name), std=0.2)
        else:
            torch.nn.init.normal_(parameter, std=0.15)
    return encoder.eval()
