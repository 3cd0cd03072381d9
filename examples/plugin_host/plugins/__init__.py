"""Plugins: `roles` and `secret` are installed during init, the others come late."""
