"""Metrics for Prometheus, right over several processes and their restarts; `prometheus-client` is an extra.

What a signature counts goes into a queue, an append and no more; the Watcher writes it into the metrics once a second.
Labels are account names, kinds and codes of ours: never a URL, an address or anything that a caller sent.
"""

from __future__ import annotations

import logging
import struct
import time
from collections import Counter as Tally
from collections import deque
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import prometheus_client as prometheus
from prometheus_client import multiprocess, values

from wxsign import __version__
from wxsign.broker import Adopted, Outcome, RefreshEvent
from wxsign.credentials import sort_of
from wxsign.errors import WeChatRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wxsign.accounts import AccountRegistry
    from wxsign.broker import CredentialBroker, Spending
    from wxsign.observers.faults import Fault
    from wxsign.stores import CredentialStore

logger = logging.getLogger("wxsign.metrics")

CONTENT_TYPE: Final = prometheus.CONTENT_TYPE_LATEST
GAUGES_SECONDS: Final = 5.0
QUOTA_SECONDS: Final = 60.0
# What a process may have signed before its Watcher comes by; beyond it the oldest go uncounted.
WAITING: Final = 1_000_000
LOOKS: Final = 100
LOOK_AGAIN_SECONDS: Final = 0.01
CALL_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
STORE_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0)


class Metrics:
    """The metrics of one process. `registry` takes the place of the library's own, for tests.

    `note(account, result)` counts a signature. Everything else is observed, or looked up once every few seconds.
    """

    def __init__(self, registry: prometheus.CollectorRegistry = prometheus.REGISTRY) -> None:
        self._waiting: deque[tuple[str, str]] = deque(maxlen=WAITING)
        self.note: Callable[[tuple[str, str]], None] = self._waiting.append
        self._next_gauges = self._next_quota = float("-inf")
        self._codes: set[str] = set()
        counter = partial(prometheus.Counter, registry=registry)
        histogram = partial(prometheus.Histogram, registry=registry)
        gauge = partial(prometheus.Gauge, registry=registry, multiprocess_mode="livemax")
        self._signatures = counter("wxsign_signatures", "Answers to /jsconfig.", ("account", "result"))
        self._pages = counter(
            "wxsign_page_outcomes",
            "What pages report of signatures of ours.",
            ("account", "platform", "outcome"),
        )
        self._calls = counter(
            "wxsign_wechat_calls",
            "Calls of WeChat; errcode 0 is a good answer, else WeChat's or a code of ours.",
            ("endpoint", "errcode"),
        )
        self._refreshes = counter(
            "wxsign_refresh", "Refreshes, by how they ended.", ("account", "kind", "outcome")
        )
        self._refresh_seconds = histogram(
            "wxsign_refresh_seconds", "How long calls of WeChat took.", ("kind",), buckets=CALL_BUCKETS
        )
        self._store_seconds = histogram(
            "wxsign_store_operation_seconds",
            "How long operations of the store took.",
            ("operation",),
            buckets=STORE_BUCKETS,
        )
        self._usable = gauge(
            "wxsign_credential_usable_seconds",
            "Seconds that a credential in use may still be served; 0 where there is none.",
            ("account", "kind"),
        )
        self._quota = gauge(
            "wxsign_quota_remaining",
            "Calls of today that are left, by our own count.",
            ("account", "endpoint"),
            multiprocess_mode="livemin",
        )
        self._faults = gauge("wxsign_faults", "Faults that stand now, by code.", ("code",))
        gauge("wxsign_build_info", "The running version.", ("version",)).labels(__version__).set(1)

    def note_page(self, labels: tuple[str, str, str]) -> None:
        """Count a report of a page: account, platform, outcome."""
        self._pages.labels(*labels).inc()

    def observe(self, event: RefreshEvent | Adopted, registry: AccountRegistry) -> None:
        """Count a call of WeChat that ended."""
        if isinstance(event, Adopted):
            return
        name, kind = registry.get(event.key.owner).name, str(event.key.kind)
        self._refreshes.labels(name, kind, str(event.outcome)).inc()
        self._refresh_seconds.labels(kind).observe(event.seconds)
        self._calls.labels(_call(event), _errcode(event)).inc()

    def look(
        self, broker: CredentialBroker, registry: AccountRegistry, faults: Callable[[], Sequence[Fault]]
    ) -> None:
        """Write down what waits; every few seconds the gauges as well. Called by the Watcher. Raises nothing."""
        try:
            self.flush()
            self._show(broker, registry, faults)
        except Exception:
            logger.exception("wxsign.metrics_failed")

    def _show(
        self, broker: CredentialBroker, registry: AccountRegistry, faults: Callable[[], Sequence[Fault]]
    ) -> None:
        now = broker.boot_now()
        if now >= self._next_gauges:
            self._next_gauges = now + GAUGES_SECONDS
            self._show_credentials(broker, registry)
            self._show_faults(faults())
        if now >= self._next_quota and broker.link.lost is None:
            self._next_quota = now + QUOTA_SECONDS
            self._show_quota(broker.spending(broker.wanted()), registry)

    def flush(self) -> None:
        """Count the signatures that wait."""
        tally = Tally(self._waiting.popleft() for _ in range(len(self._waiting)))
        for labels, count in tally.items():
            self._signatures.labels(*labels).inc(count)

    def timed(self, store: CredentialStore) -> CredentialStore:
        """The store, with the time of each operation observed."""
        return _Timed(store, self._store_seconds)

    def _show_credentials(self, broker: CredentialBroker, registry: AccountRegistry) -> None:
        for key in broker.wanted():
            held, _ = broker.standing(key)
            left = max(0.0, held.usable_until - broker.boot_now()) if held else 0.0
            self._usable.labels(registry.get(key.owner).name, str(key.kind)).set(left)

    def _show_faults(self, faults: Iterable[Fault]) -> None:
        tally = Tally(fault.code for fault in faults)
        # What was once shown goes back to 0: a file of a process keeps its series.
        self._codes |= tally.keys()
        for code in self._codes:
            self._faults.labels(code).set(tally[code])

    def _show_quota(self, spending: Mapping[str, Sequence[Spending]], registry: AccountRegistry) -> None:
        for app_id, rows in spending.items():
            for row in rows:
                name = registry.get(app_id).name
                self._quota.labels(name, row.endpoint).set(max(0, row.limit - row.used))


