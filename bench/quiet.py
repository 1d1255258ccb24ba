"""The service's gunicorn settings without an access log, as behind a proxy: `gunicorn --config python:bench.quiet`."""

from wxsign.serving import *  # noqa: F403 - every public name there is a setting

accesslog = None  # type: ignore[assignment]  # gunicorn takes both
loglevel = "warning"
