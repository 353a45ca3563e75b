"""Every key of config.json that transformers reads for the architectures computed here, and what is done with it.

Gathered from the configuration and modelling files of transformers 4.40 to 5.24. A test walks these tables.
"""

from rank_rerank.checkpoints.key_table import KeyTable

# of PreTrainedConfig: names, training, text generation, and what a runtime does with its outputs
COMMON = KeyTable().with_keys(
    followed="model_type architectures",
    without_effect="""
        _name_or_path name_or_path _commit_hash transformers_version model_name tokenizer_class prefix revision
        torch_dtype dtype use_bfloat16 attn_implementation _attn_implementation _attn_implementation_autoset
        _attn_implementation_internal torchscript tf_legacy_loss use_cache output_attentions output_hidden_states
        return_dict return_dict_in_generate output_scores output_past chunk_size_feed_forward gradient_checkpointing
        initializer_range initializer_factor finetuning_task task_specific_params problem_type label2id id2label
        num_labels tie_word_embeddings tie_encoder_decoder bos_token_id eos_token_id sep_token_id cls_token_id
        decoder_start_token_id cross_attention_hidden_size transformers.js_config
        max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k
        top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size
        bad_words_ids num_return_sequences forced_bos_token_id forced_eos_token_id remove_invalid_values
        exponential_decay_length_penalty suppress_tokens begin_suppress_tokens
    """,
    refused={"pruned_heads": ({},), "is_encoder_decoder": (False,), "quantization_config": ()},
    refused_by_reader="auto_map",
)
SIZES = "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings"

BERT = COMMON.with_keys(
    followed=f"{SIZES} hidden_act layer_norm_eps type_vocab_size pad_token_id",
    without_effect="""
        hidden_dropout_prob attention_probs_dropout_prob classifier_dropout directionality pooler_fc_size
        pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type layer_norm_type
        summary_type summary_use_proj summary_activation summary_last_dropout summary_first_dropout
        summary_proj_to_labels
    """,
    refused_by_reader="position_embedding_type is_decoder add_cross_attention",
)
# rows of padding are the same number in all of them, which only RoBERTa's positions depend on
ELECTRA = BERT.with_keys(followed="embedding_size")

DISTILBERT = COMMON.with_keys(
    followed="""
        vocab_size dim n_layers n_heads hidden_dim activation max_position_embeddings pad_token_id
        hidden_size num_hidden_layers num_attention_heads
    """,
    without_effect="dropout attention_dropout qa_dropout seq_classif_dropout sinusoidal_pos_embds tie_weights_",
)

# the pooler of classifiers counts there only
_WITHOUT_POOLER = """
    hidden_dropout_prob attention_probs_dropout_prob pooler_dropout cls_dropout legacy
    pooler_hidden_act
"""
MPNET = COMMON.with_keys(
    followed=f"{SIZES} hidden_act layer_norm_eps relative_attention_num_buckets",
    # an encoder of this architecture has one type of tokens, and padding of the position 1
    without_effect="hidden_dropout_prob attention_probs_dropout_prob pad_token_id type_vocab_size",
)
DEBERTA = COMMON.with_keys(
    followed=f"""
        {SIZES} hidden_act layer_norm_eps type_vocab_size pad_token_id position_biased_input
        max_relative_positions position_buckets norm_rel_ebd share_att_key conv_kernel_size conv_act conv_groups
    """,
    without_effect=_WITHOUT_POOLER,
    refused={"z_steps": (0,)},
    refused_by_reader="""
        relative_attention pos_att_type embedding_size pooler_hidden_size attention_head_size
    """,
)

NEW = COMMON.with_keys(
    followed=f"""
        {SIZES} hidden_act layer_norm_eps type_vocab_size pad_token_id rope_theta pack_qkv
        rope_scaling.factor rope_scaling.mixed_b
    """,
    # how attention is computed, not what; and keys of BERT that a conversion may leave
    without_effect="""
        hidden_dropout_prob attention_probs_dropout_prob classifier_dropout unpad_inputs
        use_memory_efficient_attention
    """,
    refused={"logn_attention_scale": (False,), "logn_attention_clip1": (False,), "rope_parameters": ()},
    refused_by_reader="""
        position_embedding_type layer_norm_type is_decoder add_cross_attention rope_scaling.type rope_scaling.rope_type
    """,
)

MODERNBERT = COMMON.with_keys(
    followed=f"""
        {SIZES} hidden_activation norm_eps norm_bias attention_bias mlp_bias local_attention sliding_window
        global_attn_every_n_layers layer_types global_rope_theta local_rope_theta pad_token_id
        rope_parameters.full_attention.rope_theta rope_parameters.sliding_attention.rope_theta
    """,
    # transformers writes some of BERT's keys for ModernBERT too, and reads none of them
    without_effect="""
        embedding_dropout attention_dropout mlp_dropout classifier_dropout classifier_pooling classifier_bias
        classifier_activation decoder_bias deterministic_flash_attn sparse_prediction sparse_pred_ignore_index
        reference_compile repad_logits_with_grad initializer_cutoff_factor position_embedding_type layer_norm_eps
        rope_parameters.full_attention.partial_rotary_factor rope_parameters.sliding_attention.partial_rotary_factor
    """,
    refused_by_reader="""
        rope_scaling rope_parameters.full_attention.rope_type rope_parameters.sliding_attention.rope_type
    """,
)

DECODER = COMMON.with_keys(
    followed=f"""
        {SIZES} num_key_value_heads head_dim rms_norm_eps rope_theta tie_word_embeddings attention_bias mlp_bias
        rope_parameters.rope_theta rope_scaling.rope_theta
    """,
    # a window is used only where use_sliding_window says so; pretraining_tp splits a sum and changes no formula
    without_effect="""
        attention_dropout sliding_window max_window_layers pretraining_tp pad_token_id
        rope_parameters.partial_rotary_factor
    """,
    refused={"partial_rotary_factor": (1.0, 1), "use_mrope": (False,)},
    refused_by_reader="""
        hidden_act use_sliding_window layer_types rope_parameters.rope_type rope_parameters.type
        rope_scaling.rope_type rope_scaling.type
    """,
)

BY_MODEL_TYPE = {
    "bert": BERT,
    "electra": ELECTRA,
    "roberta": BERT,
    "xlm-roberta": BERT,
    "camembert": BERT,
    "distilbert": DISTILBERT,
    "modernbert": MODERNBERT,
    "mpnet": MPNET,
    "deberta-v2": DEBERTA,
    "new": NEW,
    "qwen3": DECODER.with_keys(without_effect="mlp_bias"),
    # these have biases where they have them, whatever the file says
    "qwen2": DECODER.with_keys(without_effect="mlp_bias attention_bias"),
    "llama": DECODER,
}
# of a cross-encoder; the labels count in a ...ForSequenceClassification only
CROSS_ENCODER_ACTIVATION = "sentence_transformers.activation_fn sbert_ce_default_activation_function"
CROSS_ENCODER_LABELS = "num_labels id2label"
CROSS_ENCODER_WITHOUT_EFFECT = "sentence_transformers.version"
HEADS = {
    "modernbert": "classifier_pooling classifier_bias classifier_activation",
    "deberta-v2": "pooler_hidden_act",
}
