"""The table, and the page of documentation around it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.judge import Row
    from chaos.scenarios import Scenario

_HEAD: Final = (
    "scenario",
    "requests",
    "answered 200",
    "refused by WeChat (too late)",
    "lost",
    "none to be had",
    "calls",
    "in flight",
    "quiet p50 / p99 ms",
    "fault p50 / p99 ms",
    "recovery s",
)


@dataclass(frozen=True)
class Outcome:
    """A scenario, its row unless it was skipped, what it broke, and why it was skipped."""

    scenario: Scenario
    row: Row | None
    breaches: tuple[str, ...]
    skipped: str = ""

    @property
    def line(self) -> str:
        """One line for the terminal."""
        if self.row is None:
            return f"skipped {self.scenario.name}: {self.skipped}"
        verdict = "BROKEN " if self.breaches else "kept   "
        return (
            f"{verdict} {self.scenario.name}: {'; '.join(self.breaches) or ' | '.join(_cells(self.row)[1:])}"
        )


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the rows as a Markdown table."""
    lines = [_line(_HEAD), _line(["---"] + ["---:"] * (len(_HEAD) - 1))]
    lines += [_line(_cells(outcome.row)) for outcome in outcomes if outcome.row is not None]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> list[str]:
    return [
        row.name,
        str(row.requests),
        str(row.answered),
        f"{row.refused} ({row.refused_late})",
        str(row.lost),
        str(row.none_to_be_had),
        str(row.calls),
        str(row.in_flight),
        f"{row.quiet_ms[0]:.1f} / {row.quiet_ms[1]:.1f}",
        f"{row.fault_ms[0]:.1f} / {row.fault_ms[1]:.1f}",
        f"{row.recovery_seconds:.1f}",
    ]


_PAGE: Final = """# Reliability: what happens when a part breaks

本页是故障演练的结果：两台机器（各 4 个 worker）、一个 Redis、nginx 和模拟的微信，在持续请求下逐项注入故障。“lost”列表示本可得到有效签名却没有得到的
请求数，必须为 0；“refused by WeChat”括号内是微信会拒绝、且不能用票据刚被替换来解释的签名数，也必须为 0。

Every line of this page was measured, by this command:

    make chaos ARGS="--write docs/reliability.md"

It starts a whole installation for each scenario: two gunicorns with four workers each, two machines as far as they know
(names, addresses and clocks of their own), one Redis, nginx with [deploy/nginx.conf](../deploy/nginx.conf) in front, and the
sandbox as WeChat. {rate:g} requests a second for `/jsconfig` come by the clock, whether or not the last one was answered. After
4 quiet seconds something breaks, for {seconds:g} s where the scenario does not say otherwise, and is repaired; the load goes on until
nothing has been wrong for 3 s. Each signature is shown to the simulated WeChat, which judges it at the moment at which the page
got it. The SQLite scenarios have one machine, for such a store is one machine's. Tickets live 120 s, in outages of WeChat 12 s, so
that they run out while it is away.

The figures below: {system}, {cores} cores shared with the sandbox, Redis, nginx and the load itself, {minutes:.0f} minutes.
{verdict}

## The columns

| column | meaning |
|---|---|
| requests, answered 200 | of the whole scenario, quiet seconds included |
| refused by WeChat (too late) | signatures that WeChat would have refused when the page got them. A ticket that was replaced without a word is known to be dead only at the next look; in brackets those refused later than one poll interval (1 s with these lives, 60 s with WeChat's) and 2 s after it ended. **Must be 0** |
| lost | requests without a 200 although a usable ticket existed. **Must be 0** |
| none to be had | requests without a 200 while there was no usable ticket anywhere: the last one had expired, and WeChat gave no other. They are answered at once, with 503, the cause and `Retry-After`. Must be 0 but where WeChat fails for everybody |
| calls | calls of WeChat from the start of the fault on, by the whole fleet |
| in flight | the most calls at once for one credential. 1; 2 where a holder was killed or stopped, or the leases were lost with their store; never 3 |
| p50 / p99 | latency through nginx in milliseconds, before the fault and while it lasted |
| recovery | seconds from the repair (of what happens in a moment: from that moment) until every page gets a good signature again and every worker has its store. At most 10; 70 after `40164` for all machines, which is probed every minute |

## The scenarios

{scenarios}

## What was seen

{table}
{notes}
"""

_NOTES: Final = """
## Reading the table

- **Nothing lost means that nobody has noticed anything but, at worst, a slower answer.** A worker that is killed takes the request
  it is at with it; nginx sends that one to the other machine. With one machine alone such a request is lost.
- **A stopped worker** keeps the requests that it had accepted, and answers them when it goes on.
- **`reload`**: gunicorn ends the old workers as soon as it has forked the new ones, which still have to load. Requests wait in the
  socket's queue meanwhile; that second or so is the p99 of this line, and of `redis-down-and-all-restarted`.
- **Without Redis** each worker fetches for itself what it urgently needs, one after the other on a machine: the machine has leases
  of its own for that time. In `redis-down-and-all-restarted`, where every worker has nothing at all, as many calls may be in flight for
  one credential as there are machines: two.
- **`wechat-45009`** closes the door of the account for up to an hour. The scenario shows the way out: `wxsign refresh` probes at once.
- **`wechat-40164-one`**: the other machine does the fetching. The one that WeChat refuses asks once, and then every ten minutes.
- **A replaced ticket** (`ticket-taken`) cannot be known before the next look. With WeChat's own lives that is up to a minute; until then
  signatures fail, whoever makes them. `ticket-taken-overlap` shows that a grace on WeChat's side is used in full.
- **Recovery** has a resolution of a quarter of a second. 0.0 means that nothing was amiss any more when the repair was over.
"""


def page(outcomes: Sequence[Outcome], rate: float, seconds: float, minutes: float, system: str) -> str:
    """Return docs/reliability.md."""
    broken = [
        f"- **`{outcome.scenario.name}`**: {'; '.join(outcome.breaches)}"
        for outcome in outcomes
        if outcome.breaches
    ]
    skipped = [
        f"- `{outcome.scenario.name}`: {outcome.skipped}" for outcome in outcomes if outcome.row is None
    ]
    verdict = (
        "Every criterion was met."
        if not broken
        else "These criteria were **not** met:\n\n" + "\n".join(broken)
    )
    return _PAGE.format(
        rate=rate,
        seconds=seconds,
        minutes=minutes,
        system=system,
        cores=os.cpu_count(),
        verdict=verdict + ("\n\nNot run:\n\n" + "\n".join(skipped) if skipped else ""),
        scenarios="\n".join(_described(outcome.scenario) for outcome in outcomes),
        table=table(outcomes),
        notes=_NOTES.rstrip(),
    )


def _described(scenario: Scenario) -> str:
    return f"- `{scenario.name}`: {scenario.what}."
