"""Articles as a MediaWiki XML export dump (schema export-0.11) with the markup of real pages.

Sources of the format: https://www.mediawiki.org/xml/export-0.11.xsd and the published dumps. The
dump also holds what is no article: redirects, disambiguation pages, and pages of the namespaces
Talk (1), Wikipedia (4), Template (10) and Category (14).
"""

import bz2
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from bert.world import names
from bert.world.articles import Article, Paragraph
from bert.world.facts import VALUE_TYPES, Entity, World
from bert.world.prose import Sentence

_SCHEMA = "http://www.mediawiki.org/xml/export-0.11/"
# A dump is dated by its content, not by the clock of the machine that writes it.
_TIMESTAMP = "2020-01-01T00:00:00Z"
_NAMESPACES = {
    -2: "Media",
    -1: "Special",
    0: "",
    1: "Talk",
    4: "Wikipedia",
    6: "File",
    10: "Template",
    14: "Category",
}
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Page:
    """One page of the dump; `redirect` is the target's title, or ""."""

    title: str
    text: str
    namespace: int = 0
    redirect: str = ""


def article_page(world: World, article: Article) -> Page:
    """The page of one article in wikitext."""
    entity = article.entity
    linked: set[str] = set()
    parts = [_opening(world, entity)]
    for heading, paragraphs in article.sections:
        body = "\n\n".join(_paragraph(entity, p, linked, lead=not heading) for p in paragraphs)
        parts.append(f"== {heading} ==\n{body}" if heading else body)
    parts.append(_listing(world, entity))
    parts.append(_closing(world, entity))
    return Page(entity.name, "\n\n".join(part for part in parts if part))


def other_pages(world: World) -> Iterator[Page]:
    """Redirects, disambiguation pages, and pages that are no articles."""
    by_surname = defaultdict(list)
    for person in world.of_kind("person"):
        by_surname[person.short].append(person)
    for surname, people in by_surname.items():
        if len(people) > 1:
            yield Page(surname, _disambiguation(surname, people))
        first = people[0]
        title = f"{surname}, {first.name.split(' ', 1)[0]}"
        yield Page(title, f"#REDIRECT [[{first.name}]]\n\n{{{{R from sort name}}}}", 0, first.name)
    yield Page(
        "Template:Infobox person",
        '<includeonly>{| class="infobox"\n! {{{name|}}}\n|-\n| {{{birth_place|}}}\n|}'
        "</includeonly><noinclude>{{documentation}}</noinclude>",
        10,
    )
    yield Page("Wikipedia:About", "This page is about the project and is '''no article'''.", 4)
    for town in world.of_kind("town"):
        text = f"The main article of this category is [[{town.name}]].\n[[Category:Towns]]"
        yield Page(f"Category:People from {town.name}", text, 14)
        yield Page(f"Talk:{town.name}", "== Sources? ==\nWhere is this from? ~~~~", 1)


def write_dump(path: Path, pages: Iterable[Page]) -> int:
    """Writes the compressed dump and returns the number of pages. Streams page by page."""
    count = 0
    with bz2.open(path, "wb", compresslevel=9) as file:
        file.write(_head().encode("utf-8"))
        for count, page in enumerate(pages, start=1):
            file.write(_page_xml(page, count).encode("utf-8"))
        file.write(b"</mediawiki>\n")
    return count


def _paragraph(entity: Entity, paragraph: Paragraph, linked: set[str], *, lead: bool) -> str:
    text = " ".join(_sentence(entity, sentence, linked) for sentence in paragraph)
    if lead:
        # Bold at the first mention, and a source after the first sentence.
        text = text.replace(entity.name, f"'''{entity.name}'''", 1)
        source = f'<ref name="annals">{{{{cite book |title=Annals |page={len(text) % 90}}}}}</ref>'
        return text.replace(". ", f".{source} ", 1)
    return text + '<ref name="annals" />'


def _sentence(entity: Entity, sentence: Sentence, linked: set[str]) -> str:
    """One sentence in wikitext: the first mention of another page is a link."""
    out = []
    for piece in sentence.pieces:
        text = piece.text
        if piece.page and piece.page not in {entity.name, *linked}:
            linked.add(piece.page)
            text = f"[[{text}]]" if piece.page == text else f"[[{piece.page}|{text}]]"
        out.append(f"''{text}''" if piece.page.startswith("The ") else text)
    return "".join(out)


