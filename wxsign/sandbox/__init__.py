"""A simulated WeChat, to develop and to test against: its API with its traps, faults, and its in-app browser.

It imports nothing of wxsign outside this package: an oracle must not share the bugs of what it judges.
"""

from wxsign.sandbox.app import create_app
from wxsign.sandbox.server import SandboxServer, serve
from wxsign.sandbox.settings import DEFAULT_APPID, DEFAULT_SECRET, SandboxSettings, SettingsError
from wxsign.sandbox.web import sandbox_of

__all__ = [
    "DEFAULT_APPID",
    "DEFAULT_SECRET",
    "SandboxServer",
    "SandboxSettings",
    "SettingsError",
    "create_app",
    "sandbox_of",
    "serve",
]
