"""Whatever is passed to a job is read as meant, or refused by a typed error before a model is loaded."""

import numpy as np
import pytest

from rank_rerank.distributed import (
    Columns,
    EncodeSettings,
    ImportOptions,
    LocalEngine,
    RayEngine,
    RerankSettings,
    encode_corpus,
    import_shards,
    rerank_run,
)
from rank_rerank.errors import InputError
from rank_rerank.inference.load_options import LoadOptions

STRANGE = [0, -1, 2**63, 1.5, float("nan"), b"x", {}, (1,), object(), len, int, np.array([1, 2]), np.zeros((2, 2))]
FIELDS = [
    (Columns, "text"),
    (Columns, "id"),
    (EncodeSettings, "compression"),
    (EncodeSettings, "shard_format"),
    (EncodeSettings, "keep_texts"),
    (EncodeSettings, "columns"),
    (RerankSettings, "tag"),
    (RerankSettings, "columns"),
    (ImportOptions, "how"),
    (ImportOptions, "compression"),
    (RayEngine, "address"),
    (LoadOptions, "hub"),
    (LoadOptions, "runtime"),
]


@pytest.mark.parametrize(("kind", "field"), FIELDS)
@pytest.mark.parametrize("value", STRANGE)
def test_a_field_of_another_type_is_refused_when_it_is_set(kind, field, value):
    with pytest.raises(InputError):
        kind(**{field: value})


@pytest.mark.parametrize("num_stores", [0, -1, 1.5, "2", True, [2]])
def test_a_number_of_stores_that_counts_nothing_is_refused(num_stores):
    with pytest.raises(InputError, match="num_stores"):
        ImportOptions(num_stores=num_stores)


@pytest.mark.parametrize("value", [*STRANGE, "", "a\0b", "\ud800", [1], []])
def test_paths_and_helpers_of_another_type_are_refused_and_nothing_is_made(tmp_path, value):
    place = str(tmp_path / "new")
    for call in (
        lambda: encode_corpus(value, place),
        lambda: encode_corpus(place, value),
        lambda: import_shards(value, place),
        lambda: import_shards(place, value),
        lambda: rerank_run(value, place, place, place),
        lambda: rerank_run(place, value, place, place),
        lambda: rerank_run(place, place, value, place),
        lambda: rerank_run(place, place, place, value),
        lambda: encode_corpus(place, place, settings=value),
        lambda: encode_corpus(place, place, engine=value),
        lambda: encode_corpus(place, place, engine=LocalEngine),
        lambda: import_shards(place, place, value),
        lambda: rerank_run(place, place, place, place, settings=value),
        lambda: rerank_run(place, place, place, place, engine=value),
    ):
        with pytest.raises(InputError):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tag", ["", "a b", "a\n", "\ud800"])
def test_a_tag_that_would_break_the_lines_of_a_run_is_refused_before_the_work(tag):
    with pytest.raises(InputError, match="tag"):
        RerankSettings(tag=tag)
