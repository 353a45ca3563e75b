import pytest

REASON = 'needs the export extra: pip install ".[export]"'


def pytest_collection_modifyitems(items):
    for package in ("torch", "transformers", "onnx", "onnxscript"):
        try:
            __import__(package)
        except ImportError:
            for item in items:
                if "tests/export/" in item.path.as_posix():
                    item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session")
def tiny_encoder():
    """A random BERT of two layers whose channels differ in size, as those of trained models do."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=200,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=96,
    )
    encoder = transformers.BertModel(config, add_pooling_layer=False)
    for name, parameter in encoder.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    encoder.train()  # the export has to turn dropout off itself
    return encoder


@pytest.fixture(scope="session")
def texts():
    import numpy as np

    random = np.random.default_rng(0)
    return [random.integers(5, 200, length) for length in (2, 3, 7, 16, 17, 31, 36, 37, 64, 95, 96)]


@pytest.fixture(scope="session")
def fp32_model(tiny_encoder):
    """The exported graph; rewriting works in place, so tests that rewrite take a fresh one."""
    from rank_rerank.export.int8_export import serialize

    return serialize(export(tiny_encoder))


@pytest.fixture(scope="session")
def int8_model(tiny_encoder, texts):
    from rank_rerank.export.int8_export import quantize, serialize

    model = export(tiny_encoder)
    quantize(model, texts)
    return serialize(model)


def export(encoder):
    import warnings

    from rank_rerank.export.onnx_export import export_onnx

    with warnings.catch_warnings():
        # the exporter warns of its own use of torch and of axes that share a name, which is what is meant
        warnings.simplefilter("ignore")
        return export_onnx(encoder, 96)