class _Timed:
    """Hands everything on to a store, and observes how long its methods take."""

    def __init__(self, store: CredentialStore, seconds: prometheus.Histogram) -> None:
        self._store = store
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        found = getattr(self._store, name)
        if not callable(found) or name.startswith("_"):
            return found
        timer = self._seconds.labels(name)

        def timed(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - see above
            with timer.time():
                return found(*arguments, **named)

        return timed

    def __repr__(self) -> str:
        return repr(self._store)


def _errcode(event: RefreshEvent) -> str:
    if isinstance(event.error, WeChatRefused):
        return str(event.error.errcode)
    return event.error.code if event.error is not None else "0"


def _call(event: RefreshEvent) -> str:
    sort = sort_of(event.key)
    return (sort.alive_by or sort.call) if event.outcome in {Outcome.ALIVE, Outcome.DEAD} else sort.call


@cache
def of_this_process() -> Metrics:
    """The metrics of this process, in the library's own registry: there is one."""
    return Metrics()


def exposition(pause: Callable[[float], object] = time.sleep) -> bytes:
    """All metrics of all processes as Prometheus reads them. Raises `OSError` where their files cannot be read."""
    if values.ValueClass is values.MutexValue:
        return prometheus.generate_latest()
    for _ in range(LOOKS):
        registry = prometheus.CollectorRegistry()
        try:
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return prometheus.generate_latest(registry)
        except (FileNotFoundError, struct.error):
            # The file of a worker that starts is empty for a moment, and one that ended takes its gauges along.
            pause(LOOK_AGAIN_SECONDS)
    raise OSError("the files of the metrics cannot be read")
