"""Why WeChat says `invalid signature`: what a page and a server know becomes findings, each with a remedy.

    what was pasted ──reading──▶ Page ┐
                 what is held ─▶ Known ┴─causes─▶ Diagnosis: findings, the most certain first

Pure: no network, no clock, no store. A ticket goes in and never comes out, not even in part.
"""

from wxsign.diagnosis.catalog import CATALOG, RULES_VERSION, Cause, cause_named
from wxsign.diagnosis.causes import Known, KnownAccount, Ticket, diagnose
from wxsign.diagnosis.findings import Certainty, Diagnosis, Finding, Page, Verdict
from wxsign.diagnosis.reading import page_in

__all__ = [
    "CATALOG",
    "RULES_VERSION",
    "Cause",
    "Certainty",
    "Diagnosis",
    "Finding",
    "Known",
    "KnownAccount",
    "Page",
    "Ticket",
    "Verdict",
    "cause_named",
    "diagnose",
    "page_in",
]
