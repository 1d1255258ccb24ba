"""Who fetches, when, and who waits: the refresh of credentials for a process within its fleet."""

from wxsign.broker.broker import CredentialBroker
from wxsign.broker.early import Look
from wxsign.broker.events import Adopted, Granted, Observer, Outcome, RefreshEvent, Upstream
from wxsign.broker.guesses import Asking
from wxsign.broker.ledger import Spending
from wxsign.broker.seat import Failed, Held, Result
from wxsign.broker.surroundings import Surroundings
from wxsign.broker.suspicion import Theft

__all__ = [
    "Adopted",
    "Asking",
    "CredentialBroker",
    "Failed",
    "Granted",
    "Held",
    "Look",
    "Observer",
    "Outcome",
    "RefreshEvent",
    "Result",
    "Spending",
    "Surroundings",
    "Theft",
    "Upstream",
]
