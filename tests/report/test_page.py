"""The page: what is in it, and that a real browser draws it, lets it be used, and complains of nothing."""

import csv
import io
import json
import re
import shutil
from itertools import pairwise

import pytest

import lyapunov
from lyapunov.report import write_report
from lyapunov.report.page import distinct, page
from lyapunov.training import Alarm, History, Reading, Run
from runs import made

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Run]:
    place = tmp_path_factory.mktemp("page")
    hostile = "</script><script>document.title='taken'</script>{{ 7 * 7 }} %{x} 'quoted\""
    return [
        made(place / "first", name=hostile, lag=30),
        *(made(place / f"run-{at}", layers=1, scale=0.6 + 0.4 * at, readings=4) for at in range(5)),
    ]


def data_of(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def test_the_page_holds_every_number_and_asks_no_network(runs) -> None:
    html = page(runs)
    data = data_of(html)
    first = runs[0]
    frames = data["runs"][0]["kinds"]["whole"]["frames"]
    assert [frame["step"] for frame in frames] == [0, 20, 40]
    assert frames[1]["exponents"] == pytest.approx(first.spectra()[20].exponents.tolist(), rel=1e-5)
    rows = data["tables"][0]["rows"]
    columns = data["tables"][0]["columns"]
    assert [row[columns.index("largest")] for row in rows] == [reading.max for reading in first.readings]
    assert set(data["figures"]) == {"course", "distances", "layers-0", "association-largest", "association-mean"}
    without_plotly = html.replace(html[html.index("plotly.js v") - 20 : html.rindex('"use strict"')], "")
    assert "https://" not in without_plotly
    assert "http://" not in without_plotly
    assert "rank correlation" in html


def test_names_cannot_break_out_of_the_page(runs) -> None:
    html = page(runs[:1])
    assert "document.title='taken'</script>" not in html
    assert "&lt;/script&gt;" in html
    assert "{{ 7 * 7 }}" in html


def test_figures_are_what_plotly_takes(runs) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects")
    for figure in data_of(page(runs))["figures"].values():
        assert len(graph_objects.Figure(figure).data) > 0


def test_what_is_not_finite_is_left_out(tmp_path) -> None:
    history = History(tmp_path / "run")
    for step in range(3):
        lost = Reading(step, None, {}, exponents=(-0.5, float("-inf")), standard_errors=(float("nan"), 0.0))
        history.append(lost.record())
    history.append(Reading(3, None, {}, failure="Diverged: of course").record())
    data = data_of(page([Run.load(history.directory)]))
    assert data["runs"][0]["kinds"]["leading"]["frames"][0]["exponents"] == [-0.5, None]
    assert len(data["tables"][0]["rows"]) == 4


def half_converged(directory) -> Run:
    """Two readings: the first one converged, the second one not."""
    history = History(directory)
    numbers = {"exponents": (-0.5, -0.6), "standard_errors": (0.1, 0.1), "max_interval": (-0.7, -0.3), "mean": -1.0}
    history.append(Reading(0, None, {"val": 2.0}, **numbers, verdict="converged", kinds=()).record())
    short = {"verdict": "too short: about 40 would do.", "kinds": ("too short",)}
    alarm = Alarm("chaos", "so it is", tentative=True)
    history.append(Reading(7, None, {"val": 1.0}, **{**numbers, "exponents": (-0.4, -0.7)}, **short, alarms=(alarm,)).record())
    return Run.load(directory)


def test_what_is_not_converged_is_marked_in_figures_tables_and_words(tmp_path) -> None:
    run = half_converged(tmp_path / "run")
    html = page([run, half_converged(tmp_path / "again")])
    data = data_of(html)
    for name, figure in data["figures"].items():
        lines = [trace for trace in figure["data"] if "symbol" in trace.get("marker", {})]
        assert lines, name
        expected = ["circle-open"] * 2 if name.startswith("association") else ["circle", "circle-open"]
        assert all(trace["marker"]["symbol"] == expected for trace in lines)
    assert [frame["converged"] for frame in data["runs"][0]["kinds"]["leading"]["frames"]] == [True, False]
    assert data["runs"][0]["kinds"]["leading"]["map"]["data"][1]["x"] == [7]
    table = data["tables"][0]
    assert [row[table["columns"].index("converged")] for row in table["rows"]] == [True, False]
    assert [row[table["columns"].index("memory_low_95")] for row in table["rows"]] == pytest.approx([1 / 0.7] * 2)
    assert "At step 7 the largest exponent is -0.4000 ± 0.1000 nats per step (not converged: too short)" in html
    assert "\u25cb -0.4000 ± 0.1000" in html
    assert "\u25cb -0.5000" not in html
    assert "chaos (not certain)" in html


def test_old_histories_without_verdicts_have_no_marks(tmp_path) -> None:
    history = History(tmp_path / "run")
    for step in (0, 1):
        record = Reading(step, None, {}, exponents=(-0.5 + step,), standard_errors=(0.1,)).record()
        history.append({name: value for name, value in record.items() if name not in ("kinds", "counted", "verdict")})
    html = page([Run.load(history.directory)])
    assert "circle-open" not in json.dumps(data_of(html))
    assert "(no verdict)" in html


def test_many_readings_have_markers_only_where_they_are_not_converged(tmp_path) -> None:
    history = History(tmp_path / "run")
    for step in range(100):
        verdict = "too short: ..." if step == 50 else "converged"
        history.append(Reading(step, None, {}, exponents=(-0.5,), standard_errors=(0.1,), verdict=verdict).record())
    line = data_of(page([Run.load(history.directory)]))["figures"]["course"]["data"][2]
    assert [step for step, size in enumerate(line["marker"]["size"]) if size] == [50]


def test_equal_names_are_told_apart(tmp_path) -> None:
    runs = [made(tmp_path / name / "run", layers=1, readings=2) for name in "ab"]
    assert [run.name for run in distinct([*runs, runs[0]])] == ["run", "run (b/run)", "run (a/run)"]
    assert [run.name for run in distinct([runs[0]] * 3)] == ["run", "run (a/run)", "run (a/run) 2"]


def test_nothing_to_show_is_one_sentence(tmp_path, monkeypatch) -> None:
    history = History(tmp_path / "run")
    history.append({"kind": "run"})
    with pytest.raises(lyapunov.InvalidInput, match="at least one run with a reading, got none"):
        page([Run.load(history.directory)])
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    with pytest.raises(lyapunov.Unsupported, match=r"Expected plotly.*lyapunov\[plot\]"):
        page([made(tmp_path / "other", layers=1, readings=2)])


def test_runs_without_numbers_are_named(tmp_path) -> None:
    history = History(tmp_path / "broken")
    history.append(Reading(0, None, {}, failure="Diverged: from the start").record())
    html = page([Run.load(history.directory), made(tmp_path / "fine", layers=1, readings=2)])
    assert "Left out, for want of a reading with numbers: broken." in html
    assert len(data_of(html)["runs"]) == 1


def test_a_report_after_a_kill_in_the_middle_of_a_line(tmp_path) -> None:
    run = made(tmp_path / "run", layers=1, readings=3)
    with (run.directory / "history.jsonl").open("a") as file:
        file.write('{"kind": "reading", "step": 30, "los')
    write_report([Run.load(run.directory)], tmp_path / "report.html")
    assert "3 readings" in (tmp_path / "report.html").read_text()
    assert [file.name for file in tmp_path.glob("*.html*")] == ["report.html"]


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, driven by Playwright; where there is none, the tests that need one are skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'lyapunov[test]'")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Shown:
    """The report in a window; everything that the console or the network was told."""

    def __init__(self, browser, path, *, width: int = 1280, scheme: str = "light") -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, accept_downloads=True
        )
        self.page, self.said, self.asked = context.new_page(), [], []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=yes]")

    def wait(self, script: str) -> None:
        self.page.wait_for_function(script)

    def table(self, selector: str) -> list[list[str]]:
        with self.page.expect_download() as download:
            self.page.click(selector)
        text = download.value.path().read_text()
        return list(csv.reader(io.StringIO(text)))


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "report.html"
    write_report(runs, path)
    return path


