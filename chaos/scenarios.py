"""The table of what breaks, one scenario after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from chaos import faults
from chaos.site import EGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaos.faults import Fault

# Longer than a scenario: the ticket of the start is good to its end.
LONG: Final[Mapping[str, object]] = {
    "ticket_life_seconds": 120,
    "token_life_seconds": 60,
    "latency_seconds": 0.1,
}
# Shorter than an outage: the ticket runs out while WeChat fails.
SHORT: Final = {**LONG, "ticket_life_seconds": 12}
OUTAGE_SECONDS: Final = 16.0
NEW_WORKER: Final = "Booting worker"
NEW_VALUE: Final = "wxsign.refreshed"
STORE_LOST: Final = "wxsign.store_lost"


@dataclass(frozen=True)
class Scenario:
    """One way to break.

    `in_flight` and `recovery_seconds` are what is allowed. `seconds` is how long it lasts, where the command's own length does
    not fit. `rotation_excuses` refusals within a poll interval and 2 s of the end of a ticket. An
    `instant` fault is over at once: recovery counts from there. In an `outage` WeChat gives no ticket to anybody, and there may be none to be had. The address `shut_out` asks WeChat once at the
    most. `trace` is what the logs must say from then on: a fault that nobody felt proves nothing.
    """

    name: str
    what: str
    fault: Fault
    store: str = "redis"
    lives: Mapping[str, object] = field(default_factory=lambda: LONG)
    seconds: float | None = None
    in_flight: int = 1
    recovery_seconds: float = 10.0
    rotation_excuses: bool = True
    instant: bool = False
    outage: bool = False
    shut_out: str = ""
    trace: str = ""


def _store(
    name: str,
    what: str,
    fault: Fault,
    store: str = "redis",
    *,
    trace: str = STORE_LOST,
    instant: bool = False,
) -> Scenario:
    # A lease that was lost with its store lets a second call in.
    return Scenario(name, what, fault, store, trace=trace, in_flight=2, instant=instant)


def _outage(name: str, what: str, fault: Fault, trace: str, recovery_seconds: float = 10.0) -> Scenario:
    return Scenario(
        name,
        what,
        fault,
        "redis",
        SHORT,
        OUTAGE_SECONDS,
        recovery_seconds=recovery_seconds,
        outage=True,
        trace=trace,
    )


def _calls(kind: str, *endpoints: str, **more: object) -> Fault:
    return faults.wechat(kind, *endpoints, **more)


PROCESSES: Final = (
    Scenario(
        "worker-killed", "SIGKILL to a random worker every 1.5 s", faults.workers_killed, trace=NEW_WORKER
    ),
    Scenario("worker-stopped", "SIGSTOP to one worker of each machine", faults.workers_stopped, in_flight=2),
    Scenario(
        "lease-holder-killed",
        "SIGKILL to the worker that is just fetching the ticket",
        faults.holder_killed,
        instant=True,
        trace=NEW_WORKER,
    ),
    Scenario(
        "lease-holder-stopped",
        "SIGSTOP to the worker that is just fetching the ticket, for longer than its lease; WeChat leaves its call hanging",
        faults.holder_stopped,
        in_flight=2,
    ),
    Scenario(
        "machine-lost",
        "SIGKILL to one of the two gunicorns and all its workers at once",
        faults.machine_lost,
        trace=NEW_WORKER,
    ),
    Scenario(
        "reload",
        "SIGHUP to one gunicorn, then to the other: every worker is a new one",
        faults.reloaded,
        trace=NEW_WORKER,
    ),
)

STORES: Final = (
    _store("redis-killed", "SIGKILL to Redis, which comes back empty", faults.redis_killed),
    _store("redis-stopped", "SIGSTOP to Redis: it takes connections and never answers", faults.redis_stopped),
    _store("redis-emptied", "FLUSHALL every 2 s", faults.redis_emptied, trace=""),
    _store("redis-slow", "every answer of Redis comes 0.3 s late", faults.redis_slow, "slow", trace=""),
    _store("redis-full", "Redis refuses writes: its memory is full", faults.redis_full),
    _store("redis-read-only", "Redis became a replica: it refuses writes", faults.redis_read_only),
    _store(
        "redis-failed-over",
        "SIGKILL to the primary; the Sentinels make the replica the primary",
        faults.primary_lost,
        "sentinel",
        instant=True,
    ),
    _store(
        "redis-node-lost",
        "SIGKILL to the node of a Cluster that has the keys; its replica takes over",
        faults.primary_lost,
        "cluster",
        instant=True,
    ),
    Scenario(
        "redis-down-and-all-restarted",
        "Redis is dead, and every worker of both machines is killed and starts with nothing",
        faults.redis_down_and_all_restarted,
        trace=STORE_LOST,
        # Without the store leases are each machine's own, and there are two.
        in_flight=2,
    ),
    _store("sqlite-locked", "another process holds the file's lock", faults.sqlite_locked, "sqlite"),
    _store("sqlite-read-only", "the file system is mounted read-only", faults.sqlite_read_only, "disk"),
    _store("sqlite-disk-full", "the file system is full to the last byte", faults.disk_full, "disk"),
    _store(
        "sqlite-corrupt",
        "the file's first page is overwritten",
        faults.sqlite_corrupt,
        "sqlite",
        trace="wxsign.store_set_aside",
        instant=True,
    ),
)

WECHAT: Final = (
    _outage("wechat-busy", "errcode -1 to everything", _calls("errcode", errcode=-1), '"errcode": -1'),
    _outage(
        "wechat-40001",
        "errcode 40001 to every ticket call, although the token is good",
        _calls("errcode", "getticket", errcode=40001),
        '"errcode": 40001',
    ),
    _outage(
        "wechat-42001",
        "errcode 42001 to every ticket call, although the token is good",
        _calls("errcode", "getticket", errcode=42001),
        '"errcode": 42001',
    ),
    _outage(
        "wechat-45009",
        "errcode 45009, the day's quota is spent; then `wxsign refresh`, as by itself the next probe comes within an hour",
        faults.quota_spent,
        '"errcode": 45009',
    ),
    Scenario(
        "wechat-40164-one",
        "one of the two machines is not whitelisted any more",
        faults.whitelist(EGRESS[0]),
        lives=SHORT,
        seconds=OUTAGE_SECONDS,
        shut_out=EGRESS[1],
        trace='"errcode": 40164',
    ),
    _outage(
        "wechat-40164-all",
        "no machine is whitelisted any more",
        faults.whitelist("192.0.2.0/24"),
        '"errcode": 40164',
        recovery_seconds=70,
    ),
    Scenario(
        "wechat-one-cut-off",
        "one machine cannot reach WeChat",
        faults.one_machine_cut_off,
        lives=SHORT,
        seconds=OUTAGE_SECONDS,
        trace="wechat_connect",
    ),
    _outage("wechat-5xx", "status 502 to everything", _calls("status", status=502), "wechat_http_status"),
    _outage("wechat-html", "an HTML page with status 200", _calls("html"), "wechat_not_json"),
    _outage("wechat-truncated", "JSON that breaks off", _calls("truncated"), "wechat_truncated"),
    _outage("wechat-reset", "connections are reset", _calls("reset"), "wechat_reset"),
    _outage("wechat-dripping", "answers drip, a byte a second", _calls("drip"), "wechat_timeout"),
    _outage("wechat-hanging", "every call hangs for 30 s", _calls("hang", seconds=30), "wechat_timeout"),
    Scenario(
        "ticket-taken",
        "another system replaced the ticket: the old one is dead at once",
        faults.happening("ticket-rotated"),
        instant=True,
        trace=NEW_VALUE,
    ),
    Scenario(
        "ticket-taken-overlap",
        "the same, and WeChat lets the old one live on for 30 s",
        faults.happening("ticket-rotated"),
        instant=True,
        lives={**LONG, "ticket_overlap_seconds": 30},
        rotation_excuses=False,
        trace=NEW_VALUE,
    ),
    Scenario(
        "token-taken",
        "another system forced a new access_token out: ours is dead",
        faults.happening("token-taken"),
        instant=True,
        trace="wxsign.token_taken",
    ),
    Scenario(
        "both-taken",
        "another system replaced token and ticket",
        faults.happening("thief"),
        instant=True,
        trace="wxsign.token_taken",
    ),
)

CLOCKS: Final = (
    Scenario("clock-forward", "the machine's clock jumps ahead an hour", faults.clock(3600), "sqlite"),
    Scenario("clock-back", "the machine's clock jumps back an hour", faults.clock(-3600), "sqlite"),
    Scenario(
        "clock-skew",
        "one machine's clock is 25 s ahead of Redis's",
        faults.clock(25, which=1),
        trace="wxsign.clock_skewed",
    ),
)

SCENARIOS: Final = {scenario.name: scenario for scenario in (*PROCESSES, *STORES, *WECHAT, *CLOCKS)}
