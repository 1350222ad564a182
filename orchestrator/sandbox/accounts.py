"""What a customer of the sandbox writes into ``channels.yaml``: an account at every provider, ready to paste.

The names of the accounts are those of their providers, so that :func:`callbacks` knows where a deployment with these
accounts wants its receipts: at ``APP/callbacks/ACCOUNT/HOOK``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.sandbox import webhook
from orchestrator.sandbox.credentials import ACCOUNT_SID, FROM_NUMBER
from orchestrator.sandbox.email import sendgrid, ses_auth, sns_post
from orchestrator.sandbox.push import apns_credentials, getui, huawei, jpush, oppo, vivo, webpush, xiaomi
from orchestrator.sandbox.sms import aliyun, aliyun_rules, gateway

CALLBACK_SECRET = "callback-secret"  # noqa: S105  # a file's name
"""In the state folder: what the paths end with that providers call which sign nothing."""
SENDER = "Sandbox <news@food.example>"
PORT_FILES = ("http-port", "smtp-port", "apns-port")
"""In the state folder: the ports of the sandbox that was started there last."""
USUAL_PORTS = (8090, 8025, 8443)
_HOOKS = {
    "twilio": "inbound",
    "ses": "events",
    "sendgrid": "events",
    "aliyun": "report/{}",
    "aliyun-reply": "reply/{}",
    **dict.fromkeys(("huawei", "xiaomi", "oppo", "vivo", "jpush", "getui", "gateway"), "report/{}"),
}
"""Who calls back, where its console is told so; ``{}`` is the secret. ``aliyun-reply`` is Aliyun's second address."""
CALLING = frozenset(_HOOKS)


class Place(NamedTuple):
    """Where a sandbox is: its folder, and its three ports on this machine."""

    state: Path
    port: int
    smtp_port: int
    apns_port: int

    @property
    def url(self) -> str:
        """Where what speaks HTTP/1.1 is, and the inbox."""
        return f"http://127.0.0.1:{self.port}"

    def file(self, name: str) -> str:
        """A file of the folder, as it stands in an option."""
        return str(self.state / name)


def place_of(state: Path) -> Place:
    """Where the sandbox of a folder was last, or would be."""
    files = [state / name for name in PORT_FILES]
    given = [int(file.read_text()) if file.is_file() else usual for file, usual in zip(files, USUAL_PORTS, strict=True)]
    return Place(state, *given)


class Account(NamedTuple):
    """One account: the channel it belongs to, its options, and the ``route`` that keeps it out of another's way."""

    channel: str
    options: dict[str, Any]
    route: dict[str, Any] | None = None


def accounts(place: Place) -> dict[str, Account]:
    """An account at every provider of the sandbox, by the provider's name."""
    return {**_push(place), **_makers(place), **_sms(place), **_mail(place), **_own(place)}


def callbacks(app: str, secret: str) -> dict[str, str]:
    """Where each provider calls back, when these accounts are those of the deployment whose web API is at ``app``."""
    base = f"{app.rstrip('/')}/callbacks"
    return {name: f"{base}/{name.partition('-')[0]}/{hook.format(secret)}" for name, hook in _HOOKS.items()}


def channels_yaml(place: Place) -> str:
    """The accounts as a ``channels.yaml``."""
    lines = ["# Accounts at the sandbox: real channels, no real people. Keep the ones that you want to try."]
    lines.append("accounts:")
    for name, account in accounts(place).items():
        lines += [f"  {name}:", f"    channel: {account.channel}", f"    provider: {name}"]
        if account.route:
            lines.append(f"    route: {json.dumps(account.route)}")
        lines += ["    options:", *_lines(account.options)]
    return "\n".join(lines) + "\n"


