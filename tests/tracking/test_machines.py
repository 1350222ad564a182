"""Opens that are people: the rules row by row (providers §11)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.tracking.machines import Confidence, Deed, Facts, agent_class, built_in, cut_network

SENT = datetime(2026, 12, 1, 12, tzinfo=UTC)
LATER = SENT + timedelta(minutes=20)
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19 Safari/604.1"
RULES = built_in()
HUMAN, SUSPECT, MACHINE = Confidence
OPEN, CLICK = Deed


def says(
    deed: Deed, agent: str = IPHONE, network: str = "84.1.2.0/24", after: float = 1200, **more: object
) -> Confidence:
    facts = Facts(deed, SENT + timedelta(seconds=after), 1, agent, network, SENT, **more)  # type: ignore[arg-type]
    return RULES.classify(facts).confidence


@pytest.mark.parametrize(
    ("agent", "opened", "clicked"),
    [
        (IPHONE, HUMAN, HUMAN),
        ("Mozilla/5.0", MACHINE, SUSPECT),  # Apple's privacy proxy fetches every picture
        ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", SUSPECT, SUSPECT),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", SUSPECT, SUSPECT),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 BingPreview/1.0b", MACHINE, MACHINE),
        ("Microsoft Office Existence Discovery", MACHINE, MACHINE),
        ("Barracuda Sentinel (EE)", MACHINE, MACHINE),
        ("Mimecast Link Scanner", MACHINE, MACHINE),
        ("Proofpoint URL Defense", MACHINE, MACHINE),
        ("curl/8.1", MACHINE, MACHINE),
        ("python-requests/2.32", MACHINE, MACHINE),
        ("Mozilla/5.0 HeadlessChrome/130", MACHINE, MACHINE),
        ("Slackbot-LinkExpanding 1.0", MACHINE, MACHINE),
        ("", SUSPECT, SUSPECT),
        ("Mozilla/5.0 (Linux; Android 15; CUBOT P80) Chrome/130 Mobile", HUMAN, HUMAN),  # a phone, not a bot
    ],
)
def test_user_agents(agent: str, opened: Confidence, clicked: Confidence) -> None:
    assert (says(OPEN, agent), says(CLICK, agent)) == (opened, clicked)


@pytest.mark.parametrize("network", ["66.102.8.0/24", "66.249.80.0/24", "64.233.170.0/24"])
def test_googles_networks(network: str) -> None:
    assert (says(OPEN, network=network), says(CLICK, network=network)) == (SUSPECT, MACHINE)


@pytest.mark.parametrize(
    ("after", "confidence"), [(-1, MACHINE), (0, MACHINE), (4.9, MACHINE), (5, HUMAN), (60, HUMAN)]
)
def test_an_open_right_after_delivery(after: float, confidence: Confidence) -> None:
    assert says(OPEN, after=after) is confidence


@pytest.mark.parametrize(("after", "confidence"), [(0, SUSPECT), (9.9, SUSPECT), (10, HUMAN), (60, HUMAN)])
def test_a_click_right_after_delivery(after: float, confidence: Confidence) -> None:
    assert says(CLICK, after=after) is confidence


def test_without_a_delivery_nothing_is_too_soon() -> None:
    assert RULES.classify(Facts(CLICK, SENT, 1, IPHONE)).confidence is HUMAN


def test_who_fell_into_the_trap_is_a_machine() -> None:
    assert says(OPEN, trapped=True) is MACHINE
    assert says(CLICK, trapped=True) is MACHINE


@pytest.mark.parametrize(
    ("clicks", "machines"),
    [
        ([(1, 0), (2, 0.5), (3, 1.9)], {0, 1, 2}),
        ([(1, 0), (2, 1), (3, 2.0)], set()),
        ([(1, 0), (1, 0.1), (1, 0.2), (2, 0.3)], set()),  # one person who taps twice
        ([(1, 0), (2, 0.2), (3, 0.4), (4, 60)], {0, 1, 2}),
        ([(1, 0), (2, 1.5), (3, 3.0), (4, 3.2)], {1, 2, 3}),
        ([(1, 0), (2, 60), (3, 120)], set()),
    ],
)
def test_a_burst_of_links_is_a_machine_its_first_clicks_too(
    clicks: list[tuple[int, float]], machines: set[int]
) -> None:
    made = [(link, LATER + timedelta(seconds=at)) for link, at in clicks]
    found = {
        place
        for place, (link, at) in enumerate(made)
        if RULES.classify(Facts(CLICK, at, link, IPHONE, "", SENT), made).confidence is MACHINE
    }
    assert found == machines


def test_addresses_are_cut_short() -> None:
    assert cut_network("84.17.3.201") == "84.17.3.0/24"
    assert cut_network("2001:db8:1:2::9") == "2001:db8:1::/48"
    assert cut_network("::ffff:84.17.3.201") == "84.17.3.0/24"
    assert cut_network("testclient") == ""


def test_agents_have_names_for_people() -> None:
    assert agent_class(IPHONE, RULES) == "safari"
    assert agent_class("curl/8", RULES) == "tool"
    assert agent_class("something", RULES) == "other"
