"""One small folder of every family that is read, by a name; each is written without any library but tokenizers."""

import shutil

import causal_folders
import model_folders as folders
from model_folders import write_json
from onnx_folders import graph_bytes

from rank_rerank.checkpoints.find import bundled_folder

TOKENIZER = {"tokenizer_class": "BertTokenizer", "model_max_length": 64}
SENTENCE = "sentence_transformers.models"
SIZES = {
    "vocab_size": folders.VOCAB_SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}


def with_tokenizer_files(folder):
    write_json(folder / "tokenizer_config.json", TOKENIZER)
    write_json(folder / "special_tokens_map.json", {"cls_token": "[CLS]"})
    return folder


def write_pylate(folder):
    folders.write_pylate(folder)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 39})
    return with_tokenizer_files(folder)


def write_rounded(folder):
    """A causal reranker as it is exported to INT8."""
    from rank_rerank.checkpoints.decoder_files import INT8_DECODER_FILE
    from rank_rerank.checkpoints.find import find_model
    from rank_rerank.export.decoder_int8 import write_int8_decoder
    from rank_rerank.kernels.processor import vector_path

    named = causal_folders.write_causal(folder / "reranker")
    write_int8_decoder(find_model(named), folder / INT8_DECODER_FILE, vector_path())
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.move(named / name, folder / name)
    shutil.rmtree(named)
    return folder


def write_stanford(folder):
    return with_tokenizer_files(folders.write_stanford(folder))


def write_multi_vector(folder):
    # documents are as long as the tokenizer says
    transformer = {"query_expansion": {"strategy": "fixed", "length": 8}, "document_length": None}
    folders.write_multi_vector(folder, transformer)
    pooling = ("4_Pool", "sentence_transformers.multi_vector_encoder.modules.HierarchicalTokenPooling")
    modules = [
        ("1_Dense", f"{SENTENCE}.Dense"),
        ("2_MultiVectorMask", f"{SENTENCE}.MultiVectorMask"),
        ("3_Normalize", f"{SENTENCE}.Normalize"),
        pooling,
    ]
    folders.write_modules(folder, *modules)
    write_json(folder / "4_Pool" / "config.json", {"pool_factor": 2.0})
    return with_tokenizer_files(folder)


def write_plain(folder):
    folders.write_bert(folder)
    folders.write_modules(folder, ("1_Pooling", f"{SENTENCE}.Pooling"), ("2_Normalize", f"{SENTENCE}.Normalize"))
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    write_json(folder / "2_Normalize" / "config.json", {})
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "find: "}})
    return with_tokenizer_files(folder)


def write_cross_encoder(folder):
    folders.write_cross_encoder(folder)
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder"})
    return with_tokenizer_files(folder)


def write_modular(folder):
    prompts = {"prompts": {"query": "find: "}, "default_prompt_name": "query"}
    folders.write_modular_cross_encoder(folder, activation_fn=None, **prompts)
    # as older versions say it
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16, "pooling_mode_cls_token": True})
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": False})
    return with_tokenizer_files(folder)


def write_modernbert(folder):
    """A ModernBERT cross-encoder as far as settings go: its weights are BERT's, which only a runtime finds out."""
    config = {
        "architectures": ["ModernBertForSequenceClassification"],
        "model_type": "modernbert",
        **SIZES,
        "pad_token_id": 0,
        "id2label": {"0": "LABEL_0"},
    }
    folders.write_bert(folder, config=config)
    return with_tokenizer_files(folder)


def write_distilbert(folder):
    config = {
        "architectures": ["HF_ColBERT"],
        "model_type": "distilbert",
        "vocab_size": folders.VOCAB_SIZE,
        "dim": 16,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 24,
        "max_position_embeddings": 64,
    }
    folders.write_stanford(folder)
    write_json(folder / "config.json", config)
    return with_tokenizer_files(folder)


def write_electra(folder):
    folders.write_stanford(folder)
    config = {**folders.BERT_CONFIG, "architectures": ["HF_ColBERT"], "model_type": "electra", "embedding_size": 16}
    write_json(folder / "config.json", config)
    return with_tokenizer_files(folder)


