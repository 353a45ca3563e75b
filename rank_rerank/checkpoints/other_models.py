"""What a folder without late-interaction settings may be: a plain encoder, or something else, which is named.

A head that is not read proves that a model is something else: an architecture in config.json, a module, a tensor.
"""

from collections.abc import Sequence

from rank_rerank.checkpoints.encoder_folder import Module
from rank_rerank.checkpoints.encoder_tensors import unread_tensors
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError

MASKED = "a masked language model, which fills gaps"
CLASSIFIER = "a classifier"
CURE = "Late interaction needs a ColBERT model, or an encoder that was trained for sentences; a cross-encoder works too"
# the end of an architecture's name
ARCHITECTURES = {
    "ForMaskedLM": MASKED,
    "ForPreTraining": MASKED,
    "LMHeadModel": "a language model that writes text",
    "ForCausalLM": "a language model that writes text",
    "ForTokenClassification": "a classifier of tokens, as for names of people and places",
    "ForQuestionAnswering": "a model that finds an answer in a text",
    "ForMultipleChoice": "a model that chooses among answers",
    "ForNextSentencePrediction": "a model that tells whether a sentence follows another",
    "ForSequenceClassification": CLASSIFIER,
    "ForConditionalGeneration": "a model that writes text",
}
# in a tensor's name
TENSORS = {
    "cls.predictions": MASKED,
    "cls.seq_relationship": MASKED,
    "lm_head": MASKED,
    "vocab_": MASKED,
    "generator_": MASKED,
    "decoder.": MASKED,
    "head.": MASKED,  # of ModernBERT, whose classifier has one too
    "discriminator_predictions": "a model that finds replaced words",
    "qa_outputs": ARCHITECTURES["ForQuestionAnswering"],
    "pre_classifier": CLASSIFIER,
    "classifier": CLASSIFIER,
    "score": CLASSIFIER,
    "linear.weight": "a ColBERT model whose settings are missing: artifact.metadata, or HF_ColBERT in config.json",
}
MODULES = {
    "MLMTransformer": "a sparse encoder, which gives weights of words",
    "SpladePooling": "a sparse encoder, which gives weights of words",
    "SparseAutoEncoder": "a sparse encoder",
    "SparseStaticEmbedding": "a sparse encoder",
    "StaticEmbedding": "a model of static word vectors",
    "WordEmbeddings": "a model of static word vectors",
    "BoW": "a model that counts words",
    "CLIPModel": "a model of images and texts",
    "Router": "a model with one encoder for queries and another for documents",
    "Asym": "a model with one encoder for queries and another for documents",
    "LogitScore": "a causal reranker",
    "WeightedLayerPooling": "an encoder that mixes its layers",
}
MODEL_TYPES = {
    "SparseEncoder": "a sparse encoder, which gives weights of words",
}


def refuse_other_architectures(name: str, config: JsonSettings, *, is_sentence_encoder: bool) -> None:
    """Refuse a model whose config.json names an architecture with a head.

    Args:
        name: of the model.
        config: its config.json.
        is_sentence_encoder: its modules or outputs say that it gives vectors; such models often keep the name of the
            masked language model that they were trained from.

    Raises:
        CheckpointFormatError: the message says what the model is.
    """
    for architecture in config.get_words("architectures"):
        what = next((what for end, what in ARCHITECTURES.items() if architecture.endswith(end)), None)
        if what is None and architecture.endswith("Model"):
            continue
        if what != MASKED or not is_sentence_encoder:
            said = what or "of an architecture that is not an encoder alone"
            raise CheckpointFormatError(f"{name} is {said} ({architecture[:60]!a} in config.json). {CURE}")


def refuse_other_modules(name: str, model_type: str | None, modules: Sequence[Module]) -> None:
    """Refuse a sentence-transformers model that is no encoder with one vector per text.

    Raises:
        CheckpointFormatError: the message says what the model is.
    """
    if (what := MODEL_TYPES.get(model_type or "")) is not None:
        raise CheckpointFormatError(f'{name} is {what} ("model_type" in config_sentence_transformers.json). {CURE}')
    for module in modules:
        if module.kind not in ("Transformer", "Pooling", "Normalize", "Dropout"):
            what = MODULES.get(module.kind, "a model with a step that works on the vector of a whole text")
            raise CheckpointFormatError(
                f"{name} is {what} (the module {module.kind[:60]!a}), so there is no rule for vectors of tokens. {CURE}"
            )


def refuse_other_tensors(
    name: str, tensors: TensorFiles, transformer: TransformerConfig, *, is_sentence_encoder: bool
) -> None:
    """Refuse weights with a head that is not read; arguments as refuse_other_architectures.

    Raises:
        CheckpointFormatError: the message says what the model is, or that it cannot be told.
    """
    for tensor in unread_tensors(tensors, transformer):
        what = next((what for part, what in TENSORS.items() if part in tensor), None)
        if what == MASKED and is_sentence_encoder:
            continue
        said = what or "more than an encoder: what this part of it does is not known"
        raise CheckpointFormatError(f"{name} is {said} (the tensor {tensor[:80]!a}). {CURE}")
