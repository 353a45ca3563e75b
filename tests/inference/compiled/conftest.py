import pytest
from compiled_paths import VARIANTS

from rank_rerank.inference.compiled import loading


@pytest.fixture(params=VARIANTS, ids=lambda variant: f"{variant[0].name}-{variant[1]}")
def path(request, monkeypatch):
    path, product = request.param
    monkeypatch.setattr(loading, "attention_product", lambda _: product)
    return path
