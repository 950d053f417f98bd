"""Which event goes to which topic: rules of the environment, made into a table per source at start."""

from bridge.routing.build import build_tables, text_problems
from bridge.routing.own import own_topic_problems
from bridge.routing.rules import Rule, parse_rules
from bridge.routing.table import (
    DEFAULT_TEMPLATE,
    MAX_OPEN_TYPES,
    Found,
    Route,
    RoutedSource,
    Table,
    subjects,
    topics,
)
from bridge.routing.topics import topic_problem

__all__ = [
    "DEFAULT_TEMPLATE",
    "MAX_OPEN_TYPES",
    "Found",
    "Route",
    "RoutedSource",
    "Rule",
    "Table",
    "build_tables",
    "own_topic_problems",
    "parse_rules",
    "subjects",
    "text_problems",
    "topic_problem",
    "topics",
]
