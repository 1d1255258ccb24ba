"""The WSGI door of the wheel: `gunicorn wxsign.wsgi:app`.

Importing it reads the configuration and raises ConfigError where that cannot be used; it starts no thread and opens no
connection, so it may happen before the fork (`--preload`). The process is the service's own: its log goes to stderr.
"""

from wxsign.logs import configure
from wxsign.web import create_app

configure()
app = create_app()
