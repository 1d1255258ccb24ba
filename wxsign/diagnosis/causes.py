"""From what is known to findings: the mistakes of the catalog are tried, alone and in pairs, until one gives this very signature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from wxsign.diagnosis.findings import Certainty, Diagnosis, Finding, Page, Verdict
from wxsign.diagnosis.forms import forms_of, pairs_of, without_fragment
from wxsign.diagnosis.hints import from_page, from_words, where_right
from wxsign.diagnosis.recipes import (
    SECONDS_DIGITS,
    STANDARD,
    WRONG,
    Parts,
    near_moments,
    other_nonces,
    other_units,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_NO_TICKETS: Final = ("", "undefined", "None", "null", "NULL", "[object Object]", "False")
_RANK: Final = {certainty: rank for rank, certainty in enumerate(Certainty)}


class Ticket(NamedTuple):
    """A value that may have been signed with. `kind` is that of credentials; `present` is False for one that was replaced."""

    value: str
    app_id: str
    kind: str = "jsapi"
    present: bool = True

    def __repr__(self) -> str:
        return f"Ticket({self.app_id!r}, {self.kind!r}, present={self.present})"


class KnownAccount(NamedTuple):
    """An account of this service; `signs` says whether it may sign the page that is asked about."""

    app_id: str
    signs: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What the server knows: its accounts, and the values that they have and had."""

    accounts: Sequence[KnownAccount] = ()
    tickets: Sequence[Ticket] = field(default=(), repr=False)

    @property
    def signing(self) -> tuple[str, ...]:
        """The AppIDs that may sign the page."""
        return tuple(account.app_id for account in self.accounts if account.signs)


class _Way(NamedTuple):
    """One part of a signature as it may have been, with the cause and what shows it; no cause where it is right."""

    value: str
    cause: str = ""
    shown: tuple[str, str] = ("", "")


def diagnose(page: Page, known: Known) -> Diagnosis:
    """What is wrong with a page's signature, as far as it can be told. Pure, some ten thousand hashes at the most."""
    findings = [*from_words(page), *_lacking(page)]
    ways = _explained(page, known) if page.signature and not page.missing else None
    if ways is not None:
        findings += _computed(page, ways)
        verdict = Verdict.WRONG if any(way.cause for way in ways) or _is_upper(page) else Verdict.RIGHT
        if verdict is Verdict.RIGHT:
            findings += where_right(page)
    else:
        verdict = Verdict.WRONG if page.missing else Verdict.UNKNOWN
        findings += from_page(page, known.signing, {account.app_id for account in known.accounts})
    return Diagnosis(verdict, _in_order(findings))


