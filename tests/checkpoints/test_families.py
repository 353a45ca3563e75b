import json
import string

import model_folders as folders
import numpy as np
import pytest

from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.find import find_checkpoint, find_model
from rank_rerank.errors import CheckpointFormatError, InvalidArgumentError
from rank_rerank.tokenization.tokenizer import Tokenizer

CLS, SEP, MASK = 101, 102, 103


def change_json(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def query_ids(checkpoint, text="hello"):
    return Tokenizer(checkpoint.tokenizer_file, checkpoint.settings).tokenize_queries([text]).token_ids.tolist()


def document_ids(checkpoint, text="hello"):
    return Tokenizer(checkpoint.tokenizer_file, checkpoint.settings).tokenize_documents([text]).token_ids.tolist()


def test_pylate(tmp_path):
    checkpoint = find_checkpoint(folders.write_pylate(tmp_path))
    assert (checkpoint.family, checkpoint.dim, checkpoint.precision) == ("PyLate", 8, "fp32")
    assert [path.parent.name for path in checkpoint.weight_files] == [tmp_path.name, "1_Dense"]
    assert query_ids(checkpoint) == [CLS, 1, 7592, SEP] + [MASK] * 8
    assert document_ids(checkpoint) == [CLS, 2, 7592, SEP]
    assert checkpoint.settings.skiplist_words == tuple(string.punctuation)
    assert not checkpoint.settings.attend_to_expansion_tokens


def test_pylate_defaults_for_missing_keys(tmp_path):
    folders.write_pylate(tmp_path)
    folders.write_json(tmp_path / "config.json", {**folders.BERT_CONFIG, "max_position_embeddings": 512})
    folders.write_json(tmp_path / "config_sentence_transformers.json", {"__version__": {}})
    settings = find_checkpoint(tmp_path).settings
    assert (settings.query_prefix, settings.document_prefix) == ("[Q] ", "[D] ")
    assert (settings.query_length, settings.document_length, settings.do_query_expansion) == (32, 180, True)


@pytest.mark.parametrize("attend", [False, True])
def test_attention_to_expansion_is_off_without_expansion(tmp_path, attend):
    folders.write_pylate(tmp_path, do_query_expansion=False, attend_to_expansion_tokens=attend)
    assert not find_checkpoint(tmp_path).settings.attend_to_expansion_tokens
    folders.write_pylate(tmp_path, attend_to_expansion_tokens=attend)
    assert find_checkpoint(tmp_path).settings.attend_to_expansion_tokens == attend


def test_pylate_uses_a_prompt_only_where_it_is_the_default(tmp_path):
    prompts = {"query": "find: "}
    assert find_checkpoint(folders.write_pylate(tmp_path, prompts=prompts)).settings.query_prompt == ""
    checkpoint = find_checkpoint(folders.write_pylate(tmp_path, prompts=prompts, default_prompt_name="query"))
    assert query_ids(checkpoint)[:6] == [CLS, 1, 2424, 1024, 7592, SEP]


def test_lower_casing_is_honoured_and_spans_stay_those_of_the_text(tmp_path):
    folders.write_pylate(tmp_path, skiplist_words=[])
    folders.write_json(tmp_path / "sentence_bert_config.json", {"do_lower_case": True})
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None
    folders.write_json(tmp_path / "tokenizer.json", tokenizer)
    checkpoint = find_checkpoint(tmp_path)
    batch = Tokenizer(checkpoint.tokenizer_file, checkpoint.settings).tokenize_documents(["\u0130 HELLO World"])
    assert batch.token_ids[-3:].tolist() == [7592, 2088, SEP]
    assert batch.character_spans[-3:-1].tolist() == [[2, 7], [8, 13]]


def test_stanford_markers_mask_and_skiplist(tmp_path):
    checkpoint = find_checkpoint(folders.write_stanford(tmp_path))
    assert (checkpoint.family, checkpoint.dim) == ("Stanford ColBERT", 8)
    assert query_ids(checkpoint) == [CLS, 1, 7592, SEP] + [MASK] * 8
    assert document_ids(checkpoint) == [CLS, 2, 7592, SEP]
    scored = Tokenizer(checkpoint.tokenizer_file, checkpoint.settings).tokenize_documents(["a, b."]).scoring_mask
    assert scored.tolist() == [True, True, True, False, True, False, True]
    assert find_checkpoint(folders.write_stanford(tmp_path, mask_punctuation=False)).settings.skiplist_words == ()


def test_stanford_without_metadata_takes_its_class_defaults(tmp_path):
    folders.write_stanford(tmp_path)
    change_json(tmp_path / "config.json", max_position_embeddings=512)
    (tmp_path / "artifact.metadata").unlink()
    settings = find_checkpoint(tmp_path).settings
    assert (settings.query_length, settings.document_length, settings.do_query_expansion) == (32, 220, True)
    assert (settings.query_prefix, settings.document_prefix) == ("[unused0]", "[unused1]")


def test_stanford_settings_may_be_nested(tmp_path):
    folders.write_stanford(tmp_path)
    nested = {"config": {"query_maxlen": 20, "doc_maxlen": 30, "attend_to_mask_tokens": True}}
    folders.write_json(tmp_path / "artifact.metadata", nested)
    settings = find_checkpoint(tmp_path).settings
    assert (settings.query_length, settings.document_length, settings.attend_to_expansion_tokens) == (20, 30, True)


EXPANSIONS = {
    "fixed": ({"strategy": "fixed", "length": 8}, [CLS, 7592, SEP] + [MASK] * 5, 8),
    "min": ({"strategy": "min", "length": 8}, [CLS, 7592, SEP] + [MASK] * 5, 12),
    "own token": ({"strategy": "min", "length": 5, "token": "[PAD]"}, [CLS, 7592, SEP, 0, 0], 12),
    "off": (None, [CLS, 7592, SEP], 12),
}


@pytest.mark.parametrize(("expansion", "short", "longest"), EXPANSIONS.values(), ids=EXPANSIONS.keys())
def test_multi_vector_expansion(tmp_path, expansion, short, longest):
    checkpoint = find_checkpoint(folders.write_multi_vector(tmp_path, {"query_expansion": expansion}))
    assert checkpoint.family == "multi-vector"
    assert query_ids(checkpoint) == short
    assert len(query_ids(checkpoint, "word " * 30)) == longest


def test_multi_vector_prompts_are_markers_where_the_tokenizer_has_them(tmp_path):
    folders.write_multi_vector(tmp_path, prompts={"query": "[unused0]find: ", "passage": "text: "})
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer["added_tokens"].insert(1, {"id": 1, "content": "[unused0]", **flags})
    folders.write_json(tmp_path / "tokenizer.json", tokenizer)
    settings = find_checkpoint(tmp_path).settings
    assert (settings.query_prefix, settings.query_prompt) == ("[unused0]", "find: ")
    assert (settings.document_prefix, settings.document_prompt) == ("", "text: ")
    assert query_ids(find_checkpoint(tmp_path)) == [CLS, 1, 2424, 1024, 7592, SEP]


def test_multi_vector_skiplist_for_queries_too(tmp_path):
    mask = {"skiplist_words": [","], "skiplist_tasks": ["query", "document"]}
    checkpoint = find_checkpoint(folders.write_multi_vector(tmp_path, mask=mask))
    batch = Tokenizer(checkpoint.tokenizer_file, checkpoint.settings).tokenize_queries(["a, b"])
    assert batch.scoring_mask.tolist() == [True, True, False, True, True]


def test_a_prompt_alone_is_no_text(tmp_path):
    folders.write_multi_vector(tmp_path, prompts={"query": "query: ", "document": "passage: "})
    assert document_ids(find_checkpoint(tmp_path), "  ") == []
    assert document_ids(find_checkpoint(tmp_path), "\u200b") == []


def test_a_plain_encoder(tmp_path):
    folders.write_bert(tmp_path)
    checkpoint = find_checkpoint(tmp_path)
    assert (checkpoint.family, checkpoint.dim, checkpoint.dense) == ("plain encoder", folders.HIDDEN, ())
    assert (checkpoint.settings.query_length, checkpoint.settings.document_length) == (64, 64)
    assert document_ids(checkpoint) == [CLS, 7592, SEP]


def test_a_cross_encoder(tmp_path):
    checkpoint = find_model(folders.write_cross_encoder(tmp_path))
    assert isinstance(checkpoint, CrossEncoderCheckpoint)
    assert (checkpoint.activation, checkpoint.max_length) == ("sigmoid", 64)
    with pytest.raises(CheckpointFormatError, match="is a cross-encoder"):
        find_checkpoint(tmp_path)


def test_the_activation_comes_from_the_newest_place(tmp_path):
    identity, sigmoid = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"
    folders.write_cross_encoder(tmp_path, sbert_ce_default_activation_function=identity)
    assert find_model(tmp_path).activation == "identity"
    change_json(tmp_path / "config.json", sentence_transformers={"activation_fn": sigmoid})
    assert find_model(tmp_path).activation == "sigmoid"
    folders.write_json(tmp_path / "config_sentence_transformers.json", {"activation_fn": identity})
    assert find_model(tmp_path).activation == "identity"


def test_next_plaid_prefers_the_source_models_word_on_expansion(tmp_path):
    folders.write_json(tmp_path / "onnx_config.json", {"do_query_expansion": False, "mask_token_id": 50284})
    folders.write_json(tmp_path / "config_sentence_transformers.json", {"do_query_expansion": True})
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"")
    settings = find_checkpoint(tmp_path).settings
    assert settings.do_query_expansion
    assert settings.expansion_token_id == 50284


