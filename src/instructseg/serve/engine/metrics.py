"""Prometheus metrics of one server."""

from __future__ import annotations

from collections.abc import Sized

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from instructseg.serve.messages import SessionUse

SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60)


class Metrics:
    """Counters, gauges and histograms in a registry of their own, so that two servers of a process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        name = "instructseg"
        self.requests = Counter(
            f"{name}_requests", "Answered requests.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            f"{name}_request_seconds", "Seconds from the first byte of a request to the last of its answer.",
            ["method", "route"], buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batch_size = Histogram(
            f"{name}_batch_requests", "Requests of a batch.", buckets=(1, 2, 4, 8, 16, 32), registry=self.registry
        )
        self.batch_seconds = Histogram(
            f"{name}_batch_seconds", "Seconds to compute a batch.", buckets=SECONDS, registry=self.registry
        )
        self.restarts = Counter(f"{name}_worker_restarts", "Unexpected ends of the worker.", registry=self.registry)
        self._waiting = Gauge(f"{name}_waiting_requests", "Photo requests in the queue.", registry=self.registry)
        self._sessions = Gauge(f"{name}_sessions", "Kept sessions.", registry=self.registry)
        self._session_bytes = Gauge(f"{name}_session_bytes", "Bytes of kept sessions.", registry=self.registry)
        self._clips = Gauge(f"{name}_active_clips", "Clips that wait or run.", registry=self.registry)
        ProcessCollector(registry=self.registry)

    def set_state(self, queue: Sized, sessions: SessionUse, clips: Sized) -> None:
        """Update the gauges."""
        self._waiting.set(len(queue))
        self._sessions.set(sessions.count)
        self._session_bytes.set(sessions.size)
        self._clips.set(len(clips))

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
