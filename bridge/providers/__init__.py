"""One file per sender's format."""
