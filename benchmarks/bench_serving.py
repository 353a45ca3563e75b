"""What the server costs, and what it keeps to under load: all over loopback, on this machine.

usage: python benchmarks/bench_serving.py [--seconds 60] [--clients 256] [--sockets 500] [--rounds 300]
                                        [--parts overhead,throughput,overload,slow,leaving,mixed]

Starts ``rank-rerank serve`` with the bundled model in a process of its own, and asks it from this one. Every answer is
compared with what ``rerank`` gives in this process, bit for bit.

overhead    20 short documents over one connection and in process, in turn
throughput  documents per second of 8 clients, and of calls in process, in turn
overload    clients at five times what the server can do, arriving at a rate; each second what the server holds; then
            the same for a moment, whose clients all leave at once: how long until a short request takes twice its time
            alone at most
slow        sockets that send a byte per second, while one client asks as usual
leaving     a client sends a long request and leaves: how long its work stays
mixed       short requests alone, and beside two clients that rank a thousand documents each

--seconds is the length of overload and of slow. Other parts take a fifth of it or a number of rounds. A figure that
breaks its limit is marked. The command ends with 1 after an answer that is wrong or 5xx.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from serving_load import (
    Connection,
    Question,
    Tally,
    ask_at_rate,
    ask_in_turn,
    ask_one,
    hold_slow_sockets,
    make_questions,
    memory_over_time,
    milliseconds,
    outcome,
    queued,
    request_bytes,
    resident_mb,
    running_server,
    within,
)
from workloads import describe_machine, write_result

import rank_rerank
from rank_rerank.devices import default_num_threads

DEADLINE_S = 9.0
TIMES_CAPACITY = 5
BUSY_CLIENTS = 8
LEAVE_S = 2.0
GIVE_UP_S = 60.0
PARTS = "overhead,throughput,overload,slow,leaving,mixed"


@dataclass(frozen=True)
class Bench:
    """What all parts need.

    Attributes:
        options: of the command.
        port: of the server.
        process: of the server, its id.
        reranker: the same model in this process.
        short: questions with 20 short documents.
        middle: questions with 100 documents of 40 words.
    """

    options: argparse.Namespace
    port: int
    process: int
    reranker: rank_rerank.ColbertReranker
    short: list[Question]
    middle: list[Question]


def main() -> None:
    """Run every part, print its row and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=256)
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--parts", default=PARTS)
    options = parser.parse_args()
    machine = describe_machine(default_num_threads())
    print(json.dumps(machine))
    reranker = rank_rerank.load()
    short = make_questions(reranker, count=8, documents=20, words=8)
    middle = make_questions(reranker, count=8, documents=100, words=40)
    rows: list[dict[str, Any]] = []
    with running_server("--deadline-s", str(DEADLINE_S)) as (port, process):
        bench = Bench(options, port, process, reranker, short, middle)
        warm_up(bench)
        for part in options.parts.split(","):
            row = {"part": part, **asyncio.run(MEASURES[part](bench))}
            print(json.dumps(row), flush=True)
            rows.append(row)
        rss_mb = round(resident_mb(process), 1)
    rows = [{**machine, "seconds": options.seconds, "rss_mb_after": rss_mb, **row} for row in rows]
    print(f"written to {write_result('bench_serving', rows)}")
    if any(row.get("wrong") or row.get("server_errors") for row in rows):
        raise SystemExit("an answer was wrong, or 5xx")


def warm_up(bench: Bench) -> None:
    """Let the server learn how fast it is; every answer must be right before anything is timed."""
    tally = asyncio.run(ask_in_turn(bench.port, [*bench.short, *bench.middle], 2, 2.0))
    if tally.wrong or tally.broken or set(tally.statuses) != {200}:
        raise SystemExit(f"the server's answers are not those of rerank: {tally.statuses}, {tally.wrong} wrong")


