"""Each fault, as a client meets it on the wire."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import get_args
from urllib.parse import urlencode

import pytest

from orchestrator.sandbox.credentials import FROM_NUMBER
from orchestrator.sandbox.faults import Kind, Provider
from tests.sandbox.conftest import MESSAGES, PHONE, TOKEN, Customer


def test_a_storm_of_503(customer: Customer) -> None:
    number = customer.fault("fcm", "status", status=503, retry_after="7").json["number"]
    answer = customer.push()
    assert (answer.status, answer.fcm_code, answer.headers["retry-after"]) == (503, "UNAVAILABLE", "7")
    assert customer.text().status == 201
    listed = customer.ask("GET", "/sandbox/faults").json["faults"]
    assert (listed[0]["number"], listed[0]["hits"]) == (number, 1)
    assert customer.ask("DELETE", f"/sandbox/faults/{number}").status == 204
    assert customer.push().status == 200


def test_a_quota_and_an_http_date(customer: Customer) -> None:
    customer.fault("fcm", "status", status=429, code="RESOURCE_EXHAUSTED", retry_after="date+90")
    answer = customer.push()
    assert (answer.status, answer.fcm_code) == (429, "RESOURCE_EXHAUSTED")
    wait = parsedate_to_datetime(answer.headers["retry-after"]).timestamp() - time.time()
    assert 85 < wait <= 91


def test_an_unknown_code_passes_through(customer: Customer) -> None:
    customer.fault("fcm", "status", status=418, code="TEAPOT")
    assert customer.push().fcm_code == "TEAPOT"
    customer.fault("twilio", "status", status=400, code=99999)
    assert customer.text().json["code"] == 99999


def test_twilio_429_is_20429(customer: Customer) -> None:
    customer.fault("twilio", "status", status=429, times=1)
    assert customer.text().json["code"] == 20429
    assert customer.text().status == 201


def test_the_token_endpoint_fails_too(customer: Customer) -> None:
    customer.fault("token", "status", status=503, times=1)
    assert customer.grant(customer.assertion()).status == 503
    assert customer.grant(customer.assertion()).status == 200


def test_a_redirect_points_somewhere(customer: Customer) -> None:
    customer.fault("fcm", "status", status=307)
    assert customer.push().headers["location"].startswith("http")


def test_reset_before_accepts_nothing(customer: Customer) -> None:
    customer.push()
    customer.fault("fcm", "reset_before")
    with pytest.raises(ConnectionResetError):
        customer.push()
    assert len(customer.accepted()) == 1


def test_reset_after_accepts_and_says_nothing(customer: Customer) -> None:
    customer.fault("twilio", "reset_after", times=1)
    with pytest.raises(ConnectionResetError):
        customer.text(Body="lost answer")
    assert [each["body"] for each in customer.accepted()] == ["lost answer"]
    assert customer.text().status == 201


@pytest.mark.parametrize(("accept", "kept"), [(None, 0), (True, 1)])
def test_silence(customer: Customer, accept: bool | None, kept: int) -> None:
    customer.fault("twilio", "silence", accept=accept)
    with pytest.raises(TimeoutError):
        customer.text(timeout=0.4)
    assert len(customer.accepted()) == kept


def test_an_html_page_and_a_cut_off_answer_and_an_odd_one(customer: Customer) -> None:
    for kind in ("html", "truncated", "odd"):
        customer.fault("fcm", kind, times=1)
    page = customer.push()
    assert (page.status, page.headers["content-type"].split(";")[0]) == (502, "text/html")
    cut = customer.push()
    assert cut.status == 200
    with pytest.raises(json.JSONDecodeError):
        _ = cut.json
    odd = customer.push()
    assert odd.status == 200
    assert "name" not in odd.json
    assert len(customer.accepted()) == 2


def test_slow_answers_dribble(customer: Customer) -> None:
    customer.push()
    customer.fault("fcm", "slow", seconds=0.4)
    start = time.monotonic()
    assert customer.push().status == 200
    assert time.monotonic() - start > 0.35


def test_delay_waits_before_it_accepts(customer: Customer) -> None:
    customer.fault("twilio", "delay", seconds=0.3)
    start = time.monotonic()
    assert customer.text().status == 201
    assert time.monotonic() - start >= 0.3


def test_dead_addresses_only_where_they_match(customer: Customer) -> None:
    customer.fault("fcm", "dead_address", match="APA")
    customer.fault("twilio", "dead_address", match="+49")
    assert customer.push({"token": TOKEN}).fcm_code == "UNREGISTERED"
    assert customer.push({"token": "cX2-another-token"}).status == 200
    assert customer.text().json["code"] == 21614
    assert customer.text(To="+8613800138000").status == 201


def test_chance_is_seeded(customer: Customer) -> None:
    def hits() -> list[int]:
        customer.ask("DELETE", "/sandbox/faults")
        customer.fault("twilio", "status", status=503, probability=0.5, seed=7)
        return [customer.text().status for _ in range(12)]

    first = hits()
    assert first == hits()
    assert set(first) == {201, 503}


@pytest.mark.parametrize(
    "fault",
    [{"provider": "fcm", "kind": "explode"}, {"provider": "callback", "kind": "html"}, {"provider": "fcm"}, [], 7],
)
def test_an_unknown_fault_is_explained(refuser: Customer, fault: object) -> None:
    answer = refuser.ask("POST", "/sandbox/faults", json.dumps(fault).encode())
    assert answer.status == 400
    assert answer.error


def test_a_page_of_another_site_may_not_switch(customer: Customer) -> None:
    answer = customer.ask("DELETE", "/sandbox/faults", headers={"origin": "https://evil.example"})
    assert answer.status == 403


def test_a_kept_alive_connection_is_reset_in_the_middle(customer: Customer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", customer.sandbox.port, timeout=5)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b'{"status":"ok"}'
    customer.fault("token", "reset_before")
    connection.request("POST", "/token", b"")
    with pytest.raises(ConnectionResetError):
        connection.getresponse()
    connection.close()


def test_delay_can_wait_after_it_accepts(customer: Customer) -> None:
    customer.fault("twilio", "delay", seconds=30, accept=True)
    with pytest.raises(TimeoutError):
        customer.text(timeout=0.4)
    assert len(customer.accepted()) == 1


def test_a_dripping_answer_is_a_byte_a_second_from_its_head_on(customer: Customer) -> None:
    customer.push()
    customer.fault("fcm", "drip")
    with pytest.raises(TimeoutError):
        customer.push(timeout=0.4)
    assert len(customer.accepted()) == 2
    body = urlencode({"To": PHONE, "From": FROM_NUMBER, "Body": "hello"}).encode()
    head = f"POST {MESSAGES}.json HTTP/1.1\r\nhost: x\r\nauthorization: {customer.basic()['authorization']}\r\n"
    head += f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n\r\n"
    customer.fault("twilio", "drip")
    with socket.create_connection(("127.0.0.1", customer.sandbox.port), timeout=5) as raw:
        raw.sendall(head.encode() + body)
        start, answer = time.monotonic(), b""
        while len(answer) < 2:
            answer += raw.recv(100)
        assert (answer, time.monotonic() - start > 0.9) == (b"HT", True)


def test_a_garbled_wait_is_passed_on(customer: Customer) -> None:
    customer.fault("twilio", "status", status=429, retry_after="soon")
    assert customer.text().headers["retry-after"] == "soon"


def test_a_port_refuses_for_a_while_and_comes_back_by_itself(customer: Customer) -> None:
    assert customer.fault("http", "refuse", seconds=0.4).status == 201
    for _ in range(2):
        with pytest.raises(ConnectionError):
            customer.ask("GET", "/healthz")
    time.sleep(0.4)
    assert customer.ask("GET", "/healthz").status == 200
    assert customer.ask("GET", "/sandbox/faults").json["faults"] == []


def test_mail_refuses_alone(customer: Customer) -> None:
    customer.fault("smtp", "refuse", seconds=30)
    where = ("127.0.0.1", customer.sandbox.smtp_port)
    with pytest.raises(ConnectionResetError), socket.create_connection(where, timeout=5) as client:
        client.recv(10)
    assert customer.text().status == 201
    customer.ask("DELETE", "/sandbox/faults")
    with socket.create_connection(where, timeout=5) as client:
        assert client.recv(3) == b"220"


def test_apns_shows_somebody_elses_certificate_while_told_to(customer: Customer) -> None:
    def named() -> str:
        context = ssl.create_default_context(cafile=customer.sandbox.options.state / "apns-ca.pem")
        context.check_hostname = False
        with (
            socket.create_connection(("127.0.0.1", customer.sandbox.apns_port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            return str(dict(secured.getpeercert()["subjectAltName"])["DNS"])  # type: ignore[index,arg-type]

    customer.fault("apns", "wrong_name", times=1)
    assert [named(), named()] == ["stranger.invalid", "localhost"]
    customer.fault("apns", "refuse", seconds=30)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        named()


def test_everybody_is_told_what_there_is_to_suffer(refuser: Customer) -> None:
    able = refuser.ask("GET", "/sandbox/faults").json["can_suffer"]
    assert set(able) == set(get_args(Provider))
    assert {kind for kinds in able.values() for kind in kinds} == {kind.value for kind in Kind}
    for provider, kinds in able.items():
        for kind in set(Kind) - set(kinds):
            answer = refuser.fault(provider, kind.value)
            assert (answer.status, "cannot suffer" in answer.error) == (400, True)


@pytest.mark.parametrize("provider", ["ses", "sendgrid", "twilio", "aliyun", "gateway"])
def test_a_redirect_is_somebody_elses_word(customer: Customer, provider: str) -> None:
    paths = {
        "ses": "/v2/email/outbound-emails",
        "sendgrid": "/v3/mail/send",
        "twilio": MESSAGES + ".json",
        "aliyun": "/aliyun/",
        "gateway": "/gateway/v1/messages",
    }
    customer.fault(provider, "status", status=307)
    answer = customer.ask("POST", paths[provider], b"{}")
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (307, "text/html")
