import pytest

from bert.text.wikitemplates import template_text

CASES = {
    "nowrap|a b": "a b",
    "Nowrap | a b ": "a b",
    "small_caps|a": "a",
    "math|1=a = b": "a = b",
    "lang|fr|été": "été",
    "lang|fr": "",
    "color|red|a": "a",
    "transl|ar|ALA|a": "a",
    "ill|Name|de|Name (Ort)|lt=x": "Name",
    "convert|5|km|mi": "5 km",
    "convert|5|-|10|km|mi": "5\u201310 km",
    "convert|5|to|10|km|mi": "5 to 10 km",
    "convert|6|ft|2|in|m": "6 ft 2 in",
    "cvt|100|km|0|abbr=on": "100 km",
    "convert|100|km|mi|0": "100 km",
    "frac|2": "1/2",
    "frac|1|2": "1/2",
    "frac|3|1|2": "3 1/2",
    "frac": "",
    "circa|1900": "c. 1900",
    "circa": "",
    "US$|100": "US$100",
    "HMS|Hood|51|2": "HMS Hood",
    "as of|2010|5": "As of 2010",
    "As of|2010|lc=y": "as of 2010",
    "as of|2010|since=y": "Since 2010",
    "as of|2010|alt=in May": "in May",
    "as of": "",
    "as of||alt=in May": "in May",
    "IPA|/e/": "/e/",
    "flag|Latvia": "Latvia",
    "track gauge|1435mm|disp=1": "1435mm",
    "eqm": "\u21cc",
    "quote|a b|author=c": "\n\na b\n\n",
    "blockquote|text=a b": "\n\na b\n\n",
    "chem|H|2|O": "H2O",
    "angbr|a": "\u27e8a\u27e9",
    "angbr|": "",
    "snd": " \u2013 ",
    "'": "'",
    "nbsp": " ",
    "formatnum:1234": "1234",
    # show no running text
    "cite web|url=a|title=b": "",
    "Infobox person\n|name=a": "",
    "citation needed|date=May 2010": "",
    "": "",
    "||": "",
    # depend on the clock
    "age|1980|1|1": "",
    "currentyear": "",
    "#time:Y": "",
    "#expr:1+1": "",
}


@pytest.mark.parametrize("content", CASES)
def test_templates_show_the_words_they_stand_for(content):
    assert template_text(content) == CASES[content]
