"""infinity-emb's cross-encoder in PyTorch, in an interpreter of its own: a line in, a line out; see bench_families.py.

usage: PYTHON benchmarks/infinity_engine.py FOLDER THREADS

Each line of standard input is {"query": …, "documents": […]}; each of standard output the documents' raw scores.
"""

import asyncio
import json
import os
import sys

os.environ |= {"INFINITY_ANONYMOUS_USAGE_STATS": "0", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}


async def main(folder: str, num_threads: int) -> None:
    """Load, then answer until the input ends."""
    import torch
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    torch.set_num_threads(num_threads)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    settings = EngineArgs(
        model_name_or_path=folder,
        engine="torch",
        device="cpu",
        dtype="float32",
        bettertransformer=False,
        model_warmup=False,
    )
    engine = AsyncEmbeddingEngine.from_args(settings)
    async with engine:
        for line in sys.stdin:
            asked = json.loads(line)
            ranked, _ = await engine.rerank(query=asked["query"], docs=asked["documents"], raw_scores=True)
            scores = [0.0] * len(asked["documents"])
            for hit in ranked:
                scores[hit.index] = float(hit.relevance_score)
            print(json.dumps(scores), file=answers, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
