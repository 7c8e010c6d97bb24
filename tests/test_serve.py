"""The web server: what it gives, and everything that it refuses."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from threading import Thread

import pytest

from bert.manifest import ROOT
from bert.predict.page import pages
from bert.predict.requests import LONGEST_TEXT, PairRequest, SpanRequest, check_request
from bert.predict.server import MOST_BYTES, PredictServer
from tests.published import publish

PAGES = pages(SpanRequest, "span", name='<b>&"', kinds=(), facts={"device": "<here>"})


def echo(values):
    """Answers a pair with itself; fails where the first text asks for it."""
    request = check_request(PairRequest, values, "the request")
    if request.first == "fail":
        raise ValueError("a secret of the inside")
    return {"first": request.first, "second": request.second}


@pytest.fixture(scope="module")
def port():
    server = PredictServer("127.0.0.1", 0, echo, PAGES)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def request(port, method="POST", path="/predict", body=None, headers=None):
    """Status, headers and body of the reply."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    sent = {"Content-Type": "application/json"} | (headers or {})
    connection.request(method, path, body, {k: v for k, v in sent.items() if v is not None})
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply.status, reply.headers, content


def pair(**changes):
    return json.dumps({"first": "a \U0001f600", "second": "b"} | changes)


def test_a_request_is_answered_in_json(port):
    status, headers, body = request(port, body=pair())

    assert status == 200
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(body) == {"first": "a \U0001f600", "second": "b"}


def test_requests_of_one_connection_are_answered_one_after_another(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for word in ("a", "b"):
        connection.request(
            "POST", "/predict", pair(first=word), {"Content-Type": "application/json"}
        )
        assert json.loads(connection.getresponse().read())["first"] == word
    connection.close()


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/?question=a&context=b"])
def test_pages_take_nothing_from_elsewhere(port, path):
    status, headers, body = request(port, "GET", path)

    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(rb"https?://|//\w+\.\w", body.replace(b"// ", b""))
    assert b"innerHTML" not in body


def test_names_are_text_on_the_page(port):
    _, _, body = request(port, "GET", "/")

    assert b"<b>" not in body
    assert b"&lt;b&gt;&amp;&quot;" in body
    assert b"&lt;here&gt;" in body


def test_every_box_of_the_form_has_a_label_and_every_id_stands_once(port):
    html = request(port, "GET", "/")[2].decode()
    ids = re.findall(r'\bid="([^"]+)"', html)

    assert re.findall(r'<label for="([^"]+)"', html) == re.findall(r'<textarea id="([^"]+)"', html)
    assert len(set(ids)) == len(ids)
    for name in re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', html):
        assert name in ids


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/page.css/..",
        "/%2e%2e/page.py",
        "//etc/passwd",
        "/server.py",
        "/favicon.ico",
    ],
)
def test_no_path_leads_to_a_file(port, path):
    status, _, body = request(port, "GET", path)

    assert status == 404
    assert json.loads(body) == {"error": "There is no such page; the form is at /."}


@pytest.mark.parametrize(
    ("status", "words", "change"),
    [
        (400, "not JSON", {"body": "{"}),
        (400, "not JSON", {"body": b"\xff"}),
        (400, "not JSON", {"body": "[" * 100_000}),
        (404, "Only /predict", {"path": "/"}),
        (405, "takes POST", {"method": "GET"}),
        (413, "at most", {"body": " " * (MOST_BYTES + 1)}),
        (411, "Content-Length", {"body": "", "headers": {"Content-Length": "-1"}}),
        (415, "expected application/json", {"headers": {"Content-Type": "text/plain"}}),
        (421, "not 'evil.example'", {"headers": {"Host": "evil.example"}}),
        (421, "not 'localhost.evil:80'", {"headers": {"Host": "localhost.evil:80"}}),
        (421, "not '[::1'", {"headers": {"Host": "[::1"}}),
        (422, "`third` is not a known key", {"body": pair(third=1)}),
        (422, "it must be a valid string", {"body": '{"\\ud800": 1}'}),
        (422, "`first` is 3", {"body": pair(first=3)}),
        (422, "`first` is empty", {"body": pair(first=" ")}),
        (422, "at most 100,000", {"body": pair(first="a" * (LONGEST_TEXT + 1))}),
        (422, "expected an object", {"body": "[]"}),
        (500, "The model failed", {"body": pair(first="fail")}),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_in_words(port, status, words, change):
    found, headers, body = request(port, **({"body": pair()} | change))

    assert found == status
    assert words in json.loads(body)["error"]
    assert b"secret" not in body
    assert headers["Connection"] == "close"


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "[::1]:80", "192.168.0.7:8000"])
def test_addresses_and_localhost_are_this_server(port, host):
    assert request(port, "GET", "/", headers={"Host": host})[0] == 200


def test_a_visitor_that_goes_away_leaves_the_server_standing(port):
    with socket.create_connection(("127.0.0.1", port)) as visitor:
        visitor.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n")
    assert request(port, body=pair())[0] == 200


@pytest.mark.parametrize(
    ("line", "status"), [(b"Content-Length: " + b"9" * 40, b"413"), (b"Accept: */*", b"411")]
)
def test_a_length_that_is_a_lie_or_missing_is_refused(port, line, status):
    """The visitor sends no body and closes its side."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as visitor:
        visitor.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n" % line)
        visitor.shutdown(socket.SHUT_WR)
        assert visitor.recv(100).startswith(b"HTTP/1.1 " + status)


def test_a_port_that_is_taken_is_an_error(port):
    with pytest.raises(OSError, match="in use"):
        PredictServer("127.0.0.1", port, echo, PAGES)


def test_the_script_serves_a_model_until_ctrl_c(tmp_path):
    command = [sys.executable, "scripts/serve.py", "--model", publish(tmp_path, "rte")]
    command += ["--port", "0", "--threads", "1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", line)[1])
        status, _, body = request(port, body=json.dumps({"first": "Ada", "second": "Bob"}))
        # A test run in the background ignores Ctrl-C, and so do its children.
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        os.kill(process.pid, signal.SIGTERM if ignored else signal.SIGINT)
        rest, errors = process.communicate(timeout=30)

    answer = json.loads(body)
    assert status == 200
    assert set(answer) == {"label", "probabilities", "notes"}
    assert (process.returncode, rest) == (0, "\nStopped.\n")
    assert "Traceback" not in errors
