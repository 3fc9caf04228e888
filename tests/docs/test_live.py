"""The live report of the site: its runs are what they are called, and a real browser draws it without a network."""

import shutil
from pathlib import Path

import pytest

from lyapunov import Run
from lyapunov.report import write_report

RUNS = Path(__file__).parents[2] / "docs" / "live" / "bundle"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {name: Run.load(RUNS / name) for name in ("healthy", "vanishing", "chaotic")}


def test_the_runs_are_what_they_are_called(runs) -> None:
    last = {name: run.readings[-1] for name, run in runs.items()}
    assert all(len(run.readings) == 7 for run in runs.values())
    assert last["healthy"].losses["train"] < 0.1 < 0.3 < last["vanishing"].losses["train"]
    assert -0.3 < last["healthy"].max < 0 < last["chaotic"].max_interval[0]
    assert last["vanishing"].max < -0.5
    kinds = {name: {alarm.kind for reading in run.readings for alarm in reading.alarms} for name, run in runs.items()}
    assert not kinds["healthy"] & {"chaos", "short memory", "contracting", "saturating"}
    assert {"short memory", "contracting"} <= kinds["vanishing"]
    assert "chaos" in kinds["chaotic"]


def test_the_bundle_is_small() -> None:
    assert sum(path.stat().st_size for path in RUNS.rglob("*") if path.is_file()) < 1_500_000


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_draws_the_page_and_asks_for_nothing(runs, tmp_path, width: int, scheme: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'lyapunov[test]'")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    path = tmp_path / "three-runs.html"
    write_report(list(runs.values()), path)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        page, said, asked = context.new_page(), [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("svg.main-svg").count() > 5
        for name in runs:
            assert page.get_by_text(name, exact=True).count() > 0
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
