"""serve: a published model as a page in the browser, on this machine alone.

    python scripts/serve.py --model results/demo/publish/squad/model

Ends with Ctrl-C. docs/predict.md says what the page and its JSON door take.
"""

import argparse
import logging
import signal
import sys

import torch

from bert import log
from bert.predict.arguments import add_model_arguments
from bert.predict.model import load_model
from bert.predict.serving import make_server


def main() -> None:
    """Loads the model, prints where the page is, and answers until it is stopped."""
    args = parse_args()
    log.setup(None)
    logging.getLogger("bert.tasks").setLevel(logging.WARNING)
    torch.set_num_threads(args.threads)
    model = load_model(args.model, args.precision)
    server = make_server(model, args.address, args.port)
    # A service manager's stop is as clean as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.stdout.write(f"The model answers at {server.url} until Ctrl-C.\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.stdout.write("\nStopped.\n")
    finally:
        server.server_close()


def parse_args() -> argparse.Namespace:
    """The model's folder, and where to listen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="to listen on; 127.0.0.1 is this machine alone. Others have no password to pass.",
    )
    parser.add_argument("--port", type=int, default=8000, help="0 = a free one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
