"""The `wxsign` command: a group, and one file for each sort of its commands."""