async def measure_overhead(bench: Bench) -> dict[str, Any]:
    """Seconds of one question at a time, over HTTP and in process in turn."""
    tally, in_process = Tally(), list[float]()
    connection = Connection(bench.port)
    for number in range(bench.options.rounds):
        question = bench.short[number % len(bench.short)]
        await ask_one(connection, question, tally)
        begun = time.perf_counter()
        bench.reranker.rerank(question.query, question.documents)
        in_process.append(time.perf_counter() - begun)
    connection.close()
    http_ms, own_ms = milliseconds(tally.accepted_s, 0.5), milliseconds(in_process, 0.5)
    return {
        "http_p50_ms": http_ms,
        "in_process_p50_ms": own_ms,
        "overhead_ms": within(round(http_ms - own_ms, 2), 2.0),
        **outcome(tally),
    }


async def measure_throughput(bench: Bench) -> dict[str, Any]:
    """Documents per second over HTTP and in process, three stretches of each in turn."""
    stretch_s = max(1.0, bench.options.seconds / 15)
    rates: dict[str, list[float]] = {"http": [], "in_process": []}
    tallies: list[Tally] = []
    for _ in range(3):
        begun = time.perf_counter()
        tallies.append(await ask_in_turn(bench.port, bench.middle, BUSY_CLIENTS, stretch_s))
        rates["http"].append(100 * len(tallies[-1].accepted_s) / (time.perf_counter() - begun))
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < stretch_s:
            question = bench.middle[done % len(bench.middle)]
            bench.reranker.rerank(question.query, question.documents)
            done += 1
        rates["in_process"].append(100 * done / (time.perf_counter() - begun))
    http, own = statistics.median(rates["http"]), statistics.median(rates["in_process"])
    return {
        "http_documents_per_s": round(http),
        "in_process_documents_per_s": round(own),
        "share": within(round(http / own, 3), 0.9, at_least=True),
        **outcome(*tallies),
    }


