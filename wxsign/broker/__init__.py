"""Who fetches, when, and who waits: the refresh of credentials for a process within its fleet."""

from wxsign.broker.attempt import Result
from wxsign.broker.broker import CredentialBroker
from wxsign.broker.events import Granted, Observer, Outcome, RefreshEvent, Upstream
from wxsign.broker.ledger import Spending
from wxsign.broker.near import Held
from wxsign.broker.surroundings import Surroundings
from wxsign.broker.suspicion import Theft

__all__ = [
    "CredentialBroker",
    "Granted",
    "Held",
    "Observer",
    "Outcome",
    "RefreshEvent",
    "Result",
    "Spending",
    "Surroundings",
    "Theft",
    "Upstream",
]
