"""The page in a browser: what stands in its document once the model has answered."""

import re
import shutil
import subprocess
from html import unescape
from threading import Thread
from urllib.parse import urlencode

import pytest

from bert.kernels.compiled import use_kernels
from bert.predict.model import answer_all, load_model
from bert.predict.requests import SpanRequest, TokenRequest
from bert.predict.serving import make_server
from tests.published import publish

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--virtual-time-budget=10000", "--dump-dom"),
]
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on the PATH")


@pytest.fixture
def serve(tmp_path):
    """Serves a published model; gives the model and the address of its page."""
    running = []

    def start(name):
        model = load_model(publish(tmp_path, name), "fp32")
        server = make_server(model, "127.0.0.1", 0)
        thread = Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return model, server.url

    yield start
    use_kernels("torch")
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


def document(url, tmp_path, **texts):
    """The page's document after its script has run, with texts in its address."""
    command = [
        BROWSER,
        *FLAGS,
        f"--user-data-dir={tmp_path / 'browser'}",
        f"{url}?{urlencode(texts)}",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return run.stdout


def marked(html):
    return [unescape(text) for text in re.findall(r"<mark[^>]*>([^<]*)", html)]


def test_the_answer_is_marked_in_the_text_and_its_rivals_are_listed(serve, tmp_path):
    """Signs outside the basic plane and markup before the answer do not move the mark."""
    model, url = serve("squad")
    texts = {
        "question": "Who",
        "context": "\U0001f600 <b>Ada</b> & Bob wrote \u201cthe first\u201d",
    }
    ((answer,), _), = answer_all(model, [SpanRequest(**texts)])  # fmt: skip

    html = document(url, tmp_path, **texts)

    rivals = [unescape(name) for name in re.findall(r'class="name">([^<]*)<', html)]
    assert rivals == [one["text"] or "no answer" for one in answer["n_best"]]
    assert marked(html) == ([answer["answer"]] if answer["answer"] else [])
    assert "Answered in" in html
    assert "<b>" not in html


def test_entities_are_marked_and_named(serve, tmp_path):
    model, url = serve("conll")
    text = "Ada wrote \U0001f600 in London."
    ((answer,), _), = answer_all(model, [TokenRequest(text=text)])  # fmt: skip

    html = document(url, tmp_path, text=text)

    assert marked(html) == [one["text"] for one in answer["entities"]]
    assert re.findall(r'class="tag">([^<]*)<', html) == [one["label"] for one in answer["entities"]]
    assert len(marked(html)) > 1


def test_what_the_server_refuses_is_said_on_the_page(serve, tmp_path):
    _, url = serve("rte")

    html = document(url, tmp_path, first=" ", second="Bob")

    assert "First sentence: write something first." in html
    assert 'aria-invalid="true"' in html