def _in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The most certain first, each cause once."""
    first: dict[str, Finding] = {}
    for finding in sorted(findings, key=lambda finding: _RANK[finding.certainty]):
        first.setdefault(finding.id, finding)
    return tuple(first.values())


def _lacking(page: Page) -> Iterator[Finding]:
    if page.missing:
        yield Finding("WXS112", Certainty.CERTAIN, {"missing": ", ".join(page.missing)})
    elif page.timestamp and not page.timestamp.isdecimal():
        yield Finding("WXS112", Certainty.CERTAIN, {"timestamp": page.timestamp[:32]})


def _is_upper(page: Page) -> bool:
    return page.signature != page.signature.lower()


def _computed(page: Page, ways: Sequence[_Way]) -> Iterator[Finding]:
    """The findings of a signature that was found out."""
    for way in ways:
        if way.cause:
            yield Finding(way.cause, Certainty.CERTAIN, dict([way.shown]))
    if _is_upper(page):
        yield Finding("WXS113", Certainty.CERTAIN, {"recipe": "upper_case"})
    if len(page.timestamp) > SECONDS_DIGITS:
        yield Finding("WXS115", Certainty.POSSIBLE, {"timestamp": page.timestamp[:32]})


# ------------------------------------------------------------------------------- what gives the signature


def _explained(page: Page, known: Known) -> list[_Way] | None:
    """The fewest mistakes that give this signature, none for a right one; None where nothing does."""
    signature = page.signature.lower()
    standard, wrong = (
        [recipe for recipe in recipes if recipe.digits == len(signature)] for recipes in ((STANDARD,), WRONG)
    )
    tickets, urls = _tickets(page, known), _urls(page)
    if not tickets or not urls or not (standard or wrong):
        return None
    times = [
        _Way(page.timestamp),
        *(_Way(t, "WXS115", ("signed_with", "other_unit")) for t in other_units(page.timestamp)),
    ]
    nonces = [_Way(page.nonce), *(_Way(n, "WXS112", ("nonce", "changed")) for n in other_nonces(page.nonce))]
    parts = (tickets, nonces, times, urls)
    for recipe in standard:
        for way in _tries(parts, range(3)):
            if recipe.make(Parts(*(part.value for part in way))) == signature:
                return list(way)
    for mistakes in (0, 1):
        for recipe in wrong:
            for way in _tries(parts, [mistakes]):
                if recipe.make(Parts(*(part.value for part in way))) == signature:
                    return [*way, _Way("", "WXS113", ("recipe", recipe.name))]
    return _drifted(page, signature, tickets, urls) if standard else None


def _tries(parts: Sequence[Sequence[_Way]], mistakes: Iterable[int]) -> Iterator[tuple[_Way, ...]]:
    """Each combination of parts with so many mistakes; what comes first in each part is right."""
    for count in mistakes:
        yield from _with_mistakes(parts, tuple(choices[0] for choices in parts), count, 0)


def _with_mistakes(
    parts: Sequence[Sequence[_Way]], chosen: tuple[_Way, ...], mistakes: int, start: int
) -> Iterator[tuple[_Way, ...]]:
    if not mistakes:
        yield chosen
        return
    for at in range(start, len(parts)):
        for way in parts[at][1:]:
            yield from _with_mistakes(parts, (*chosen[:at], way, *chosen[at + 1 :]), mistakes - 1, at + 1)


def _drifted(page: Page, signature: str, tickets: Sequence[_Way], urls: Sequence[_Way]) -> list[_Way] | None:
    """The page made its own timestamp; else two things befell the URL one after the other."""
    shown = ("timestamp", "not_the_signed_one")
    for url in urls[:3]:
        for timestamp in near_moments(page.timestamp):
            if STANDARD.make(Parts(tickets[0].value, page.nonce, timestamp, url.value)) == signature:
                return [tickets[0], _Way(timestamp, "WXS112", shown), url]
    for ticket in tickets[:2]:
        for first, second in pairs_of(page.url or page.signed_url):
            if STANDARD.make(Parts(ticket.value, page.nonce, page.timestamp, second.url)) == signature:
                return [
                    ticket,
                    *(_Way(form.url, form.cause, ("form", form.name)) for form in (first, second)),
                ]
    return None


def _tickets(page: Page, known: Known) -> list[_Way]:
    """The value that should have been signed with, then those that may have been."""
    of_page = page.app_id if page.app_id in {account.app_id for account in known.accounts} else ""
    wanted = of_page or next(iter(known.signing), "")
    own, others = [], []
    for ticket in known.tickets:
        if ticket.kind != "jsapi":
            way = _Way(ticket.value, "WXS111", ("kind", ticket.kind))
        elif ticket.app_id != wanted or (page.app_id and ticket.app_id != page.app_id):
            shown = ("ticket_of", ticket.app_id if ticket.app_id in known.signing else "another account")
            way = _Way(ticket.value, "WXS110", shown)
        elif not ticket.present:
            way = _Way(ticket.value, "WXS108", ("ticket", "replaced"))
        else:
            own.append(_Way(ticket.value))
            continue
        others.append(way)
    others += [_Way(value, "WXS109", ("ticket", value or "empty")) for value in _NO_TICKETS]
    # Without the account's own, whatever comes first would be taken for right.
    return [*(own or [_Way("\0")]), *others]


def _urls(page: Page) -> list[_Way]:
    """The URL that should have been signed, then those that may have been."""
    compared, landing = without_fragment(page.url), without_fragment(page.landing_url)
    if not compared:
        right = landing or without_fragment(page.signed_url)
        return [_Way(right), *_wrong_forms(right, page)] if right else []
    ways = [_Way(compared)]
    if landing and landing != compared:
        # Both are right somewhere, and nobody knows for sure where.
        ways.append(_Way(landing, "", ("signed", "landing")))
    return [*ways, *_wrong_forms(page.url, page)]


def _wrong_forms(href: str, page: Page) -> Iterator[_Way]:
    seen = {without_fragment(href), without_fragment(page.landing_url)}
    forms = forms_of(href)
    for form in forms.values():
        if form.url not in seen:
            yield _Way(form.url, form.cause, ("form", form.name))
    signed = page.signed_url
    if signed and signed not in seen and signed not in forms:
        yield _Way(signed, "WXS101", ("signed_url", signed[:512]))
