"""firebase-admin at our far end: the one place that its endpoint is changed."""

from __future__ import annotations

import os

import firebase_admin
import requests
from firebase_admin import credentials, messaging

TITLE, BODY = "Lunch today: ramen?", "x" * 120


def connect() -> None:
    """Initialise the app with the far end's service account, and send there instead of to Google.

    The far end speaks plain HTTP, as it does to everybody; the pool of connections that the library mounts for
    Google's address is mounted for this one.
    """
    base = os.environ["FAR_END"]
    messaging._MessagingService.FCM_URL = base + "/v1/projects/{0}/messages:send"  # noqa: SLF001
    app = firebase_admin.initialize_app(credentials.Certificate(os.environ["SERVICE_ACCOUNT"]))
    session = messaging._get_messaging_service(app)._client.session  # noqa: SLF001
    session.mount(base, requests.adapters.HTTPAdapter(pool_connections=100, pool_maxsize=100))


def push(token: str, title: str, body: str, collapse: str) -> messaging.Message:
    """A message of the same parts as ours."""
    android = messaging.AndroidConfig(
        collapse_key=collapse,
        priority="high",
        ttl=1800,
        notification=messaging.AndroidNotification(tag=collapse),
    )
    apns = messaging.APNSConfig(headers={"apns-priority": "10", "apns-collapse-id": collapse})
    return messaging.Message(
        data={"link": "app://menu", "msg_id": collapse},
        notification=messaging.Notification(title=title, body=body),
        android=android,
        apns=apns,
        token=token,
    )
