"""The documents as pages: every one of ours, whole, with links that lead somewhere, and nothing in them but its words."""

import re
from html import unescape
from urllib.parse import urljoin

import pytest
from at_sandbox import service_at
from test_docs import PAGES
from werkzeug.test import Client

from wxsign.http.documents import page_of
from wxsign.web import create_app

DOCUMENTS = sorted(page for page in PAGES if page.parent.name == "docs")


@pytest.fixture(scope="module")
def client():
    with service_at("http://127.0.0.1:9") as service:
        yield Client(create_app(service))


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_a_document_is_served_whole_and_each_of_its_links_leads_to_a_page_and_a_place_in_it(client, page):
    served = client.get(f"/docs/{page.name}")
    assert served.status_code == 200
    text = served.text.partition("<main")[2].partition("</main>")[0]
    words = re.sub(r"<pre.*?</pre>|<code>.*?</code>", "", text, flags=re.DOTALL)
    assert re.findall(r"```|\]\(|\*\*|^#+ |\n\|", words) == []
    for link in re.findall(r'href="([^"]+)"', text):
        if link.startswith("http"):
            continue
        path, _, anchor = urljoin(f"/docs/{page.name}", link).partition("#")
        target = client.get(path)
        assert target.status_code == 200, link
        assert not anchor or f'id="{unescape(anchor)}"' in target.text, link


def test_the_list_names_each_document_once_in_the_visitor_s_language(client):
    english, chinese = (client.get(f"/docs/?lang={language}").text for language in ("en", "zh"))
    assert '"/docs/javascript.md?lang=en"' in english
    assert '"/docs/javascript.zh-CN.md?lang=zh"' in chinese
    assert "javascript.md" not in chinese
    assert client.get("/docs").status_code == 200


def test_a_picture_of_a_document_is_served_and_what_stands_beside_the_documents_is_not(client):
    assert client.get("/docs/img/overview.svg").mimetype == "image/svg+xml"
    for path in ("/docs/../pyproject.toml", "/docs/%2e%2e/README.md", "/docs/nothing.md"):
        assert client.get(path).status_code == 404


def test_what_a_document_quotes_never_becomes_markup():
    shown = page_of(
        '# A <b>\n\nText <script>x</script> and `<i>`\n\n```html\n<script src="x"></script>\n```\n\n- [a<u>](b.md)\n'
    )
    assert re.findall(r"<(?:b|script|i|u)\b", shown) == []
    assert '<h1 id="a-b">A &lt;b&gt;</h1>' in shown
    assert '<ul><li><a href="b.md">a&lt;u&gt;</a></li></ul>' in shown
