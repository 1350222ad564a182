"""A far end that is never the bottleneck: nginx, which says of every message that it was accepted, and counts.

Over HTTP/1.1 it answers as FCM does; on a second port, over TLS in both protocols, as FCM and APNs do.

Taken from PATH, else from Debian's package unpacked into ``.peers/`` (no root, nothing installed). ``h2load`` and
``wrk`` say what it reaches by itself.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.far_end import free_port

PEERS = Path(__file__).parents[1] / ".peers" / "bench"
LIBRARIES = PEERS / "usr/lib" / f"{platform.machine()}-linux-gnu"
ACCEPTED = '{"name":"projects/bench/messages/0"}'
TOKEN = json.dumps({"access_token": "bench" * 40, "token_type": "Bearer", "expires_in": 3600})
_CONFIG = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 75s;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port} backlog=4096; default_type application/json;
        location /token {{ return 200 '{token}'; }}
        location /status {{ stub_status; }}
        location / {{ return 200 '{accepted}'; }}
    }}
    server {{
        listen 127.0.0.1:{tls_port} ssl http2 backlog=4096;
        ssl_certificate {folder}/localhost.pem; ssl_certificate_key {folder}/localhost.key;
        location /v1/ {{ default_type application/json; return 200 '{accepted}'; }}
        location / {{ add_header apns-id $http_apns_id always; return 200; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx."""

    port: int
    tls_port: int
    folder: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Its second port."""
        return f"https://localhost:{self.tls_port}"

    @property
    def certificate(self) -> Path:
        """What the second port shows: self-signed, for ``localhost``."""
        return self.folder / "localhost.pem"

    def requests(self) -> int:
        """How many it has had."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/status")
        text = connection.getresponse().read().decode()
        connection.close()
        numbers = re.search(r"(\d+) (\d+) (\d+)", text)
        assert numbers is not None
        return int(numbers[3])

    def service_account(self) -> Path:
        """A Google service account whose tokens come from here: a file."""
        key = rsa.generate_private_key(65537, 2048)
        kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path = self.folder / "service-account.json"
        names = {"type": "service_account", "project_id": "bench", "client_email": "bench@bench.example"}
        secret = {"private_key_id": "1", "private_key": key.private_bytes(*kinds).decode()}
        path.write_text(json.dumps({**names, **secret, "token_uri": f"{self.url}/token"}))
        return path


@contextmanager
def nginx() -> Iterator[Nginx | None]:
    """One for the length of a block; None where it cannot be had."""
    program = _program("nginx", ("nginx",), "usr/sbin/nginx")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        folder, port, tls_port = Path(name), free_port(), free_port()
        config = _CONFIG.format(folder=folder, port=port, tls_port=tls_port, token=TOKEN, accepted=ACCEPTED)
        (folder / "nginx.conf").write_text(config)
        _certify(folder)
        command = [program, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            made = Nginx(port, tls_port, folder)
            _wait_for(made)
            yield made
        finally:
            process.terminate()
            process.wait(10)


def own_limit(far: Nginx, body: bytes, seconds: int = 3, *, tls: bool = False) -> float | None:
    """Requests a second that ``wrk`` gets out of it with the same body, by HTTP/1.1; None where wrk cannot be had."""
    program = _program("wrk", ("wrk", "libluajit-5.1-2"), "usr/bin/wrk")
    if program is None:
        return None
    script = far.folder / "post.lua"
    script.write_text(f'wrk.method = "POST"\nwrk.body = {json.dumps(body.decode(), ensure_ascii=False)}\n')
    command = [
        program,
        "-t1",
        "-c128",
        f"-d{seconds}s",
        "-s",
        str(script),
        f"{far.tls_url if tls else far.url}/v1/projects/bench/messages:send",
    ]
    try:
        libraries = {**os.environ, "LD_LIBRARY_PATH": str(LIBRARIES)}
        done = subprocess.run(command, env=libraries, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    return float(found[1]) if found else None


def _certify(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "localhost.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "localhost.key").write_bytes(key.private_bytes(*kinds))


def _wait_for(far: Nginx) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            far.requests()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _program(name: str, packages: tuple[str, ...], inside: str) -> str | None:
    """The program's path, fetched when needed with its libraries; None where that is impossible."""
    if found := shutil.which(name):
        return found
    path = PEERS / inside
    if path.exists() or all(_fetched(package, PEERS) for package in packages):
        return str(path)
    return None


def _fetched(package: str, folder: Path) -> bool:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True, capture_output=True, timeout=120)
        [archive] = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True, capture_output=True, timeout=60)
    except (subprocess.SubprocessError, OSError, ValueError):
        return False
    return True
