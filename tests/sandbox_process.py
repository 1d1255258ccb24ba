"""The sandbox's own command, which also notes every value that it issues in the file ISSUED: what no log may hold."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

from wxsign.sandbox.__main__ import main
from wxsign.sandbox.credentials import TicketLine, TokenLine

ISSUED = Path(os.environ["ISSUED"])


def note_what_it_issues(line, method):
    issue = getattr(line, method)

    @functools.wraps(issue)
    def noting(*arguments, **named):
        made = issue(*arguments, **named)
        with ISSUED.open("a") as notes:
            notes.write(f"{made.value}\n")
        return made

    setattr(line, method, noting)


note_what_it_issues(TokenLine, "issue")
note_what_it_issues(TicketLine, "_issue")
sys.exit(main())
