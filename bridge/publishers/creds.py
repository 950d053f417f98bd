"""What a NATS login looks like: the seed of an nkey, and the two parts of a `.creds` file. Of the text alone.

Apart from `bridge.publishers.nats`, so that settings can be judged without loading a client library.
"""

import re

__all__ = ["creds_of", "seed_of"]

_USER_SEED = r"SU[A-Z2-7]{56}"
_JWT = re.compile(r"-BEGIN NATS USER JWT-+\s+([\w=\-]+\.[\w=\-]+\.[\w=\-]+)\s", re.ASCII)
_SEED = re.compile(rf"-BEGIN USER NKEY SEED-+\s+({_USER_SEED})\s", re.ASCII)


def seed_of(text: str) -> str | None:
    """A user's seed without the white space around it; None: it is none."""
    seed = text.strip()
    return seed if re.fullmatch(_USER_SEED, seed, re.ASCII) else None


def creds_of(text: str) -> str | None:
    """A user's JWT and seed and nothing else, as the library looks for them; None: there are none.

    In a text without them the library would look for ever.
    """
    jwt, seed = _JWT.search(f"{text}\n"), _SEED.search(f"{text}\n")
    if jwt is None or seed is None:
        return None
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt[1]}\n------END NATS USER JWT------\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed[1]}\n------END USER NKEY SEED------\n"
    )
