"""What a whole installation does while its parts break: `make chaos`, or `python -m chaos`."""

import sys
from pathlib import Path

# The tests' own harness of real processes is used here too.
sys.path.append(str(Path(__file__).parent.parent / "tests"))
