"""Which event goes to which topic."""