def test_a_colbert_onnx_takes_its_settings_from_the_metadata(tmp_path):
    folders.write_stanford(tmp_path)
    (tmp_path / "vespa_colbert.onnx").write_bytes(b"")
    assert find_checkpoint(tmp_path).family == "Stanford ColBERT"
    assert find_checkpoint(tmp_path, runtime="onnx").family == "ColBERT ONNX"
    (tmp_path / "model.safetensors").unlink()
    checkpoint = find_checkpoint(tmp_path)
    assert (checkpoint.family, checkpoint.dim, checkpoint.settings.query_length) == ("ColBERT ONNX", 8, 12)
    (tmp_path / "artifact.metadata").unlink()
    with pytest.raises(CheckpointFormatError, match=r"artifact\.metadata"):
        find_checkpoint(tmp_path)


def remove_dense(folder):
    folders.write_modules(folder)


def shrink_dense(folder):
    folders.write_dense(folder, sizes=(HIDDEN_OF_ANOTHER, 8))


def break_activation(folder):
    change_json(folder / "1_Dense" / "config.json", activation_function="evil.module.Activation")


def lose_bias(folder):
    change_json(folder / "1_Dense" / "config.json", bias=True)


def lose_residual(folder):
    change_json(folder / "1_Dense" / "config.json", use_residual=True)


