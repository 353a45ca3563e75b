"""Token ids, vectors and scores against sentence-transformers' MultiVectorEncoder, from folders that it has saved."""

import json

import numpy as np
import pytest
from parity_models import TEXTS

import rank_rerank
from rank_rerank import TokenEncoder
from rank_rerank.errors import CheckpointFormatError

pytestmark = pytest.mark.filterwarnings("ignore")
KINDS = ["bert", "distilbert", "modernbert", "xlm-roberta", "mpnet"]
CASES = {
    "fixed": {"query_expansion": {"strategy": "fixed", "length": 32}},
    "fixed, attended": {"query_expansion": {"strategy": "fixed", "length": 20, "attend": True}},
    "min": {"query_expansion": {"strategy": "min", "length": 16}},
    "min, capped": {"query_expansion": {"strategy": "min", "length": 16}, "query_length": 24},
    "no expansion": {"document_length": 30, "query_length": 12},
    "no caps": {},
}


def build(folder, target, transformer=(), mask=(), prompts=None, **parts):
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling, MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize
    from tokenizers import AddedToken

    torch.manual_seed(1)
    first = Transformer(str(folder), **dict(transformer))
    prompts = {"query": "[Q] ", "document": "[D] "} if prompts is None else prompts
    markers = [prompt for prompt in prompts.values() if prompt.startswith("[")]
    markers = [prompt[: prompt.index("]") + 2] for prompt in markers]
    if markers:
        added = [AddedToken(marker, normalized=False, special=True) for marker in markers]
        first.tokenizer.add_special_tokens({"additional_special_tokens": added})
        first.auto_model.resize_token_embeddings(len(first.tokenizer))
    tokens = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    dense = parts.get("dense", [Dense(48, 32, bias=False, activation_function=torch.nn.Identity(), **tokens)])
    modules = [first, *dense, MultiVectorMask(**dict(mask)), Normalize(module_input_name="token_embeddings")]
    modules += [HierarchicalTokenPooling(**parts["pooling"])] if "pooling" in parts else []
    similarity = parts.get("similarity", "maxsim")
    model = MultiVectorEncoder(modules=modules, prompts=prompts, similarity_fn_name=similarity, device="cpu").eval()
    model.save_pretrained(str(target))
    return MultiVectorEncoder(str(target), device="cpu").eval()


def assert_same(folder, theirs, texts=TEXTS):
    ours = TokenEncoder.from_pretrained(folder, device="cpu", precision="fp32")
    for is_query in (True, False):
        embeddings = (ours.encode_queries if is_query else ours.encode_documents)(texts)
        encode = theirs.encode_query if is_query else theirs.encode_document
        vectors = [np.asarray(each) for each in encode(texts, batch_size=3, convert_to_numpy=True)]
        assert [len(each) for each in embeddings] == [len(each) for each in vectors]
        for mine, other in zip(embeddings, vectors, strict=True):
            assert np.abs(mine - other).max() < 1e-4
            assert np.einsum("td,td->t", mine, other).min() >= 0.99999 * np.square(other).sum(1).min()
    return ours


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("transformer", CASES.values(), ids=CASES.keys())
def test_every_architecture_and_expansion(base_folder, tmp_path, kind, transformer):
    theirs = build(base_folder(kind), tmp_path / "model", transformer, {"skiplist_words": [",", ".", "nosuchword"]})
    ours = assert_same(tmp_path / "model", theirs)
    assert ours.checkpoint.family == "multi-vector"


def test_token_ids(base_folder, tmp_path):
    theirs = build(base_folder("bert"), tmp_path / "model", CASES["fixed"])
    ours = TokenEncoder.from_pretrained(tmp_path / "model", device="cpu")
    batch = ours.tokenizer.tokenize_queries(TEXTS)
    features = theirs[0].preprocess(TEXTS, prompt="[Q] ", task="query")
    assert batch.token_ids.reshape(len(TEXTS), 32).tolist() == features["input_ids"].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_skiplist_for_queries_too_and_prompts_behind_markers(base_folder, tmp_path, kind):
    prompts = {"query": "[Q] search_query: ", "document": "[D] search_document: "}
    mask = {"skiplist_words": [",", ".", ":"], "skiplist_tasks": ["query", "document"]}
    theirs = build(base_folder(kind), tmp_path / "model", CASES["min"], mask, prompts)
    ours = assert_same(tmp_path / "model", theirs)
    assert ours.checkpoint.settings.query_prompt == "search_query: "


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_that_are_plain_text(base_folder, tmp_path, kind):
    theirs = build(base_folder(kind), tmp_path / "model", prompts={"query": "query: ", "passage": "passage: "})
    ours = assert_same(tmp_path / "model", theirs)
    spans = ours.tokenizer.tokenize_documents(["Paris is"]).character_spans
    assert spans.max() == len("Paris is")


