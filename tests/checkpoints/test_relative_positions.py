"""Which row of a table a distance has, against the code of transformers; and settings that are refused."""

import numpy as np
import pytest
from model_folders import write_json

from rank_rerank.checkpoints.relative_positions import RelativeConfig, rows_of_distances
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError


@pytest.mark.parametrize("num_rows", [8, 32, 64])
def test_rows_of_mpnet(num_rows):
    torch = pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    expected = MPNetEncoder.relative_position_bucket(torch.arange(-599, 600), num_buckets=num_rows)
    assert rows_of_distances(RelativeConfig("bias", num_rows, 128), 600).tolist() == expected.tolist()


@pytest.mark.parametrize(("buckets", "distance"), [(256, 512), (16, 512), (64, 64), (5, 300), (-1, 512)])
def test_rows_of_deberta(buckets, distance):
    torch = pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position

    text = torch.zeros(1, 700, 4)
    of_pairs = build_relative_position(text, text, bucket_size=buckets, max_position=distance)[0]  # query minus key
    span = buckets if buckets > 0 else distance
    expected = torch.cat([of_pairs[-1], of_pairs[0, 1:]]) + span
    config = RelativeConfig("disentangled", 2 * span, distance, is_bucketed=buckets > 0)
    found = rows_of_distances(config, 700)
    assert found.tolist() == np.clip(expected.numpy(), 0, 2 * span - 1).tolist()


def deberta(**changes):
    stated = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 256}
    sizes = {"hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2}
    return {"model_type": "deberta-v2", **sizes, **stated, **changes}


def test_the_settings_of_deberta(tmp_path):
    write_json(tmp_path / "config.json", deberta(norm_rel_ebd="layer_norm", share_att_key=True))
    config = read_transformer_config(tmp_path)
    assert config.relative == RelativeConfig("disentangled", 512, 512, has_norm=True)
    assert config.relative.num_products == 3
    assert config.has_positions  # what transformers takes where the key is missing


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (deberta(relative_attention=False), "relative attention"),
        (deberta(pos_att_type=["p2p"]), "pos_att_type"),
        (deberta(pos_att_type=None), "pos_att_type"),
        (deberta(position_buckets=1000), "position_buckets"),
        (deberta(position_buckets=2), "position_buckets"),
        (deberta(max_relative_positions=10**9), "max_relative_positions"),
        (deberta(conv_kernel_size=4), "conv_kernel_size"),
        (deberta(conv_kernel_size=3, conv_groups=5), "conv_groups"),
        (deberta(conv_kernel_size=3, conv_act="swiglu"), "conv_act"),
        (deberta(embedding_size=24), "embedding_size"),
        (deberta(pooler_hidden_size=24), "pooler_hidden_size"),
        (deberta(attention_head_size=24), "attention_head_size"),
        (deberta(num_attention_heads=0), "num_heads"),
        ({"model_type": "mpnet", "relative_attention_num_buckets": 30}, "multiple of 4"),
        ({"model_type": "mpnet", "relative_attention_num_buckets": 10**9}, "at most"),
    ],
)
def test_settings_that_are_refused(tmp_path, config, word):
    write_json(tmp_path / "config.json", config)
    with pytest.raises(CheckpointFormatError, match=word):
        read_transformer_config(tmp_path)
