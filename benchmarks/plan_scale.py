"""Time, machines and money for a million, a hundred million and ten billion documents, from measured costs.

usage: python benchmarks/plan_scale.py [--tokens N] [--hours N] [--core-price P] [--gpu-price P] [--disk-price P]
       python benchmarks/plan_scale.py --measure

It prints the tables of `examples/scale.md`; a test compares the two. MEASURED says which run of which benchmark in
`benchmarks/results` gave each figure. Prices are assumptions: put in your own. --measure times what one program does
for all workers before they begin (read, cut into units, name and keep the texts), in seconds of its processor, for
`results/plan_scale.json`.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from workloads import RESULTS, ROOT, describe_machine

from rank_rerank.distributed.corpus_items import Columns, corpus_items
from rank_rerank.distributed.items import Unit
from rank_rerank.distributed.job_folder import JobFolder
from rank_rerank.distributed.manifests import MAX_RESULTS
from rank_rerank.distributed.planning import Planner
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.encoding.projection import Projection, normalize_rows
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.storage.segment import build_segment

DIM = 384
SIZES = (10**6, 10**8, 10**10)
BYTES_PER_WORDPIECE = 4.5
# of the plain encoder's throughput, what is left of it in a job: what bench_distributed.py asks for, not more
JOB_SHARE = 0.9
SECONDS_PER_HOUR, GIGA, TERA = 3600, 1e9, 1e12
FORMATS = {
    "float16": Compression("float16"),
    "int8": Compression("int8"),
    "int4": Compression("int4"),
    "int8, pool 2": Compression("int8", pooling=Pooling(2)),
    "int8, 128 dims": Compression("int8", projection=Projection(DIM, 128)),
    "binary": Compression("binary"),
}
# microseconds per token that is read, and the run that they are of
MEASURED = {
    "core, AVX512-VNNI": ("bench_stages.jsonl", "2026-11-26T02:05:03+00:00"),
    "core, AVX2": ("bench_stages.jsonl", "2026-11-26T02:05:14+00:00"),
    "H100, fp16": ("bench_gpu.json", "encode bundled: rank_rerank fp16"),
}


@dataclass(frozen=True)
class Prices:
    """What things cost, in one currency.

    Attributes:
        core: of a physical core, per hour.
        gpu: of a GPU with its share of a machine, per hour.
        disk: of a terabyte, per month.
    """

    core: float = 0.04
    gpu: float = 3.0
    disk: float = 25.0


def main() -> None:
    """Print the tables, or measure planning."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=180, help="of a document")
    parser.add_argument("--hours", type=float, default=24, help="in which the corpus is to be encoded")
    parser.add_argument("--core-price", type=float, default=Prices.core, help="per hour")
    parser.add_argument("--gpu-price", type=float, default=Prices.gpu, help="per hour")
    parser.add_argument("--disk-price", type=float, default=Prices.disk, help="per terabyte and month")
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    if options.measure:
        measure_planning(100_000, options.tokens)
        return
    prices = Prices(options.core_price, options.gpu_price, options.disk_price)
    print(costs_table(options.tokens))
    print()
    print(formats_table(options.tokens, prices))
    print()
    print(plan_table(options.tokens, options.hours, prices))


def microseconds_per_token() -> dict[str, float]:
    """What one core or one GPU takes to read a token, from the runs that MEASURED names."""
    found: dict[str, float] = {}
    for worker, (file, run) in MEASURED.items():
        text = (RESULTS / file).read_text(encoding="utf-8")
        if file.endswith(".jsonl"):
            rows = [json.loads(line) for line in text.splitlines()]
            row = next(row for row in rows if row["time"] == run and "encode_s" in row)
            seconds = (row["tokenise_s"] + row["encode_s"]) * row["threads"]
            found[worker] = 1e6 * seconds / (row["documents"] * row["tokens"])
        else:
            row = next(row for row in rows_of(json.loads(text)) if row["what"] == run and "texts_per_s" in row)
            found[worker] = 1e6 / (row["texts_per_s"] * row["mean_tokens"])
    return found


def rows_of(value: object) -> list[dict[str, float]]:
    """Every object in a JSON value that says what it is of."""
    if isinstance(value, dict):
        below = [row for each in value.values() for row in rows_of(each)]
        return [value, *below] if "what" in value else below
    return [row for each in value for row in rows_of(each)] if isinstance(value, list) else []


@cache
def bytes_per_document(compression: Compression, tokens: int) -> float:
    """What a store keeps of a document of so many tokens, its text included, measured on a segment of a hundred."""
    generator, count = np.random.default_rng(0), 100
    vectors = normalize_rows(generator.standard_normal((count * tokens, DIM)).astype(np.float32))
    texts = ["x" * round(tokens * BYTES_PER_WORDPIECE)] * count
    compressed = compression.compress(TokenEmbeddings(vectors, np.arange(count + 1) * tokens))
    ids = [f"document-{number:012}" for number in range(count)]
    segment = build_segment(ids, compressed, texts, [b""] * count, None, keep_texts=True)
    return segment.num_bytes / count


