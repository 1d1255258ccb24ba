"""The door of the whole application: `create_app()`."""

from wxsign.http.application import create_app
from wxsign.http.policy import DevMode

__all__ = ["DevMode", "create_app"]
