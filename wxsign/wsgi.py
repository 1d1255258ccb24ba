"""The WSGI door of the wheel: `gunicorn wxsign.wsgi:app`.

Under gunicorn with our settings the configuration is the one that the master has read and checked; elsewhere importing
this reads it, and raises ConfigError where it cannot be used. No thread is started and no connection opened, so it may
happen before the fork (`--preload`). The process is the service's own: its log goes to stderr.
"""

from wxsign.logs import configure
from wxsign.settings.snapshot import SNAPSHOT
from wxsign.web import create_app

configure()
app = create_app(settings=SNAPSHOT.settings, config_rejected=SNAPSHOT.rejected)
