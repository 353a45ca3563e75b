"""Several devices for one model: the processor stands for each of them."""

import copy
import threading

import causal_folders
import model_folders as folders
import numpy as np
import pytest

import rank_rerank
from rank_rerank import TokenEncoder
from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.errors import DeviceError, ResourceLimitError
from rank_rerank.inference.device_group import PairTransformerGroup, TransformerGroup
from rank_rerank.tokenization.token_batch import TokenBatch

torch = pytest.importorskip("torch")
TEXTS = [f"text {number} " + "of some more words " * (number % 9) for number in range(400)] + ["", "last"]
PAIRS = {"cross-encoder": folders.write_cross_encoder, "causal": causal_folders.write_causal}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return folders.write_pylate(tmp_path_factory.mktemp("colbert"))


def test_vectors_come_back_in_the_order_of_the_texts(folder):
    alone = TokenEncoder.from_pretrained(folder, device="cpu").encode_documents(TEXTS)
    group = TokenEncoder.from_pretrained(folder, device=["cpu", "cpu"])
    together = group.encode_documents(TEXTS)
    assert isinstance(group.transformer, TransformerGroup)
    assert np.array_equal(together.offsets, alone.offsets)
    assert together.vectors == pytest.approx(alone.vectors, abs=1e-5)
    assert group.transformer.description.count("cpu, fp32") == 2
    assert group.dim == 8


@pytest.mark.parametrize("kind", PAIRS)
def test_scores_come_back_in_the_order_of_the_documents(tmp_path, kind):
    folder = PAIRS[kind](tmp_path / "reranker")
    alone = rank_rerank.load(folder, device="cpu").rerank("some query", TEXTS)
    reranker = rank_rerank.load(folder, device=["cpu", "cpu"])
    assert isinstance(reranker.cross_encoder.transformer, PairTransformerGroup)
    expected = {hit.index: hit.score for hit in alone}
    found = {hit.index: hit.score for hit in reranker.rerank("some query", TEXTS)}
    assert [found[index] for index in range(len(TEXTS))] == pytest.approx(
        [expected[index] for index in range(len(TEXTS))], abs=1e-4
    )


def test_every_device_works_on_a_thread_of_its_own(folder, monkeypatch):
    encoder = TokenEncoder.from_pretrained(folder, device=["cpu", "cpu"])
    barrier, seen = threading.Barrier(2), []
    for number, transformer in enumerate(encoder.transformer._transformers):
        encode = transformer.encode

        def meet(batch, number=number, encode=encode):
            if not any(each == number for each, _ in seen):
                seen.append((number, threading.get_ident()))
                barrier.wait()  # passes only if the other device is at work too
            return encode(batch)

        monkeypatch.setattr(transformer, "encode", meet)
    encoder.encode_documents(TEXTS)
    assert {number for number, _ in seen} == {0, 1}
    assert len({thread for _, thread in seen}) == 2


def test_a_device_out_of_memory_halves_its_own_part(folder, monkeypatch):
    encoder = TokenEncoder.from_pretrained(folder, device=["cpu", "cpu"])
    expected = encoder.encode_documents(TEXTS)
    small = encoder.transformer._transformers[1]
    compute, sizes = small._compute, []

    def with_little_memory(token_ids, *rest):
        if len(token_ids) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(token_ids))
        return compute(token_ids, *rest)

    monkeypatch.setattr(small, "_compute", with_little_memory)
    # the whole batch to the small one, so that it has something to halve
    monkeypatch.setattr(encoder.transformer, "_transformers", (small, small))
    assert encoder.encode_documents(TEXTS).vectors == pytest.approx(expected.vectors, abs=1e-5)
    assert max(sizes) <= 3


def test_an_error_of_one_device_ends_the_call(folder, monkeypatch):
    encoder = TokenEncoder.from_pretrained(folder, device=["cpu", "cpu"])

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    for transformer in encoder.transformer._transformers:
        monkeypatch.setattr(transformer, "_compute", fail)
    with pytest.raises(ResourceLimitError, match="does not fit"):
        encoder.encode_documents(TEXTS)


def test_no_texts_and_texts_without_words(folder):
    encoder = TokenEncoder.from_pretrained(folder, device=["cpu", "cpu"])
    assert encoder.encode_documents([]).vectors.shape == (0, 8)
    assert encoder.encode_documents(["", " "]).num_tokens == 0


def test_a_group_is_copied_by_its_files(folder):
    encoder = TokenEncoder.from_pretrained(folder, device=["cpu"])
    again = copy.deepcopy(encoder)
    assert again.encode_document("text").vectors.tobytes() == encoder.encode_document("text").vectors.tobytes()


@pytest.mark.parametrize(
    "devices", [[], ["auto", "auto"], ["cpu", 1], ["cpu", "cuda:0"], ["OpenVINO", "cpu"], ["", ""]]
)
def test_lists_that_make_no_sense(folder, devices):
    with pytest.raises(DeviceError, match="devices of PyTorch of one kind"):
        rank_rerank.load(folder, device=devices)


def test_lists_are_for_weights(folder):
    with pytest.raises(DeviceError, match="is not available"):
        rank_rerank.load(folder, device=["cuda:97", "cuda:98"])
    with pytest.raises(DeviceError, match="several devices are for weights"):
        rank_rerank.load(bundled_folder(), device=["cpu", "cpu"])
    with pytest.raises(DeviceError, match='"cpu" only'):
        rank_rerank.load(folder, device=["cpu", "cpu"], runtime="numba")


def test_a_part_of_a_batch_is_the_batch_of_its_texts():
    lengths = np.array([2, 0, 3])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens, odd = np.arange(5), np.arange(5) % 2 == 1
    spans = np.stack([tokens, tokens + 1], 1).astype(np.int32)
    batch = TokenBatch(tokens, odd, ~odd, spans, offsets, np.array([True, False, False]), tokens * 10)
    part = batch.select(np.array([2, 1, 0]))
    assert part.token_ids.tolist() == [2, 3, 4, 0, 1]
    assert part.lengths.tolist() == [3, 0, 2]
    assert part.truncated.tolist() == [False, False, True]
    assert part.attention_mask.tolist() == [False, True, False, False, True]
    assert part.token_types.tolist() == [20, 30, 40, 0, 10]
    assert batch.select(np.array([], np.int64)).num_texts == 0


def test_threads_that_pytorch_does_not_take_are_said(folder, caplog):
    other = torch.get_num_threads() + 1
    with caplog.at_level("WARNING", "rank_rerank"):
        TokenEncoder.from_pretrained(folder, device="cpu", num_threads=other)
    assert f"torch.set_num_threads({other})" in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING", "rank_rerank"):
        TokenEncoder.from_pretrained(folder, device="cpu", num_threads=torch.get_num_threads())
    assert caplog.text == ""


def test_the_command_takes_several_devices(folder, capsys):
    from rank_rerank.cli.main import main

    assert main(["doctor", "--model", str(folder), "--device", "cpu,cpu"]) == 0
    assert capsys.readouterr().out.count("cpu, fp32") == 2
