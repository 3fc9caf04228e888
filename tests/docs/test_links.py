"""The check of the built site finds what is broken."""

from docs.check_links import faults


def test_missing_files_and_anchors_and_what_is_fetched_from_outside_are_found(tmp_path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="top"></h1><a href="b.html#here">1</a><a href="#top">2</a><a href="https://elsewhere.org">3</a>'
        '<img src="data:image/png;base64,"><a href="b.html#gone">4</a><a href="c.html">5</a><script src="https://x.org/x.js">'
    )
    (tmp_path / "b.html").write_text('<p id="here"><link rel="stylesheet" href="gone.css">')
    assert faults(tmp_path) == [
        "a.html: no such anchor: b.html#gone",
        "a.html: no such file: c.html",
        "a.html: fetched from outside: https://x.org/x.js",
        "b.html: no such file: gone.css",
    ]
