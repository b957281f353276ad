"""Random regular expressions and subjects that come near to matching them."""

from __future__ import annotations

from hypothesis import strategies as st

LETTERS = "abkKsS01_ -./,:é" + "\u212a\u017f"
"""With the Kelvin sign and the long s, whose lower case is ASCII."""

CLASSES = [
    r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\pL", r"\p{Lu}", r"\P{Greek}", r"\pN", r"\p{Alphabetic}",
    r"\p{sc=Latin}", "[[:alpha:]]", "[[:^digit:]]", "[[:word:]]", "[[:foo:]]", "[a-k]", "[^a]", "[a&&b]", "[a--b]",
    "[a~~b]", "[[a]b]", "[]a]", "[^]a]", "[a-]", "[-a]", r"[a\-k]", r"[\d\s]", "[a-k0-9]", "[z-a]", r"[\w-a]", "[]",
    "[^]", "[[]", "[a[]", r"[\b]", r"[\x41-\x43]", "[é]", r"[^\x00-\x7f]", "[[:alpha:][:digit:]]", r"[^\S]",
    r"[\Qa\E]", "[a-b-c]", "[#-/]",
]  # fmt: skip
ESCAPES = [
    r"\.", r"\/", r"\-", r"\_", r"\ ", r"\,", r"\<", r"\>", r"\e", r"\c", r"\h", r"\i", r"\Z", r"\z", r"\A", r"\G",
    r"\K", r"\n", r"\t", r"\r", r"\f", r"\v", r"\a", r"\1", r"\8", r"\0", r"\01", r"\012", r"\101", r"\x41", r"\x4",
    r"\x{41}", r"\x{e9}", r"\x{110000}", r"\u0041", r"\U0001F600", r"\C", r"\Qa.b\E", r"\Qa.b", r"\Q\E", r"\E",
    r"\R", r"\X", r"\N", r"\b", r"\B", r"\b{start}", r"\b{end}", r"\y", r"\é", r"\"", r"\'", r"\#", r"\&", r"\~",
    r"\%", r"\@", r"\!", r"\`",
]  # fmt: skip
ANCHORS = [
    "^", "$", "(?m)^", "(?m)$", "(?m:^a$)", "()", "(?:)", "(?i)", "(?s).", "(?-s).", "(?U)a*", "(?x) a #b", "(?R)$",
]  # fmt: skip
GROUPS = [
    "(", "(?:", "(?i:", "(?s:", "(?m:", "(?U:", "(?-i:", "(?is:", "(?i-s:", "(?P<n>", "(?<m>", "(?P=n", "(?#",
    "(?=", "(?!", "(?<=", "(?>", "(?x:", "(?u:", "(?-u:", "(?R:", "(?P<é>", "(?P<1a>", "(?", "(?i",
]  # fmt: skip
REPEATS = [
    "*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{2,}", "{0}", "{0,0}", "{3,1}", "{,2}", "{a}", "{", "}",
    "{2}{3}", "**", "*+", "++", "?+", "{1000}", "{1001}", "{1,1001}", "{2}?", "{2}*", "{ 2}", "{2, 3}",
    "{99999999999}", "{1}{1}",
]  # fmt: skip

atoms = st.one_of(
    st.sampled_from(LETTERS),
    st.sampled_from(LETTERS),
    st.just("."),
    st.sampled_from(CLASSES),
    st.sampled_from(ESCAPES),
    st.sampled_from(ANCHORS),
)
common_atoms = st.one_of(
    st.sampled_from(LETTERS),
    st.just("."),
    st.sampled_from(
        [r"\d", r"\w", r"\s", r"\S", r"\W", r"\.", "[a-k]", "[^a]", "[^/]", "[[:alpha:]]", r"[\w-]", "^", "$", r"\b"]
    ),
)


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(REPEATS)).map("".join),
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        st.tuples(st.sampled_from(GROUPS), inner).map(lambda parts: f"{parts[0]}{parts[1]})"),
        inner.map(lambda part: f"({part}"),
        inner.map(lambda part: f"{part})"),
    )


def usual(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{1,3}", "{2}"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        st.tuples(st.sampled_from(["(", "(?:", "(?i:", "(?s:", "(?m:", "(?-s:"]), inner).map(
            lambda p: f"{p[0]}{p[1]})"
        ),
    )


expressions = st.one_of(
    st.recursive(common_atoms, usual, max_leaves=8),
    st.recursive(atoms, larger, max_leaves=6),
    st.text(st.sampled_from(LETTERS + "\\[](){}*+?|^$.&~"), max_size=8),
)

PIECES = [
    b"a", b"b", b"k", b"K", b"s", b"S", b"0", b"1", b"_", b" ", b"-", b".", b"/", b",", b":", b"\n", b"\r", b"\t",
    b"\v", b"\0", "é".encode(), "É".encode(), "\u212a".encode(), "\u017f".encode(), "\U0001f600".encode(),
    "\u0661".encode(), "\u00a0".encode(), b"\xff", b"\xc3", b"\x80", b"\xed\xa0\x80", b"\xc0\x80",
    b"\xf4\x90\x80\x80", b"{", b"}", b"[", b"]", b"&", b"A", b"(", b"#", b"<",
]  # fmt: skip
FIXED = [
    b"", b"a", b"ab", b"aa", b"aaa", b"k", b"S", b"\n", b"a\n", b"\xff", b"\x80a", "é".encode(), "\u212a".encode(),
    b"a\nb", b"a.b",
]  # fmt: skip
subjects = st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), min_size=20, max_size=20).map(
    lambda found: [*FIXED, *found]
)
