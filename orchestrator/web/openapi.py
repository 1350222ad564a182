"""``GET /openapi.json``: the ingestion API for machines, made from the very models that check what comes in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.tracking.ingest import MAX_BYTES, MAX_EVENTS, EventIn
from orchestrator.tracking.profiles import MAX_ITEMS, ConsentIn, UserIn
from orchestrator.web.openapi_phones import PASS, phone_paths

PATH = "/openapi.json"

EXAMPLES: Mapping[str, dict[str, Any]] = {
    "/v1/events": {
        "events": [
            {"user": "u-17", "name": "app_open", "id": "evt-9", "at": "2026-12-01T11:02:03Z"},
            {"user": "u-17", "name": "order_paid", "id": "evt-10", "properties": {"amount": 23.5}},
        ]
    },
    "/v1/users": {
        "users": [
            {
                "id": "u-17",
                "name": "Li Wei",
                "locale": "zh-CN",
                "zone": "Asia/Shanghai",
                "attributes": {"tier": "gold", "orders": 12},
                "addresses": [
                    {"channel": "push", "value": "a-token-of-the-app", "at": "2026-12-01T11:02:03Z"},
                    {"channel": "sms", "value": "138 1234 5678", "region": "CN"},
                ],
            }
        ]
    },
    "/v1/consents": {
        "consents": [
            {"user": "u-17", "channel": "sms", "topic": "promotions", "granted": True, "at": "2026-12-01T11:02:03Z"}
        ]
    },
}
_COUNT = {"type": "integer", "minimum": 0}
_KEPT = dict.fromkeys(("users", "addresses", "consents", "zones_unknown", "countries_unknown"), _COUNT)
_TAKEN = {"accepted": _COUNT, "known": _COUNT}


async def show_openapi(_request: Request) -> Response:
    """The document. Nothing in it is secret."""
    return Response(orjson.dumps(document()), media_type="application/json")


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    schemas: dict[str, Any] = {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Re-engagement orchestrator: ingestion",
            "version": version("reengagement-orchestrator"),
            "description": "What an app's servers tell: who users are, what they do, what they agree to. Every request "
            "is taken whole or not at all, is on disk before the answer, and may be repeated without harm.",
        },
        "security": [{"bearer": []}, {"key": []}],
        "paths": {
            "/v1/events": _post("events", EventIn, "What users do", MAX_EVENTS, _TAKEN, schemas),
            "/v1/users": _post("users", UserIn, "Who users are, and how to reach them", MAX_ITEMS, _NEW, schemas),
            "/v1/consents": _post("consents", ConsentIn, "What users agree to", MAX_ITEMS, _NEW, schemas),
            **phone_paths(schemas),
        },
        "components": {
            "schemas": {**schemas, "Refusal": _REFUSAL},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "pass": PASS,
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


_NEW = {"new": {"type": "object", "properties": _KEPT, "description": "how many rows brought something new"}}
_REFUSAL = {
    "type": "object",
    "properties": {
        "error": {"type": "string"},
        "errors": {
            "type": "array",
            "maxItems": 100,
            "items": {
                "type": "object",
                "properties": {
                    "index": {"type": ["integer", "null"], "description": "place in the list, from 0"},
                    "field": {"type": "string"},
                    "reason": {"type": "string"},
                },
            },
        },
    },
}


def _post(
    word: str, model: type[BaseModel], summary: str, most: int, answer: Mapping[str, Any], schemas: dict[str, Any]
) -> dict[str, Any]:
    """One path; puts its schemas with the others."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = _as_sent(schema)
    items = {"type": "array", "maxItems": most, "items": {"$ref": f"#/components/schemas/{model.__name__}"}}
    body = {"type": "object", "properties": {word: items}, "required": [word], "additionalProperties": False}
    refusal = _json({"$ref": "#/components/schemas/Refusal"})
    return {
        "post": {
            "summary": summary,
            "operationId": f"post_{word}",
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": body, "example": EXAMPLES[f"/v1/{word}"]}},
            },
            "responses": {
                "202": {"description": "on disk", **_json({"type": "object", "properties": dict(answer)})},
                "400": {"description": "not JSON; nothing was stored", **refusal},
                "401": {"description": "unknown API key"},
                "413": {"description": f"more than {MAX_BYTES} bytes"},
                "422": {"description": "something is wrong; nothing was stored", **refusal},
                "503": {"description": "too much is waiting: send it again after Retry-After seconds"},
            },
        }
    }


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _as_sent(schema: dict[str, Any]) -> dict[str, Any]:
    """A message id is a number to us and a text on the wire, as the message carried it."""
    if "message_id" in schema["properties"]:
        schema["properties"]["message_id"] = {"type": ["string", "null"], "pattern": "^[0-9]{1,19}$", "default": None}
    return schema
