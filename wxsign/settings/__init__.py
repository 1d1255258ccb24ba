"""What is configured: one table of settings, where their values come from, and what they mean."""

from wxsign.settings.reading import load_settings
from wxsign.settings.values import Settings

__all__ = [
    "Settings",
    "load_settings",
]
