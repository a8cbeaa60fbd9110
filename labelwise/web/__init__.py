"""Pages: the report, and later the annotation server."""
