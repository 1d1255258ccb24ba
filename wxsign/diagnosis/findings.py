"""What a diagnosis takes from a page, and what it gives."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from wxsign.diagnosis.catalog import CATALOG, RULES_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxsign.diagnosis.catalog import Cause

CONFIG_FIELDS: Final = {
    "appId": "app_id",
    "timestamp": "timestamp",
    "nonceStr": "nonce",
    "signature": "signature",
}
"""What `wx.config` calls the fields of a `Page`."""
_REFUSED: Final = re.compile(r"invalid[ _]signature", re.IGNORECASE)


class Certainty(StrEnum):
    """How sure a finding is. `CERTAIN`: it was computed, or WeChat says so itself."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Verdict(StrEnum):
    """Of the signature: it is the page's, it is not and the mistake is known, or nobody can tell."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Page:
    """What somebody says of a page; every part may be empty.

    `url` is its `location.href`, `landing_url` what it was opened at, `signed_url` what was sent to be signed; the next
    four are what `wx.config` got, `words` is WeChat's errMsg. `missing` names what a pasted `wx.config` lacks.
    """

    url: str = field(default="", repr=False)
    landing_url: str = field(default="", repr=False)
    signed_url: str = field(default="", repr=False)
    app_id: str = ""
    timestamp: str = ""
    nonce: str = ""
    signature: str = field(default="", repr=False)
    words: str = ""
    user_agent: str = field(default="", repr=False)
    missing: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether WeChat's words say that the signature is invalid."""
        return _REFUSED.search(self.words) is not None


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause: its id in the catalog, how sure it is, and data that shows it."""

    id: str
    certainty: Certainty
    evidence: Mapping[str, str] = field(default_factory=dict)

    @property
    def cause(self) -> Cause:
        """What the catalog says of it."""
        return CATALOG[self.id]

    def as_dict(self, language: str = "en") -> dict[str, object]:
        """Return the JSON form, in Chinese for `zh`, else in English."""
        cause = self.cause
        return {
            "id": self.id,
            "certainty": str(self.certainty),
            "message": cause.message.in_language(language),
            "hint": cause.hint.in_language(language),
            "evidence": dict(self.evidence),
            "docs": cause.docs(language),
        }


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings, the most certain first."""

    verdict: Verdict
    findings: tuple[Finding, ...] = ()

    def as_dict(self, language: str = "en") -> dict[str, object]:
        """Return the JSON form, in Chinese for `zh`, else in English."""
        return {
            "verdict": str(self.verdict),
            "rules": RULES_VERSION,
            "findings": [finding.as_dict(language) for finding in self.findings],
        }
