"""How easy the documentation is to read: mean sentence length of each page, and Flesch's reading ease.

    python benchmarks/reading_ease.py                    # README, CONTRIBUTING, CHANGELOG, docs/, experiments/
    python benchmarks/reading_ease.py --at 7ddabbf       # the same for a commit
    python benchmarks/reading_ease.py --before 7ddabbf   # both side by side, as a table

Counts prose alone: no code, tables, headings or pictures. A piece of inline code is one word. Flesch's number needs textstat
(`pip install textstat==0.7.3`); without it that column is empty.
"""

import argparse
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEFT_OUT = re.compile(
    r"^ *```.*?^ *```"  # blocks of code
    r"|<!-- (\w+) -->.*?<!-- (?:/|end of )\1 -->"  # what a benchmark writes
    r"|<!--.*?-->"
    r"|^(?: {4}|\t)[^\n]*$"  # indented code
    r"|^ *(?:\||#|>|:::|---$|\([\w-]+\)=$)[^\n]*$",  # tables, headings, quotations, directives, labels
    re.DOTALL | re.MULTILINE,
)
ENDS = re.compile(r"(?<=[.!?])[\"')*_]*\s+")
SHORTEST = 3
"""Words that a sentence has at least, as in textstat: less is a label."""


def prose(page: str) -> list[str]:
    """The paragraphs of a Markdown page, each on one line; every item of a list is one."""
    text = re.sub(r"^---\n.*?^---\n", "", page, count=1, flags=re.DOTALL | re.MULTILINE) if page.startswith("---\n") else page
    text = re.sub(r"^( *)((?:[-*]|\d+\.) .*(?:\n\1 {2,3}\S.*)*)", _one_line, text, flags=re.MULTILINE)
    text = LEFT_OUT.sub("\n", text)
    text = re.sub(r"!\[.*?\]\(.*?\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]+`", "code", text)
    text = re.sub(r"https?://\S+|arXiv \d{4}\.\d+", "link", text)
    items = re.sub(r"^\s*(?:[-*]|\d+\.)\s+", "\n\n", text, flags=re.MULTILINE)
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", items))
    return [part for part in paragraphs if re.search(r"\w", part)]


def _one_line(item: re.Match[str]) -> str:
    return "\n" + " ".join(item[2].split())


def sentences(page: str) -> list[str]:
    """The sentences of a page's prose that have three words or more."""
    found = [sentence for part in prose(page) for sentence in ENDS.split(part)]
    return [sentence for sentence in found if len(words(sentence)) >= SHORTEST]


def words(sentence: str) -> list[str]:
    """The words of a sentence: what has a letter or a digit in it."""
    return [word for word in sentence.split() if re.search(r"\w", word)]


def mean_length(page: str) -> float:
    """The mean number of words in a sentence; zero of a page without prose."""
    found = sentences(page)
    return sum(len(words(sentence)) for sentence in found) / len(found) if found else 0.0


def flesch(page: str) -> float | None:
    """Flesch's reading ease, or None without textstat or prose. Larger is easier: 60 is plain English."""
    try:
        import textstat
    except ImportError:
        return None
    found = sentences(page)
    if not found:
        return None
    count = [word for sentence in found for word in words(sentence)]
    syllables = textstat.syllable_count(" ".join(count))
    return 206.835 - 1.015 * len(count) / len(found) - 84.6 * syllables / len(count)


def pages(commit: str | None = None) -> dict[str, str]:
    """The text of each page by name, as it is or as it was."""
    if commit is None:
        names = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        names += sorted(f"{folder}/{path.name}" for folder in ("docs", "experiments") for path in ROOT.glob(f"{folder}/*.md"))
        return {name: (ROOT / name).read_text() for name in names if (ROOT / name).exists()}
    listed = _git(
        "ls-tree", "--name-only", commit, "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/", "experiments/"
    ).split()
    return {name: _git("show", f"{commit}:{name}") for name in listed if name.endswith(".md")}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def row(page: str) -> str:
    """Words of prose, mean sentence, Flesch."""
    ease = flesch(page)
    count = sum(len(words(part)) for part in prose(page))
    return f"{count} | {mean_length(page):.1f} | {'-' if ease is None else f'{ease:.0f}'}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", help="a commit")
    parser.add_argument("--before", help="a commit to compare with")
    asked = parser.parse_args()
    now, before = pages(asked.at), pages(asked.before) if asked.before else None
    extra = "" if before is None else " words before | mean sentence | Flesch |"
    print(f"| page |{extra} words | mean sentence | Flesch |")
    print("|---|" + "---|" * (3 if before is None else 6))
    for name in sorted(now | (before or {}), key=lambda name: ("/" in name, name)):
        sides = [now] if before is None else [before, now]
        print(f"| {name} | " + " | ".join(row(side[name]) if name in side else "- | - | -" for side in sides) + " |")


if __name__ == "__main__":
    main()
