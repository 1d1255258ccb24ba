"""The HTTP surface: what each path answers, without a framework, and the Flask application around it."""
