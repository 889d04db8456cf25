"use strict";
(() => {
  const source = document.getElementById("data");
  const { reports, notes } = JSON.parse(source.textContent);
  if (!reports.length) return;
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const rows = byId("rows");
  const scroller = byId("table-scroll");
  const headers = [...document.querySelectorAll(".layers th")];
  const columns = headers.map((th) => ({ key: th.dataset.key, numeric: th.dataset.type === "number" }));
  const state = { report: 0, key: null, direction: 0 };
  const charts = new Map(); // container → the function that draws it; drawn again when theme or width change
  let entries = []; // of the shown report: { layer, row, details, index }

  // ---- text -------------------------------------------------------------------------------------------------

  // Text goes in as text nodes only, so that no name of a layer can become markup.
  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  function format(value) {
    if (value === null || value === undefined) return "–";
    if (typeof value === "string") return value;
    if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
    const size = Math.abs(value);
    if (size >= 1e6 || size < 1e-3) return value.toExponential(3).replace("e+", "e");
    return String(Number(value.toPrecision(4)));
  }

  // In the table and captions; the list of all metrics has more digits.
  function brief(value) {
    return value === null || Number.isInteger(value) || Math.abs(value) >= 1000 ? format(value === null ? value : Math.round(value))
      : Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toPrecision(3);
  }

  function shorten(text, length) {
    const keep = length - 1;
    return text.length <= length ? text : text.slice(0, keep - (keep >> 1)) + "…" + text.slice(text.length - (keep >> 1));
  }

  const superscript = (n) => String(n).replace(/./g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻");
  const valueOf = (layer, key) => (Object.hasOwn(layer.metrics, key) ? layer.metrics[key] : layer[key]) ?? null;

  // ---- charts -----------------------------------------------------------------------------------------------

  const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  // Ticks at powers of ten; between them 1, 2, 5 or every digit where the range is short.
  function logTicks(u, axis, min, max) {
    const [low, high] = [Math.log10(min), Math.log10(max)];
    const digits = high - low > 3 ? [1] : high - low > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
    const every = Math.max(1, Math.ceil((high - low) / 7));
    const ticks = [];
    for (let e = Math.floor(low); e <= high; e++) {
      if (e % every) continue;
      for (const d of digits) if (d * 10 ** e >= min && d * 10 ** e <= max) ticks.push(Number((d * 10 ** e).toPrecision(3)));
    }
    return ticks.length > 1 ? ticks : [0, 1, 2, 3].map((i) => Number((min * (max / min) ** (i / 3)).toPrecision(3)));
  }

  function logLabel(value) {
    const exponent = Math.log10(value);
    const isPower = Math.abs(exponent - Math.round(exponent)) < 1e-9;
    if (isPower && Math.abs(exponent) > 2.5) return "10" + superscript(Math.round(exponent));
    return value >= 1e4 || value < 1e-3 ? value.toExponential().replace("e+", "e") : String(value);
  }

  function compact(value) {
    return Math.abs(value) >= 1e4 ? value.toLocaleString("en", { notation: "compact" }) : String(Number(value.toPrecision(6)));
  }

  const scaleOf = (log, range) => ({ time: false, distr: log ? 3 : 1, range });
  const padded = (u, min, max) => [min / 1.25, max * 1.25];

  function axisOf(label, log, side) {
    return {
      label, side, stroke: color("quiet"), labelSize: 20, labelFont: "12px system-ui, sans-serif", labelGap: 2,
      font: "11px system-ui, sans-serif", size: side === 3 ? 50 : 30, gap: 3,
      grid: { stroke: color("rule"), width: 0.5 }, ticks: { stroke: color("rule"), width: 0.5, size: 4 },
      ...(log ? { splits: logTicks, filter: (u, ticks) => ticks, values: (u, ticks) => ticks.map(logLabel) }
              : { values: (u, ticks) => ticks.map(compact) }),
    };
  }

  // Bars without gaps: the value at index i holds from x[i] to x[i + 1]; null stands for an empty bin.
  function stairs(u, seriesIndex) {
    const [x, y] = [u.data[0], u.data[seriesIndex]];
    const px = (i) => u.valToPos(x[i], "x", true);
    const bottom = u.valToPos(u.scales.y.min, "y", true);
    const outline = new Path2D();
    outline.moveTo(px(0), bottom);
    for (let i = 0; i + 1 < x.length; i++) {
      const top = y[i] === null ? bottom : u.valToPos(y[i], "y", true);
      outline.lineTo(px(i), top);
      outline.lineTo(px(i + 1), top);
    }
    outline.lineTo(px(x.length - 1), bottom);
    return { stroke: outline, fill: outline };
  }

  function verticalLine(value) {
    return (u) => {
      const at = u.valToPos(value, "x", true);
      const { ctx, bbox } = u;
      if (!(at >= bbox.left && at <= bbox.left + bbox.width)) return;
      ctx.save();
      ctx.strokeStyle = color("quiet");
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(at, bbox.top);
      ctx.lineTo(at, bbox.top + bbox.height);
      ctx.stroke();
      ctx.restore();
    };
  }

  function chart(box, label, options, data) {
    clear(box);
    const plot = new uPlot({
      width: Math.max(240, box.clientWidth), height: 230, padding: [10, 12, 0, 0],
      cursor: { drag: { x: false, y: false }, points: { size: 6 }, y: false }, ...options,
    }, data, box);
    plot.ctx.canvas.setAttribute("role", "img");
    plot.ctx.canvas.setAttribute("aria-label", label);
    box.plot = plot;
    return plot;
  }

  function clear(box) {
    box.plot?.destroy(); // lets go of its listeners on the window
    box.plot = null;
    box.replaceChildren();
  }

  function say(box, words) {
    clear(box);
    box.append(element("div", { class: "empty" }, words));
  }

  function show(box, draw) {
    charts.set(box, draw);
    draw();
  }

  const number = (u, value) => format(value);
  const numberOrZero = (u, value, series, index) => (index === null ? "–" : format(value ?? 0)); // empty bins are null

  function drawHistogram(box, layer, mode) {
    const histogram = mode === "log |w|" ? layer.logHistogram : layer.histogram;
    if (!histogram) return say(box, layer.empty.histogram);
    const log = mode !== "linear";
    const { edges, counts, normal } = histogram;
    const closed = (values) => [...values, values[values.length - 1]];
    const bars = closed(counts).map((n) => (log && n === 0 ? null : n));
    const data = [edges, bars];
    const series = [
      { label: mode === "log |w|" ? "|w|" : "w", value: number },
      { label: "weights", paths: stairs, stroke: color("data"), width: 1, fill: color("fill"), points: { show: false }, value: numberOrZero },
    ];
    if (normal) {
      series.push({ label: "normal, same mean and std", stroke: color("fit"), width: 2, points: { show: false }, value: number });
      const curve = new Map(normal.x.map((v, i) => [v, normal.y[i]]));
      let bin = 0;
      data[0] = [...new Set([...edges, ...normal.x])].sort((a, b) => a - b);
      data[1] = data[0].map((v) => { while (edges[bin + 1] <= v) bin++; return bars[bin]; });
      data[2] = data[0].map((v) => curve.get(v)); // undefined between its points, which uPlot joins
    }
    const top = Math.max(...counts, ...(normal?.y ?? []), 1);
    const logX = mode === "log |w|" && edges[0] > 0;
    chart(box, `Histogram of the weights of ${layer.name}`, {
      scales: { x: scaleOf(logX, [edges[0], edges[edges.length - 1]]), y: scaleOf(log, log ? [0.5, top * 2] : [0, top * 1.08]) },
      axes: [axisOf(mode === "log |w|" ? "|weight|" : "weight w", logX, 2), axisOf("number of weights", log, 3)],
      series,
    }, data);
  }

  // x of a curve with xmin put in, so that the fitted line starts exactly there.
  function withFit(x, y, fit, curve) {
    if (!fit) return [x, y];
    const at = x.findIndex((v) => v >= fit.xmin);
    const isNew = at > 0 && x[at] > fit.xmin;
    const xs = isNew ? [...x.slice(0, at), fit.xmin, ...x.slice(at)] : x;
    const ys = isNew ? [...y.slice(0, at), curve === "density" ? y[at - 1] : undefined, ...y.slice(at)] : y;
    const scale = curve === "density" ? (fit.share * (fit.alpha - 1)) / fit.xmin : fit.share;
    const power = curve === "density" ? -fit.alpha : 1 - fit.alpha;
    return [xs, ys, xs.map((v) => (v < fit.xmin ? null : scale * (v / fit.xmin) ** power))];
  }

  function drawSpectrum(box, layer, curve) {
    const data = curve === "density" ? layer.esd : layer.ccdf;
    if (!data) return say(box, layer.empty.esd);
    const density = curve === "density";
    const y = density ? [...data.density, data.density[data.density.length - 1]].map((v) => v || null) : data.p;
    const joined = withFit(density ? data.edges : data.x, y, layer.fit, curve);
    const seen = joined.slice(1).flat().filter((v) => v > 0);
    const points = { show: true, size: 4, fill: color("data"), stroke: color("data") };
    const look = density ? { paths: stairs, width: 1, fill: color("fill"), points: { show: false } } : { width: 0, paths: () => null, points };
    const series = [
      { label: "λ", value: number },
      { label: density ? "density" : "P(Λ ≥ λ)", stroke: color("data"), value: density ? numberOrZero : number, ...look },
    ];
    if (layer.fit) series.push({ label: "fitted tail", stroke: color("fit"), width: 2, points: { show: false }, value: number });
    chart(box, `${density ? "Density" : "Complementary distribution"} of the eigenvalues of ${layer.name}`, {
      scales: { x: scaleOf(true, padded), y: scaleOf(true, [Math.min(...seen) / 1.5, Math.max(...seen) * 1.5]) },
      axes: [axisOf("eigenvalue λ of WᵀW", true, 2), axisOf(density ? "density" : "P(Λ ≥ λ)", true, 3)],
      series,
      hooks: { draw: layer.fit ? [verticalLine(layer.fit.xmin)] : [] },
    }, joined);
  }

  // ---- charts by depth --------------------------------------------------------------------------------------

  function depthLayers() {
    const spectral = entries.filter((entry) => entry.layer.spectral);
    return spectral.length ? spectral : entries;
  }

  function alphaBackground(shown, log) {
    return [
      (u) => {
        const [top, bottom] = [u.valToPos(6, "y", true), u.valToPos(2, "y", true)];
        const clip = (v) => Math.min(Math.max(v, u.bbox.top), u.bbox.top + u.bbox.height);
        u.ctx.fillStyle = color("good");
        u.ctx.fillRect(u.bbox.left, clip(top), u.bbox.width, clip(bottom) - clip(top));
        u.ctx.strokeStyle = color("data");
        u.ctx.lineWidth = devicePixelRatio;
        u.ctx.beginPath();
        shown.forEach(({ layer }, i) => { // one standard error to each side
          const [alpha, sigma] = [valueOf(layer, "alpha"), valueOf(layer, "sigma")];
          if (alpha === null || !sigma) return;
          const x = u.valToPos(i, "x", true);
          u.ctx.moveTo(x, clip(u.valToPos(log ? Math.max(alpha - sigma, 1) : alpha - sigma, "y", true)));
          u.ctx.lineTo(x, clip(u.valToPos(alpha + sigma, "y", true)));
        });
        u.ctx.stroke();
      },
    ];
  }

  function drawDepth(box, title, keys, options) {
    const shown = depthLayers();
    const curves = keys.map(([key]) => shown.map(({ layer }) => valueOf(layer, key)));
    if (!curves.flat().some((v) => v !== null)) return say(box, "no layer has a value");
    const colors = ["data", "second", "third"].map(color);
    const series = [{ label: "layer", value: (u, v) => (v === null ? "–" : shorten(shown[v]?.layer.name ?? "", 36)) }];
    keys.forEach(([, label], i) => series.push({
      label, stroke: colors[i], width: 1, spanGaps: true, value: number, points: { show: true, size: 5, fill: colors[i] },
    }));
    if (options.flag) {
      curves.push(curves[0].map((v, i) => (shown[i].layer.severity ? v : null)));
      series.push({
        label: "with a warning", stroke: color("fit"), paths: () => null, value: () => `${shown.filter(({ layer }) => layer.severity).length} layers`,
        points: { show: true, size: 10, width: 2, stroke: color("fit"), fill: "transparent" },
      });
    }
    const plot = chart(box, title, {
      scales: { x: scaleOf(false, [-0.5, shown.length - 0.5]), y: scaleOf(options.log, options.range) },
      axes: [{ ...axisOf("layer, in network order", false, 2), incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000] }, axisOf(options.label, options.log, 3)],
      series,
      hooks: { drawAxes: options.background?.(shown) ?? [] },
    }, [shown.map((_, i) => i), ...curves]);
    plot.over.style.cursor = "pointer";
    plot.over.addEventListener("click", () => {
      if (plot.cursor.idx !== null) reveal(shown[plot.cursor.idx]);
    });
  }

  function drawAlpha() {
    const alphas = depthLayers().map(({ layer }) => valueOf(layer, "alpha")).filter((v) => v !== null);
    const upper = depthLayers().map(({ layer }) => (valueOf(layer, "alpha") ?? 0) + (valueOf(layer, "sigma") ?? 0));
    const [low, high] = [Math.min(...alphas, 2), Math.max(...upper, 6)];
    const log = high > 20; // a single wild fit must not press all others flat
    drawDepth(byId("alpha-chart"), "Power-law exponent alpha by layer", [["alpha", "α"]], {
      log, flag: true, label: log ? "α (log axis)" : "α", background: (shown) => alphaBackground(shown, log),
      range: log ? [Math.max(low / 1.2, 1), high * 1.2] : [Math.max(low - 0.8, 0), high + 0.4],
    });
  }

  function drawSparsity() {
    const keys = [["near_zero_std", "|w| < 0.1 std"], ["zero_fraction", "exact zeros"], ["hoyer", "Hoyer"]];
    const values = depthLayers().flatMap(({ layer }) => keys.map(([key]) => valueOf(layer, key) ?? 0));
    drawDepth(byId("sparsity-chart"), "Sparsity by layer", keys, {
      log: false, label: "share or index, 0 to 1", range: [0, Math.max(...values, 0.1) * 1.08],
    });
  }

  // ---- details of one layer ---------------------------------------------------------------------------------

  function figure(caption, ...controls) {
    const box = element("div", { class: "chart" });
    return [element("figure", {}, element("figcaption", {}, caption, ...controls), box), box];
  }

  function histogramFigure(layer) {
    const modes = ["linear", "log", ...(layer.logHistogram ? ["log |w|"] : [])];
    const choice = element("span", { class: "choice", role: "group", "aria-label": "Axes of the histogram" });
    const [node, box] = layer.histogram ? figure("Weights", choice) : figure("Weights");
    const select = (mode) => {
      for (const button of choice.children) button.setAttribute("aria-pressed", String(button.textContent === mode));
      show(box, () => drawHistogram(box, layer, mode));
    };
    for (const mode of layer.histogram ? modes : []) {
      const button = element("button", { type: "button" }, mode);
      button.addEventListener("click", () => select(mode));
      choice.append(button);
    }
    return [node, () => select("log")];
  }

  function fillDetails(entry) {
    const { layer } = entry;
    const panel = element("div", { class: "panel" });
    const facts = [layer.kind, layer.role, layer.dtype, layer.shape, layer.depth === null ? "" : `block ${layer.depth}`];
    panel.append(element("p", { class: "full" }, element("b", {}, layer.name), " · ", facts.filter(Boolean).join(" · ")));
    if (layer.notes.length) {
      const words = layer.warning ? [element("p", {}, element("b", {}, layer.warning))] : [];
      panel.append(element("div", { class: "explained" }, ...words, ...layer.notes.map((key) => element("p", {}, notes[key]))));
    }
    const [weights, drawWeights] = histogramFigure(layer);
    const known = (key, text) => (valueOf(layer, key) === null ? "" : text + brief(valueOf(layer, key)));
    const aside = (...parts) => element("span", { class: "aside" }, layer.fit ? parts.join("") : layer.esd ? "no power-law fit" : "");
    const [density, densityBox] = figure("ESD", aside(known("alpha", "α = "), known("sigma", " ± "), known("D", ", D = ")));
    const [tail, tailBox] = figure("CCDF", aside(known("xmin", "xmin = "), known("num_pl_spikes", ", tail of "), known("num_evals", " of ")));
    const metrics = Object.entries(layer.metrics).map(([key, value]) =>
      element("div", {}, element("dt", {}, key), element("dd", {}, format(value))));
    panel.append(element("div", { class: "charts" }, weights, density, tail));
    if (metrics.length) panel.append(element("h3", {}, "All metrics"), element("dl", { class: "metrics" }, ...metrics));
    entry.details.firstChild.replaceChildren(panel);
    panel.style.width = `${scroller.clientWidth}px`;
    drawWeights();
    show(densityBox, () => drawSpectrum(densityBox, layer, "density"));
    show(tailBox, () => drawSpectrum(tailBox, layer, "ccdf"));
  }

  function toggle(entry, open = !entry.open) {
    if (open === entry.open) return;
    entry.open = open;
    entry.row.classList.toggle("open", open);
    entry.opener.setAttribute("aria-expanded", String(open));
    if (!entry.details) {
      entry.details = element("tr", { class: `details${entry.layer.severity > 1 ? " severe" : ""}` }, element("td", { colspan: columns.length }));
    }
    if (open) {
      entry.row.after(entry.details); // in the page first: charts take their width from it
      fillDetails(entry);
    } else {
      forget(entry.details);
      entry.details.remove();
    }
  }

  function forget(node) {
    for (const box of node.querySelectorAll(".chart")) {
      charts.delete(box);
      clear(box);
    }
  }

  function reveal(entry) {
    if (!entry.row.isConnected) clearFilters();
    toggle(entry, true);
    entry.row.scrollIntoView({ block: "start" });
    entry.opener.focus({ preventScroll: true });
  }

  // ---- table ------------------------------------------------------------------------------------------------

  function cell(layer, { key, numeric }) {
    const value = valueOf(layer, key);
    if (key === "warning") {
      const td = element("td", { class: "warning" });
      const text = layer.warning || (layer.notes.includes("unresolved") ? "unresolved" : "");
      if (text && !layer.notes.length) td.append(shorten(text, 70)); // why it was skipped
      else if (text) {
        for (const part of layer.severity < 3 ? text.split("; ") : [text]) td.append(element("span", { class: "pill", title: part }, shorten(part, 70)), " ");
      }
      return td;
    }
    return element("td", numeric ? { class: "number" } : {}, numeric ? brief(value) : String(value ?? "–"));
  }

  function entryOf(layer, index) {
    const row = element("tr", { class: `layer${layer.severity > 1 ? " severe" : ""}`, "data-severity": layer.severity });
    const opener = element("button", { type: "button", class: "opener", "aria-expanded": "false", title: layer.name }, shorten(layer.name, 38));
    row.append(element("td", {}, opener), ...columns.slice(1).map((column) => cell(layer, column)));
    const entry = { layer, index, row, opener, details: null, open: false, text: `${layer.name} ${layer.kind} ${layer.warning}`.toLowerCase() };
    row.addEventListener("click", (event) => {
      if (event.target.closest("button") || !getSelection().toString()) toggle(entry);
    });
    return entry;
  }

  function compare(a, b) {
    const [x, y] = [valueOf(a.layer, state.key), valueOf(b.layer, state.key)];
    if (x === null || y === null || x === "" || y === "") return ((x ?? "") === "") - ((y ?? "") === "") || a.index - b.index; // last either way
    const order = typeof x === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return order * state.direction || a.index - b.index;
  }

  function refresh() {
    const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [kind, warned] = [byId("kind").value, byId("warned").checked];
    const shown = entries.filter((entry) => words.every((word) => entry.text.includes(word))
      && (!kind || entry.layer.kind === kind) && (!warned || entry.layer.severity > 0));
    const kept = new Set(shown);
    for (const entry of entries) if (!kept.has(entry)) toggle(entry, false);
    shown.sort(state.direction ? compare : (a, b) => a.index - b.index);
    rows.replaceChildren(...shown.flatMap((entry) => (entry.open ? [entry.row, entry.details] : [entry.row])));
    if (!shown.length) rows.append(element("tr", {}, element("td", { colspan: columns.length }, "No layer matches.")));
    byId("shown").textContent = `${shown.length} of ${entries.length} layers`;
  }

  function clearFilters() {
    byId("find").value = byId("kind").value = "";
    byId("warned").checked = false;
    refresh();
  }

  // Ascending, descending, network order.
  function sortBy(th) {
    const next = state.key !== th.dataset.key ? 1 : state.direction === 1 ? -1 : state.direction === -1 ? 0 : 1;
    Object.assign(state, { key: th.dataset.key, direction: next });
    for (const other of headers) other.removeAttribute("aria-sort");
    if (next) th.setAttribute("aria-sort", next > 0 ? "ascending" : "descending");
    refresh();
  }

  // ---- the page ---------------------------------------------------------------------------------------------

  function showReport(index) {
    state.report = index;
    for (const section of document.querySelectorAll(".report")) section.hidden = Number(section.dataset.report) !== index;
    for (const button of document.querySelectorAll(".switch")) button.setAttribute("aria-pressed", String(Number(button.dataset.report) === index));
    forget(rows);
    entries = reports[index].layers.map(entryOf);
    const kinds = [...new Set(entries.map((entry) => entry.layer.kind))].sort();
    byId("kind").replaceChildren(new Option("all", ""), ...kinds.map((kind) => new Option(kind, kind)));
    refresh();
    fitTable();
    show(byId("alpha-chart"), drawAlpha);
    show(byId("sparsity-chart"), drawSparsity);
  }

  // Headers can stick to the top of the page only where the table needs no scrolling of its own.
  function fitTable() {
    scroller.classList.remove("layers-fit");
    scroller.classList.toggle("layers-fit", scroller.scrollWidth <= scroller.clientWidth);
  }

  function redraw() {
    fitTable();
    for (const panel of rows.querySelectorAll(".panel")) panel.style.width = `${scroller.clientWidth}px`;
    for (const draw of charts.values()) draw();
  }

  function stored(theme) {
    try { // some browsers keep no storage for files
      if (theme) localStorage.setItem("spectra-theme", theme);
      return localStorage.getItem("spectra-theme");
    } catch {
      return null;
    }
  }

  function setTheme(theme) {
    root.dataset.theme = theme;
    byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
    byId("theme").setAttribute("aria-label", `Switch to ${theme === "dark" ? "light" : "dark"} colours`);
  }

  const preference = matchMedia("(prefers-color-scheme: dark)");
  const preferred = () => (preference.matches ? "dark" : "light");
  setTheme(stored() ?? preferred());
  preference.addEventListener("change", () => { setTheme(preferred()); redraw(); });
  byId("theme").addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    stored(theme);
    setTheme(theme);
    redraw();
  });
  for (const th of headers) th.firstElementChild.addEventListener("click", () => sortBy(th));
  for (const button of document.querySelectorAll(".switch")) button.addEventListener("click", () => showReport(Number(button.dataset.report)));
  for (const id of ["find", "kind", "warned"]) byId(id).addEventListener("input", refresh);
  let width = innerWidth;
  let waiting = 0;
  addEventListener("resize", () => { // a phone's address bar changes the height alone
    if (width === innerWidth) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 120);
  });
  showReport(0);
})();
