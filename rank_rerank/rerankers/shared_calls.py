"""SharedCalls: calls that wait at the same time are answered together, with the bits that each would get alone."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rank_rerank.kernels.forking import renew_after_fork
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers.cancellation import abandoned_when

RankMany: TypeAlias = Callable[[Sequence[str], Sequence[Iterable[object]]], list[Ranking]]


@dataclass(frozen=True, eq=False)
class Call:
    """One caller's queries with their candidates.

    Attributes:
        queries: texts.
        documents_per_query: as many lists.
        options: only calls with equal options are answered together.
        rank_many: answers queries with these options, whoever's they are.
        rank_alone: answers this call, with errors in the caller's own terms.
        future: what the caller waits for.
    """

    queries: Sequence[str]
    documents_per_query: Sequence[Iterable[object]]
    options: Any
    rank_many: RankMany
    rank_alone: Callable[[], list[Ranking]]
    future: Future[list[Ranking]] = field(default_factory=Future[list[Ranking]])


class SharedCalls:
    """The calls that wait for one reranker, from any thread or event loop.

    A call that comes alone is answered at once. Calls that come while one is at work wait for it and are then answered
    together: a text that several have among their candidates is encoded once, and short lists share windows. A call
    that is cancelled is dropped; if it is at work already, the work ends before its next window, unless others wait
    for it too.
    """

    def __init__(self) -> None:
        self._begin()
        renew_after_fork(self, SharedCalls._begin)

    def _begin(self) -> None:
        """Have no calls: those that a forked child finds are its parent's, and so is the thread that answers them."""
        self._lock = threading.Lock()
        self._waiting: list[Call] = []
        self._is_working = False

    def __reduce__(self) -> tuple[type["SharedCalls"], tuple[()]]:
        """A copy, or another process, has no calls yet."""
        return SharedCalls, ()

    async def rank(self, call: Call) -> list[Ranking]:
        """Wait for a call's rankings; errors are those of its ``rank_alone``."""
        import asyncio  # noqa: PLC0415 - loaded by whoever awaits this, and with TLS by it

        with self._lock:
            self._waiting.append(call)
            if not self._is_working:
                # not a daemon: a program that ends waits for the window at hand, not for the calls it has cancelled
                threading.Thread(target=self._work, name="rank-rerank").start()
                self._is_working = True
        return await asyncio.wrap_future(call.future)

    def _work(self) -> None:
        while group := self._next_group():
            _answer(group)

    def _next_group(self) -> list[Call]:
        """The call that has waited longest, with all that can be answered with it."""
        with self._lock:
            waiting = [call for call in self._waiting if not call.future.cancelled()]
            group = [call for call in waiting if call.options == waiting[0].options]
            self._waiting = [call for call in waiting if call.options != waiting[0].options]
            self._is_working = bool(group)
        return group


def _answer(group: list[Call]) -> None:
    with abandoned_when(lambda: all(call.future.cancelled() for call in group)):
        try:
            rankings = _rank(group)
        except CancelledError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
            if len(group) > 1:
                # one caller's mistake is nobody else's
                for call in group:
                    _answer([call])
            elif group[0].future.set_running_or_notify_cancel():
                group[0].future.set_exception(error)
            return
    for call in group:
        mine, rankings = rankings[: len(call.queries)], rankings[len(call.queries) :]
        if call.future.set_running_or_notify_cancel():
            call.future.set_result(mine)


def _rank(group: list[Call]) -> list[Ranking]:
    if len(group) == 1:
        return group[0].rank_alone()
    queries = [query for call in group for query in call.queries]
    return group[0].rank_many(queries, [documents for call in group for documents in call.documents_per_query])
