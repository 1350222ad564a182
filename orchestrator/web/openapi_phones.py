"""The doors that the app itself calls, as OpenAPI: the inbox, and what it reports of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from orchestrator.tracking.acks import MAX_ACKS, AckIn, AcksIn, Verdict
from orchestrator.tracking.feed import LONGEST_PAGE, PAGE, ReadIn, TokenIn

PASS: Mapping[str, Any] = {
    "type": "http",
    "scheme": "bearer",
    "description": "a user's own pass, from POST /v1/inbox-tokens",
}
_TEXT = {"type": "string"}
_INSTANT = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_ITEM = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]{1,19}$"},
        **dict.fromkeys(("title", "body", "link", "image"), _TEXT),
        "data": {"type": "object", "additionalProperties": _TEXT},
        "at": _INSTANT,
        "expires_at": _INSTANT,
        "read": {"type": "boolean"},
    },
}
_PAGE = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": _ITEM},
        "unread": _COUNT,
        "next": {"type": ["string", "null"], "description": "the `after` of the next page"},
    },
}
_USER = {"name": "user", "in": "path", "required": True, "schema": _TEXT, "description": "the app's own id of the user"}
_PLACE = [
    {"name": "after", "in": "query", "schema": _TEXT},
    {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE},
    },
]
_EITHER: list[dict[str, list[str]]] = [{"pass": []}, {"bearer": []}, {"key": []}]
_REFUSED = {
    "401": {"description": "neither the API key nor this user's pass"},
    "422": {"description": "it makes no sense"},
}
_BUSY = {"503": {"description": "too much is waiting: send it again after Retry-After seconds"}}


def phone_paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """The paths; puts their schemas with the others."""
    for model in (AckIn, AcksIn, ReadIn, TokenIn):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    either = {"oneOf": [_ref(AckIn), _ref(AcksIn)]}
    counted = {"type": "object", "properties": {str(verdict): _COUNT for verdict in Verdict}}
    marked = {"type": "object", "properties": {"read": _COUNT}}
    made = {"type": "object", "properties": {"token": _TEXT, "expires_at": _INSTANT}}
    example = {"ack": "AQAAAQAAAAARAAAAAGwP…", "kind": "opened", "at": "2026-12-01T11:02:03Z"}
    return {
        "/v1/inbox/{user}": {
            "get": {
                "summary": "A user's inbox, newest first; what is fetched is delivered",
                "operationId": "get_inbox",
                "security": _EITHER,
                "parameters": [_USER, *_PLACE],
                "responses": {"200": _answer("a page", _PAGE), **_REFUSED},
            }
        },
        "/v1/inbox/{user}/read": {
            "post": {
                "summary": "Mark items as read: opened by a person",
                "operationId": "post_inbox_read",
                "security": _EITHER,
                "parameters": [_USER],
                "requestBody": _body(_ref(ReadIn), {"ids": ["1099511627793"]}),
                "responses": {"200": _answer("on disk", marked), **_REFUSED, **_BUSY},
            }
        },
        "/v1/inbox-tokens": {
            "post": {
                "summary": "A pass to one user's inbox, for the app on their phone",
                "operationId": "post_inbox_tokens",
                "requestBody": _body(_ref(TokenIn), {"user": "u-17", "seconds": 86400}),
                "responses": {"201": _answer("the pass", made), **_REFUSED},
            }
        },
        "/v1/acks": {
            "post": {
                "summary": f"The app reports that messages were delivered or opened, at most {MAX_ACKS} at once",
                "operationId": "post_acks",
                "security": [],
                "requestBody": _body(either, example),
                "responses": {
                    "202": _answer("on disk", counted),
                    "400": {"description": "it cannot be read"},
                    "404": {"description": "none of it is ours, or all of it is too old"},
                    **_BUSY,
                },
            }
        },
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _body(schema: Mapping[str, Any], example: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _answer(says: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": says, "content": {"application/json": {"schema": schema}}}
