"""Beyond loopback the page shows nothing of members before it has the token."""

import re
from collections.abc import Iterator

import pytest
from demanding import demanded

if not demanded():
    pytest.importorskip("playwright.sync_api")

from console_kit import TOKEN, browser, clean_page
from live_kit import Upstream, event, get, now_ms
from playwright.sync_api import Browser, Page, expect
from worker_kit import World, world

from app.stack import StackInfo
from app.stack.files import lasting_ports
from app.topology import ensure_topics

expect.set_options(timeout=60_000)

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def shop(kafka_stack: StackInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A worker that listens beyond loopback, as far as it can tell, and one member."""
    [port] = lasting_ports(1)
    with world(kafka_stack, "gate", tmp_path_factory.mktemp("gate"), partitions=1) as place:
        place.env |= {
            # No loopback address as addresses are written, and yet nobody else can reach it.
            "LIFECYCLE_HTTP_HOST": "127.1",
            "LIFECYCLE_HTTP_PORT": str(port),
            "LIFECYCLE_TOKEN": TOKEN,
        }
        ensure_topics(place.settings)
        place.start_worker()
        place.wait_until_serving()
        upstream = Upstream(place)
        upstream.tell(event("register", "ann", now_ms()))
        upstream.flush()
        yield place


def url(shop: World) -> str:
    return f"http://127.0.0.1:{shop.env['LIFECYCLE_HTTP_PORT']}"


@pytest.fixture
def page(chromium: Browser, shop: World) -> Iterator[Page]:
    context = chromium.new_context(locale="en-GB")
    context.set_default_timeout(60_000)
    yield clean_page(context, url(shop))[0]
    context.close()


def shows_the_shop(page: Page) -> None:
    page.wait_for_selector("#link[data-state=live]")
    expect(page.locator("[data-counter=members] dd")).to_have_text("1")
    expect(page.locator("#feed")).to_contain_text("ann")
    expect(page.locator("#gate")).to_be_hidden()


def enter(page: Page, token: str) -> None:
    page.fill("#gate-token", token)
    page.press("#gate-token", "Enter")


def test_nothing_of_members_is_told_before_the_token_is_there(page: Page, shop: World) -> None:
    assert get(f"{url(shop)}/members/ann")[0] == 401
    page.goto(f"{url(shop)}/#member=ann")
    expect(page.locator("#gate")).to_contain_text("tells nothing about members without its token")
    expect(page.locator("#member")).to_contain_text("cannot be shown now")
    assert page.locator("#feed li").count() == 0
    assert page.locator("#rules tr").count() == 0
    for counter in page.locator("#counters dd").all_inner_texts():
        assert not re.search(r"\d", counter)


def test_the_wrong_token_is_refused_and_the_right_one_opens_and_is_kept_in_the_tab(
    page: Page, shop: World
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url(shop))
    page.wait_for_selector("#gate:not([hidden])")
    enter(page, "wrong")
    expect(page.locator("#gate-said")).to_contain_text("Refused")
    assert page.locator("#feed li").count() == 0
    enter(page, TOKEN)
    shows_the_shop(page)
    page.reload()
    shows_the_shop(page)
    page.goto(f"{url(shop)}/#member=ann")
    expect(page.locator("#timeline")).to_contain_text("registered")
    assert page.evaluate("sessionStorage.getItem('token')") == TOKEN
    assert TOKEN not in page.evaluate("JSON.stringify(localStorage) + document.cookie")
    assert not [one for one in asked if TOKEN in one]


def test_an_address_with_the_token_opens_and_the_token_leaves_the_address(
    page: Page, shop: World
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition("#")[0]))
    page.goto(f"{url(shop)}/#token={TOKEN}&member=ann")
    shows_the_shop(page)
    assert page.url == f"{url(shop)}/#member=ann"
    expect(page.locator("#timeline")).to_contain_text("registered")
    assert asked
    assert not [one for one in asked if TOKEN in one]
    assert TOKEN not in shop.logs()
    # Another tab has nothing of it.
    with page.context.expect_page() as opened:
        page.evaluate("() => { window.open(location.pathname, '_blank', 'noopener'); }")
    expect(opened.value.locator("#gate")).to_be_visible()


def test_what_is_not_the_page_is_never_served_without_the_token(shop: World) -> None:
    for path in ("/members/ann/timeline", "/live", "/stream", "/lookup?id=ann", "/rules"):
        assert get(url(shop) + path)[0] == 401
    assert re.search(rb"gate-token", get(url(shop))[1])
