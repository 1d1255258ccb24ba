"""The WSGI door of a checkout: `gunicorn app:app`."""

from wxsign.wsgi import app

__all__ = ["app"]
