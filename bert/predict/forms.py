"""What the page asks for: a form by the type of the request, and examples to click."""

from typing import NamedTuple

from bert.predict.requests import (
    PairRequest,
    Request,
    SentenceRequest,
    SpanRequest,
    TokenRequest,
)


class Box(NamedTuple):
    """One text box: its key in the request, its label, its height in lines."""

    name: str
    label: str
    rows: int


class Form(NamedTuple):
    """The form of a task.

    Attributes:
        heading: What the person does.
        lead: One sentence about it.
        ask: Words on the button.
        boxes: The text boxes.
        examples: Texts for all boxes; the first box's text names an example.
    """

    heading: str
    lead: str
    ask: str
    boxes: tuple[Box, ...]
    examples: tuple[tuple[str, ...], ...]


_LIGHTHOUSE = (
    "The lighthouse on Gull Rock was lit for the first time in March 1871. Its builder, the "
    "engineer Clara Whitfield, had the tower raised from granite that was carried over the ice in "
    "two winters. The lamp burned whale oil until 1889, when the keepers changed to kerosene. "
    "Since 1964 no keeper has lived there: a lamp in the village switches the light on."
)
_SPAN = Form(
    "Ask about a text",
    "The model marks the words of the text that answer the question.",
    "Find the answer",
    (Box("question", "Question", 2), Box("context", "Text", 12)),
    (
        ("Who built the lighthouse on Gull Rock?", _LIGHTHOUSE),
        ("What did the lamp burn after 1889?", _LIGHTHOUSE),
        (
            "Why do the leaves of the maple turn red?",
            "In autumn the maple stops making chlorophyll, and the yellow pigments that were "
            "hidden all summer come to light. The red is another matter: it is made anew, from "
            "sugar that the cold nights keep inside the leaf.",
        ),
    ),
)
_PAIR = Form(
    "Compare two sentences",
    "The model reads both sentences together.",
    "Compare",
    (Box("first", "First sentence", 3), Box("second", "Second sentence", 3)),
    (
        (
            "The company said its profit rose by 12 percent in the second quarter.",
            "Second-quarter profit was up 12 percent, the company said.",
        ),
        (
            "Heavy rain closed the mountain road on Friday.",
            "The mountain road was open all week despite the rain.",
        ),
        (
            "The museum bought two paintings from a private collector.",
            "A storm damaged the roof of the museum last winter.",
        ),
    ),
)
_SENTENCE = Form(
    "Judge a sentence",
    "The model gives the sentence one of its labels.",
    "Judge",
    (Box("sentence", "Sentence", 3),),
    (
        ("A warm and clever film that never talks down to its audience.",),
        ("The plot is thin, and the jokes are older than the actors.",),
        ("The book that I told you about them is on the table.",),
    ),
)
_TOKENS = Form(
    "Mark the words of a text",
    "The model finds the entities of a text and names their kinds.",
    "Mark",
    (Box("text", "Text", 6),),
    (
        ("Ada Lovelace met Charles Babbage in London in the summer of 1833.",),
        ("The United Nations opened an office in Nairobi, said Maria Keller.",),
        ("Norway beat Italy 2-1 in Oslo on Tuesday.",),
    ),
)

FORMS: dict[type[Request], Form] = {
    SpanRequest: _SPAN,
    PairRequest: _PAIR,
    SentenceRequest: _SENTENCE,
    TokenRequest: _TOKENS,
}
