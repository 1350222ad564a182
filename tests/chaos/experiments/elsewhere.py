"""Promises whose tests need no processes of their own: the suite's, at their full size where the size says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from tests.chaos.ground import NOT_SHORT, Ground, Size, Told, experiment
from tests.chaos.scene import ROOT


def suite(ground: Ground, files: Sequence[str]) -> Told:
    """Run test files by themselves; at night's sizes for ``full``."""
    report = ground.folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--timeout", "3600"]
    env = {**os.environ, "NIGHTLY": "1" if ground.size is Size.FULL else "0"}
    told = [f"--junitxml={report}", f"--basetemp={ground.folder / 'tests'}", *(f"tests/{name}" for name in files)]
    done = subprocess.run([*command, *told], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1500:]
    counts = ET.parse(report).getroot()[0].attrib
    passed = int(counts["tests"]) - int(counts["skipped"])
    assert passed > 0, "every test was skipped"
    form = "full size" if ground.size is Size.FULL else "short form"
    return Told(f"{passed} tests, {form}", "all pass, the broken variants among them are caught")


@experiment("R6", "breakers: what a storm may ask, and the ramp after it", sizes=NOT_SHORT)
def breakers(ground: Ground) -> Told:
    return suite(ground, ["limits/test_breaker.py", "dispatch/test_rates.py"])


@experiment("R7", "every wait that every provider can name", sizes=NOT_SHORT)
def named_waits(ground: Ground) -> Told:
    return suite(ground, ["channel/test_retry_after.py", "channels/test_waits_and_hangs.py"])


@experiment("R10", "a worker whose clock jumps; time zone data swapped", "10,000 messages", sizes=NOT_SHORT)
def clocks(ground: Ground) -> Told:
    return suite(ground, ["dispatch/test_clock_steps.py", "dispatch/test_tzdata_swapped.py"])


@experiment("R11", "interleavings of planning, claims, marks, sends and refusals", "10,000", sizes=NOT_SHORT)
def interleavings(ground: Ground) -> Told:
    return suite(ground, ["dispatch/test_opt_out_races.py"])


@experiment("R13", "callbacks against an oracle: repeated, shuffled, forged, stale, replayed", sizes=NOT_SHORT)
def oracle(ground: Ground) -> Told:
    return suite(ground, ["web/test_oracle.py", "web/test_callbacks.py", "web/test_commit.py"])


@experiment("R14", "signatures: published vectors and one-bit mutations", "10,000 mutations each", sizes=NOT_SHORT)
def signatures(ground: Ground) -> Told:
    sns = ["channel/email/test_sns.py", "channel/email/test_sns_certificates.py", "channel/email/test_sns_events.py"]
    files = [*sns, "channel/email/test_sendgrid_events.py", "channel/test_standard_webhooks.py"]
    return suite(ground, [*files, "channel/sms/test_twilio_callbacks.py", "channel/push/test_webpush_crypto.py"])
