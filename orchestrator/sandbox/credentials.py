"""What the sandbox gives its customers: a service account file and a Twilio account, made once and kept.

The files look like the real ones, so that the real channel code reads them.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT = "sandbox-project"
CLIENT_EMAIL = f"sandbox@{PROJECT}.iam.gserviceaccount.com"
ACCOUNT_SID = "AC5a4db0c05a4db0c05a4db0c05a4db0c0"
MESSAGING_SERVICE_SID = "MG5a4db0c05a4db0c05a4db0c05a4db0c0"
FROM_NUMBER = "+15005550006"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The providers' credentials, with the files they stand in; ``folder`` is where they are."""

    folder: Path
    service_account: Path
    private_key_pem: str
    private_key_id: str
    token_uri: str
    auth_token_file: Path
    auth_token: str

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        """What signed assertions are checked with."""
        key = serialization.load_pem_private_key(self.private_key_pem.encode(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key.public_key()

    def secret(self, name: str, make: Callable[[], str] = lambda: secrets.token_hex(16)) -> str:
        """The content of the file ``name`` in the folder, made the first time and kept."""
        path = self.folder / name
        if not path.exists():
            write_secret(path, make() + "\n")
        return path.read_text().strip()


def open_credentials(folder: Path, port: int) -> Credentials:
    """Read the credentials in ``folder``, making what is not there; the token address follows the port."""
    token_uri = f"http://127.0.0.1:{port}/token"
    account_file = folder / "service-account.json"
    account = json.loads(account_file.read_text()) if account_file.exists() else _new_account()
    if account.get("token_uri") != token_uri:
        account["token_uri"] = token_uri
        write_secret(account_file, json.dumps(account, indent=2) + "\n")
    token_file = folder / "twilio-auth-token"
    if not token_file.exists():
        write_secret(token_file, secrets.token_hex(16) + "\n")
    return Credentials(
        folder=folder,
        service_account=account_file,
        private_key_pem=account["private_key"],
        private_key_id=account["private_key_id"],
        token_uri=token_uri,
        auth_token_file=token_file,
        auth_token=token_file.read_text().strip(),
    )


def _new_account() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": secrets.token_hex(20),
        "private_key": pem.decode(),
        "client_email": CLIENT_EMAIL,
        "client_id": "100000000000000000000",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "universe_domain": "googleapis.com",
    }


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner reads."""
    # Whole or not at all: a reader started beside us must not see half a key.
    scratch = path.with_name(path.name + ".new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    scratch.replace(path)
