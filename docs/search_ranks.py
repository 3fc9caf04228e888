"""Ask the built site's own search, in a browser, ten questions from public threads: at which rank is the right page?

python docs/search_ranks.py build/docs            as a reader of the site finds it
python docs/search_ranks.py build/docs --plain    with Sphinx's search alone, which wants every word of the query
"""

import argparse
import json
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

QUESTIONS = json.loads(Path(__file__).with_name("search_queries.json").read_text())
"""Each with its thread, and the pages that answer it (by the start of their name)."""
IGNORED = ("genindex", "search", "py-modindex")


class Quiet(SimpleHTTPRequestHandler):
    """Serves the site, and keeps still about it."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def ranks(site: Path, *, plain: bool = False) -> list[tuple[int | None, list[str]]]:
    """The rank of the right page (None: not found) and the pages found, best first, for each question.

    Args:
        site: the folder of the built site.
        plain: whether Sphinx's search is left as it is, without `questions.js`.

    Returns:
        One pair for each question. A page counts once, at its best place.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = browser.new_page()
            if plain:
                page.route("**/questions.js*", lambda route: route.fulfill(body="", content_type="text/javascript"))
            address = f"http://127.0.0.1:{server.server_port}/search.html"
            return [_rank(found(page, address, question["query"]), question["right"]) for question in QUESTIONS]
    finally:
        server.shutdown()
        server.server_close()


def chromium() -> str | None:
    """Where Chromium is, if it is."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def found(page: Page, address: str, query: str) -> list[str]:
    """The names of the pages that the search finds, best first."""
    page.goto(f"{address}?q={quote(query)}")
    page.wait_for_function("Search.status && /finished|did not match/i.test(Search.status.innerText)")
    links = page.eval_on_selector_all("#search-results li a", "all => all.map(a => a.pathname)")
    names = [link.strip("/").removesuffix(".html") for link in links]
    return [name for name in dict.fromkeys(names) if name not in IGNORED]


def _rank(names: list[str], right: list[str]) -> tuple[int | None, list[str]]:
    places = [place for place, name in enumerate(names, start=1) if name in right]
    return (places[0] if places else None), names


def main() -> int:
    """Print a table; 1 where a right page is not among the first three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    parser.add_argument("--plain", action="store_true")
    asked = parser.parse_args()
    results = ranks(asked.site, plain=asked.plain)
    for question, (rank, names) in zip(QUESTIONS, results, strict=True):
        print(f"{rank or '-':>4}  {question['query']}  ({', '.join(names[:3])})")
    return 0 if all(rank and rank <= 3 for rank, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