def _opening(world: World, entity: Entity) -> str:
    rows = [f"| name = {entity.name}"]
    for relation, value in entity.facts.items():
        is_page = value in world.entities
        rows.append(f"| {relation} = " + (f"[[{value}]]" if is_page else value))
    if entity.kind == "person":
        rows.append(f"| birth_date = {_birth_date(entity)}")
    box = "\n".join([f"{{{{Infobox {entity.kind}", *rows, "}}"])
    image = f"[[File:{entity.name}.jpg|thumb|right|A view of [[{entity.name}]] in summer]]"
    return "\n".join(
        ["{{Use dmy dates|date=January 2020}}", box, image if entity.kind == "town" else ""]
    ).strip()


def _birth_date(entity: Entity) -> str:
    day, month = entity.facts["birth_day"].split()
    number = names.MONTHS.index(month) + 1
    return f"{{{{birth date|{entity.facts['birth_year']}|{number}|{day}|df=y}}}}"


def _listing(world: World, entity: Entity) -> str:
    """A table of a town's people; a bulleted list of a person's works."""
    naming = world.about(entity.name)
    if entity.kind == "town":
        rows = [
            f"|-\n| [[{e.name}]] || {e.facts['profession']} || {e.facts['birth_year']}"
            for e, relation in naming
            if relation == "birth_town"
        ]
        top = '{| class="wikitable sortable"\n|+ People born here\n! Name !! Profession !! Born\n'
        return top + "\n".join(rows) + "\n|}" if rows else ""
    works = [e for e, relation in naming if relation == "author"]
    rows = [f"* ''[[{work.name}]]'' ({work.facts['year']})" for work in works]
    return "\n".join(["== List of works ==", *rows]) if rows else ""


def _closing(world: World, entity: Entity) -> str:
    towns = [
        value
        for relation, value in entity.facts.items()
        if VALUE_TYPES[entity.kind, relation] == "town" and value in world.entities
    ]
    category = f"[[Category:People from {towns[0]}]]" if towns else "[[Category:Towns]]"
    return "\n".join(
        [
            "== References ==",
            "<!-- one source for everything -->",
            "{{reflist|colwidth=30em}}",
            "",
            "== External links ==",
            "* [https://example.org/annals The annals]",
            "",
            "{{authority control}}",
            category,
        ]
    )


def _disambiguation(surname: str, people: list[Entity]) -> str:
    rows = [
        f"* [[{p.name}]] (born {p.facts['birth_year']}), {p.facts['profession']}" for p in people
    ]
    return "\n".join([f"'''{surname}''' may refer to:", *rows, "", "{{disambiguation|surname}}"])


def _head() -> str:
    spaces = "".join(
        f'      <namespace key="{key}" case="first-letter"'
        + (f">{name}</namespace>\n" if name else " />\n")
        for key, name in _NAMESPACES.items()
    )
    return (
        f'<mediawiki xmlns="{_SCHEMA}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_SCHEMA} {_SCHEMA.rstrip("/")}.xsd" version="0.11" '
        'xml:lang="en">\n'
        "  <siteinfo>\n    <sitename>World</sitename>\n    <dbname>worldwiki</dbname>\n"
        "    <base>https://example.org/wiki/Main_Page</base>\n"
        "    <generator>MediaWiki 1.41.0</generator>\n    <case>first-letter</case>\n"
        f"    <namespaces>\n{spaces}    </namespaces>\n  </siteinfo>\n"
    )


def _page_xml(page: Page, number: int) -> str:
    redirect = f"    <redirect title={quoteattr(page.redirect)} />\n" if page.redirect else ""
    size, sha1 = len(page.text.encode("utf-8")), _sha1_base36(page.text)
    return (
        f"  <page>\n    <title>{escape(page.title)}</title>\n    <ns>{page.namespace}</ns>\n"
        f"    <id>{number}</id>\n{redirect}    <revision>\n      <id>{1000 + number}</id>\n"
        f"      <timestamp>{_TIMESTAMP}</timestamp>\n      <contributor>\n"
        "        <username>Chronicler</username>\n        <id>1</id>\n      </contributor>\n"
        f"      <origin>{1000 + number}</origin>\n      <model>wikitext</model>\n"
        "      <format>text/x-wiki</format>\n"
        f'      <text bytes="{size}" sha1="{sha1}" xml:space="preserve">'
        f"{escape(page.text)}</text>\n"
        f"      <sha1>{sha1}</sha1>\n    </revision>\n  </page>\n"
    )


def _sha1_base36(text: str) -> str:
    """SHA-1 of a revision's text as MediaWiki stores it: base 36, 31 digits."""
    number = int(hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).hexdigest(), 16)
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _BASE36[digit] + digits
    return digits.rjust(31, "0")
