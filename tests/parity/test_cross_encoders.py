"""Scores against sentence-transformers' CrossEncoder, from folders that it has saved."""

import json

import numpy as np
import pytest
from parity_models import TEXTS, make_encoder, make_tokenizer

import rank_rerank
from rank_rerank import CrossEncoder
from rank_rerank.errors import CheckpointFormatError

pytestmark = pytest.mark.filterwarnings("ignore")
KINDS = ["bert", "distilbert", "electra", "modernbert", "xlm-roberta", "mpnet", "deberta-v2"]
QUERY = "What is the capital, of France?"


def build(kind, target, num_labels=1, **options):
    tokenizer = make_tokenizer(kind)
    tokenizer.save_pretrained(target)
    make_encoder(kind, len(tokenizer), "ForSequenceClassification", num_labels=num_labels, **options).save_pretrained(
        target
    )
    return target


def saved(folder, target, **options):
    from sentence_transformers import CrossEncoder as Theirs

    Theirs(str(folder), device="cpu", **options).save_pretrained(str(target))
    return Theirs(str(target), device="cpu")


def assert_same(folder, theirs):
    ours = CrossEncoder.from_pretrained(folder, device="cpu", precision="fp32")
    expected = theirs.predict([(QUERY, text) for text in TEXTS], batch_size=3)
    found = ours.score(QUERY, TEXTS)
    assert found.scores == pytest.approx(np.asarray(expected), abs=1e-4)
    return ours, found


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture(tmp_path, kind):
    theirs = saved(build(kind, tmp_path / "base"), tmp_path / "model")
    ours, found = assert_same(tmp_path / "model", theirs)
    assert ours.checkpoint.activation == "sigmoid"
    assert np.array_equal(found.scores, found.relevance)
    assert np.ptp(found.scores) > 1e-3


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modernbert_pools_as_it_says(tmp_path, pooling):
    options = {"classifier_pooling": pooling, "classifier_bias": True, "norm_bias": True, "mlp_bias": True}
    theirs = saved(build("modernbert", tmp_path / "base", **options), tmp_path / "model")
    assert_same(tmp_path / "model", theirs)


@pytest.mark.parametrize(
    "options",
    [
        {"share_att_key": False},
        {"pos_att_type": ["c2p"], "share_att_key": False, "norm_rel_ebd": "none"},
        {"pos_att_type": "p2c", "position_buckets": -1, "max_relative_positions": -1},
        {"position_biased_input": True, "type_vocab_size": 2, "pooler_hidden_act": "tanh"},
        {"conv_kernel_size": 3},
        {"conv_kernel_size": 5, "conv_act": "gelu", "conv_groups": 4},
    ],
)
def test_attention_of_deberta_as_its_settings_say(tmp_path, options):
    theirs = saved(build("deberta-v2", tmp_path / "base", **options), tmp_path / "model")
    assert_same(tmp_path / "model", theirs)


def modular(base, kind, target, pooling, *, short, **options):
    """A folder of modules as sentence-transformers saves it, and its model."""
    import torch
    from sentence_transformers import CrossEncoder as Theirs
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

    torch.manual_seed(0)
    tokenizer = make_tokenizer(kind)
    tokenizer.save_pretrained(base)
    make_encoder(kind, len(tokenizer)).save_pretrained(base)
    transformer = Transformer(str(base))
    size = transformer.get_embedding_dimension()
    scores = Dense(size, 1, activation_function=torch.nn.Identity(), module_output_name="scores")
    chain = [Dense(size, size, bias=False, activation_function=torch.nn.GELU()), LayerNorm(size)]
    residual = [Dense(size, size, activation_function=torch.nn.Tanh(), use_residual=True)]
    modules = [transformer, Pooling(size, pooling), *([] if short else [*chain, *residual]), scores]
    Theirs(modules=modules, device="cpu", **options).save_pretrained(str(target))
    return Theirs(str(target), device="cpu")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_models_in_modules(tmp_path, kind, pooling):
    theirs = modular(tmp_path / "base", kind, tmp_path / "model", pooling, short=False)
    ours, found = assert_same(tmp_path / "model", theirs)
    assert ours.checkpoint.family == "modular cross-encoder"
    assert ours.checkpoint.activation == "sigmoid"
    assert np.ptp(found.scores) > 1e-3


def test_models_in_modules_with_a_prompt_and_raw_scores(tmp_path):
    import torch

    options = {
        "prompts": {"query": "find this: "},
        "default_prompt_name": "query",
        "activation_fn": torch.nn.Identity(),
    }
    theirs = modular(tmp_path / "base", "bert", tmp_path / "model", "mean", short=True, **options)
    ours, _ = assert_same(tmp_path / "model", theirs)
    assert ours.checkpoint.activation == "identity"
    assert ours.checkpoint.query_prompt == "find this: "


def test_raw_logits(tmp_path):
    import torch

    theirs = saved(build("bert", tmp_path / "base"), tmp_path / "model", activation_fn=torch.nn.Identity())
    ours, found = assert_same(tmp_path / "model", theirs)
    assert ours.checkpoint.activation == "identity"
    assert found.relevance == pytest.approx(1 / (1 + np.exp(-found.scores)), abs=1e-6)


@pytest.mark.parametrize(
    "keys",
    [
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.0"}},
    ],
)
def test_activations_of_older_saves(tmp_path, keys):
    from sentence_transformers import CrossEncoder as Theirs

    folder = build("bert", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **keys}))
    ours, _ = assert_same(folder, Theirs(str(folder), device="cpu"))
    assert ours.checkpoint.activation == "identity"


def test_a_tokenizer_that_gives_no_token_types(tmp_path):
    folder = build("bert", tmp_path / "base")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["model_input_names"] = ["input_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert_same(tmp_path / "model", saved(folder, tmp_path / "model"))


def test_only_the_document_is_cut(tmp_path):
    from sentence_transformers import CrossEncoder as Theirs

    folder = build("bert", tmp_path / "model")
    theirs = Theirs(str(folder), device="cpu", max_length=64)
    theirs.save_pretrained(str(tmp_path / "saved"))
    ours, found = assert_same(tmp_path / "saved", Theirs(str(tmp_path / "saved"), device="cpu"))
    assert ours.checkpoint.max_length == 64
    assert found.truncated.tolist() == [False] * (len(TEXTS) - 1) + [True]
    assert not found.query_truncated


def test_through_load_and_rerank(tmp_path):
    theirs = saved(build("bert", tmp_path / "base"), tmp_path / "model")
    ranking = rank_rerank.load(tmp_path / "model", device="cpu").rerank(QUERY, TEXTS, top_k=3)
    expected = theirs.rank(QUERY, TEXTS, top_k=3)
    assert [hit.index for hit in ranking] == [hit["corpus_id"] for hit in expected]
    assert [hit.score for hit in ranking] == pytest.approx([hit["score"] for hit in expected], abs=1e-4)


def test_several_labels_are_refused(tmp_path):
    with pytest.raises(CheckpointFormatError, match="this model gives 3"):
        CrossEncoder.from_pretrained(build("bert", tmp_path / "model", num_labels=3))