def _lines(options: Mapping[str, Any]) -> list[str]:
    """JSON is YAML: text is quoted, so that a number in it stays text."""
    return [f"      {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in options.items()]


def credentials_of(account: Account) -> str:
    """The files that an account's options name, for somebody who looks for them."""
    named = {name: str(value) for name, value in account.options.items() if name.endswith("_file")}
    return " ".join(value for name, value in named.items() if not name.startswith("callback_"))


def address_of(account: Account) -> str:
    """Where an account's options point to."""
    options = account.options
    if "host" in options:
        return f"{options['host']}:{options['port']} (tls: {options['tls']})"
    return str(options.get("base_url") or options.get("url"))


def _push(place: Place) -> dict[str, Account]:
    own = apns_credentials
    return {
        "fcm": Account("push", {"base_url": place.url, "service_account_file": place.file("service-account.json")}),
        "apns": Account(
            "push",
            {
                "team_id": own.TEAM_ID,
                "key_id": own.KEY_ID,
                "key_file": place.file(own.KEY_FILE),
                "ca_file": place.file(own.CA_FILE),
                "topic": f"{own.TOPICS}app",
                "base_url": f"https://127.0.0.1:{place.apns_port}",
            },
        ),
        "webpush": Account(
            "push",
            {
                "base_url": place.url,
                "vapid_key_file": place.file(webpush.KEY_FILE),
                "subject": "mailto:push@food.example",
            },
        ),
    }


def _makers(place: Place) -> dict[str, Account]:
    """The phone makers of China, and the two services above them."""
    told = {"callback_secret_file": place.file(CALLBACK_SECRET)}
    here: dict[str, Any] = {"base_url": place.url, **told}
    given: dict[str, dict[str, Any]] = {
        "huawei": {
            "app_id": huawei.APP_ID,
            "client_secret_file": place.file(huawei.SECRET),
            "token_url": f"{place.url}/oauth2/v3/token",
            "callback_user": "sandbox",
            **here,
        },
        "xiaomi": {"package": xiaomi.PACKAGE, "app_secret_file": place.file(xiaomi.SECRET), **here},
        "oppo": {
            "app_key": oppo.APP_KEY,
            "master_secret_file": place.file(oppo.SECRET),
            "base_url_abroad": f"{place.url}/intl",
            **here,
        },
        "vivo": {"app_id": vivo.APP_ID, "app_key": vivo.APP_KEY, "app_secret_file": place.file(vivo.SECRET), **here},
        "jpush": {"app_key": jpush.APP_KEY, "master_secret_file": place.file(jpush.SECRET_FILE), **here},
        "getui": {
            "app_id": getui.APP_ID,
            "app_key": getui.APP_KEY,
            "master_secret_file": place.file(getui.SECRET_FILE),
            "base_url": f"{place.url}/getui/v2",
            **told,
        },
    }
    return {name: Account("push", options) for name, options in given.items()}


def _sms(place: Place) -> dict[str, Account]:
    told = {"callback_secret_file": place.file(CALLBACK_SECRET)}
    ours: dict[str, Any] = {"account_sid": ACCOUNT_SID, "auth_token_file": place.file("twilio-auth-token")}
    alibaba: dict[str, Any] = {
        "base_url": f"{place.url}/aliyun",
        "access_key_id": aliyun.KEY_ID,
        "access_key_secret_file": place.file(aliyun.SECRET_FILE),
        "signature": aliyun_rules.SIGNATURE,
    }
    any_gateway = {"base_url": f"{place.url}/gateway", "secret_file": place.file(gateway.SECRET_FILE), **_GATEWAY}
    return {
        "twilio": Account("sms", {"base_url": place.url, **ours, "from": FROM_NUMBER}),
        "aliyun": Account("sms", {**alibaba, **told}, {"countries": ["CN"]}),
        "gateway": Account("sms", {**any_gateway, **told}, {"countries": ["DE"]}),
    }


_GATEWAY: dict[str, Any] = {
    "request": {
        "path": "/v1/messages",
        "headers": {"Authorization": "Bearer {secret}"},
        "json": {"to": "{to}", "text": "{text}", "ref": "{id}", "validity": "{ttl_s}"},
    },
    "id": {"path": "data.id"},
    "errors": [
        {"path": "error.code", "equals": gateway.DEAD_NUMBER, "kind": "drop_address"},
        {"path": "error.code", "equals": gateway.UNAUTHORIZED, "kind": "stop_channel"},
        {"path": "error.code", "equals": gateway.INVALID, "kind": "drop_message"},
        {"path": "error.code", "equals": gateway.TOO_FAST, "kind": "retry_after", "wait": "PT30S"},
    ],
    "receipts": {
        "id": "id",
        "message": "ref",
        "status": "state",
        "statuses": {"DELIVERED": "delivered", "FAILED": "undelivered"},
        "code": "error",
        "codes": {str(gateway.DEAD_NUMBER): "drop_address"},
    },
    "check": {"path": "/v1/account", "headers": {"Authorization": "Bearer {secret}"}},
}


def _mail(place: Place) -> dict[str, Account]:
    amazon = {
        "base_url": place.url,
        "region": ses_auth.REGION,
        "access_key_id": ses_auth.ACCESS_KEY_ID,
        "secret_access_key_file": place.file(ses_auth.SECRET),
        "from": SENDER,
        "configuration_set": "sandbox",
        "topic_arns": [sns_post.TOPIC],
    }
    grid = {
        "base_url": place.url,
        "api_key_file": place.file(sendgrid.API_KEY),
        "verification_key_file": place.file(sendgrid.VERIFICATION_KEY),
        "from": SENDER,
    }
    server = {"host": "127.0.0.1", "port": place.smtp_port, "tls": "none", "from": SENDER}
    return {"smtp": Account("email", server), "ses": Account("email", amazon), "sendgrid": Account("email", grid)}


def _own(place: Place) -> dict[str, Account]:
    there = {"url": f"{place.url}/webhook/app", "secret_file": place.file(webhook.SECRET_FILE)}
    return {"webhook": Account("webhook", there)}
