"""A result list in which every document stands several times, and four ways to deal with it.

usage: python examples/diverse_results.py

The corpus is the example data's twenty abstracts and 40 near-duplicates of them, made by a seeded edit as syndication
makes them: sentences left out, a line put before. For the claim that the data belongs to, the table shows of the
first ten hits how many sources they come from, the subtopic recall at 10 (the share of all sources that are among
them, Zhai et al. 2003) and alpha-nDCG at 10 (Clarke et al. 2008, alpha 0.5), with each source as a subtopic whose gain
is 1: what is told again is worth half of what it was worth the time before. A last column guards against variety for
its own sake: the relevance of the sources among the ten hits, each counted once, as much as its best version.
"""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import rank_rerank
from rank_rerank import refinement

DATA = Path(__file__).parent / "data" / "scifact_claim.jsonl"
QUERY = "Increased vessel density along with a reduction in fibrosis decreases the efficacy of chemotherapy treatments."
DEPTH = 10
COPIES = 2


def main() -> None:
    """Rank once, refine in four ways, print the measures."""
    documents = with_near_duplicates(
        [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()],
        random.Random(0),  # noqa: S311 - an edit that can be made again
    )
    reranker = rank_rerank.load()
    embeddings = reranker.encoder.encode_documents([document["text"] for document in documents])
    ranking = reranker.rerank(QUERY, documents)
    lists = {
        "as ranked": ranking,
        "without near-duplicates": refinement.drop_near_duplicates(ranking, embeddings, threshold=0.9),
        "mmr": refinement.mmr(ranking, embeddings, top_k=DEPTH, trade_off=0.5),
        "dpp": refinement.dpp(ranking, embeddings, top_k=DEPTH, trade_off=0.5),
    }
    num_sources = len({document["source"] for document in documents})
    best = {
        source: max(hit.relevance for hit in ranking if hit.metadata["source"] == source)
        for source in sources_of(ranking)
    }
    print(f"{len(documents)} documents of {num_sources} sources; the first {DEPTH} hits:")
    print(f"{'':24}  sources  subtopic recall  alpha-nDCG  relevance, each once")
    for name, hits in lists.items():
        sources = sources_of(hits)[:DEPTH]
        distinct = len(set(sources))
        relevance = sum(best[source] for source in set(sources))
        print(
            f"{name:24}  {distinct:7}  {distinct / num_sources:15.2f}  "
            f"{alpha_ndcg(sources, num_sources, COPIES + 1):10.3f}  {relevance:20.3f}"
        )


def with_near_duplicates(documents: Sequence[dict[str, str]], generator: random.Random) -> list[dict[str, str]]:
    """Each document and COPIES versions of it that lack a tenth of its sentences and begin with a line of their own."""
    copies: list[dict[str, str]] = []
    for document in documents:
        text = f"{document['title']}. {document['text']}"
        copies.append({"text": text, "source": document["_id"]})
        for number in range(COPIES):
            sentences = text.split(". ")
            for _ in range(max(1, len(sentences) // 10)):
                sentences.pop(generator.randrange(1, len(sentences)))
            copies.append(
                {"text": f"From our partners, part {number + 1}: {'. '.join(sentences)}", "source": document["_id"]}
            )
    return copies


def sources_of(ranking: rank_rerank.Ranking) -> list[str]:
    """Which source each hit comes from."""
    return [hit.metadata["source"] for hit in ranking]


def alpha_ndcg(sources: Sequence[str], num_sources: int, copies: int, alpha: float = 0.5) -> float:
    """The gain of sources in their order, less for each time one was there before, over that of the best order."""
    ideal = [source for _ in range(copies) for source in range(num_sources)][: len(sources)]
    return gain(sources, alpha) / gain(ideal, alpha)


def gain(sources: Sequence[object], alpha: float) -> float:
    """The discounted gain, each source a subtopic."""
    return sum(
        (1 - alpha) ** list(sources[:rank]).count(source) / math.log2(rank + 2) for rank, source in enumerate(sources)
    )


if __name__ == "__main__":
    main()
