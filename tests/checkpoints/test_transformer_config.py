import json

import family_folders
import numpy as np
import pytest

from rank_rerank.checkpoints.encoder_folder import onnx_length
from rank_rerank.checkpoints.gated_layers import GatedConfig
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError


def read(folder, **values):
    (folder / "config.json").write_text(json.dumps(values))
    return read_transformer_config(folder)


def test_bert_in_the_words_of_its_file(tmp_path):
    config = read(
        tmp_path,
        model_type="bert",
        vocab_size=99,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=100,
        max_position_embeddings=77,
        type_vocab_size=2,
        layer_norm_eps=1e-6,
        hidden_act="gelu_new",
        pad_token_id=0,
    )
    assert (config.vocab_size, config.hidden_size, config.num_layers, config.num_heads) == (99, 64, 3, 4)
    assert (config.intermediate_size, config.max_positions, config.type_vocab_size) == (100, 77, 2)
    assert (config.layer_norm_eps, config.activation, config.position_offset, config.head_size) == (
        1e-6,
        "gelu_new",
        0,
        16,
    )
    assert config.rotary is None


def test_roberta_keeps_rows_of_its_position_table_that_no_token_uses(tmp_path):
    config = read(tmp_path, model_type="xlm-roberta", max_position_embeddings=514, pad_token_id=1, vocab_size=250002)
    assert (config.position_offset, config.max_positions) == (2, 512)
    assert config.is_roberta


def test_distilbert_has_names_of_its_own(tmp_path):
    config = read(tmp_path, model_type="distilbert", dim=48, n_layers=2, n_heads=3, hidden_dim=96, activation="relu")
    assert (config.hidden_size, config.num_layers, config.num_heads, config.intermediate_size) == (48, 2, 3, 96)
    assert (config.activation, config.type_vocab_size, config.layer_norm_eps) == ("relu", 0, 1e-12)


def test_electra_projects_its_embeddings(tmp_path):
    config = read(tmp_path, model_type="electra")
    assert (config.embedding_size, config.hidden_size) == (128, 256)


OLD = {"global_attn_every_n_layers": 2, "global_rope_theta": 80000.0, "local_rope_theta": 5000, "local_attention": 32}
NEW = {
    "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 80000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
    },
    "local_attention": 32,
}


@pytest.mark.parametrize("spelling", [OLD, NEW], ids=["transformers 4", "transformers 5"])
def test_modernbert_in_both_spellings(tmp_path, spelling):
    rotary = read(tmp_path, model_type="modernbert", num_hidden_layers=4, mlp_bias=True, **spelling).rotary
    assert rotary.is_global == (True, False, True, False)
    assert (rotary.window, rotary.global_theta, rotary.local_theta) == (16, 80000.0, 5000.0)
    assert (rotary.norm_bias, rotary.attention_bias, rotary.mlp_bias) == (False, False, True)


