"""What the bridge's two ports say to whom, as OpenAPI: made from the registered presets and the outcomes.

Not published: providers document their requests themselves, and operators have the README's table. Tests hold the
ports against it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.ingest.outcomes import ACCEPTED, DEAD_LETTERED, HANDSHAKE, OUTCOMES
from bridge.providers.base import Provider

__all__ = ["ops_port", "public_port"]

_ERROR = {
    "type": "object",
    "properties": {
        "error": {"enum": [outcome.code for outcome in OUTCOMES]},
        "detail": {"type": "string", "minLength": 1},
    },
    "required": ["error", "detail"],
    "additionalProperties": False,
}
_IDS = {
    "type": "object",
    "properties": {"ids": {"type": "array", "items": {"type": "string", "minLength": 1}}},
    "required": ["ids"],
    "additionalProperties": False,
}
_SUCCESS = {ACCEPTED, DEAD_LETTERED, HANDSHAKE}
_TEXT = {"type": "string"}
_NAME = {"type": "string", "minLength": 1}

# What each preset cannot do without; all else in a body may be anything.
_BODIES: Mapping[str, dict[str, Any]] = {
    "chatlevel": {
        "properties": {
            "event": _NAME,
            "deviceId": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
            "data": {"type": "object", "maxProperties": 0},
        },
        "required": ["event", "deviceId"],
    },
    "cloudevents-http": {
        "properties": {"specversion": {"const": "1.0"}, "id": _NAME, "source": _NAME, "type": _NAME},
        "required": ["specversion", "id", "source", "type"],
    },
    "slack": {"properties": {"type": _NAME}, "required": ["type"]},
    "telegram": {"properties": {"update_id": {"type": "integer"}}, "required": ["update_id"]},
    "whatsapp-cloud": {
        "properties": {"object": {"const": "whatsapp_business_account"}, "entry": {"type": "array", "minItems": 1}},
        "required": ["object", "entry"],
    },
}
_FORMS: Mapping[str, dict[str, Any]] = {
    "slack": {"properties": {"command": _NAME}, "required": ["command"]},
    "generic": {"properties": {"type": _NAME}, "required": ["type"]},
}
_TYPED_BY = {"github": "x-github-event", "shopify": "x-shopify-topic"}


def public_port(sources: Mapping[str, Provider], tokens: Mapping[str, str]) -> dict[str, Any]:
    """The webhooks of these sources.

    Args:
        sources: the provider of each.
        tokens: of those whose URL ends in one.
    """
    paths = {f"/webhooks/{name}": {"post": _post(name, provider)} for name, provider in sources.items()}
    for name, token in tokens.items():
        operation = paths.pop(f"/webhooks/{name}")["post"]
        operation["parameters"].append(
            {"name": "token", "in": "path", "required": True, "schema": {"type": "string", "enum": [token]}}
        )
        paths[f"/webhooks/{name}/{{token}}"] = {"post": operation}
    return _document(paths)


def ops_port() -> dict[str, Any]:
    """Health, metrics and documents."""
    ready = {"200": _answer("ready", {"type": "object"}), "503": _answer("not ready", {"type": "object"})}
    metrics = {"200": {"description": "metrics", "content": {"text/plain": {"schema": _TEXT}}}}
    found = {"200": _answer("a document", {"type": "object"})}
    about = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in ("domain", "name", "version")]
    paths = {
        "/health/live": _get({"200": _answer("alive", {"const": {"live": True}})}),
        "/health/ready": _get(ready),
        "/metrics": _get(metrics),
        "/asyncapi.json": _get(found),
        "/schemas": _get(found),
        "/schemas/{domain}/{name}/{version}": _get(found, about),
    }
    return _document(paths)


def _post(source: str, provider: Provider) -> dict[str, Any]:
    kind = "application/cloudevents+json" if provider.name == "cloudevents-http" else "application/json"
    bodies = {kind: {"type": "object", **_BODIES.get(provider.name, {})}}
    if provider.name in _FORMS:
        bodies["application/x-www-form-urlencoded"] = {"type": "object", **_FORMS[provider.name]}
    names = sorted(provider.headers - {"content-type"} | {"traceparent", "x-request-id", "accept"})
    return {
        "operationId": source,
        "parameters": [_header(name, required=name == _TYPED_BY.get(provider.name)) for name in names],
        "requestBody": {"required": True, "content": {kind: {"schema": body} for kind, body in bodies.items()}},
        "responses": {
            str(provider.success_status): _success(provider),
            **_by_status(outcome for outcome in OUTCOMES if outcome not in _SUCCESS and outcome.status),
        },
    }


def _header(name: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": _NAME if required else _TEXT}


def _success(provider: Provider) -> dict[str, Any]:
    if provider.success_status == 204:
        return {"description": "success"}
    made = _answer("success", _IDS)
    if provider.handshakes():
        made["content"]["text/plain"] = {"schema": _TEXT}
    return made


def _by_status(outcomes: Iterable[Any]) -> dict[str, Any]:
    """Several outcomes may share a status, and then say alike whether to try again."""
    made: dict[str, Any] = {}
    for outcome in outcomes:
        answer = made.setdefault(str(outcome.status), _answer(outcome.meaning, _ERROR))
        if outcome.retry_after_s is not None:
            answer["headers"] = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}}
    return made


def _get(responses: Mapping[str, Any], parameters: Iterable[Any] = ()) -> dict[str, Any]:
    refused = {status: _answer("there is no such thing", _ERROR) for status in ("400", "404", "405")}
    return {"get": {"parameters": list(parameters), "responses": {**responses, **refused}}}


def _answer(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _document(paths: Mapping[str, Any]) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "webhook-bridge", "version": "0"}, "paths": paths}
