"""A model behind the web server: its page, and its answers as the page needs them."""

from typing import Any

from bert.predict.heads import entity_kinds, request_type
from bert.predict.model import LOST, Model, answer_all, describe
from bert.predict.page import pages
from bert.predict.requests import check_request
from bert.predict.server import PredictServer


def make_server(model: Model, address: str, port: int) -> PredictServer:
    """A server that listens and answers once `serve_forever` is called.

    Args:
        model: The model.
        address: To listen on.
        port: 0 = a free one.

    Raises:
        OSError: The port is taken, or the address is not this machine's.
    """
    task = model.published.task
    kind = request_type(task)

    def ask(values: Any) -> dict[str, Any]:
        request = check_request(kind, values, "the request")
        ((answers, lost),) = answer_all(model, [request])
        return answers[0] | {"notes": [LOST[name].capitalize() + "." for name in lost]}

    page = pages(
        kind,
        task.HEAD,
        name=model.published.name,
        kinds=entity_kinds(task, model.published.task_config),
        facts=describe(model),
    )
    try:
        return PredictServer(address, port, ask, page)
    except OSError as error:
        raise OSError(
            f"Port {port} of {address} is not to be had: {error}. Take another, or --port 0 for a "
            "free one."
        ) from None
