"""The second port: health and metrics."""
