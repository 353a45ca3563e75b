"""The tables of known keys are true: each key is followed, refused, reported, or changes nothing, in every family."""

import json
import shutil

import family_folders
import pytest

from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.key_check import key_tables
from rank_rerank.checkpoints.key_table import KeyTable, check_keys
from rank_rerank.errors import CheckpointFormatError

ACTIVATIONS = ("torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid")
# a value of each followed key that changes what is read; it may also make the folder one that cannot be read
FOLLOWED = {
    "model_type": ("electra", "bert", "CrossEncoder", "MultiVectorEncoder"),
    "architectures": (["BertForSequenceClassification"], ["BertModel"]),
    "hidden_act": "relu",
    "activation": "relu",
    "hidden_activation": "relu",
    "vocab_size": 30600,
    "hidden_size": 64,
    "dim": 32,
    "hidden_dim": 32,
    "num_hidden_layers": 4,
    "n_layers": 3,
    "num_attention_heads": (4, 8),
    "n_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "intermediate_size": 32,
    "max_position_embeddings": 50,
    "layer_norm_eps": 1e-5,
    "norm_eps": 1e-4,
    "rms_norm_eps": 1e-5,
    "type_vocab_size": 3,
    "conv_kernel_size": 3,
    "conv_act": "relu",
    "conv_groups": 2,
    "pad_token_id": 5,
    "embedding_size": 8,
    "relative_attention_num_buckets": 16,
    "max_relative_positions": 32,
    "position_buckets": 32,
    "position_biased_input": False,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pooler_hidden_act": "relu",
    "norm_bias": True,
    "attention_bias": True,
    "mlp_bias": True,
    "local_attention": 64,
    "sliding_window": 16,
    "global_attn_every_n_layers": 1,
    "layer_types": ["sliding_attention", "sliding_attention"],
    "global_rope_theta": 5000.0,
    "local_rope_theta": 5000.0,
    "rope_theta": 5000.0,
    "rope_parameters.rope_theta": 5000.0,
    "rope_scaling.rope_theta": 5000.0,
    "rope_scaling.factor": 2.0,
    "rope_scaling.mixed_b": 0.5,
    "pack_qkv": False,
    "rope_parameters.full_attention.rope_theta": 5000.0,
    "rope_parameters.sliding_attention.rope_theta": 5000.0,
    "tie_word_embeddings": False,
    "num_labels": 2,
    "id2label": {"0": "a", "1": "b"},
    "sentence_transformers.activation_fn": ACTIVATIONS,
    "sbert_ce_default_activation_function": ACTIVATIONS,
    "activation_fn": ACTIVATIONS,
    "classifier_pooling": "mean",
    "classifier_bias": True,
    "classifier_activation": "relu",
    "mask_token": "[unused5]",
    "eos_token": "[unused5]",
    "pad_token": "[unused5]",
    "model_max_length": 20,
    "max_len": 20,
    "model_input_names": ["input_ids", "attention_mask"],
    "chat_template": "another",
    "do_lower_case": True,
    "max_seq_length": 20,
    "query_length": 11,
    "document_length": 33,
    "query_expansion.attend": True,
    "query_expansion.token": "[unused5]",
    "query_expansion.length": 9,
    "query_expansion.strategy": "min",
    "query_prefix": "[unused5]",
    "document_prefix": "[unused5]",
    "do_query_expansion": False,
    "attend_to_expansion_tokens": True,
    "skiplist_words": ["the"],
    "skiplist_tasks": ["query", "document"],
    "prompts": {"query": "other: ", "document": "text: "},
    "default_prompt_name": "document",
    "similarity_fn_name": "meanmaxsim",
    "similarity": "meanmaxsim",
    "query_token_id": "[unused5]",
    "doc_token_id": "[unused5]",
    "query_maxlen": 11,
    "doc_maxlen": 33,
    "attend_to_mask_tokens": True,
    "mask_punctuation": False,
    "embedding_dim": 16,
    "mask_token_id": 5,
    "query_prefix_id": 5,
    "document_prefix_id": 5,
    "expansion_length": 9,
    "query_prompt": "find: ",
    "document_prompt": "text: ",
    "strip_text": False,
    "skiplist_of_encoded_words": True,
    "skiplist_queries": True,
    "normalize": True,
    "document_pooling.factor": 3,
    "document_pooling.protected_tokens": 2,
    "document_pooling.normalize": False,
    "in_features": 17,
    "out_features": 9,
    "bias": (True, False),
    "activation_function": "torch.nn.modules.activation.Tanh",
    "use_residual": True,
    "pool_factor": 3.0,
    "num_protected_tokens": 2,
    "normalize_embeddings": True,
    "pooling_mode": "mean",
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "module_output_name": ("scores", "sentence_embedding"),
    "dimension": 17,
    "true_token_id": 3,
    "false_token_id": 3,
}
# what else must be said for a key to be looked at
BESIDE = {
    "query_length": {"query_expansion": None},
    "prompts": {"default_prompt_name": "query"},
    "default_prompt_name": {"prompts": {"document": "text: "}},
    "document_pooling.protected_tokens": {"document_pooling": {"factor": 2}},
    "document_pooling.normalize": {"document_pooling": {"factor": 2}},
    "eos_token": {"mask_token": None},
    "pad_token": {"mask_token": None},
    "max_len": {"model_max_length": None},
    "skiplist_tasks": {"skiplist_words": ["the"]},
    "conv_act": {"conv_kernel_size": 3},
    "conv_groups": {"conv_kernel_size": 3},
}
# a value of each key that its family's reader refuses
REFUSED = {
    "auto_map": {"AutoModel": "modeling.Model"},
    "position_embedding_type": "relative_key",
    "layer_norm_type": "rms_norm",
    "is_decoder": True,
    "add_cross_attention": True,
    "rope_scaling": {"type": "linear", "factor": 2.0},
    "rope_parameters.full_attention.rope_type": "yarn",
    "rope_parameters.sliding_attention.rope_type": "yarn",
    "rope_parameters.rope_type": "yarn",
    "rope_parameters.type": "yarn",
    "rope_scaling.rope_type": "yarn",
    "rope_scaling.type": "yarn",
    "hidden_act": "gelu",
    "use_sliding_window": True,
    "layer_types": ["sliding_attention", "full_attention", "full_attention"],
    "do_lower_case": False,
    "strip_accents": False,
    "tokenize_chinese_chars": False,
    "transformer_task": "fill-mask",
    "similarity": "l2",
    "interaction": "flipr",
    "dim": 64,
    "model_type": "CrossEncoder",
    "pooling_mode": "lasttoken",
    "pooling_mode_lasttoken": True,
    "pooling_mode_max_tokens": True,
    "pooling_mode_mean_sqrt_len_tokens": True,
    "pooling_mode_weightedmean_tokens": True,
    "include_prompt": False,
    "module_input_name": "sentence_embedding",
    "keep_only_token_ids": [5],
    "tasks": ["query"],
    "query_expansion": "soft",
    "relative_attention": False,
    "pos_att_type": ["p2p"],
    "embedding_size": 8,
    "pooler_hidden_size": 8,
    "attention_head_size": 4,
}
# keys of parts that the family's architecture or tokenizer in these folders does not have
NOT_THERE = {
    "ModernBERT": {"model_input_names"},
    # these have no types of tokens
    "XLM-RoBERTa": {"model_input_names"},
    "MPNet": {"model_input_names"},
    "DeBERTa": {"model_input_names"},
    "mGTE": {"model_input_names"},
    # its template is in a file of its own, which goes first
    "causal reranker": {"do_lower_case", "strip_accents", "tokenize_chinese_chars", "chat_template"},
    # a model of that name has the family's prompt without a template
    "Llama": {"do_lower_case", "strip_accents", "tokenize_chinese_chars", "chat_template"},
    "converted causal reranker": {"do_lower_case", "strip_accents", "tokenize_chinese_chars", "chat_template"},
    "rounded causal reranker": {"do_lower_case", "strip_accents", "tokenize_chinese_chars", "chat_template"},
}
# of RoBERTa's tokenizers: see test_tokenizer_agreement
ELSEWHERE = {"add_prefix_space"}


