"""What the journal says of those who call: a token that is fetched far too often, two systems that end each other's."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from wxsign.sandbox.journal import Visit

WINDOW_SECONDS = 60.0
# From so many calls of one client in a minute on a remark is due; a token lives two hours.
OFTEN = {
    "token": 3,
    "stable_token": 10,
    "gettoken": 10,
    "getticket": 10,
    "get_jsapi_ticket": 10,
    "agent_ticket": 10,
}
# Errcodes that no repetition helps, and those of a dead token.
STUBBORN = frozenset({40013, 40125, 40164, 40243, 45009, 50007, 60020, 89503, 89506, 89507})
DEAD_TOKEN = frozenset({40001, 40014, 42001})
REPEATED = 5
FETCHES = frozenset({"token", "stable_token", "gettoken"})


@dataclass(frozen=True)
class Remark:
    """A sentence in both languages on one client, or two."""

    code: str
    appid: str
    client: str
    at: float
    en: str
    zh: str


def remarks_on(visits: Sequence[Visit]) -> list[Remark]:
    """What is to be said of these calls, the latest first."""
    found = [*_too_often(visits), *_two_fetchers(visits), *_in_vain(visits), *_dead_token(visits)]
    return sorted(found, key=lambda remark: -remark.at)


def _too_often(visits: Sequence[Visit]) -> Iterator[Remark]:
    fetches = [visit for visit in visits if visit.endpoint in OFTEN]
    for (client, appid, endpoint), group in _grouped(fetches, lambda visit: visit.endpoint):
        most, at = _most_in_a_minute(group)
        if most >= OFTEN[endpoint]:
            yield Remark(
                "fetched_often", appid, client, at,
                f"{client} called {endpoint} {most} times in a minute; what it gives is good for two hours: keep it.",
                f"{client} 在一分钟内调用了 {most} 次 {endpoint}；返回的凭据两小时有效，请保存起来。",
            )  # fmt: skip


def _two_fetchers(visits: Sequence[Visit]) -> Iterator[Remark]:
    """`/cgi-bin/token` by two clients: each fetch ends the token of the other."""
    fetched = [visit for visit in visits if visit.endpoint == "token" and visit.rotated]
    seen = set()
    for before, after in pairwise(sorted(fetched, key=lambda visit: visit.appid)):
        pair = (after.appid, *sorted((before.client, after.client)))
        if before.appid != after.appid or before.client == after.client or pair in seen:
            continue
        seen.add(pair)
        yield Remark(
            "two_fetchers", after.appid, after.client, after.at,
            f"{before.client} and {after.client} both fetch with /cgi-bin/token: each ends the other's token. "
            "One of them should fetch, or both use stable_token.",
            f"{before.client} 和 {after.client} 都在用 /cgi-bin/token 获取：互相使对方的 token 失效。应只由一方获取，或都改用 stable_token。",
        )  # fmt: skip


def _in_vain(visits: Sequence[Visit]) -> Iterator[Remark]:
    refused = [visit for visit in visits if visit.errcode in STUBBORN]
    for (client, appid, errcode), group in _grouped(refused, lambda visit: str(visit.errcode)):
        most, at = _most_in_a_minute(group)
        if most >= REPEATED:
            yield Remark(
                "asked_in_vain", appid, client, at,
                f"{client} was refused with {errcode} {most} times in a minute; asking again changes nothing, somebody has to.",
                f"{client} 在一分钟内 {most} 次被拒绝（{errcode}）；重复调用无济于事，需要人来处理。",
            )  # fmt: skip


def _dead_token(visits: Sequence[Visit]) -> Iterator[Remark]:
    refused = [visit for visit in visits if visit.errcode in DEAD_TOKEN and visit.endpoint not in FETCHES]
    for (client, appid, _), group in _grouped(refused, lambda _visit: ""):
        most, at = _most_in_a_minute(group)
        if most >= REPEATED:
            yield Remark(
                "dead_token_used", appid, client, at,
                f"{client} went on with a dead access_token: {most} refusals in a minute. Fetch once after 40001, 40014 or 42001.",
                f"{client} 一直在用失效的 access_token：一分钟内被拒绝 {most} 次。遇到 40001、40014 或 42001 应重新获取一次。",
            )  # fmt: skip


def _grouped(
    visits: Iterable[Visit], kind: Callable[[Visit], str]
) -> Iterable[tuple[tuple[str, str, str], list[Visit]]]:
    groups = defaultdict(list)
    for visit in visits:
        groups[visit.client, visit.appid, kind(visit)].append(visit)
    return groups.items()


def _most_in_a_minute(visits: Iterable[Visit]) -> tuple[int, float]:
    """The largest number of calls within a minute, and when the last of them came."""
    recent: deque[float] = deque()
    most, at = 0, 0.0
    for visit in sorted(visits, key=lambda visit: visit.at):
        recent.append(visit.at)
        while visit.at - recent[0] >= WINDOW_SECONDS:
            recent.popleft()
        if len(recent) > most:
            most, at = len(recent), visit.at
    return most, at
