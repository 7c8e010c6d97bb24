import pytest

from bert.text.wikitags import strip_tags

CASES = {
    # comments
    "a<!-- b -->c": "ac",
    "a<!-- <ref> \n -->c": "ac",
    "a<!-- never closed <b>b</b>": "a",
    "<!-- a --b -->c": "c",
    # notes
    "a<ref>b</ref>c": "ac",
    "a<ref name='x' group=\"n\">b [[c]] {{d}}</ref>.": "a.",
    "a<ref name=x/>b<ref name='y' />c": "abc",
    "a<ref name=x/>b</ref>c": "abc",
    "a<REF>b</Ref >c": "ac",
    "a<ref>b<!-- </ref> -->c</ref>d": "ad",
    "a.<ref>b</ref><ref>c</ref>Next": "a. Next",
    "a.<ref name=x/>Next": "a. Next",
    "a<ref>b</ref>next": "anext",
    "a.<ref>b</ref> Next": "a. Next",
    "a<references/>b<references><ref>c</ref></references>d": "abd",
    # a note that is never closed takes nothing with it
    "a<ref>b c<ref>d</ref>e": "ab ce",
    "a<ref name=x>b": "ab",
    "a</ref>b": "ab",
    'a<ref b <ref name=x c <ref name="y z" d': "a b  c  d",
    # elements without running text
    "a<timeline>x_{1} < 2 <b></timeline>b": "ab",
    "a<gallery>\nFile:b.jpg|c\n</gallery>d": "ad",
    "a<timeline>b</timeline>c<source lang=x>d</source>e": "ace",
    "a<syntaxhighlight lang='html'><!-- no end</syntaxhighlight>b": "ab",
    "a<pre>b</pre>c": "ac",
    "a<table><tr><td>b</td></tr></table>c": "ac",
    "a<h2>b</h2>c": "ac",
    # formulas: plain ones are text, others leave a mark
    "a <math>x</math> b <math> n + 1 </math>": "a x b n + 1",
    "a<math>x < 2</math>b": "ax &#60; 2b",
    "a<math>x_{1} < 2 <b></math>b": "a\ufffcb",
    "a<math display='block'>\\sum\n</math>b": "a\ufffcb",
    "a<ce>H2O</ce>b<CHEM>^{14}C</CHEM>c": "aH2Ob\ufffcc",
    "a<math></math>b\ufffcc": "a\ufffcbc",
    # tags of which the content stays
    "a<b>b</b><i class='x'>c</i><span style=\"x\">d</span>e": "abcde",
    "a<br>b<br/>c<br />d</br>e": "a b c d e",
    "H<sub>2</sub>O": "H2O",
    "1<sup>st</sup> of 10<sup>6</sup> and 10<sup>-9</sup>": "1st of 10^6 and 10^-9",
    "a<p>b</p>c": "a\n\nb\n\nc",
    "<ul><li>a</li><li>b</li></ul>": "\n\n\n* a\n* b\n\n",
    "<noinclude>a</noinclude>": "a",
    # what is no tag
    "a < b and c > d": "a < b and c > d",
    "a <foo> b <3": "a <foo> b <3",
    "<refuse>a</refuse>": "<refuse>a</refuse>",
    # nowiki
    "a<nowiki/>b": "ab",
    "<nowiki>[[b]]</nowiki>": "&#91;&#91;b&#93;&#93;",
    "<nowiki>''<b></nowiki>": "&#39;&#39;&#60;b&#62;",
    "<nowiki><!-- b --></nowiki>": "&#60;&#33;-- b --&#62;",
    "<nowiki>a": "a",
    "<nowiki>a<nowiki>{</nowiki>": "a&#123;",
}


@pytest.mark.parametrize("source", CASES)
def test_tags_are_removed(source):
    assert strip_tags(source) == CASES[source]