@pytest.fixture
def shown(browser, report):
    window = Shown(browser, report)
    yield window
    assert window.said == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in window.asked), window.asked
    window.page.context.close()


def test_every_figure_is_drawn(shown) -> None:
    drawn = shown.page.eval_on_selector_all(
        ".figure", "all => all.map(one => [one.querySelectorAll('.main-svg').length, one.clientHeight])"
    )
    assert len(drawn) == 7
    assert all(svgs > 0 and height >= 300 for svgs, height in drawn)
    traces = shown.page.eval_on_selector_all("[data-figure]", "all => all.map(one => one.data.length)")
    assert all(count > 0 for count in traces)
    assert shown.page.title() != "taken"


def test_the_slider_moves_the_spectrum_by_mouse_and_by_keyboard(shown, runs) -> None:
    spectra = runs[0].spectra()
    shown.page.focus("#time")
    assert "step 40, epoch 4" in shown.page.inner_text("#when")
    shown.page.keyboard.press("ArrowLeft")
    assert "step 20, epoch 2" in shown.page.inner_text("#when")
    values = shown.page.evaluate("document.getElementById('lines').data[2].y")
    assert values == pytest.approx(spectra[20].exponents.tolist(), rel=1e-5)
    shown.page.keyboard.press("Home")
    assert "step 0" in shown.page.inner_text("#when")
    shown.page.fill("#time", "1")
    assert "step 20" in shown.page.inner_text("#when")


