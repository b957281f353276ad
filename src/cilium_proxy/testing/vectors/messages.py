"""Whether a message says what another one says. Messages differ between implementations; what they name must not."""

from __future__ import annotations

import re

# What a message is about: numbers and quoted names.
_NAMED = re.compile(r"'[^']*'|\"[^\"]*\"|\b\d+(?:-\d+)?\b")
_WORD = re.compile(r"[a-z]{4,}")
# The reference's decoder refuses such messages before anything reads them; its texts are generated.
_GENERATED = re.compile(r"constraint validation failed|ValidationError|value must", re.IGNORECASE)
# The reference's parsers add the whole configuration, spaced at random.
_CONFIGURATION = re.compile(r" \(config: .*", re.DOTALL)


def says(message: str, wanted: str) -> bool:
    """Whether `message` contains `wanted`, fits it as a regular expression, or names and speaks of the same things."""
    wanted = _CONFIGURATION.sub("", wanted)
    if wanted.lower() in message.lower():
        return True
    try:
        if re.search(wanted, message, re.IGNORECASE | re.DOTALL):
            return True
    except re.error:
        pass
    if message and _GENERATED.search(wanted):
        return True
    named = [name.strip("'\"") for name in _NAMED.findall(wanted)]
    words = set(_WORD.findall(wanted.lower()))
    return all(name in message for name in named) and bool(words & set(_WORD.findall(message.lower())))