def leave_the_folder(folder):
    folders.write_modules(folder, ("../1_Dense", "pylate.models.Dense.Dense"))


def lengthen(folder):
    change_json(folder / "config_sentence_transformers.json", document_length=8192)


HIDDEN_OF_ANOTHER = 17
BROKEN = {
    "no projection": (remove_dense, "random weights"),
    "another size": (shrink_dense, "takes 17 numbers"),
    "foreign activation": (break_activation, "activation 'evil"),
    "no bias": (lose_bias, r'"linear\.bias" is missing'),
    "no residual": (lose_residual, r'"residual\.weight" is missing'),
    "module outside": (leave_the_folder, "outside its folder"),
    "too long": (lengthen, "64 positions"),
}


@pytest.mark.parametrize(("damage", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_missing_or_odd_is_refused_not_made_up(tmp_path, damage, message):
    damage(folders.write_pylate(tmp_path))
    with pytest.raises(CheckpointFormatError, match=message):
        find_checkpoint(tmp_path)


def test_a_stanford_folder_without_its_projection_is_refused(tmp_path):
    folders.write_stanford(tmp_path)
    folders.write_safetensors(tmp_path / "model.safetensors", folders.bert_tensors("bert."))
    with pytest.raises(CheckpointFormatError, match=r"linear\.weight.* is missing"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize(("key", "value"), [("similarity", "l2"), ("interaction", "flipr")])
def test_other_ways_to_score_are_refused(tmp_path, key, value):
    with pytest.raises(CheckpointFormatError, match=f'only "{key}"'):
        find_checkpoint(folders.write_stanford(tmp_path, **{key: value}))


@pytest.mark.parametrize(
    ("transformer", "mask", "config", "message"),
    [
        ({"query_expansion": {"strategy": "soft", "length": 8}}, {}, {}, "fixed"),
        ({"query_expansion": {"strategy": "fixed"}}, {}, {}, "at least 4"),
        ({"transformer_task": "text-generation"}, {}, {}, "transformer_task"),
        ({}, {"keep_only_token_ids": [5]}, {}, "images"),
        ({}, {"skiplist_words": ["a"], "skiplist_tasks": ["query"]}, {}, "queries alone"),
        ({}, {}, {"similarity_fn_name": "cosine"}, "similarity_fn_name"),
    ],
)
def test_multi_vector_options_that_are_not_supported(tmp_path, transformer, mask, config, message):
    with pytest.raises(CheckpointFormatError, match=message):
        find_checkpoint(folders.write_multi_vector(tmp_path, transformer, mask, **config))


def test_multi_vector_modules_in_another_order_are_refused(tmp_path):
    folders.write_multi_vector(tmp_path)
    folders.write_modules(tmp_path, ("3_Normalize", "x.Normalize"), ("1_Dense", "x.Dense"))
    with pytest.raises(CheckpointFormatError, match="in this order"):
        find_checkpoint(tmp_path)


def test_decoders_are_recognised_and_refused_with_the_reason(tmp_path):
    folders.write_bert(tmp_path, config={"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"})
    with pytest.raises(CheckpointFormatError, match="nothing says that it is a reranker"):
        find_model(tmp_path)
    folders.write_modules(tmp_path, ("1_Pooling", "sentence_transformers.models.Pooling"))
    folders.write_json(tmp_path / "1_Pooling" / "config.json", {"pooling_mode_lasttoken": True})
    with pytest.raises(CheckpointFormatError, match="last token"):
        find_model(tmp_path)


@pytest.mark.parametrize("labels", [{"0": "a", "1": "b"}, {"0": "a", "1": "b", "2": "c"}])
def test_a_classifier_of_several_labels_is_no_reranker(tmp_path, labels):
    with pytest.raises(CheckpointFormatError, match="one number for a pair"):
        find_model(folders.write_cross_encoder(tmp_path, id2label=labels))


def test_what_was_asked_for_and_is_not_there(tmp_path):
    folders.write_pylate(tmp_path)
    with pytest.raises(CheckpointFormatError, match="export MODEL OUTPUT --int8"):
        find_checkpoint(tmp_path, precision="int8", runtime="torch")
    with pytest.raises(CheckpointFormatError, match="no ONNX file"):
        find_checkpoint(tmp_path, runtime="onnx")
    with pytest.raises(InvalidArgumentError, match="runtime must be one of"):
        find_checkpoint(tmp_path, runtime="tensorflow")
    with pytest.raises(CheckpointFormatError, match="no bf16"):
        find_checkpoint(precision="bf16")


def test_the_identity_covers_the_projections_weights(tmp_path):
    from rank_rerank.storage.model_identity import ModelIdentity

    for name in ("first", "same", "other"):
        folders.write_pylate(tmp_path / name)
    folders.write_safetensors(tmp_path / "other" / "1_Dense" / "model.safetensors", {"linear.weight": np.ones((8, 16))})
    first, same, other = (
        ModelIdentity.of(find_checkpoint(tmp_path / name)).weights_sha256 for name in ("first", "same", "other")
    )
    assert first == same != other