def test_runs_kinds_and_play(shown) -> None:
    shown.page.check("input[value=leading]")
    assert shown.page.get_attribute("#time", "max") == "5"
    shown.page.select_option("#run", "1")
    assert shown.page.get_attribute("#time", "max") == "3"
    shown.page.click("#play")
    assert shown.page.inner_text("#play") == "pause"
    shown.wait("document.getElementById('time').value === '2'")
    shown.page.click("#play")
    assert shown.page.get_attribute("#play", "aria-pressed") == "false"


def test_a_choice_of_one_is_not_shown(browser, tmp_path) -> None:
    history = History(tmp_path / "run")
    for step in range(3):
        history.append(Reading(step, None, {}, exponents=(-0.5, -0.6), standard_errors=(0.1, 0.1)).record())
    write_report([Run.load(history.directory)], tmp_path / "report.html")
    window = Shown(browser, tmp_path / "report.html")
    assert not window.page.is_visible("#kind")
    assert window.page.query_selector("#run") is None
    assert window.page.get_attribute("#time", "max") == "2"
    assert window.said == []
    window.page.context.close()


def test_the_slider_says_what_is_not_converged(browser, tmp_path) -> None:
    write_report([half_converged(tmp_path / "run")], tmp_path / "report.html")
    window = Shown(browser, tmp_path / "report.html")
    symbol = "document.getElementById('lines').data[2].marker.symbol"
    assert window.page.inner_text("#when") == "step 7, not converged"
    assert window.page.evaluate(symbol) == "circle-open"
    window.page.focus("#time")
    window.page.keyboard.press("Home")
    assert window.page.inner_text("#when") == "step 0"
    assert window.page.evaluate(symbol) == "circle"
    assert [row[-1] for row in window.table("[data-table=spectrum]")] == ["converged", "true", "false"]
    assert window.said == []
    window.page.context.close()


