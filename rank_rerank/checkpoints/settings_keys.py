"""Every key of the settings files beside config.json, by family, and what is done with it.

Gathered from what transformers 5.24, sentence-transformers 6.2, PyLate 1.6, colbert-ai 0.2.22 and next-plaid 1.6 read
and write. A test walks these tables.
"""

from types import MappingProxyType
from typing import Any

from rank_rerank.checkpoints.checkpoint import FAMILIES
from rank_rerank.checkpoints.key_table import KeyTable

TOKENS = ("token_embeddings",)
CROSS_ENCODER, MODULAR, CAUSAL = "cross-encoder", "modular cross-encoder", "causal reranker"

# tokenizer.json holds the vocabulary, the special tokens and the rules, and is what is used; what is stated here a
# second time must agree with it: see tokenizer_agreement.py
TOKENIZER = KeyTable().with_keys(
    without_effect="""
        tokenizer_class backend is_local name_or_path special_tokens_map_file tokenizer_file vocab_file merges_file
        processor_class files_loaded use_fast clean_up_tokenization_spaces errors legacy sp_model_kwargs
        spaces_between_special_tokens local_files_only token use_auth_token revision cache_dir force_download proxies
        subfolder trust_remote_code _commit_hash _from_auto
        cls_token sep_token unk_token bos_token mask_token eos_token pad_token added_tokens_decoder
        additional_special_tokens extra_special_tokens model_specific_special_tokens split_special_tokens
        add_bos_token add_eos_token trim_offsets do_basic_tokenize never_split do_word_tokenize wordpieces_prefix
        use_default_system_prompt chat_template response_template
        model_max_length max_len max_length stride truncation_strategy pad_to_multiple_of pad_token_type_id
        model_input_names padding_side
    """,
    refused={"truncation_side": ("right",), "auto_map": ()},
    refused_by_reader="do_lower_case strip_accents tokenize_chinese_chars add_prefix_space",
)
LENGTH = "model_max_length max_len"
FILLER = "mask_token eos_token pad_token"
# a query's filler goes where padding goes
FILLED_TOKENIZER = TOKENIZER.with_keys(followed=FILLER, refused={"padding_side": ("right",)})
SPECIAL_TOKENS = KeyTable().with_keys(
    without_effect="""
        cls_token sep_token unk_token bos_token mask_token eos_token pad_token additional_special_tokens
        extra_special_tokens image_token
    """,
)

# sentence_bert_config.json; arguments for loading weights and tokenizer, of which these change no number
ARGUMENTS = """
    model_args.add_pooling_layer model_args.torch_dtype model_args.dtype model_args.attn_implementation
    model_kwargs.add_pooling_layer model_kwargs.torch_dtype model_kwargs.dtype model_kwargs.attn_implementation
    backend unpad_inputs modality_config cache_dir
"""
NO_ARGUMENTS = {name: ({},) for name in ("model_args", "tokenizer_args", "config_args", "processor_args")} | {
    name: ({},) for name in ("model_kwargs", "tokenizer_kwargs", "config_kwargs", "processor_kwargs")
}
TRANSFORMER = KeyTable().with_keys(
    followed="do_lower_case max_seq_length",
    without_effect=f"{ARGUMENTS} module_output_name",
    refused={"transformer_task": ("feature-extraction",)},
    reported={**NO_ARGUMENTS, "processing_kwargs": ({},), "query_length": (), "document_length": ()}
    | {"query_expansion": ()},
)
# PyLate sets the length at each call
PYLATE_TRANSFORMER = TRANSFORMER.with_keys(without_effect="max_seq_length")
MULTI_VECTOR_TRANSFORMER = TRANSFORMER.with_keys(
    followed="""
        query_length document_length query_expansion.attend query_expansion.token query_expansion.length
        query_expansion.strategy
    """,
    refused={"module_output_name": TOKENS, "processing_kwargs": ({},)},
    refused_by_reader="transformer_task query_expansion",
)
PLAIN_TRANSFORMER = TRANSFORMER.with_keys(refused_by_reader="transformer_task")
CROSS_ENCODER_TRANSFORMER = TRANSFORMER.with_keys(
    refused={"transformer_task": ("sequence-classification", "feature-extraction")}
)
CAUSAL_TRANSFORMER = TRANSFORMER.with_keys(
    followed="max_seq_length", refused={"do_lower_case": (False,), "transformer_task": ("text-generation",)}
)

