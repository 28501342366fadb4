"""Bugs in the handling of text."""

from __future__ import annotations

from agentgym.envs.swe.bugs.bug import Bug

__all__ = ["BUGS"]

BUGS = (
    Bug(
        name="slug",
        statement="Titles with several spaces or signs in a row give addresses with several dashes in a row: "
        "`slug('Hello,  World!')` should be `hello-world`.",
        source='''
"""Addresses from titles."""


def slug(title: str) -> str:
    """Lower case; every run of other characters than letters and digits becomes one dash, none at the ends."""
    out = ""
    for letter in title.lower():
        if letter.isalnum():
            out += letter
        else:
            out += "-"
    return out.strip("-")
''',
        wrong="""        else:
            out += "-"
""",
        right="""        elif not out.endswith("-"):
            out += "-"
""",
        hidden="""
from slug import slug


def test_runs_become_one_dash():
    assert slug("Hello,  World!") == "hello-world"


def test_ends_are_clean():
    assert slug("  What? Why?? ") == "what-why"


def test_plain_titles_stay():
    assert slug("one two") == "one-two"


def test_nothing_is_left_of_signs():
    assert slug("?!") == ""
""",
        visible="""
from slug import slug


def test_one_space():
    assert slug("Hello World") == "hello-world"
""",
    ),
    Bug(
        name="wrap",
        statement="`wrap` makes lines one character longer than the width that is asked for.",
        source='''
"""Break text into lines."""


def wrap(text, width):
    """Lines of at most `width` characters, broken at spaces; a longer word stands alone."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        lines.append(line)
    return lines
''',
        wrong="len(line) + len(word) > width",
        right="len(line) + 1 + len(word) > width",
        hidden="""
from wrap import wrap


def test_no_line_is_too_long():
    assert all(len(line) <= 7 for line in wrap("aaa bbb cc ddd e fff", 7))


def test_exact_fit():
    assert wrap("aaa bbb", 7) == ["aaa bbb"]


def test_one_too_many():
    assert wrap("aaa bbbb", 7) == ["aaa", "bbbb"]


def test_long_words_stand_alone():
    assert wrap("a bbbbbbbbb c", 4) == ["a", "bbbbbbbbb", "c"]
""",
        visible="""
from wrap import wrap


def test_short_text():
    assert wrap("a b", 10) == ["a b"]
""",
    ),
    Bug(
        name="csvline",
        statement='A doubled quote inside a quoted field is dropped. `parse(\'"say ""hi""",2\')` should give '
        "`['say \"hi\"', '2']`.",
        source='''
"""One line of comma-separated values."""


def parse(line):
    """The fields; quoted ones may hold commas, and quotes written twice."""
    fields, field, quoted = [], "", False
    i = 0
    while i < len(line):
        c = line[i]
        if quoted:
            if c == '"' and line[i + 1 : i + 2] == '"':
                i += 1
            elif c == '"':
                quoted = False
            else:
                field += c
        elif c == '"':
            quoted = True
        elif c == ",":
            fields.append(field)
            field = ""
        else:
            field += c
        i += 1
    fields.append(field)
    return fields
''',
        wrong="""line[i + 1 : i + 2] == '"':
                i += 1
""",
        right="""line[i + 1 : i + 2] == '"':
                field += '"'
                i += 1
""",
        hidden='''
from csvline import parse


def test_doubled_quotes():
    assert parse('"say ""hi""",2') == ['say "hi"', "2"]


def test_only_a_quote():
    assert parse('""""') == ['"']


def test_commas_in_quotes():
    assert parse('"a,b",c') == ["a,b", "c"]


def test_empty_fields():
    assert parse(",,") == ["", "", ""]
''',
        visible="""
from csvline import parse


def test_plain():
    assert parse("a,b,c") == ["a", "b", "c"]
""",
    ),
    Bug(
        name="template",
        statement="A value that itself contains braces is filled in a second time: "
        "`render('{a}', {'a': '{b}', 'b': 'x'})` should be `{b}`.",
        source='''
"""Fill in names in braces."""

import re


def render(text, values):
    """Replace every {name} by its value; unknown names stay."""
    for name in values:
        text = re.sub(r"\\{" + name + r"\\}", lambda m, n=name: str(values[n]), text)
    return text
''',
        wrong="""    for name in values:
        text = re.sub(r"\\{" + name + r"\\}", lambda m, n=name: str(values[n]), text)
    return text
""",
        right="""    return re.sub(r"\\{(\\w+)\\}", lambda m: str(values.get(m[1], m[0])), text)
""",
        hidden="""
from template import render


def test_values_are_not_templates():
    assert render("{a}", {"a": "{b}", "b": "x"}) == "{b}"


def test_swapped():
    assert render("{a}{b}", {"a": "{b}", "b": "{a}"}) == "{b}{a}"


def test_unknown_names_stay():
    assert render("{a} {c}", {"a": 1}) == "1 {c}"


def test_repeated():
    assert render("{a}{a}", {"a": 2}) == "22"
""",
        visible="""
from template import render


def test_one():
    assert render("Hello {name}", {"name": "you"}) == "Hello you"
""",
    ),
    Bug(
        name="truncate",
        statement="`truncate` returns texts longer than the limit when it adds the dots.",
        source='''
"""Shorten texts for a table."""

DOTS = "..."


def truncate(text, limit):
    """At most `limit` characters; what was cut off is replaced by dots within the limit."""
    if len(text) <= limit:
        return text
    if limit <= len(DOTS):
        return DOTS[:limit]
    return text[:limit] + DOTS
''',
        wrong="text[:limit] + DOTS",
        right="text[: limit - len(DOTS)] + DOTS",
        hidden="""
from truncate import truncate


def test_the_limit_holds():
    assert truncate("abcdefghij", 7) == "abcd..."


def test_just_too_long():
    assert len(truncate("abcdef", 5)) == 5


def test_short_texts_stay():
    assert truncate("abc", 3) == "abc"


def test_no_room():
    assert truncate("abcdef", 2) == ".."
""",
        visible="""
from truncate import truncate


def test_short():
    assert truncate("abc", 10) == "abc"
""",
    ),
    Bug(
        name="plural",
        statement="`count_of(0, 'file')` gives '0 file'.",
        source='''
"""Numbers with their noun."""


def count_of(n, noun, plural=None):
    """'1 file', '2 files', '0 files'; a noun may bring its own plural."""
    if n > 1:
        noun = plural or noun + "s"
    return f"{n} {noun}"
''',
        wrong="if n > 1:",
        right="if n != 1:",
        hidden="""
from plural import count_of


def test_none():
    assert count_of(0, "file") == "0 files"


def test_less_than_none():
    assert count_of(-2, "degree") == "-2 degrees"


def test_one():
    assert count_of(1, "file") == "1 file"


def test_own_plural():
    assert count_of(3, "entry", "entries") == "3 entries"
""",
        visible="""
from plural import count_of


def test_two():
    assert count_of(2, "file") == "2 files"
""",
    ),
    Bug(
        name="pathjoin",
        statement="Joining with '..' more often than there are folders climbs out of the root: "
        "`join('a', '../../x')` should be 'x', not '../x' or an error.",
        source='''
"""Join addresses below a root that cannot be left."""


def join(base, path):
    """The normalised path of `path` seen from `base`; '..' at the root stays at the root."""
    parts = [p for p in base.split("/") if p]
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/".join(parts)
''',
        wrong="""            parts.pop()
""",
        right="""            del parts[-1:]
""",
        hidden="""
from pathjoin import join


def test_the_root_holds():
    assert join("a", "../../x") == "x"


def test_from_nothing():
    assert join("", "..") == ""


def test_down_and_up():
    assert join("a/b", "../c/./d") == "a/c/d"


def test_double_slashes():
    assert join("/a//b/", "c") == "a/b/c"
""",
        visible="""
from pathjoin import join


def test_plain():
    assert join("a", "b") == "a/b"
""",
    ),
    Bug(
        name="mask",
        statement="Short secrets are shown whole: `mask('abc')` gives 'abc'. Nothing may be seen of a secret of up "
        "to four characters.",
        source='''
"""Hide secrets in logs."""


def mask(secret, shown=4):
    """Stars for all but the last `shown` characters; all stars where that would show everything."""
    hidden = max(0, len(secret) - shown)
    return "*" * hidden + secret[hidden:]
''',
        wrong="""    hidden = max(0, len(secret) - shown)
""",
        right="""    hidden = len(secret) - shown if len(secret) > shown else len(secret)
""",
        hidden="""
from mask import mask


def test_short_secrets_are_hidden():
    assert mask("abc") == "***"


def test_exactly_as_many():
    assert mask("abcd") == "****"


def test_long_secrets_show_their_end():
    assert mask("abcdefgh") == "****efgh"


def test_nothing():
    assert mask("") == ""
""",
        visible="""
from mask import mask


def test_long():
    assert mask("0123456789") == "******6789"
""",
    ),
)
