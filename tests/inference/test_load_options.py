import inspect
import pickle  # noqa: TID251 - our own object, as another process is sent it

import pytest

import rank_rerank
from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.execution_provider import ExecutionProvider
from rank_rerank.inference.load_options import LoadKeywords, LoadOptions, RuntimeOptions
from rank_rerank.rerankers import load_with

PROVIDER = ExecutionProvider("OpenVINO", {"device_type": "CPU"}, strict=True)
KEYWORDS = {
    "revision": "main",
    "token": "secret",
    "local_files_only": True,
    "cache_dir": "models",
    "device": PROVIDER,
    "precision": "int8",
    "num_threads": 2,
    "runtime": "onnx",
    "instruction": "judge",
    "cache_bytes": 1 << 20,
    "label": 1,
}


def through_a_pickle(options):
    return pickle.loads(pickle.dumps(options))  # noqa: S301


def test_keywords_are_sorted_into_one_object_that_a_process_can_be_sent():
    options = LoadOptions.of("owner/model", **KEYWORDS)
    hub = HubOptions("main", "secret", local_files_only=True, cache_dir="models")
    assert options == LoadOptions("owner/model", hub, RuntimeOptions(PROVIDER, "int8", 2, "onnx"), "judge", 1 << 20, 1)
    assert through_a_pickle(options) == options
    assert "secret" not in repr(options)


def test_load_has_the_keywords_that_the_object_has():
    named = set(inspect.signature(rank_rerank.load).parameters) - {"name_or_folder"}
    assert named == set(KEYWORDS) == set(LoadKeywords.__annotations__)


@pytest.mark.parametrize(
    "wrong",
    [{"precision": "fp64"}, {"runtime": "tflite"}, {"num_threads": 0}, {"precision": None}, {"local_files_only": 1}],
)
def test_an_option_out_of_its_range_is_refused_before_anything_is_loaded(wrong):
    for call in (LoadOptions.of, rank_rerank.load, rank_rerank.TokenEncoder.from_pretrained):
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
            call("no/such-folder-is-looked-for", **wrong)


def test_an_unknown_keyword_is_named_with_those_there_are():
    for call in (LoadOptions.of, rank_rerank.TokenEncoder.from_pretrained):
        with pytest.raises(TypeError, match=r"'devices'.*num_threads"):
            call(None, devices="cpu")


@pytest.mark.parametrize("option", [{"instruction": "judge"}, {"label": 1}])
def test_an_option_of_cross_encoders_is_refused_for_a_late_interaction_model(option):
    for call in (rank_rerank.load, rank_rerank.TokenEncoder.from_pretrained):
        with pytest.raises(InvalidArgumentError, match=next(iter(option))):
            call(None, **option)


def test_options_that_went_through_a_pickle_load_the_same_model(reranker):
    again = load_with(through_a_pickle(LoadOptions.of(num_threads=1)))
    assert again.num_threads == 1
    texts = ["a capital city", "a fruit"]
    assert [hit.score for hit in again.rerank("capital", texts)] == [
        hit.score for hit in reranker.rerank("capital", texts)
    ]
