"""The settings: BRIDGE_ environment variables, read and checked once at start, frozen from then on."""

from bridge.config.advice import advise
from bridge.config.broker_settings import KafkaConfig, NatsConfig
from bridge.config.export import env_file, helm_values
from bridge.config.load import load, survey
from bridge.config.render import describe, env_example, variables_table
from bridge.config.reread import (
    BrokerFiles,
    broker_files,
    reread_login,
    reread_tokens,
    rereadable_certificate,
    token_file,
)
from bridge.config.routes import make_tables
from bridge.config.secrets import Secret, read_secret_file, split_secrets
from bridge.config.settings import Config
from bridge.config.source_settings import SourceConfig
from bridge.config.tokens import ensure_tokens, find_token, proofs_of
from bridge.config.values import Address, Broker
from bridge.config.variables import Variable, variables

__all__ = [
    "Address",
    "Broker",
    "BrokerFiles",
    "Config",
    "KafkaConfig",
    "NatsConfig",
    "Secret",
    "SourceConfig",
    "Variable",
    "advise",
    "broker_files",
    "describe",
    "ensure_tokens",
    "env_example",
    "env_file",
    "find_token",
    "helm_values",
    "load",
    "make_tables",
    "proofs_of",
    "read_secret_file",
    "reread_login",
    "reread_tokens",
    "rereadable_certificate",
    "split_secrets",
    "survey",
    "token_file",
    "variables",
    "variables_table",
]
