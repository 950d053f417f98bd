"""What the modules of rules share: the register they are in, and checks of PEM files.

Not here: any rule.
"""

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig
from bridge.errors import Problem

__all__ = ["RULES", "SOURCE_RULES", "Given", "authorities", "pair", "rule", "source_rule", "unreadable"]

Given = Mapping[str, str]
Rule = Callable[[Config, Given], Iterator[Problem]]
SourceRule = Callable[[Config, SourceConfig], Iterator[Problem]]

# PEM, as it is or in the base64 of a Kubernetes Secret; and what is longer than any name of a file
_not_a_path = re.compile(r"-----|LS0tLS|.{256}", re.DOTALL).search

RULES: list[tuple[tuple[str, ...], Rule]] = []
SOURCE_RULES: list[tuple[tuple[str, ...], SourceRule]] = []


def rule(*reads: str) -> Callable[[Rule], Rule]:
    """Register a rule that reads these variables."""

    def register(found: Rule) -> Rule:
        RULES.append((reads, found))
        return found

    return register


def source_rule(*reads: str) -> Callable[[SourceRule], SourceRule]:
    """For each source; names in lower case are its fields."""

    def register(found: SourceRule) -> SourceRule:
        SOURCE_RULES.append((reads, found))
        return found

    return register


def authorities(name: str, path: Path | None) -> Iterator[Problem]:
    """What is wrong with a file of certificates to trust."""
    if path is None:
        return
    if reason := unreadable(path):
        yield Problem(name, reason, "a readable PEM file")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, ValueError):
        yield Problem(name, f"{path} holds no certificate", "certificates in PEM form")


def pair(prefix: str, cert: Path | None, key: Path | None) -> Iterator[Problem]:
    """What is wrong with a certificate and its key."""
    files = {f"{prefix}CERT_FILE": cert, f"{prefix}KEY_FILE": key}
    if cert is None and key is None:
        return
    faults = {name: "is not set beside the other" if path is None else unreadable(path) for name, path in files.items()}
    for name, fault in faults.items():
        if fault:
            yield Problem(name, fault, "the path of a readable PEM file; certificate and key go together")
    if cert is None or key is None or any(faults.values()):
        return
    try:
        # a pass phrase would be asked for on the terminal, or nowhere; empty, it fails
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError):
        expected = "a certificate chain in PEM form and the key that belongs to it, without a pass phrase"
        yield Problem(f"{prefix}CERT_FILE", f"{cert} and {key} do not load as a pair", expected)


def unreadable(path: Path) -> str | None:
    """Why a file cannot be read; None: it can."""
    if _not_a_path(str(path)):
        return "is no path, but perhaps the file's content, which is not shown"
    try:
        if path.exists() and not path.is_file():
            return f"{path} is not a regular file"
        with path.open("rb"):
            return None
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
