"""pyfcm at our far end: the one place that its endpoint is changed."""

from __future__ import annotations

import os
from typing import Any

from pyfcm import FCMNotification
from pyfcm.baseapi import BaseAPI

TITLE, BODY = "Lunch today: ramen?", "x" * 120


def client() -> FCMNotification:
    """With the far end's service account, sending there instead of to Google."""
    BaseAPI.FCM_END_POINT_BASE = os.environ["FAR_END"] + "/v1/projects"
    return FCMNotification(service_account_file=os.environ["SERVICE_ACCOUNT"], project_id="bench")


def push(token: str, title: str, body: str, collapse: str) -> dict[str, Any]:
    """A message of the same parts as ours, as ``notify`` takes it."""
    return {
        "fcm_token": token,
        "notification_title": title,
        "notification_body": body,
        "data_payload": {"link": "app://menu", "msg_id": collapse},
        "android_config": {
            "collapse_key": collapse,
            "priority": "high",
            "ttl": "1800s",
            "notification": {"tag": collapse},
        },
        "apns_config": {"headers": {"apns-priority": "10", "apns-collapse-id": collapse}},
    }
