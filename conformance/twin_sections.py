"""Sections of twins that several cases write: every kind of value, and values at a limit or one beyond it."""

EVERY_KIND = {
    "text": "plain",
    "nothing": "",
    "größe": "grün 温度 \U0001f327",
    "quote\"'": "\\back\tslash\n",
    "yes": True,
    "no": False,
    "zero": 0,
    "real": 20.5,
    "small": -4503599627370496,
    "large": 4503599627370495,
    "list": [1, "two", [3.5, True], {"four": [5]}],
    "no list": [],
    "no object": {},
    "nested": {"a": {"b": {"c": {"d": {"e": "deep"}}}}},
}
EVERY_KIND = {name.replace(" ", "-"): value for name, value in EVERY_KIND.items()}

SECTION_BYTES_MAX = {"desired": 32_768, "tags": 8_192}
STRING_BYTES_MAX = 4_096
DEPTH_MAX = 10


def section_of(size: int) -> dict:
    """A section that counts exactly `size` bytes: keys of four bytes, strings of at most 4,000."""
    section, left, number = {}, size, 0
    while left:
        length = min(4_000, left - 4)
        # What is left over must hold a key and one byte at least.
        if 0 < left - 4 - length < 5:
            length -= 5
        section[f"k{number:03}"] = "x" * length
        left -= 4 + length
        number += 1
    return section


def nested(depth: int) -> dict:
    """A section with objects within one another, `depth` of them below its root, and a number in the innermost."""
    value: object = 1
    for _ in range(depth + 1):
        value = {"n": value}
    return value
