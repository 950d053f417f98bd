"""One file or folder per broker."""
