"""Causal rerankers against transformers' own models and tokenizers, and their batches."""

import copy

import numpy as np
import pytest
from causal_folders import answer_ids, tensors_of, write_causal

import rank_rerank
from rank_rerank import CrossEncoder

pytest.importorskip("torch")
QUERY = "What is the capital of France?"
TEXTS = [
    "Paris is the capital, and the largest city, of France.",
    "a",
    "  white space, 3.14 and (punctuation!) too  ",
    "東京は日本の首都です。 Привет! emoji 👍🔋",
    "ends with a line\n\n",
    "the capital of Germany " * 150,
]
PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
KINDS = {
    "qwen3": {},
    "qwen3 with biases, words out of their own": {"attention_bias": True, "tie_word_embeddings": False},
    "qwen2": {},
    "llama": {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4},
}


def reference(folder, instruction=INSTRUCTION, max_length=512):
    """As the family's card computes it: left padding, the last position, the odds of two words."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    before, after = (tokenizer.encode(text, add_special_tokens=False) for text in (PREFIX, SUFFIX))
    bodies = [f"<Instruct>: {instruction}\n<Query>: {QUERY}\n<Document>: {text}" for text in TEXTS]
    room = max_length - len(before) - len(after)
    encoded = tokenizer(bodies, truncation=True, max_length=room, add_special_tokens=False)["input_ids"]
    token_ids = [before + each + after for each in encoded]
    padded = tokenizer.pad({"input_ids": token_ids}, padding=True, return_tensors="pt")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(input_ids=padded["input_ids"], attention_mask=padded["attention_mask"]).logits[:, -1]
    yes_id, no_id = answer_ids()
    return token_ids, (logits[:, yes_id] - logits[:, no_id]).numpy()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_and_scores_are_those_of_the_authors(tmp_path, kind):
    folder = write_causal(tmp_path / "reranker", kind.split()[0], **KINDS[kind])
    ours = CrossEncoder.from_pretrained(folder, device="cpu")
    token_ids, expected = reference(folder)
    batch = ours.tokenizer.tokenize(QUERY, TEXTS).batch
    found = [batch.token_ids[a:b].tolist() for a, b in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]
    assert found == token_ids
    result = ours.score(QUERY, TEXTS)
    assert result.scores == pytest.approx(expected, abs=1e-4)
    assert result.relevance == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-4)
    assert result.truncated.tolist() == [False] * 5 + [True]
    assert np.ptp(expected) > 0.01


@pytest.mark.filterwarnings("ignore")
def test_the_instruction_is_part_of_the_question(tmp_path):
    folder = write_causal(tmp_path / "reranker")
    reranker = rank_rerank.load(folder, device="cpu", instruction="Find the opposite")
    ranking = reranker.rerank(QUERY, TEXTS)
    _, expected = reference(folder, "Find the opposite")
    assert [hit.index for hit in ranking] == np.argsort(-expected, kind="stable").tolist()
    assert [hit.score for hit in ranking] == pytest.approx(sorted(expected, reverse=True), abs=1e-4)
    others = rank_rerank.load(folder, device="cpu").rerank(QUERY, TEXTS)
    assert [hit.score for hit in others] != pytest.approx([hit.score for hit in ranking], abs=1e-4)


def test_a_score_does_not_depend_on_the_others(tmp_path):
    ours = CrossEncoder.from_pretrained(write_causal(tmp_path / "reranker"), device="cpu")
    together = ours.score(QUERY, TEXTS).scores
    alone = np.concatenate([ours.score(QUERY, [text]).scores for text in TEXTS])
    assert together == pytest.approx(alone, abs=1e-5)
    assert ours.score(QUERY, TEXTS[::-1]).scores[::-1] == pytest.approx(alone, abs=1e-5)


def test_padding_is_not_looked_at(tmp_path, monkeypatch):
    ours = CrossEncoder.from_pretrained(write_causal(tmp_path / "reranker"), device="cpu")
    expected = ours.score(QUERY, TEXTS).scores
    runner = ours.transformer._runner
    pad = runner._pad

    def with_other_padding(batch, texts):
        token_ids, mask, types = pad(batch, texts)
        token_ids[~mask] = 7
        return token_ids, mask, types

    monkeypatch.setattr(runner, "_pad", with_other_padding)
    assert np.array_equal(ours.score(QUERY, TEXTS).scores, expected)


def test_half_precision_stays_near(tmp_path):
    folder = write_causal(tmp_path / "reranker")
    exact = CrossEncoder.from_pretrained(folder, device="cpu").score(QUERY, TEXTS).scores
    for precision in ("fp16", "bf16"):
        rounded = CrossEncoder.from_pretrained(folder, device="cpu", precision=precision)
        assert precision in rounded.transformer.description
        assert rounded.score(QUERY, TEXTS).scores == pytest.approx(exact, abs=0.1)


def test_a_copy_is_made_of_its_files(tmp_path):
    ours = CrossEncoder.from_pretrained(write_causal(tmp_path / "reranker"), device="cpu")
    again = copy.deepcopy(ours)
    assert np.array_equal(again.score(QUERY, TEXTS).scores, ours.score(QUERY, TEXTS).scores)


@pytest.mark.parametrize("name", ["model.layers.1.self_attn.q_norm.weight", "model.norm.weight"])
def test_a_missing_tensor_is_named(tmp_path, name):
    from causal_folders import config_of

    tensors = tensors_of(config_of("qwen3"))
    del tensors[name]
    folder = write_causal(tmp_path / "reranker", tensors=tensors)
    with pytest.raises(rank_rerank.errors.CheckpointFormatError, match=name.removeprefix("model.").replace(".", r"\.")):
        rank_rerank.load(folder, device="cpu")


def test_a_layer_too_many_is_refused(tmp_path):
    from causal_folders import config_of

    folder = write_causal(tmp_path / "reranker", tensors=tensors_of(config_of("qwen3")), num_hidden_layers=2)
    with pytest.raises(rank_rerank.errors.CheckpointFormatError, match=r"layers\.2"):
        rank_rerank.load(folder, device="cpu")
