// What all charts share: axes, scales, lines, and drawing again when the theme or the width changes.

const root = document.documentElement;
const charts = new Map(); // container → the function that draws it
const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
const FONT = "system-ui, sans-serif";

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
  const size = Math.abs(value);
  if (size && size < 1e-3) return value.toExponential().replace("e+", "e");
  return size >= 1e4 ? value.toLocaleString("en", { notation: "compact" }) : String(Number(value.toPrecision(6)));
}

const scaleOf = (log, range) => ({ time: false, distr: log ? 3 : 1, range });
const padded = (u, min, max) => [min / 1.25, max * 1.25];

function axisOf(label, log, side, size = side === 3 ? 50 : 30) {
  return {
    label, side, size, gap: 3, stroke: color("quiet"), labelSize: 20, labelGap: 2, labelFont: `12px ${FONT}`, font: `11px ${FONT}`,
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

// Dashed lines at values of x with their names beside them, each a line lower than the one before.
function marks(values) {
  const shown = values.filter(({ at }) => at !== null && at !== undefined);
  return (u) => {
    const { ctx, bbox } = u;
    const pixel = devicePixelRatio;
    ctx.save();
    ctx.lineJoin = "round";
    ctx.font = `${11 * pixel}px ${FONT}`;
    ctx.textBaseline = "top";
    shown.forEach(({ at, name, ink, dash = [4, 4] }, row) => {
      const x = u.valToPos(at, "x", true);
      if (!(x >= bbox.left && x <= bbox.left + bbox.width)) return;
      ctx.strokeStyle = ctx.fillStyle = color(ink);
      ctx.lineWidth = pixel;
      ctx.setLineDash(dash.map((n) => n * pixel));
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const right = x + ctx.measureText(name).width + 6 * pixel < bbox.left + bbox.width;
      ctx.textAlign = right ? "left" : "right";
      const [left, top] = [x + (right ? 4 : -4) * pixel, bbox.top + (2 + 13 * row) * pixel];
      ctx.setLineDash([]);
      ctx.strokeStyle = color("panel"); // a halo, where other lines pass behind the name
      ctx.lineWidth = 4 * pixel;
      ctx.strokeText(name, left, top);
      ctx.fillText(name, left, top);
    });
    ctx.restore();
  };
}

// Values of y at the points of a curve, on a common axis: [x, y₁, y₂, …], undefined where a curve has no point, which
// uPlot joins over, and null outside of it, where it ends.
function together(curves) {
  const x = [...new Set(curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
  return [x, ...curves.map((curve) => {
    const known = new Map(curve.x.map((v, i) => [v, curve.y[i]]));
    const [first, last] = [curve.x[0], curve.x[curve.x.length - 1]];
    return x.map((v) => (known.has(v) ? known.get(v) : v < first || v > last ? null : undefined));
  })];
}

// Bars on the finer axis of such a chart.
function spread(edges, values, x) {
  let bin = 0;
  return x.map((v) => {
    if (v < edges[0] || v > edges[edges.length - 1]) return null;
    while (bin + 2 < edges.length && edges[bin + 1] <= v) bin++;
    return values[bin];
  });
}

function chart(box, label, options, data, height = 230) {
  clear(box);
  const plot = new uPlot({
    width: Math.max(240, box.clientWidth), height, padding: [10, 12, 0, 0],
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

function forget(node) {
  for (const box of node.querySelectorAll(".chart")) {
    charts.delete(box);
    clear(box);
  }
}

// A figure with buttons that choose how it is drawn.
function figure(caption, modes, chosen, draw, aside = "") {
  const box = element("div", { class: "chart" });
  const choice = element("span", { class: "choice", role: "group", "aria-label": caption });
  const select = (mode) => {
    for (const other of choice.children) other.setAttribute("aria-pressed", String(other.textContent === mode));
    show(box, () => draw(box, mode));
  };
  if (modes.length > 1) for (const mode of modes) choice.append(button(mode, () => select(mode)));
  const told = element("span", { class: "aside" }, aside);
  const head = element("figcaption", {}, element("span", {}, caption), told, ...(modes.length > 1 ? [choice] : []));
  return { node: element("figure", {}, head, box), draw: () => select(chosen) };
}

const told = (u, value) => (value === null || value === undefined ? "" : format(value));
const toldOfBin = (u, value, series, index) => (index === null ? "" : format(value ?? 0)); // empty bins are null
const line = (label, ink, dash) => ({ label, stroke: color(ink), width: 2, dash, points: { show: false }, value: told });
const bar = (label) => ({
  label, paths: stairs, stroke: color("data"), width: 1, fill: color("fill"), points: { show: false }, value: toldOfBin,
});

// ---- what stands under the pointer -----------------------------------------------------------------------------

function tell(x, y, ...lines) {
  const tip = byId("tip");
  tip.replaceChildren(...lines.map((words, i) => element(i ? "div" : "b", {}, words)));
  tip.hidden = false;
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? y - height - 12 : y + 18}px`;
}

function hush() {
  byId("tip").hidden = true;
}
