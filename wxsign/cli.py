"""The door of the `wxsign` command: every module of `commands` puts its commands into the group as it is imported."""

from wxsign.commands import asking, checking, explaining, running, status
from wxsign.commands.group import main

__all__ = ["asking", "checking", "explaining", "main", "running", "status"]