def put(values, key, value):
    """Set a key, a dotted one inside its objects."""
    first, _, rest = key.partition(".")
    if rest and key not in values:
        inner = values.get(first)
        values[first] = put(dict(inner) if isinstance(inner, dict) else {}, rest, value)
    else:
        values[key] = value
    return values


class Bench:
    """A folder of a family whose files may be changed and are put back."""

    def __init__(self, family, folder):
        self.folder = folder
        self.base = find_model(folder)
        self.tables = dict(key_tables(self.base))
        self.not_there = NOT_THERE.get(family, set()) | ELSEWHERE

    def read_with(self, file_name, key, value):
        """What is read without a key and with it, each with what must stand beside it."""
        return self.read_all_with(file_name, {key: value}, BESIDE.get(key, {}))

    def read_all_with(self, file_name, wanted, beside):
        path = self.folder / file_name
        kept = path.read_bytes() if path.exists() else None
        values = {**({} if kept is None else json.loads(kept)), **beside}
        try:
            base = self.base
            if beside:
                family_folders.write_json(path, values)
                base = find_model(self.folder)
            for key, value in wanted.items():
                put(values, key, value)
            family_folders.write_json(path, values)
            return base, find_model(self.folder)
        finally:
            path.unlink() if kept is None else path.write_bytes(kept)

    def keys(self, column):
        for file_name, table in self.tables.items():
            for key in sorted(getattr(table, column)):
                yield file_name, key

    def changes(self, file_name, key, value):
        try:
            base, changed = self.read_with(file_name, key, value)
        except CheckpointFormatError:
            return True
        return changed != base


