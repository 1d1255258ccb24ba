"""`python -m wxsign.settings` prints docs/configuration.md."""

from wxsign.settings.table import markdown

print(markdown(), end="")  # noqa: T201 - printing the page is what this command is for
