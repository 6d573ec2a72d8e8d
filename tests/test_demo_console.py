"""The console of a running demo: its address brings what it takes to change things there."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from demanding import demanded

if not demanded():
    pytest.importorskip("playwright.sync_api")

from console_kit import browser, clean_page
from live_kit import get
from playwright.sync_api import Browser, expect

from app.stack import StackInfo

expect.set_options(timeout=60_000)

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.browser]

PATIENCE = 120.0


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def demo(kafka_stack: StackInfo, tmp_path: Path) -> Iterator[Path]:
    """What a demo that runs has printed so far."""
    printed = tmp_path / "demo.log"
    where = ("--broker", kafka_stack.broker, "--redis", kafka_stack.redis)
    how = ("--seconds", "600", "--speed", "0.5", "--members", "80")
    with printed.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "demo", *where, *how],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if not k.startswith("LIFECYCLE_")},
        )
    try:
        yield printed
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def until(look: Callable[[], Any], what: str) -> Any:
    ends = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < ends, what
        time.sleep(0.1)
    return found


def told(url: str) -> Any:
    status, body = get(url)
    return json.loads(body) if status == 200 else None


def with_something_open(url: str) -> str | None:
    """A member who may yet be sent something."""
    for stage in ("new", "active", "silent"):
        for one in (told(f"{url}/members?stage={stage}") or {"members": []})["members"]:
            if (told(f"{url}/members/{one['member_id']}") or {}).get("open_triggers"):
                return str(one["member_id"])
    return None


def test_a_member_is_muted_from_the_page_and_what_was_open_is_taken_back(
    demo: Path, chromium: Browser
) -> None:
    found = until(
        lambda: re.search(r"console is at ((http://\S+)/#token=([0-9a-f]{16}))", demo.read_text()),
        "the console's address",
    )
    address, url, token = found.groups()
    context = chromium.new_context(locale="en-GB")
    page, wrong = clean_page(context, url)
    page.goto(address)
    page.wait_for_selector("#link[data-state=live]")
    assert page.url == f"{url}/"
    member = until(lambda: with_something_open(url), "somebody with an open message")
    page.goto(f"{url}/#member={member}")
    page.wait_for_selector("#timeline li")
    page.click("#mute summary")
    page.fill("#mute-until", "2031-05-01")
    page.fill("#mute-reason", "asked by phone")
    page.click("#mute >> text='Mute'")
    expect(page.locator("#mute-said")).to_contain_text("Muted until 1 May 2031")
    expect(page.locator(".where .state")).to_contain_text("Muted until 1 May 2031")
    timeline = page.locator("#timeline")
    expect(timeline.locator(".entry.event .what", has_text="muted")).to_have_count(1)
    expect(timeline.locator(".entry.cancelled .why", has_text="muted").first).to_be_visible()
    now = told(f"{url}/members/{member}")
    assert (now.get("open_triggers", []), now["muted_until"][:7]) == ([], "2031-05")
    entries = told(f"{url}/members/{member}/timeline")["entries"]
    assert [one["type"] for one in entries if one.get("type") == "mute"] == ["mute"]
    assert wrong == []
    # Nobody else may: neither without the token of this run, nor with another.
    assert get(f"{url}/members/{member}")[0] == 200
    assert token not in json.dumps(told(f"{url}/live"))
    context.close()
