"use strict";
// Draws what the page brings along; nothing is computed here that the package has computed already.
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const state = { run: 0, kind: "leading", at: 0, playing: null };
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  const phone = window.matchMedia("(max-width: 600px)");

  function themed(layout) {
    const axis = {
      gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--quiet"),
      zeroline: false, automargin: true, title: {},
    };
    const result = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: { color: colour("--text"), size: phone.matches ? 11 : 13, family: getComputedStyle(document.body).fontFamily },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      margin: { l: phone.matches ? 48 : 64, r: 18, t: 26, b: 54 }, ...layout,
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    };
    for (const name of new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))])) {
      result[name] = { ...axis, ...layout[name] };
      if (name.startsWith("x") && steps(layout)) result[name].type = $("logarithmic").checked ? "log" : "linear";
    }
    return result;
  }

  // Figures over runs have no steps to be made logarithmic.
  const steps = (layout) => JSON.stringify(layout).includes("training step");

  // The place has the height, so that a figure keeps it when the window changes.
  function draw(place, figure) {
    const { height, ...layout } = figure.layout;
    place.style.height = `${height}px`;
    return Plotly.react(place, figure.data, themed(layout), options);
  }

  const spectra = () => page.runs[state.run].kinds[state.kind];

  const unsure = (frame) => (frame.converged === false ? ", not converged" : "");

  function line(frame, style) {
    return {
      type: "scatter", mode: frame.exponents.length <= 40 ? "lines+markers" : "lines", y: frame.exponents,
      x: frame.exponents.map((_, at) => at + 1), name: `step ${frame.step}` + unsure(frame),
      marker: { size: 5, symbol: frame.converged === false ? "circle-open" : "circle" },
      hovertemplate: "exponent %{x}: %{y}<extra>step " + frame.step + "</extra>", ...style,
    };
  }

  function drawSpectrum() {
    const { frames } = spectra();
    const now = frames[Math.min(state.at, frames.length - 1)];
    const bold = page.colours[state.run % page.colours.length];
    const data = [
      line(frames[0], { line: { dash: "dot", width: 1.5, color: colour("--quiet") }, mode: "lines" }),
      line(frames[frames.length - 1], { line: { dash: "dash", width: 1.5, color: colour("--quiet") }, mode: "lines" }),
      line(now, {
        line: { width: 2.5, color: bold },
        error_y: { type: "data", array: now.errors, visible: now.exponents.length <= 40, thickness: 1, width: 2 },
      }),
    ];
    const values = frames.flatMap((frame) => frame.exponents).filter((value) => value !== null);
    const low = Math.min(0, ...[Math.min(...values)]), high = Math.max(0, ...[Math.max(...values)]);
    const room = 0.05 * (high - low);
    const layout = {
      height: 380, showlegend: true,
      xaxis: { title: { text: "index" } },
      yaxis: { title: { text: `exponent (${page.runs[state.run].unit})` }, zeroline: true, range: [low - room, high + room] },
    };
    draw($("lines"), { data, layout });
    const epoch = page.runs[state.run].epochs[now.step];
    $("when").textContent = `step ${now.step}` + (epoch === undefined ? "" : `, epoch ${epoch}`) + unsure(now);
    $("time").setAttribute("aria-valuetext", $("when").textContent);
  }

  // Cells reach half a step beyond the first and the last: what is shown ends there.
  function drawMap() {
    const { map, frames } = spectra();
    const ends = [frames[0].step, frames[frames.length - 1].step];
    const whole = !$("logarithmic").checked && ends[0] < ends[1];
    draw($("map"), { data: map.data, layout: { ...map.layout, xaxis: { ...map.layout.xaxis, ...(whole && { range: ends }) } } });
  }

  function chooseKind() {
    const kinds = page.runs[state.run].kinds;
    if (!(state.kind in kinds)) state.kind = Object.keys(kinds)[0];
    for (const radio of document.querySelectorAll("input[name=kind]")) {
      radio.checked = radio.value === state.kind;
      radio.disabled = !(radio.value in kinds);
    }
    $("kind").hidden = Object.keys(kinds).length < 2;
    $("time").max = spectra().frames.length - 1;
    state.at = Math.min(state.at, spectra().frames.length - 1);
    $("time").value = state.at;
    drawMap();
    drawSpectrum();
  }

  function drawAll() {
    for (const place of document.querySelectorAll("[data-figure]")) draw(place, page.figures[place.dataset.figure]);
    chooseKind();
  }

  function dark(on) {
    document.documentElement.dataset.theme = on ? "dark" : "light";
    document.documentElement.style.colorScheme = on ? "dark" : "light";
    $("theme").textContent = on ? "light" : "dark";
    $("theme").setAttribute("aria-pressed", String(on));
  }

  function play(on) {
    clearInterval(state.playing);
    state.playing = on ? setInterval(() => move((state.at + 1) % spectra().frames.length), 250) : null;
    $("play").textContent = on ? "pause" : "play";
    $("play").setAttribute("aria-pressed", String(on));
  }

  function move(at) {
    state.at = at;
    $("time").value = at;
    drawSpectrum();
  }

  // What is shown, as a table: series of one figure one below the other.
  function rows(name) {
    if (name.startsWith("readings-")) {
      const table = page.tables[Number(name.slice(9))];
      return [table.columns, ...table.rows];
    }
    if (name === "spectrum") {
      const most = Math.max(...spectra().frames.map((frame) => frame.exponents.length));
      const index = Array.from({ length: most }, (_, at) => `exponent_${at + 1}`);
      const row = (frame) => [frame.step, ...frame.exponents, ...Array(most - frame.exponents.length), frame.converged];
      return [["step", ...index, "converged"], ...spectra().frames.map(row)];
    }
    const found = [["figure", "axis", "series", "x", "y"]];
    for (const [key, figure] of Object.entries(page.figures)) {
      if (!key.startsWith(name)) continue;
      for (const trace of figure.data) {
        const axis = figure.layout[`yaxis${(trace.yaxis ?? "y").slice(1)}`].title.text.replaceAll("<br>", " ");
        const edge = trace.fill ? " high" : trace.hoverinfo === "skip" ? " low" : "";
        const label = (trace.name ?? trace.legendgroup ?? "runs") + edge;
        trace.x.forEach((x, at) => found.push([key, axis, label, x, trace.y[at]]));
      }
    }
    return found;
  }

  function save(name) {
    const cell = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const text = rows(name).map((row) => row.map(cell).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `${name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  $("theme").addEventListener("click", () => { dark(document.documentElement.dataset.theme !== "dark"); drawAll(); });
  $("logarithmic").addEventListener("change", drawAll);
  $("time").addEventListener("input", (event) => { play(false); move(Number(event.target.value)); });
  $("play").addEventListener("click", () => play(state.playing === null));
  $("run")?.addEventListener("change", (event) => { state.run = Number(event.target.value); state.at = 0; chooseKind(); });
  for (const radio of document.querySelectorAll("input[name=kind]")) {
    radio.addEventListener("change", () => { state.kind = radio.value; state.at = 0; chooseKind(); });
  }
  for (const button of document.querySelectorAll(".csv")) button.addEventListener("click", () => save(button.dataset.table));
  phone.addEventListener("change", drawAll);

  dark(window.matchMedia("(prefers-color-scheme: dark)").matches);
  state.kind = "whole" in page.runs[0].kinds ? "whole" : "leading";
  state.at = page.runs[0].kinds[state.kind].frames.length - 1;
  drawAll();
  document.documentElement.dataset.ready = "yes";
})();
