"""What consumers can build on, as documents: which topic holds what, and what may change about it.

From the configuration alone, so that command and ops port give the same bytes.
"""

from bridge.contract.asyncapi import asyncapi
from bridge.contract.changes import Violation, violations
from bridge.contract.documents import documents, schemas

__all__ = ["Violation", "asyncapi", "documents", "schemas", "violations"]