@pytest.fixture(scope="module", params=family_folders.WRITERS)
def bench(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("keys")
    yield Bench(request.param, family_folders.WRITERS[request.param](root / request.param.replace(" ", "-")))
    shutil.rmtree(root)


def test_followed_keys_change_what_is_read(bench):
    for file_name, key in bench.keys("followed"):
        value = FOLLOWED[key]
        values = value if isinstance(value, tuple) else (value,)
        if key not in bench.not_there:
            assert any(bench.changes(file_name, key, each) for each in values), (file_name, key)


def test_refused_keys_are_refused_by_name(bench):
    for file_name, key in bench.keys("refused"):
        with pytest.raises(CheckpointFormatError, match=key.rpartition(".")[2]):
            bench.read_with(file_name, key, "something else")
        for allowed in bench.tables[file_name].refused[key]:
            base, changed = bench.read_with(file_name, key, allowed)
            assert changed == base, (file_name, key)


def test_what_readers_refuse_is_refused(bench):
    for file_name, key in bench.keys("refused_by_reader"):
        if key in bench.not_there:
            continue
        try:
            bench.read_with(file_name, key, REFUSED[key])
        except CheckpointFormatError:
            continue
        pytest.fail(f"{file_name}: {key} was not refused")


def test_keys_without_effect_change_nothing(bench, caplog):
    for file_name, table in bench.tables.items():
        # all at once; whoever sees this fail sets them one by one
        base, changed = bench.read_all_with(file_name, dict.fromkeys(table.without_effect, 7), {})
        assert changed == base, file_name
    assert "is not followed" not in caplog.text


def test_reported_and_unknown_keys_are_reported_once(bench, caplog):
    reported = [*bench.keys("reported"), *((file_name, "unheard_of") for file_name in bench.tables)]
    for file_name, key in reported:
        caplog.clear()
        base, changed = bench.read_with(file_name, key, {"some": "thing"})
        assert changed == base
        said = [record.getMessage() for record in caplog.records if "is not followed" in record.getMessage()]
        assert len(said) == 1, (file_name, key)
        assert f"'{key}" in said[0]
        assert file_name in said[0]


def test_a_family_as_it_is_published_has_nothing_to_report(bench, caplog):
    find_model(bench.folder)
    assert "is not followed" not in caplog.text


def test_a_key_stands_in_one_column(bench):
    for table in bench.tables.values():
        columns = [table.followed, table.without_effect, table.refused, table.refused_by_reader, table.reported]
        assert sum(len(column) for column in columns) == len(table.keys)


def test_all_families_have_tables(bench):
    assert {"onnx_config.json", "tokenizer_config.json"} & set(bench.tables)


def test_with_keys_moves_a_key_from_one_column_to_another():
    table = KeyTable().with_keys(followed="a b", refused={"c": (1,)}, reported={"d": ()})
    moved = table.with_keys(without_effect="a c d")
    assert (moved.followed, moved.without_effect) == ({"b"}, {"a", "c", "d"})
    assert not moved.refused
    assert not moved.reported


def test_many_unknown_keys_are_one_line(tmp_path, caplog):
    folder = family_folders.write_onnx(tmp_path)
    config = json.loads((folder / "onnx_config.json").read_text())
    family_folders.write_json(folder / "onnx_config.json", config | {f"key{number}": 1 for number in range(50)})
    find_model(folder)
    assert caplog.text.count("is not followed") == 1
    assert "and 38 more" in caplog.text


def test_null_is_a_missing_key(tmp_path):
    from rank_rerank.checkpoints.json_files import JsonSettings

    settings = JsonSettings(tmp_path, {"a": None, "b": {"c": None}})
    table = KeyTable().with_keys(refused={"a": (), "b.c": ()})
    assert check_keys(settings, table) == []
