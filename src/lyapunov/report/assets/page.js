"use strict";
// Draws what the page brings along; nothing is computed here that the package has computed already.
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const state = { run: 0, kind: "leading", at: 0, playing: null };
  // Named, so that no later Plotly brings a button along that sends the figure somewhere, as "Share chart" does.
  const buttons = ["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "resetScale2d"];
  const options = { responsive: true, displaylogo: false, modeBarButtons: [buttons], plotlyServerURL: "" };
  const phone = window.matchMedia("(max-width: 600px)");

  function themed(layout) {
    const axis = {
      gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--quiet"),
      zeroline: false, automargin: true,
    };
    const result = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: { color: colour("--text"), size: phone.matches ? 11 : 13, family: getComputedStyle(document.body).fontFamily },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
      margin: { l: phone.matches ? 48 : 64, r: 18, t: 26, b: 62 }, ...layout,
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    };
    for (const name of new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))])) {
      result[name] = { ...axis, ...layout[name] };
      if (result[name].title) result[name].title = { standoff: 8, ...result[name].title };
    }
    return result;
  }

  // Figures over runs have no steps to be made logarithmic.
  const steps = (layout) => JSON.stringify(layout).includes("training step");

  // Step 0 has no logarithm: step + 1 is drawn, under the labels of the steps themselves.
  function logarithmic(data, layout) {
    const all = data.flatMap((trace) => trace.x), least = Math.min(...all), most = Math.max(...all);
    const places = [0], finer = most - least < 2000 ? [1, 2, 5] : [1];
    for (let power = 1; power <= most; power *= 10) places.push(...finer.map((one) => one * power));
    const within = places.filter((step) => step >= least && step <= most);
    const shown = within.length > 2 ? within : [...new Set([least, ...within, most])];
    const axis = { type: "log", tickmode: "array", tickvals: shown.map((step) => step + 1), ticktext: shown.map(String) };
    const result = { ...layout };
    for (const name of ["xaxis", ...Object.keys(layout).filter((key) => /^xaxis\d+$/.test(key))]) {
      result[name] = { ...layout[name], ...axis, range: undefined };
    }
    return { data: data.map((trace) => ({ ...trace, ...shifted(trace) })), layout: result };
  }

  // Where a trace lies on a logarithmic axis; what is said of a point keeps the step itself.
  function shifted(trace) {
    const said = (trace.hovertemplate ?? "").replaceAll("%{x}", "%{customdata}");
    if (trace.type !== "heatmap") return { x: trace.x.map((step) => step + 1), customdata: trace.x, hovertemplate: said };
    return { x: edges(trace.x, (step) => Math.log(step + 1), Math.exp), customdata: trace.z.map(() => trace.x), hovertemplate: said };
  }

  // A cell reaches half-way to its neighbours, as they are drawn, and no further than the first and the last reading.
  function edges(x, there = (step) => step, back = (place) => place) {
    const at = x.map(there), between = at.slice(1).map((place, i) => back((place + at[i]) / 2));
    return x.length < 2 ? [x[0] + 0.5, x[0] + 1.5] : [back(at[0]), ...between, back(at[at.length - 1])];
  }

  // Numbers that are whole have no ticks between them.
  function whole(values) {
    const span = Math.max(...values) - Math.min(...values);
    return span > 10 ? {} : { tick0: 0, dtick: 1 };
  }

  // A long name is cut in the middle where there is little room, and a legend of many rows takes nothing from the figure.
  const room = (place) => Math.max(place.clientWidth - 70, 200);
  const fitting = (name, most) => (name.length > most ? `${name.slice(0, most - 9)}…${name.slice(-8)}` : name);

  function rowsOf(names, width) {
    const letter = phone.matches ? 6.2 : 7.4;
    let rows = names.length ? 1 : 0, used = 0;
    for (const name of names) {
      const takes = 52 + letter * name.length;
      if (used + takes > width && used) { rows += 1; used = 0; }
      used += takes;
    }
    return rows;
  }

  // The place has the height, so that a figure keeps it when the window changes.
  function draw(place, figure) {
    const { height, ...own } = figure.layout;
    const most = Math.floor((room(place) - 52) / (phone.matches ? 6.2 : 7.4));
    const named = figure.data.map((trace) => (trace.name ? { ...trace, name: fitting(trace.name, most) } : trace));
    const listed = figure.data.length > 1 ? named.filter((trace) => trace.name && trace.showlegend !== false) : [];
    const rows = rowsOf(listed.map((trace) => trace.name), room(place));
    place.style.height = `${height + (phone.matches ? 19 : 22) * Math.max(0, rows - 1)}px`;
    const logs = steps(own) && $("logarithmic").checked;
    const { data, layout } = logs ? logarithmic(named, own) : { data: named, layout: steps(own) ? stepped(named, own) : own };
    return Plotly.react(place, data, themed(layout), options);
  }

  // Few training steps have whole ticks as well.
  function stepped(data, layout) {
    const ticks = whole(data.flatMap((trace) => trace.x)), names = Object.keys(layout).filter((key) => /^xaxis\d*$/.test(key));
    return { ...layout, ...Object.fromEntries(["xaxis", ...names].map((name) => [name, { ...ticks, ...layout[name] }])) };
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
      xaxis: { title: { text: "index" }, ...whole([1, Math.max(...frames.map((frame) => frame.exponents.length))]) },
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
    const flat = !$("logarithmic").checked && ends[0] < ends[1];
    const indices = map.data[0].y;
    draw($("map"), {
      data: map.data,
      layout: {
        ...map.layout, xaxis: { ...map.layout.xaxis, ...(flat && { range: ends }) },
        yaxis: { ...map.layout.yaxis, ...whole([indices[0], indices[indices.length - 1]]) },
      },
    });
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
