"""Settings: one typed struct from the environment, and what is rendered from it."""
