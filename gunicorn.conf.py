"""gunicorn reads this file by itself when it is started beside it; the settings stand in `wxsign/serving/`."""

from wxsign.serving import *  # noqa: F403 - every public name there is a setting, or ignored by gunicorn
