"""Pack what train_on_gpu.py trains on: token ids, queries and BM25's lists of several collections, in one file.

usage: python examples/bundled_model/prepare_gpu_data.py --data FOLDER --output FILE [--share 1.0]

Trained on are only texts under permissive licences: OpenStax, the ACL's volumes, US government text and MedQuAD,
PubMedQA, half of SciFact's train claims, and the manuals under permissive licences. Debian's descriptions and SQuAD are
there to choose on, as fields that were not trained on. Of each source one passage in twenty is held back, with what is
asked about it. No list to train on shows a held-back passage or an abstract that a test claim of SciFact cites.
--share takes fewer queries, to try things out. Needs the extra "evaluation".
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tokenizers
from training.bundle import LIST_LENGTH, NO_PASSAGE, SCORE_STEPS, Bundle
from training.corpora import (
    Passage,
    TestQueries,
    checksum,
    read_documents,
    read_qrels,
    read_texts,
)
from training.query_lists import ListedQuery, SourcePlan, draw_queries, find_lists, held_passages, score_steps

from rank_rerank.arrays import AnyArray

ROOT = Path(__file__).resolve().parents[2]
PLANS = (
    SourcePlan("openstax", 5000, 5000, 200),
    # Q… and ….tacl: of a journal whose publisher is another
    SourcePlan("acl", 6000, 4500, 200, forbidden=(".tacl",)),
    SourcePlan("docs", 6000, 5000, 200, prefixes=("python-", "postgresql-", "apache-", "sqlite-", "rust-", "carp-")),
    SourcePlan("gov", 6000, 4000, 200),
    SourcePlan("medquad", 5000, 3000, 200),
    SourcePlan("pubmedqa", 1000, 600, 50),
    SourcePlan("scifact", 800, 0, 200),
    SourcePlan("debian", 0, 0, 200, prefixes=("nothing of it",)),
    SourcePlan("squad", 0, 0, 200, prefixes=("nothing of it",)),
)
DOCUMENT_LENGTH = 318
QUERY_LENGTH = 126


def main() -> None:
    """Read, draw, search, tokenize, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0)
    options = parser.parse_args()
    wall = TestQueries.of(options.data)
    parts = [collect(options.data, fewer(plan, options.share), wall) for plan in PLANS]
    bundle = pack([plan.name for plan in PLANS], parts)
    bundle.save(options.output)
    print(f"{options.output}: {options.output.stat().st_size:,} bytes, {len(bundle.passage_tokens):,} passage tokens")


def fewer(plan: SourcePlan, share: float) -> SourcePlan:
    """A share of the queries of a plan."""
    return replace(
        plan,
        train=int(plan.train * share),
        crops=int(plan.crops * share),
        held_back=min(plan.held_back, int(4 * plan.held_back * share)),
    )


def collect(data: Path, plan: SourcePlan, wall: TestQueries) -> tuple[list[Passage], list[ListedQuery]]:
    """The queries of a source with their lists, and the passages that are in any list."""
    documents, tested = read_source(data, plan.name)
    names = list(documents)
    passages = list(documents.values())
    allowed = [plan.permits(name) and not (plan.name == "acl" and name.startswith("Q")) for name in names]
    held = held_passages(passages, [may and name not in tested for may, name in zip(allowed, names, strict=True)])
    queries = draw_queries(plan, passages, held, wall)
    if plan.name == "scifact":
        queries = split_claims(queries, tested, names)
    find_lists(queries, passages, held)
    queries = [query for query in queries if len(query.found) > 1]
    used = sorted({index for query in queries for index in query.found})
    places = {index: place for place, index in enumerate(used)}
    for query in queries:
        query.found = [places[index] for index in query.found]
        # an answer that is in no list has no number, but counts
        query.relevant = {places.get(index, -1 - index) for index in query.relevant}
    count = sum(query.held_back for query in queries)
    print(f"{plan.name}: {len(used):,} passages, {len(queries) - count:,} queries to train on, {count} to choose on")
    return [passages[index] for index in used], queries


def read_source(data: Path, name: str) -> tuple[dict[str, Passage], set[str]]:
    """The documents of a source with their queries, and those that a test claim of SciFact cites."""
    folder = data / name
    documents = read_documents(folder)
    ending = "-train" if name == "scifact" else ""
    queries = read_texts(folder / f"queries{ending}.jsonl.gz")
    for query, keys in read_qrels(folder / f"qrels{ending}.tsv").items():
        for key in keys:
            documents[key].queries.append(queries[query])
    tested = {key for keys in read_qrels(folder / "qrels.tsv").values() for key in keys} if ending else set[str]()
    return documents, tested


def split_claims(queries: Sequence[ListedQuery], tested: set[str], names: Sequence[str]) -> list[ListedQuery]:
    """Half of SciFact's train claims to train on, half to choose on; none about an abstract that a test claim cites."""
    apart = [query for query in queries if not any(names[index] in tested for index in query.relevant)]
    return [
        replace(query, held_back=True) if checksum(query.text) % 2 else query
        for query in apart
        if checksum(query.text) % 2 or not query.held_back
    ]


def pack(names: Sequence[str], parts: Sequence[tuple[list[Passage], list[ListedQuery]]]) -> Bundle:
    """Everything in arrays."""
    passages = [f"{passage.title} {passage.text}".strip() for part, _ in parts for passage in part]
    queries = [query for _, part in parts for query in part]
    passage_tokens, passage_lengths = token_ids(passages, DOCUMENT_LENGTH)
    query_tokens, query_lengths = token_ids([query.text for query in queries], QUERY_LENGTH)
    numbers = np.arange(len(parts), dtype=np.uint8)
    shape = (len(queries), LIST_LENGTH)
    lists, scores = np.full(shape, NO_PASSAGE, np.uint16), np.zeros(shape, np.uint8)
    relevant = np.zeros(shape, np.bool_)
    for row, query in enumerate(queries):
        length = len(query.found)
        lists[row, :length] = query.found
        scores[row, :length] = score_steps(query.scores, SCORE_STEPS)
        relevant[row, :length] = [index in query.relevant for index in query.found]
    return Bundle(
        source_names=np.array(names),
        passage_tokens=passage_tokens,
        passage_lengths=passage_lengths,
        passage_sources=np.repeat(numbers, [len(part) for part, _ in parts]),
        query_tokens=query_tokens,
        query_lengths=query_lengths,
        query_sources=np.repeat(numbers, [len(part) for _, part in parts]),
        query_held_back=np.array([query.held_back for query in queries]),
        lists=lists,
        list_scores=scores,
        relevant=relevant,
        num_relevant=np.array([min(255, len(query.relevant)) for query in queries], np.uint8),
    )


def token_ids(texts: Sequence[str], longest: int) -> tuple[AnyArray, AnyArray]:
    """Ids of all texts one after another, without special tokens, and their numbers."""
    tokenizer = tokenizers.Tokenizer.from_file(str(ROOT / "rank_rerank" / "bundled" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    rows = [
        np.array(encoding.ids[:longest], np.uint16)
        for start in range(0, len(texts), 2000)
        for encoding in tokenizer.encode_batch(list(texts[start : start + 2000]), add_special_tokens=False)
    ]
    return np.concatenate(rows), np.array([len(row) for row in rows], np.uint16)


if __name__ == "__main__":
    main()
