"""A Flask application whose settings, routes and data are post-init. `make app` runs it."""
