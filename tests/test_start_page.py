"""The start page of `wxsign dev` in Chromium: what it shows to copy works as pasted, in both languages, without a network."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from test_demo_page import browser, service, site, visit  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from test_demo_page import Visit

pytestmark = pytest.mark.fleet


def copied(seen: Visit) -> list[str]:
    """Return what each copy button of the page puts on the clipboard."""
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    found = []
    for button in seen.page.locator("button.copy").all():
        button.click()
        expect(button).to_have_text("Copied")
        found.append(seen.page.evaluate("() => navigator.clipboard.readText()"))
    return found


def shell(command: str) -> dict[str, object]:
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_every_command_and_the_page_succeed_as_pasted(service, visit, site):  # noqa: F811 - the fixtures
    seen = visit(f"{service.url}/", locale="en-US")
    signature, html, server, happening, token = copied(seen)

    assert len(str(shell(signature)["signature"])) == 40
    assert "error" not in shell(happening)
    assert shell(token)["access_token"]
    assert server == "python3 -m http.server 5173 --bind 127.0.0.1"
    pasted = visit(site(html))
    assert pasted.state() == "ready"
    expect(pasted.page.locator("body")).to_contain_text("wifi")
    assert (seen.blocked(), seen.errors, pasted.errors) == ([], [], [])


def test_where_there_is_no_clipboard_interface_a_button_copies_all_the_same(service, visit):  # noqa: F811
    seen = visit(f"{service.url}/", locale="en-US")
    seen.page.evaluate("() => Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    seen.page.evaluate(
        "() => document.addEventListener('copy', () => { window.taken = document.activeElement.value; })"
    )
    seen.page.locator("button.copy").first.click()
    assert seen.page.evaluate("() => window.taken").startswith(f"curl --get {service.url}/jsconfig")


def test_the_language_that_is_chosen_goes_along_to_every_page(service, visit):  # noqa: F811
    seen = visit(f"{service.url}/", locale="en-US")
    seen.page.click("nav >> text=中文")
    expect(seen.page.locator("html")).to_have_attribute("lang", "zh-CN")
    addresses = seen.page.locator("a.cell").evaluate_all("links => links.map((link) => link.href)")
    assert len(addresses) == 6
    for address in addresses[1:]:
        seen.page.goto(address)
        expect(seen.page.locator("html")).to_have_attribute("lang", "zh-CN")
    seen.page.goto(f"{service.url}/docs/?lang=zh")
    seen.page.click("text=English")
    expect(seen.page.locator("h1")).to_have_text("Documents")


def test_without_a_network_the_start_page_waits_for_nothing(service, visit):  # noqa: F811
    seen = visit(f"{service.url}/", sdk="blackholed")
    seen.page.wait_for_load_state("load")
    assert seen.outside == []
    assert seen.page.evaluate("() => performance.now()") < 2000