def costs_table(tokens: int) -> str:
    """What a worker does in a second."""
    size = bytes_per_document(FORMATS["int8"], tokens)
    lines = [
        "| worker | µs per token | documents per second | in a job | it reads, MB/s | it writes, int8, MB/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for worker, cost in microseconds_per_token().items():
        rate = 1e6 / cost / tokens
        text = rate * JOB_SHARE * tokens * BYTES_PER_WORDPIECE / 1e6
        lines.append(
            f"| {worker} | {cost:.1f} | {rate:,.0f} | {rate * JOB_SHARE:,.0f} | {text:.2f} | "
            f"{rate * JOB_SHARE * size / 1e6:,.1f} |"
        )
    return "\n".join(lines)


def formats_table(tokens: int, prices: Prices) -> str:
    """What each format takes on disks."""
    lines = [
        "| format | bytes per document | 10^6 | 10^8 | 10^10 | 10^8, per month |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, compression in FORMATS.items():
        size = bytes_per_document(compression, tokens)
        cells = [in_terabytes(count * size) for count in SIZES]
        money = SIZES[1] * size / TERA * prices.disk
        lines.append(f"| {name} | {size:,.0f} | {' | '.join(cells)} | {money:,.0f} |")
    return "\n".join(lines)


def plan_table(tokens: int, hours: float, prices: Prices) -> str:
    """Time, machines and money."""
    costs, planned = microseconds_per_token(), json.loads((RESULTS / "plan_scale.json").read_text(encoding="utf-8"))
    columns = [plan_of(count, tokens, hours, prices, costs, planned["documents_per_second"]) for count in SIZES]
    lines = ["| | 10^6 | 10^8 | 10^10 |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {name} | {' | '.join(column[name] for column in columns)} |" for name in columns[0]]
    return "\n".join(lines)


def plan_of(
    count: int, tokens: int, hours: float, prices: Prices, costs: dict[str, float], planning_rate: float
) -> dict[str, str]:
    """One column of the plan."""
    seconds = count * tokens / 1e6 / JOB_SHARE
    core, gpu = (seconds * costs[worker] / SECONDS_PER_HOUR for worker in ("core, AVX512-VNNI", "H100, fp16"))
    size = count * bytes_per_document(FORMATS["int8"], tokens)
    # a unit of 1,024 documents; more of them where a job would have too many units
    per_shard = max(1024, 2 ** int(np.ceil(np.log2(count / MAX_RESULTS))))
    return {
        "core-hours": few(core),
        f"cores for {hours:g} hours": f"{np.ceil(core / hours):,.0f}",
        "money, cores": few(core * prices.core),
        "GPU-hours": few(gpu),
        f"GPUs for {hours:g} hours": f"{np.ceil(gpu / hours):,.0f}",
        "money, GPUs": few(gpu * prices.gpu),
        "store, int8": in_terabytes(size),
        f"written together in {hours:g} hours": in_rate(size / hours / SECONDS_PER_HOUR),
        "texts read": in_terabytes(count * tokens * BYTES_PER_WORDPIECE),
        "one program plans": in_hours(count / planning_rate),
        "and remembers ids in": in_terabytes(16 * count),
        "ids wrongly refused, expected": f"{count**2 / 2**65:.2g}",
        "shards": f"{count / per_shard:,.0f} of {per_shard:,}",
        "segments of a gigabyte": f"{np.ceil(size / 2**30):,.0f}",
    }


def few(value: float) -> str:
    """A number, with decimals while it is small."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def in_terabytes(num_bytes: float) -> str:
    """Bytes, in the unit of disks."""
    if num_bytes >= TERA:
        return f"{num_bytes / TERA:,.1f} TB"
    return f"{num_bytes / GIGA:,.0f} GB" if num_bytes >= 10 * GIGA else f"{num_bytes / GIGA:,.2g} GB"


def in_rate(bytes_per_second: float) -> str:
    """Bytes per second, in the unit of networks."""
    return f"{bytes_per_second / GIGA:,.1f} GB/s" if bytes_per_second >= GIGA else f"{bytes_per_second / 1e6:,.2g} MB/s"


def in_hours(seconds: float) -> str:
    """A time."""
    return f"{seconds / SECONDS_PER_HOUR:,.1f} h" if seconds >= SECONDS_PER_HOUR else f"{seconds / 60:,.1f} min"


def measure_planning(count: int, tokens: int) -> None:
    """Time the first pass of a job over so many documents."""
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    generator, length = np.random.default_rng(0), round(tokens * BYTES_PER_WORDPIECE)
    texts = (
        " ".join(words[index] for index in generator.integers(0, len(words), tokens))[:length] for _ in range(count)
    )
    with tempfile.TemporaryDirectory() as scratch:
        corpus, folder = Path(scratch) / "corpus.jsonl", JobFolder(Path(scratch) / "job", "shards")
        with corpus.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(texts))
        begun = time.process_time()
        digest = folder.create({})
        for listed in Planner(1024).cut(corpus_items([corpus], Columns())):
            folder.write_unit(Unit.of("shard", digest, listed))
        seconds = time.process_time() - begun
        kept = sum(path.stat().st_size for path in folder.path.rglob("*.gz"))
    row = {
        "documents": count,
        "text_bytes": length,
        "documents_per_second": count / seconds,
        "waiting_bytes_per_document": kept / count,
    }
    (RESULTS / "plan_scale.json").write_text(json.dumps({**describe_machine(1), **row}, indent=1) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
