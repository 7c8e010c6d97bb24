"""Word lists of the closed world, and names built from few pieces.

Few pieces make few word forms, so that a small WordPiece vocabulary holds whole names and a small
model can learn to copy and to match them. All names are invented.
"""

from collections.abc import Iterator
from itertools import product

# Accents all exist in Latin-1, so every book can be written in any of the encodings.
FIRST_NAMES = {
    "she": (
        *("Mara", "Tilda", "Anna", "Clara", "Dora", "Edith", "Flora", "Greta", "Hanna", "Ida"),
        *("Julia", "Lena", "Martha", "Nora", "Olga", "Petra", "Rosa", "Selma", "Thea", "Vera"),
        *("Zo\u00eb", "Ren\u00e9e"),
    ),
    "he": (
        *("Adam", "Boris", "Carl", "David", "Edgar", "Felix", "Georg", "Hugo", "Ivan", "Jonas"),
        *("Klaus", "Leo", "Martin", "Noah", "Oscar", "Paul", "Robert", "Simon", "Victor", "Walter"),
        *("J\u00f6rn", "Andr\u00e9"),
    ),
}
ACCENTED = ("Zo\u00eb", "Ren\u00e9e", "J\u00f6rn", "Andr\u00e9")

_SURNAME_STEMS = (
    *("Ash", "Bram", "Cal", "Dun", "Elm", "Fen", "Gar", "Hal", "Kett", "Lin"),
    *("Marr", "Nor", "Oss", "Pell", "Quill", "Rav", "Stann", "Thorn", "Ull", "Wes"),
)
_SURNAME_ENDINGS = ("elow", "imer", "orin", "asker", "wend", "ulter")
_TOWN_STEMS = (
    *("Amber", "Bell", "Crow", "Drift", "Ember", "Frost", "Gold", "Heron", "Iron", "Kestrel"),
    *("Lark", "Moss", "Otter", "Pine", "Raven", "Silver", "Swan", "Thistle", "Willow", "Wolf"),
)
_TOWN_ENDINGS = ("by", "ham", "port", "stead", "vale", "bridge", "mouth", "field")
_ADJECTIVES = (
    *("Silent", "Golden", "Broken", "Distant", "Crimson", "Hidden", "Empty", "Frozen", "Burning"),
    *("Last", "First", "Wandering", "Sleeping", "Painted", "Lost", "Patient", "Bright", "Bitter"),
)
_THINGS = (
    *("Harbour", "Garden", "Bridge", "Winter", "Mirror", "Orchard", "Tower", "Letter", "Shadow"),
    *("Island", "Candle", "Clock", "Meadow", "Voyage", "Window", "Fountain", "Storm", "Lighthouse"),
)
_EMBLEMS = (
    *("Lantern", "Falcon", "Anchor", "Oak", "Star", "Rose", "Compass", "Feather"),
    *("Crown", "Arrow", "Maple", "Pearl", "Moon", "Harp", "Key", "Wheel"),
)
ORGANISATION_KINDS = ("Guild", "Academy", "Theatre", "Museum", "Library", "Society")

# A river flows through one country only, so the river of a town gives its country away.
RIVERS = {
    "Veldora": ("Arel", "Brin"),
    "Kestria": ("Corv", "Dornel"),
    "Halvria": ("Elve", "Fyle"),
    "Corania": ("Garn", "Hest"),
    "Brundia": ("Isk", "Lume"),
    "Estavia": ("Marn", "Tove"),
}
PRODUCTS = (
    *("glass", "salt", "wool", "honey", "silk", "paper"),
    *("cheese", "copper", "wine", "leather", "bread", "pottery"),
)
# Profession -> kind of work, or "" for one that leaves no works.
PROFESSIONS = {
    "painter": "painting",
    "poet": "poem",
    "composer": "song",
    "novelist": "novel",
    "sailor": "",
    "doctor": "",
    "baker": "",
    "weaver": "",
    "printer": "",
    "gardener": "",
    "merchant": "",
    "lawyer": "",
}
# Kind of work -> past tense and participle of making one.
MAKING = {
    "painting": ("painted", "painted"),
    "poem": ("wrote", "written"),
    "song": ("composed", "composed"),
    "novel": ("wrote", "written"),
}
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def surnames() -> Iterator[str]:
    """All surnames, in a fixed order."""
    return map("".join, product(_SURNAME_STEMS, _SURNAME_ENDINGS))


def person_names() -> list[tuple[str, str, str]]:
    """All (pronoun, first name, surname), in a fixed order."""
    firsts = [(pronoun, first) for pronoun, names in FIRST_NAMES.items() for first in names]
    return [(*first, surname) for first, surname in product(firsts, surnames())]


def town_names() -> list[str]:
    """All names of towns, in a fixed order."""
    return ["".join(pieces) for pieces in product(_TOWN_STEMS, _TOWN_ENDINGS)]


def work_titles() -> list[str]:
    """All titles of works, in a fixed order."""
    return [f"The {adjective} {thing}" for adjective, thing in product(_ADJECTIVES, _THINGS)]


def organisation_names() -> list[str]:
    """All names of organisations (without their article), in a fixed order."""
    return [f"{emblem} {kind}" for emblem, kind in product(_EMBLEMS, ORGANISATION_KINDS)]
