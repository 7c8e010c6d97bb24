"""What the headers of an HTTP answer promise: length, place, version, when to come back."""

import re
import time
from email.message import Message
from email.utils import parsedate_to_datetime


def content_range(headers: Message) -> tuple[int | None, int | None]:
    """First byte and total length of a partial answer (RFC 9110, 14.4), None where not told."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
    if not found:
        return None, None
    return int(found[1]), int(found[2]) if found[2] != "*" else None


def total_length(headers: Message, start: int) -> int | None:
    """Bytes of the whole file, when the answer begins at byte `start`; None if not told."""
    total = content_range(headers)[1]
    length = headers.get("Content-Length", "")
    if total is None and length.isdigit():
        total = start + int(length)
    return total


def validator(headers: Message) -> str | None:
    """ETag, else Last-Modified: what must stay the same for two answers to be of one file."""
    etag = headers.get("ETag")
    # A weak ETag promises an equal meaning, not equal bytes, and may not stand in If-Range.
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def retry_after_s(headers: Message) -> float:
    """Seconds to wait that the server asks for, as a number or a date; 0 if it does not ask."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