def write_roberta(folder, model_type="xlm-roberta", name="XLMRoberta"):
    """A RoBERTa cross-encoder as far as settings go, as write_modernbert."""
    config = {
        "architectures": [f"{name}ForSequenceClassification"],
        "model_type": model_type,
        **SIZES,
        "max_position_embeddings": 66,
        "pad_token_id": 1,
        "type_vocab_size": 1,
        "id2label": {"0": "LABEL_0"},
    }
    folders.write_bert(folder, config=config)
    return with_tokenizer_files(folder)


def write_mpnet(folder):
    """An MPNet cross-encoder as far as settings go, as write_modernbert."""
    config = {
        "architectures": ["MPNetForSequenceClassification"],
        "model_type": "mpnet",
        "vocab_size": folders.VOCAB_SIZE,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 66,
        "id2label": {"0": "LABEL_0"},
    }
    folders.write_bert(folder, config=config)
    return with_tokenizer_files(folder)


def write_deberta(folder):
    """A DeBERTa cross-encoder as far as settings go, as write_modernbert."""
    config = {
        "architectures": ["DebertaV2ForSequenceClassification"],
        "model_type": "deberta-v2",
        **SIZES,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 16,
        "id2label": {"0": "LABEL_0"},
    }
    folders.write_bert(folder, config=config)
    return with_tokenizer_files(folder)


def write_gated(folder):
    """An mGTE cross-encoder as far as settings go, as write_modernbert."""
    config = {
        "architectures": ["NewForSequenceClassification"],
        "auto_map": {
            "AutoModelForSequenceClassification": "Alibaba-NLP/new-impl--modeling.NewForSequenceClassification"
        },
        "model_type": "new",
        **SIZES,
        "rope_theta": 20000.0,
        "rope_scaling": {"type": "ntk", "factor": 8.0},
        "id2label": {"0": "LABEL_0"},
    }
    folders.write_bert(folder, config=config)
    return with_tokenizer_files(folder)


def write_causal(folder):
    causal_folders.write_chat(folder)
    return folder


def write_llama(folder):
    causal_folders.write_causal(folder, "llama")
    return folder.rename(folder.with_name("rerank-llama"))


def write_converted(folder):
    causal_folders.write_converted(folder)
    return folder.rename(folder.with_name("rerank-seq-cls"))


def write_onnx(folder):
    write_json(folder / "onnx_config.json", {"embedding_dim": 8, "query_prefix": "[unused0]"})
    (folder / "model.onnx").write_bytes(graph_bytes("output"))
    shutil.copy(bundled_folder() / "tokenizer.json", folder / "tokenizer.json")
    return folder


def write_colbert_onnx(folder):
    write_stanford(folder)
    (folder / "model.safetensors").unlink()
    (folder / "vespa_colbert.onnx").write_bytes(graph_bytes("contextual"))
    return folder


def write_plain_onnx(folder):
    """As Xenova's and fastembed's repositories are laid out."""
    write_plain(folder)
    for name in ("model.safetensors", "modules.json", "1_Pooling/config.json", "2_Normalize/config.json"):
        (folder / name).unlink()
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(graph_bytes("last_hidden_state", "pooler_output"))
    return folder


def write_cross_encoder_onnx(folder):
    write_cross_encoder(folder)
    (folder / "model.safetensors").unlink()
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(graph_bytes("logits"))
    return folder


WRITERS = {
    "PyLate": write_pylate,
    "Stanford ColBERT": write_stanford,
    "multi-vector": write_multi_vector,
    "plain encoder": write_plain,
    "cross-encoder": write_cross_encoder,
    "cross-encoder in modules": write_modular,
    "ModernBERT": write_modernbert,
    "DistilBERT": write_distilbert,
    "ELECTRA": write_electra,
    "XLM-RoBERTa": write_roberta,
    "MPNet": write_mpnet,
    "DeBERTa": write_deberta,
    "mGTE": write_gated,
    "causal reranker": write_causal,
    "Llama": write_llama,
    "converted causal reranker": write_converted,
    "rounded causal reranker": write_rounded,
    "next-plaid ONNX": write_onnx,
    "ColBERT ONNX": write_colbert_onnx,
    "plain ONNX": write_plain_onnx,
    "cross-encoder ONNX": write_cross_encoder_onnx,
}