def test_light_dark_and_logarithmic(shown) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = shown.page.evaluate(paper)
    shown.page.click("#theme")
    assert shown.page.evaluate(paper) != light
    text = "document.querySelector('[data-figure=course]').layout.font.color"
    assert shown.page.evaluate(text) == "#e7eaef"
    shown.page.check("#logarithmic")
    axis = "document.querySelector('[data-figure={}]').layout.xaxis.type"
    assert shown.page.evaluate(axis.format("course")) == "log"
    assert shown.page.evaluate(axis.format("association-mean")) != "log"
    heights = shown.page.eval_on_selector_all(".figure", "all => all.map(one => one.querySelector('.main-svg').clientHeight)")
    assert min(heights) >= 300
    shown.page.uncheck("#logarithmic")
    assert shown.page.evaluate(axis.format("course")) == "linear"


BUTTONS = {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Autoscale", "Reset axes"}


def test_no_button_asks_the_network_for_anything(shown) -> None:
    opened = []
    shown.page.context.on("page", lambda page: opened.append(page.url))
    shown.page.on("download", lambda download: None)
    shown.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    titles = shown.page.eval_on_selector_all(".modebar-btn", "all => all.map(one => one.dataset.title)")
    assert set(titles) == BUTTONS
    assert len(titles) == 7 * len(BUTTONS)
    count = shown.page.evaluate(
        "() => { const all = [...document.querySelectorAll('.modebar-btn, button, a[href], [role=button]')];"
        " all.forEach(one => one.click()); return all.length; }"
    )
    assert count > len(titles) + 7
    shown.page.wait_for_timeout(1000)
    assert shown.page.query_selector(".plotly-cloud-dialog-box") is None
    assert opened == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in shown.asked), shown.asked


def test_the_page_forbids_what_could_leave_it(shown) -> None:
    shown.page.evaluate("fetch('https://example.org/').catch(() => null)")
    assert any("Content Security Policy" in said for said in shown.said)
    shown.said.clear()
    shown.asked = [url for url in shown.asked if "example.org" not in url]


def test_logarithmic_steps_keep_every_reading_where_it_belongs(browser, tmp_path) -> None:
    history, steps = History(tmp_path / "run"), [0, 1, 3, 10, 1000]
    for at, step in enumerate(steps):
        sure = {"verdict": "converged" if at else "too short: so it is", "kinds": () if at else ("too short",)}
        history.append(Reading(step, None, {"val": 2.0}, exponents=(-0.5, -0.6), standard_errors=(0.1, 0.1), **sure).record())
    write_report([Run.load(history.directory)], tmp_path / "report.html")
    window = Shown(browser, tmp_path / "report.html")
    figure = "document.querySelector('[data-figure=course]')"
    for _ in range(2):
        assert window.page.evaluate(f"{figure}.data.filter(one => one.x.length).map(one => one.x)") == 4 * [steps]
        window.page.check("#logarithmic")
        drawn = window.page.evaluate(f"{figure}.querySelector('.scatterlayer').querySelectorAll('.point').length")
        assert drawn == len(steps)
        axis = window.page.evaluate(f"(({{type, ticktext, tickvals}}) => [type, ticktext, tickvals])({figure}.layout.xaxis)")
        assert axis == ["log", ["0", "1", "2", "5", "10", "20", "50", "100", "200", "500", "1000"], axis[2]]
        assert [value - 1 for value in axis[2]] == [int(text) for text in axis[1]]
        lines = window.page.eval_on_selector_all(
            "[data-figure=course] .js-line", "all => all.map(one => one.getAttribute('d'))"
        )
        places = [float(x) for line in lines for x in re.findall(r"[ML](-?[\d.]+),", line)]
        assert min(places) >= 0
        edges = window.page.evaluate("document.getElementById('map').data[0].x")
        assert edges[0] == 1
        assert edges[-1] == pytest.approx(1001)
        assert [round(edge, 3) for edge in edges[1:-1]] == [round(((a + 1) * (b + 1)) ** 0.5, 3) for a, b in pairwise(steps)]
        assert window.page.evaluate("document.getElementById('map').data[0].customdata[0]") == steps
        window.page.uncheck("#logarithmic")
    assert window.said == []
    window.page.context.close()


