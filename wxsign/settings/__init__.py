"""What is configured: one table of settings, where their values come from, and what they mean."""

from wxsign.settings.reading import load_settings
from wxsign.settings.values import AlertSettings, Settings

__all__ = [
    "AlertSettings",
    "Settings",
    "load_settings",
]