def test_two_dense_with_residual(base_folder, tmp_path):
    import torch
    from sentence_transformers.base.modules import Dense

    tokens = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    torch.manual_seed(3)
    dense = [Dense(48, 40, use_residual=True, **tokens), Dense(40, 40, activation_function=torch.nn.ReLU(), **tokens)]
    theirs = build(base_folder("bert"), tmp_path / "model", dense=dense)
    assert assert_same(tmp_path / "model", theirs).dim == 40


@pytest.mark.parametrize("normalize", [True, False])
def test_a_pooling_module(base_folder, tmp_path, normalize):
    pooling = {"pool_factor": 2, "num_protected_tokens": 1, "normalize_embeddings": normalize}
    theirs = build(base_folder("bert"), tmp_path / "model", pooling=pooling)
    ours = TokenEncoder.from_pretrained(tmp_path / "model", device="cpu")
    for mine, other in zip(ours.encode_documents(TEXTS), theirs.encode_document(TEXTS), strict=True):
        # the order of clusters is SciPy's own, and no score depends on it
        order = (mine @ np.asarray(other).T).argmax(1)
        assert sorted(order) == list(range(len(other)))
        assert np.abs(mine - np.asarray(other)[order]).max() < 1e-4
    queries = np.concatenate([np.asarray(each) for each in theirs.encode_query(TEXTS)])
    assert np.abs(ours.encode_queries(TEXTS).vectors - queries).max() < 1e-4


@pytest.mark.parametrize("similarity", ["maxsim", "meanmaxsim"])
def test_scores(base_folder, tmp_path, similarity):
    theirs = build(base_folder("bert"), tmp_path / "model", CASES["fixed"], similarity=similarity)
    expected = theirs.similarity(theirs.encode_query(TEXTS[:1]), theirs.encode_document(TEXTS))[0].tolist()
    ranking = rank_rerank.load(tmp_path / "model", device="cpu").rerank(TEXTS[0], TEXTS)
    assert [hit.score for hit in sorted(ranking, key=lambda hit: hit.index)] == pytest.approx(expected, abs=1e-4)


def test_a_plain_encoder_gives_its_own_token_vectors(base_folder, tmp_path):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    first = Transformer(str(base_folder("bert")))
    theirs = SentenceTransformer(modules=[first, Pooling(48)], device="cpu").eval()
    theirs.save_pretrained(str(tmp_path / "model"))
    ours = TokenEncoder.from_pretrained(tmp_path / "model", device="cpu")
    assert (ours.checkpoint.family, ours.dim) == ("plain encoder", 48)
    embeddings = ours.encode_documents(TEXTS)
    vectors = theirs.encode(TEXTS, output_value="token_embeddings")
    for mine, other in zip(embeddings, vectors, strict=True):
        assert np.abs(mine - torch.nn.functional.normalize(other, dim=-1).numpy()).max() < 1e-4


def test_an_encoder_that_takes_the_last_token_is_refused(base_folder, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(base_folder("bert"))), Pooling(48, pooling_mode="lasttoken")]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(tmp_path / "model"))
    with pytest.raises(CheckpointFormatError, match="last token"):
        TokenEncoder.from_pretrained(tmp_path / "model")


def stanford(base, target, metadata, kind="bert"):
    """A folder as colbert-ai saves it: encoder under its prefix, linear.weight beside it, artifact.metadata."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(base, target)
    tensors = {f"{kind}.{name}": tensor for name, tensor in load_file(base / "model.safetensors").items()}
    import torch

    torch.manual_seed(5)
    tensors["linear.weight"] = torch.randn(24, 48) * 0.2
    save_file(tensors, target / "model.safetensors")
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, "architectures": ["HF_ColBERT"]}))
    if metadata is not None:
        (target / "artifact.metadata").write_text(json.dumps(metadata))
    return target


@pytest.mark.parametrize(
    "metadata",
    [
        {"query_maxlen": 32, "doc_maxlen": 180, "dim": 24, "attend_to_mask_tokens": False, "nbits": 2},
        {"query_maxlen": 48, "doc_maxlen": 30, "attend_to_mask_tokens": True, "mask_punctuation": False},
        {"query_token_id": "[unused5]", "doc_token_id": "[unused6]", "doc_maxlen": 300},
    ],
)
def test_stanford_folders(base_folder, tmp_path, metadata):
    from sentence_transformers import MultiVectorEncoder

    folder = stanford(base_folder("bert"), tmp_path / "model", metadata)
    ours = assert_same(folder, MultiVectorEncoder(str(folder), device="cpu").eval())
    assert ours.checkpoint.family == "Stanford ColBERT"
    assert ours.dim == 24
