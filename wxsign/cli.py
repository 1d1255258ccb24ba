"""The door of the `wxsign` command: every module of `commands` puts its commands into the group as it is imported."""

from wxsign.commands import asking, checking, doctor, explaining, running, status
from wxsign.commands.group import main

__all__ = ["asking", "checking", "doctor", "explaining", "main", "running", "status"]
