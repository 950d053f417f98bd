"""How signatures stand in their header: from its value to the signatures and, where it stands there, the time."""

from collections.abc import Callable

from bridge.errors import VerificationFailed
from bridge.providers.proof import Pairs, Plain, Proof, Versions

__all__ = ["reader"]

Reader = Callable[[bytes], tuple[list[bytes], bytes]]


def reader(proof: Proof) -> Reader:
    """A function that reads the proof's header: its signatures, perhaps none, and the timestamp, perhaps empty.

    It raises VerificationFailed for a header of another form.
    """
    grammar = proof.grammar
    odd = f"the header {proof.header} is not of the form {_form(grammar)}"
    if isinstance(grammar, Pairs):
        return _pairs(grammar, odd)
    return _versions(grammar, odd) if isinstance(grammar, Versions) else _plain(grammar, odd)


def _form(grammar: Pairs | Plain | Versions) -> str:
    if isinstance(grammar, Pairs):
        return f"{grammar.timestamp}=…,{grammar.signature}=…"
    return f"{grammar.version},…" if isinstance(grammar, Versions) else f"{grammar.prefix}…"


def _plain(grammar: Plain, odd: str) -> Reader:
    prefix = grammar.prefix.encode()

    def read(value: bytes) -> tuple[list[bytes], bytes]:
        if not value.startswith(prefix):
            raise VerificationFailed(odd)
        return [value[len(prefix) :]], b""

    return read


def _pairs(grammar: Pairs, odd: str) -> Reader:
    time_name, signature_name = grammar.timestamp.encode(), grammar.signature.encode()

    def read(value: bytes) -> tuple[list[bytes], bytes]:
        pairs = [part.partition(b"=") for part in value.split(b",")]
        times = [text for name, _, text in pairs if name == time_name]
        if len(times) != 1 or not all(equals for _, equals, _ in pairs):
            raise VerificationFailed(odd)
        return [text for name, _, text in pairs if name == signature_name], times[0]

    return read


def _versions(grammar: Versions, odd: str) -> Reader:
    version = grammar.version.encode()

    def read(value: bytes) -> tuple[list[bytes], bytes]:
        parts = [part.partition(b",") for part in value.split(b" ")]
        if not all(comma for _, comma, _ in parts):
            raise VerificationFailed(odd)
        return [text for name, _, text in parts if name == version], b""

    return read