async def measure_overload(bench: Bench) -> dict[str, Any]:
    """Five times what the server can do; then all clients leave, and it must be as before."""
    seconds, clients = bench.options.seconds, bench.options.clients
    begun = time.perf_counter()
    known = await ask_in_turn(bench.port, bench.middle, BUSY_CLIENTS, max(2.0, seconds / 10))
    capacity = len(known.accepted_s) / (time.perf_counter() - begun)
    rate = TIMES_CAPACITY * capacity
    tally, memory = await asyncio.gather(
        ask_at_rate(bench.port, bench.middle, clients, rate=rate, seconds=seconds),
        memory_over_time(bench.process, seconds),
    )
    # the first answers fill what is kept for the next ones
    settled = memory[len(memory) // 5]
    alone = milliseconds((await ask_in_turn(bench.port, bench.short, 1, 1.0)).accepted_s, 0.95)
    await ask_at_rate(bench.port, bench.middle, clients, rate=rate, seconds=LEAVE_S, leave=True)
    recovered_s = await until_quick(bench, 2 * alone)
    return {
        "clients": clients,
        "capacity_per_s": round(capacity, 2),
        "offered_per_s": round(tally.sent / seconds, 2),
        "accepted": len(tally.accepted_s),
        "accepted_p50_ms": milliseconds(tally.accepted_s, 0.5),
        "accepted_p99_ms": within(milliseconds(tally.accepted_s, 0.99), 1000 * DEADLINE_S),
        "refused": len(tally.refused_s),
        "refused_p99_ms": milliseconds(tally.refused_s, 0.99),
        "refused_after_a_second": sum(each > 1 for each in tally.refused_s),
        "rss_mb_settled": round(settled, 1),
        "rss_mb_most": round(max(memory), 1),
        "rss_mb_each_second": [round(each) for each in memory],
        "recovered_s": within(round(recovered_s, 2), 5.0),
        **outcome(tally),
    }


async def until_quick(bench: Bench, limit_ms: float) -> float:
    """Seconds until three short requests in a row take no longer than a limit."""
    begun, connection, in_a_row = time.perf_counter(), Connection(bench.port), 0
    while in_a_row < 3 and time.perf_counter() - begun < GIVE_UP_S:
        tally = Tally()
        await ask_one(connection, bench.short[0], tally)
        in_a_row = in_a_row + 1 if milliseconds(tally.accepted_s, 1.0) <= limit_ms else 0
    connection.close()
    return time.perf_counter() - begun


async def measure_slow(bench: Bench) -> dict[str, Any]:
    """An ordinary client alone, and beside slow sockets."""
    seconds = bench.options.seconds
    alone = await ask_in_turn(bench.port, bench.short, 1, max(2.0, seconds / 5))
    beside, thrown_out = await asyncio.gather(
        ask_in_turn(bench.port, bench.short, 1, seconds),
        hold_slow_sockets(bench.port, bench.options.sockets, seconds),
    )
    alone_ms, beside_ms = milliseconds(alone.accepted_s, 0.99), milliseconds(beside.accepted_s, 0.99)
    return {
        "sockets": bench.options.sockets,
        "thrown_out": thrown_out,
        "alone_p99_ms": alone_ms,
        "beside_p99_ms": beside_ms,
        "times": within(round(beside_ms / alone_ms, 2), 2.0),
        **outcome(beside),
    }


async def measure_leaving(bench: Bench) -> dict[str, Any]:
    """Seconds from a client's leaving until the queue is empty."""
    texts = [text for question in bench.middle for text in question.documents]
    long = request_bytes(
        {"query": "which river", "documents": [f"{text} {turn}" for turn in range(3) for text in texts]}
    )
    freed_s = [await _leave(bench, long) for _ in range(max(3, bench.options.rounds // 30))]
    return {
        "times_left": len(freed_s),
        "freed_p50_ms": milliseconds(freed_s, 0.5),
        "freed_most_ms": within(milliseconds(freed_s, 1.0), 100.0),
    }


async def _leave(bench: Bench, content: bytes) -> float:
    watcher, connection = Connection(bench.port), Connection(bench.port)
    asking = asyncio.create_task(connection.ask(content))
    while await queued(watcher) == 0:
        if asking.done():
            raise SystemExit(f"the long request was answered before its client could leave: {asking.result()[0]}")
    asking.cancel()
    connection.close()
    begun = time.perf_counter()
    while await queued(watcher) > 0:
        if time.perf_counter() - begun > GIVE_UP_S:
            raise SystemExit("work of a client that left was never dropped")
    watcher.close()
    return time.perf_counter() - begun


async def measure_mixed(bench: Bench) -> dict[str, Any]:
    """Short requests alone, and beside long ones, in turn."""
    stretch_s = max(2.0, bench.options.seconds / 15)
    long = make_questions(bench.reranker, count=1, documents=1000, words=40)
    alone, beside, large = list[Tally](), list[Tally](), list[Tally]()
    for _ in range(3):
        alone.append(await ask_in_turn(bench.port, bench.short, 1, stretch_s))
        some = await asyncio.gather(
            ask_in_turn(bench.port, bench.short, 1, stretch_s), ask_in_turn(bench.port, long, 2, stretch_s)
        )
        beside.append(some[0])
        large.append(some[1])
    alone_ms, beside_ms = milliseconds(all_accepted(alone), 0.95), milliseconds(all_accepted(beside), 0.95)
    return {
        "alone_p50_ms": milliseconds(all_accepted(alone), 0.5),
        "beside_p50_ms": milliseconds(all_accepted(beside), 0.5),
        "alone_p95_ms": alone_ms,
        "beside_p95_ms": beside_ms,
        "times": within(round(beside_ms / alone_ms, 2), 3.0),
        "long_answered": len(all_accepted(large)),
        "long_p50_ms": milliseconds(all_accepted(large), 0.5),
        **outcome(*alone, *beside, *large),
    }


def all_accepted(tallies: Sequence[Tally]) -> list[float]:
    """Seconds of each answer."""
    return [each for tally in tallies for each in tally.accepted_s]


MEASURES: dict[str, Callable[[Bench], Coroutine[Any, Any, dict[str, Any]]]] = {
    "overhead": measure_overhead,
    "throughput": measure_throughput,
    "overload": measure_overload,
    "slow": measure_slow,
    "leaving": measure_leaving,
    "mixed": measure_mixed,
}

if __name__ == "__main__":
    main()
