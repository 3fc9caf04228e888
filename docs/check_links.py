"""Follow every link of the built site: each file and anchor exists, and nothing is fetched from outside.

python docs/check_links.py build/docs
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


class Page(HTMLParser):
    """The links and anchors of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag leads to, and what leads to it."""
        found = dict(attrs)
        self.anchors |= {name for name in (found.get("id"), found.get("name") if tag == "a" else None) if name}
        link = found.get("href" if tag == "a" else FETCHED.get(tag, ""))
        if link and not (tag == "link" and found.get("rel") in ("search", "next", "prev", "index", "canonical")):
            self.links.append((tag, link))


def faults(site: Path) -> list[str]:
    """A line for every link that leads nowhere, and for everything that a page would fetch from another host."""
    pages = {path.resolve(): Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    return [
        f"{path.relative_to(site.resolve())}: {fault}: {link}"
        for path, page in pages.items()
        for tag, link in page.links
        if (fault := _fault(path, tag, link, pages))
    ]


def _fault(path: Path, tag: str, link: str, pages: dict[Path, Page]) -> str:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return "" if tag == "a" or parts.scheme == "data" else "fetched from outside"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return "no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "no such anchor"
    return ""


def main(site: str) -> int:
    """Print the faults; 1 where there are any."""
    found = faults(Path(site))
    print("\n".join(found) or "Every link of the site leads somewhere.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
