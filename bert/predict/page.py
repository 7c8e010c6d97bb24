"""The page of a model: page.html with the form of its task, beside its style and its script."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template

from bert.predict.forms import FORMS, Box, Form
from bert.predict.requests import Request
from bert.predict.server import Pages
from bert.tasks.features import Head


def pages(
    request: type[Request], head: Head, *, name: str, kinds: Sequence[str], facts: Mapping[str, str]
) -> Pages:
    """All that GET gives, by path.

    Args:
        request: Type of the task's requests.
        head: What the network gives, by which the script draws an answer.
        name: Name of the task.
        kinds: Kinds of entities, in the order of their colours; empty for other heads.
        facts: What computes, for the foot of the page.
    """
    form = FORMS[request]
    html = Template(_file("page.html")).substitute(
        title=escape(f"{form.heading} \u2013 {name}"),
        kicker=escape(f"Model for {name}"),
        heading=escape(form.heading),
        lead=escape(form.lead),
        head=head,
        kinds=escape(json.dumps(list(kinds))),
        fields="\n".join(map(_box, form.boxes)),
        ask=escape(form.ask),
        examples="\n".join(_example(form, texts) for texts in form.examples),
        footer=escape(" \u00b7 ".join(f"{key} {value}" for key, value in facts.items())),
    )
    return {
        "/": ("text/html; charset=utf-8", html.encode("utf-8")),
        "/page.css": ("text/css; charset=utf-8", _file("page.css").encode("utf-8")),
        "/page.js": ("text/javascript; charset=utf-8", _file("page.js").encode("utf-8")),
    }


def _box(box: Box) -> str:
    return (
        f'<label for="{box.name}">{escape(box.label)}</label>\n'
        f'<textarea id="{box.name}" name="{box.name}" rows="{box.rows}" spellcheck="false" '
        'required aria-describedby="error"></textarea>'
    )


def _example(form: Form, texts: Sequence[str]) -> str:
    values = json.dumps(dict(zip([box.name for box in form.boxes], texts, strict=True)))
    return (
        f'<button type="button" class="example" data-values="{escape(values)}">'
        f"{escape(texts[0])}</button>"
    )


def _file(name: str) -> str:
    return resources.files("bert.predict").joinpath(name).read_text("utf-8")