# config_sentence_transformers.json
SENTENCE = KeyTable().with_keys(
    followed="model_type",
    without_effect="__version__ requirements similarity_fn_name",
    reported={"truncate_dim": ()},
)
PROMPTS = "prompts default_prompt_name"
PYLATE_KEYS = """
    query_prefix document_prefix query_length document_length do_query_expansion attend_to_expansion_tokens
    skiplist_words
"""
# sentence-transformers honours PyLate's keys in files of its own too
NO_PYLATE_KEYS: dict[str, tuple[Any, ...]] = dict.fromkeys(
    (*PYLATE_KEYS.split(), "attend_to_mask_tokens", "query_expansion"), ()
)
PYLATE = SENTENCE.with_keys(followed=f"{PYLATE_KEYS} {PROMPTS}")
MULTI_VECTOR = SENTENCE.with_keys(followed=f"similarity_fn_name {PROMPTS}", refused=NO_PYLATE_KEYS)
PLAIN = SENTENCE.with_keys(followed=PROMPTS)
CROSS_ENCODER_SENTENCE = SENTENCE.with_keys(
    followed=f"activation_fn {PROMPTS}",
    without_effect="model_type keep_in_fp32_modules",
)
MODULAR_SENTENCE = CROSS_ENCODER_SENTENCE.with_keys(followed="model_type")
CAUSAL_SENTENCE = CROSS_ENCODER_SENTENCE

# artifact.metadata; the rest is of colbert-ai's training, index and search
STANFORD = KeyTable().with_keys(
    followed="query_token_id doc_token_id query_maxlen doc_maxlen attend_to_mask_tokens mask_punctuation",
    without_effect="""
        query_token doc_token checkpoint triples collection queries index_name overwrite root experiment
        index_root name rank nranks amp gpus avoid_fork_if_possible bsize accumsteps lr maxsteps save_every resume
        warmup warmup_bert relu nway use_ib_negatives reranker distillation_alpha ignore_scores model_name index_path
        index_bsize nbits kmeans_niters clustering_mode protected_tokens ncells centroid_score_threshold ndocs
        load_index_with_mmap meta world_size total_visible_gpus
    """,
    refused={"pool_factor": (1, 1.0)},
    refused_by_reader="similarity interaction dim",
)
STANFORD_ONNX = STANFORD.with_keys(followed="dim")

# onnx_config.json: see onnx_folder.py
ONNX = KeyTable().with_keys(
    followed="""
        query_prefix document_prefix query_length document_length do_query_expansion attend_to_expansion_tokens
        skiplist_words embedding_dim mask_token_id query_prefix_id document_prefix_id do_lower_case
        expansion_length query_prompt document_prompt strip_text skiplist_of_encoded_words skiplist_queries similarity
        document_pooling.factor document_pooling.protected_tokens document_pooling.normalize normalize
    """,
    without_effect="model_name model_class uses_token_type_ids pad_token_id",
    refused_by_reader="model_type",
)