def test_modernbert_defaults(tmp_path):
    config = read(tmp_path, model_type="modernbert")
    assert sum(config.rotary.is_global) == 8
    assert (config.rotary.window, config.rotary.global_theta, config.rotary.local_theta) == (64, 160_000.0, 10_000.0)
    assert (config.vocab_size, config.pad_token_id, config.max_positions) == (50368, 50283, 8192)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "is not supported"),
        ({"model_type": "t5"}, '"t5" is not supported'),
        ({"model_type": "x" * 10_000}, "is not supported"),
        ({"model_type": "bert", "auto_map": {"AutoModel": "code.Model"}}, "never runs"),
        ({"model_type": "bert", "hidden_act": "mystery"}, '"hidden_act" must be one of'),
        ({"model_type": "bert", "hidden_size": -1}, "hidden_size must be from 1"),
        ({"model_type": "bert", "hidden_size": 10**12}, "hidden_size must be from 1"),
        ({"model_type": "bert", "hidden_size": 64.0}, '"hidden_size" must be of type int'),
        ({"model_type": "bert", "hidden_size": 65}, "multiple of the number of heads"),
        ({"model_type": "bert", "num_hidden_layers": 10**9}, "num_layers must be from 1"),
        ({"model_type": "modernbert", "num_hidden_layers": 10**9}, "num_layers must be from 1"),
        ({"model_type": "bert", "layer_norm_eps": float("nan")}, '"layer_norm_eps" must be of type float'),
        ({"model_type": "bert", "layer_norm_eps": 10**400}, '"layer_norm_eps" must be of type float'),
        ({"model_type": "bert", "layer_norm_eps": 0}, "epsilon"),
        ({"model_type": "bert", "position_embedding_type": "relative_key"}, "absolute"),
        ({"model_type": "bert", "is_decoder": True}, "is_decoder"),
        ({"model_type": "bert", "pad_token_id": 10**7}, "outside the vocabulary"),
        ({"model_type": "roberta", "max_position_embeddings": 2}, "max_positions must be from 1"),
        ({"model_type": "modernbert", "layer_types": ["full_attention"]}, "each of the 22 layers"),
        ({"model_type": "modernbert", "global_attn_every_n_layers": 0}, "at least 1"),
        ({"model_type": "modernbert", "global_rope_theta": 0}, "above 1"),
        ({"model_type": "modernbert", "local_rope_theta": 1e300}, "at most"),
        ({"model_type": "bert", "layer_norm_eps": 1e-300}, "epsilon"),
        ({"model_type": "modernbert", "rope_scaling": {"type": "yarn"}}, "rope_scaling"),
        ({"model_type": "modernbert", "rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope_type"),
        ({"model_type": "modernbert", "rope_parameters": [1]}, "object or null"),
        ({"model_type": "modernbert", "local_attention": 0}, "window"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_be_computed_is_refused(tmp_path, values, message):
    with pytest.raises(CheckpointFormatError, match=message) as caught:
        read(tmp_path, **values)
    assert len(str(caught.value)) < 400


MGTE = {"model_type": "new", "rope_theta": 20_000, "rope_scaling": {"type": "ntk", "factor": 8.0}}
CODE = {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel", "AutoConfig": "configuration.NewConfig"}


def test_mgte_and_the_code_that_its_folders_name(tmp_path):
    config = read(tmp_path, **MGTE, auto_map=CODE)
    assert (config.gated.theta, config.gated.factor, config.gated.mixed, config.gated.is_packed) == (
        20_000,
        8,
        None,
        True,
    )
    assert (config.type_vocab_size, config.max_positions, config.has_positions) == (1, 2048, False)
    assert config.is_rotated
    assert config.rotary is None


@pytest.mark.parametrize(
    "values",
    [
        {"auto_map": {**CODE, "AutoModelForCausalLM": "modeling.NewForCausalLM"}},
        {"auto_map": {"AutoModel": ["modeling.NewModel"]}},
        {"model_type": "bert", "auto_map": CODE},
        {"rope_scaling": {"type": "linear", "factor": 8.0}},
        {"rope_scaling": {"type": "ntk", "rope_type": "yarn", "factor": 8.0}},
        {"rope_scaling": {"type": "ntk", "factor": 0}},
        {"rope_scaling": {"type": "ntk", "factor": 8.0, "mixed_b": -1.0}},
        {"rope_theta": 1},
        {"rope_theta": 1e300},
        {"layer_norm_type": "rms_norm"},
        {"position_embedding_type": "absolute"},
        {"is_decoder": True},
        {"hidden_size": 36, "num_attention_heads": 12},
    ],
)
def test_what_mgte_is_not_computed_with(tmp_path, values):
    with pytest.raises(CheckpointFormatError, match=r"config\.json"):
        read(tmp_path, **{**MGTE, **values})


def test_frequencies_of_stretched_angles():
    even, plain = GatedConfig(10_000.0, 8.0).frequencies(64), GatedConfig(10_000.0).frequencies(64)
    assert even.dtype == np.float32
    # the slowest is stretched by the factor; the fastest by as little as makes that so
    assert plain[0] / even[0] == pytest.approx(8 ** (2 / 64))
    assert plain[-1] / even[-1] == pytest.approx(8.0, rel=1e-5)
    mixed = GatedConfig(10_000.0, 8.0, 0.75).frequencies(64)
    assert plain[-1] / mixed[-1] == pytest.approx(8.0, rel=1e-5)
    assert np.array_equal(GatedConfig(10_000.0, 0.5).frequencies(64), plain)


@pytest.mark.parametrize("family", ["XLM-RoBERTa", "MPNet", "DeBERTa", "cross-encoder"])
@pytest.mark.parametrize("changes", [{}, {"pad_token_id": 0}, {"pad_token_id": 5}, {"max_position_embeddings": None}])
def test_an_onnx_file_reads_no_more_tokens_than_the_weights_have_positions(tmp_path, family, changes):
    """An exported file, whose graph states no limit, would read beyond the table of positions or fail there."""
    folder = family_folders.WRITERS[family](tmp_path / "model")
    (folder / "tokenizer_config.json").unlink()
    stated = json.loads((folder / "config.json").read_text()) | changes
    family_folders.write_json(
        folder / "config.json", {key: value for key, value in stated.items() if value is not None}
    )
    limit = onnx_length(folder, JsonSettings.read(folder, "config.json"))
    assert limit == read_transformer_config(folder).max_positions
