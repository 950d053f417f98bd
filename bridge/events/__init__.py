"""The normalised event, its CloudEvents encodings, and the data of the published schemas."""