def test_indices_and_few_steps_have_whole_ticks(browser, tmp_path) -> None:
    history = History(tmp_path / "run")
    for step in (0, 1, 2):
        history.append(Reading(step, None, {"val": 2.0}, exponents=(-0.5, -0.6), standard_errors=(0.1, 0.1)).record())
    write_report([Run.load(history.directory)], tmp_path / "report.html")
    window = Shown(browser, tmp_path / "report.html")
    for figure, axis in (("#lines", "x"), ("#map", "y"), ("#map", "x"), ("[data-figure=course]", "x3")):
        ticks = window.page.eval_on_selector_all(f"{figure} .{axis}tick text", "all => all.map(one => one.textContent)")
        assert ticks
        assert all(re.fullmatch(r"\d+", tick) for tick in ticks), (figure, ticks)
    window.page.context.close()


OUTSIDE = """() => [
        ...document.querySelectorAll('.figure text, .figure .legend, h1, h2, h3, p, label, button, output, select')
    ]
    .map(one => [one.getBoundingClientRect(), one])
    .filter(([box, one]) => box.width > 0 && !one.closest('.skip, .hidden, .modebar'))
    .filter(([box, one]) => {
        const figure = one.closest('.figure')?.getBoundingClientRect();
        return box.left < 0 || box.right > innerWidth
            || (figure && (box.left < figure.left || box.right > figure.right))
            || (figure && (box.top < figure.top || box.bottom > figure.bottom));
    }).map(([box, one]) => one.textContent.slice(0, 60))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_cut_off(browser, tmp_path, width: int, scheme: str) -> None:
    long = "a-run-with-a-very-long-name-of-an-lstm-with-256-hidden-units-and-a-seed-of-1234"
    runs = [
        made(tmp_path / "long", name=long, readings=3),
        *(made(tmp_path / f"run-{at}", layers=1, readings=2) for at in range(3)),
    ]
    write_report(runs, tmp_path / "report.html")
    window = Shown(browser, tmp_path / "report.html", width=width, scheme=scheme)
    for _ in range(2):
        assert window.page.evaluate(OUTSIDE) == []
        assert window.page.evaluate("document.documentElement.scrollWidth") <= width
        plots = "[data-figure=course] .nsewdrag"
        heights = window.page.eval_on_selector_all(plots, "all => all.map(one => one.getBoundingClientRect().height)")
        assert min(heights) > 60
        window.page.check("#logarithmic")
    assert window.said == []
    window.page.context.close()


def test_every_table_is_exported(shown, runs) -> None:
    readings = shown.table("[data-table=readings-0]") if shown.page.click("details summary") is None else []
    assert readings[0][:4] == ["step", "epoch", "train_loss", "held_out_loss"]
    largest = readings[0].index("largest")
    assert [float(row[largest]) for row in readings[1:]] == [reading.max for reading in runs[0].readings]
    course = shown.table("[data-table=course]")
    assert course[0] == ["figure", "axis", "series", "x", "y"]
    assert len({(row[1], row[2]) for row in course[1:]}) == 6 * (3 + 3 + 2)
    spectrum = shown.table("[data-table=spectrum]")
    assert spectrum[0][:2] == ["step", "exponent_1"]
    assert [row[0] for row in spectrum[1:]] == ["0", "20", "40"]
    assert len(shown.table("[data-table=association]")) == 1 + 2 * 6


def test_it_can_be_used_by_keyboard_alone(shown) -> None:
    reached = []
    for _ in range(60):
        shown.page.keyboard.press("Tab")
        reached.append(shown.page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert [name for name in reached if name in ("logarithmic", "theme", "run", "play", "time")] == [
        "logarithmic",
        "theme",
        "run",
        "play",
        "time",
    ]
    shown.page.focus("#theme")
    shown.page.keyboard.press("Enter")
    assert shown.page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_a_phone_and_the_dark(browser, report, width: int) -> None:
    window = Shown(browser, report, width=width, scheme="dark")
    assert window.page.evaluate("document.documentElement.scrollWidth") <= width
    assert window.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert window.said == []
    window.page.context.close()
