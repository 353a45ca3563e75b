"""What the server counts, for Prometheus; no label is a text of the user's."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from rank_rerank.arguments import is_folder

#: the variable by which prometheus-client joins the counts of several processes
SHARED_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        kept = self._registry
        self.requests = Counter("rank_rerank_requests", "Requests.", ["route", "model", "status"], registry=kept)
        self.seconds = Histogram(
            "rank_rerank_request_seconds", "Time of a request.", ["route", "model"], registry=kept, buckets=SECONDS
        )
        self.documents = Counter("rank_rerank_documents", "Documents ranked.", ["model"], registry=kept)
        self.truncated = Counter("rank_rerank_truncated", "Documents not read to their end.", ["model"], registry=kept)
        self.tokens = Counter("rank_rerank_tokens", "Tokens read by a model.", ["model"], registry=kept)
        self.computed = Counter("rank_rerank_work_tokens", "Estimated tokens of work done.", registry=kept)
        self.queued = Gauge(
            "rank_rerank_queued_tokens", "Estimated tokens waiting.", registry=kept, multiprocess_mode="livesum"
        )
        self.waiting = Gauge(
            "rank_rerank_queued_requests", "Requests waiting.", registry=kept, multiprocess_mode="livesum"
        )
        self.cache = Counter("rank_rerank_text_cache", "Texts looked up in the cache.", ["result"], registry=kept)
        self.memory = Counter(
            "rank_rerank_memory_cache", "Texts looked up in the cache in memory.", ["result"], registry=kept
        )
        self.memory_bytes = Gauge(
            "rank_rerank_memory_cache_bytes", "Bytes it holds.", registry=kept, multiprocess_mode="livesum"
        )
        self.unread = Counter(
            "rank_rerank_unread", "Documents not read: a budget was over, or hits settled.", ["model"], registry=kept
        )

    def looked_up(self, found: int, missing: int) -> None:
        """Count texts that the cache in memory had, and had not."""
        self.memory.labels("found").inc(found)
        self.memory.labels("missing").inc(missing)

    def cached(self, found: int, missing: int) -> None:
        """Count texts that a cache had, and had not."""
        self.cache.labels("found").inc(found)
        self.cache.labels("missing").inc(missing)

    def text(self) -> bytes:
        """All counts, of all processes if several share them."""
        folder = os.environ.get(SHARED_FOLDER_VARIABLE)
        if not folder or not is_folder(folder):
            return generate_latest(self._registry)
        joined = CollectorRegistry()
        multiprocess.MultiProcessCollector(joined)
        return generate_latest(joined)