# config.json of a module, by family and the module's kind
DENSE = KeyTable().with_keys(
    followed="in_features out_features bias activation_function use_residual",
    without_effect="module_input_name module_output_name",
)
POOLING = KeyTable().with_keys(
    without_effect="""
        word_embedding_dimension embedding_dimension pooling_mode_cls_token pooling_mode_max_tokens
        pooling_mode_mean_tokens pooling_mode_mean_sqrt_len_tokens pooling_mode_weightedmean_tokens
    """,
    refused_by_reader="pooling_mode pooling_mode_lasttoken include_prompt",
)
NORMALIZE = KeyTable().with_keys(without_effect="module_input_name module_output_name")
TOKEN_DENSE = DENSE.with_keys(refused={"module_output_name": TOKENS}, refused_by_reader="module_input_name")
TOKEN_NORMALIZE = NORMALIZE.with_keys(refused={"module_output_name": TOKENS}, refused_by_reader="module_input_name")
MASK = KeyTable().with_keys(followed="skiplist_words skiplist_tasks", refused_by_reader="keep_only_token_ids")
TOKEN_POOLING = KeyTable().with_keys(
    followed="pool_factor num_protected_tokens normalize_embeddings", refused_by_reader="tasks"
)
# of a cross-encoder in modules
HEAD_DENSE = DENSE.with_keys(followed="module_output_name", refused={"module_input_name": ("sentence_embedding",)})
HEAD_POOLING = POOLING.with_keys(
    followed="pooling_mode pooling_mode_cls_token pooling_mode_mean_tokens",
    refused_by_reader="""
        pooling_mode_max_tokens pooling_mode_mean_sqrt_len_tokens pooling_mode_weightedmean_tokens
        pooling_mode_lasttoken include_prompt
    """,
)
LAYER_NORM = KeyTable().with_keys(followed="dimension")
LOGIT_SCORE = KeyTable().with_keys(
    followed="true_token_id false_token_id", refused={"module_input_name": ("causal_logits",)}
)

T, M, S = "tokenizer_config.json", "special_tokens_map.json", "sentence_bert_config.json"
C, A, N = "config_sentence_transformers.json", "artifact.metadata", "onnx_config.json"
ONNX_FAMILY, PYLATE_FAMILY, STANFORD_FAMILY, MULTI_VECTOR_FAMILY, COLBERT_ONNX_FAMILY, PLAIN_FAMILY = FAMILIES
FILLED_MAP = SPECIAL_TOKENS.with_keys(followed=FILLER)

BY_FAMILY = MappingProxyType(
    {
        ONNX_FAMILY: {N: ONNX},
        PYLATE_FAMILY: {T: FILLED_TOKENIZER, M: FILLED_MAP, S: PYLATE_TRANSFORMER, C: PYLATE},
        STANFORD_FAMILY: {T: FILLED_TOKENIZER, M: FILLED_MAP, A: STANFORD},
        COLBERT_ONNX_FAMILY: {T: FILLED_TOKENIZER, M: FILLED_MAP, A: STANFORD_ONNX},
        MULTI_VECTOR_FAMILY: {
            T: FILLED_TOKENIZER.with_keys(followed=LENGTH),
            M: FILLED_MAP,
            S: MULTI_VECTOR_TRANSFORMER,
            C: MULTI_VECTOR,
        },
        PLAIN_FAMILY: {T: TOKENIZER.with_keys(followed=LENGTH), M: SPECIAL_TOKENS, S: PLAIN_TRANSFORMER, C: PLAIN},
        CROSS_ENCODER: {
            T: TOKENIZER.with_keys(followed=f"{LENGTH} model_input_names"),
            M: SPECIAL_TOKENS,
            S: CROSS_ENCODER_TRANSFORMER,
            C: CROSS_ENCODER_SENTENCE,
        },
        MODULAR: {
            T: TOKENIZER.with_keys(followed=f"{LENGTH} model_input_names"),
            M: SPECIAL_TOKENS,
            S: CROSS_ENCODER_TRANSFORMER,
            C: MODULAR_SENTENCE,
        },
        CAUSAL: {
            T: TOKENIZER.with_keys(followed=f"{LENGTH} chat_template"),
            M: SPECIAL_TOKENS,
            S: CAUSAL_TRANSFORMER,
            C: CAUSAL_SENTENCE,
        },
    }
)
MODULES_BY_FAMILY = MappingProxyType(
    {
        PYLATE_FAMILY: {"Dense": DENSE},
        MULTI_VECTOR_FAMILY: {
            "Dense": TOKEN_DENSE,
            "Normalize": TOKEN_NORMALIZE,
            "MultiVectorMask": MASK,
            "HierarchicalTokenPooling": TOKEN_POOLING,
        },
        PLAIN_FAMILY: {"Pooling": POOLING, "Normalize": NORMALIZE},
        MODULAR: {"Pooling": HEAD_POOLING, "Dense": HEAD_DENSE, "LayerNorm": LAYER_NORM},
        CAUSAL: {"LogitScore": LOGIT_SCORE},
    }
)
