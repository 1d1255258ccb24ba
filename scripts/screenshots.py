"""Makes the pictures of docs/img/ that the READMEs show: pages of `wxsign dev` on a phone, in each language, side by side.

`make screenshots`. Needs Chromium and a font with Chinese characters.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from playwright.sync_api import sync_playwright

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from wxsign.commands.dev import DevServer, Plan  # noqa: E402 - of this checkout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Route

PHONE: Final = {"width": 390, "height": 780}
LANGUAGES: Final = {"en-US": "", "zh-CN": ".zh-CN"}
SETTLED: Final = "html[data-wxsign-state=ready], html[data-wxsign-state=error]"
WECHATS_SCRIPT: Final = ROOT / "node_modules/weixin-js-sdk/index.original.js"
SHEET: Final = (
    "<style>body{margin:0;display:flex;gap:24px;padding:16px;width:max-content;background:#fff}"
    "img{width:260px;border:1px solid #d0d0d0;border-radius:18px}</style>"
)
# The same picture for the same pages, wherever it is made.
PORTS: Final = (8000, 8001)


def wechats_script(route: Route) -> None:
    """Answer for Tencent's host with what npm has."""
    route.fulfill(body=WECHATS_SCRIPT.read_text(), content_type="text/javascript")


def of_another_page(route: Route) -> None:
    """Have a signature made without what WeChat adds to a shared page's URL, a mistake that is made often."""
    route.continue_(url=route.request.url.replace("%3Ffrom%3Dsinglemessage", ""))


def shots(page: Page, url: str) -> Iterator[bytes]:
    """The start page; the demo when it is green; why it is red, in the sandbox's panel."""
    page.goto(f"{url}/")
    yield page.screenshot()
    page.goto(f"{url}/demo")
    page.wait_for_selector(SETTLED, state="attached")
    page.wait_for_timeout(500)
    yield page.screenshot()
    page.route("**/jsconfig?*", of_another_page)
    page.goto(f"{url}/demo?from=singlemessage")
    page.wait_for_selector("html[data-wxsign-state=error]", state="attached")
    page.click("wxsign-sandbox .menu")
    yield page.screenshot()


def picture(browser: Browser, url: str, locale: str) -> bytes:
    """One picture of all pages in a language."""
    context = browser.new_context(viewport=PHONE, locale=locale, reduced_motion="reduce")
    context.route("https://res*.wx.qq.com/**", wechats_script)
    made = [base64.b64encode(shot).decode() for shot in shots(context.new_page(), url)]
    sheet = context.new_page()
    sheet.set_viewport_size({"width": 900, "height": 600})
    sheet.set_content(SHEET + "".join(f'<img src="data:image/png;base64,{shot}">' for shot in made))
    picture = sheet.locator("body").screenshot()
    context.close()
    return picture


def main() -> None:
    """Write the pictures. Ends with a sentence where something is missing."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    fonts = subprocess.run(["fc-list", ":lang=zh"], capture_output=True, check=True)  # noqa: S607 - fontconfig
    if not chromium or not fonts.stdout or not WECHATS_SCRIPT.exists():
        sys.exit("This needs chromium, a font with Chinese characters (fonts-wqy-microhei) and `npm ci`.")
    with DevServer(Plan("127.0.0.1", *PORTS)) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for locale, suffix in LANGUAGES.items():
            target = ROOT / f"docs/img/pages{suffix}.png"
            target.write_bytes(picture(browser, server.plan.origin, locale))
            print(target.relative_to(ROOT), target.stat().st_size)  # noqa: T201 - a script
        browser.close()


if __name__ == "__main__":
    main()
