"""The door of the HTTP API for an existing Flask application.

app.register_blueprint(wxsign.api.blueprint(WxSign.from_env()), url_prefix="/wx")
"""

from wxsign.http.blueprint import blueprint

__all__ = ["blueprint"]
