// Charts by depth: a metric of every layer in network order, a colour and a shape for each role.

const INKS = ["role-1", "role-2", "role-3", "role-4", "role-5", "role-6"];
const SHAPES = ["circle", "square", "triangle", "diamond", "down", "cross"];
const gutter = () => (innerWidth < 640 ? 76 : 96); // where axes and the names of the heat map stand
const hiddenGroups = new Set();

function styles(groups) {
  let next = 0;
  return Object.keys(groups).map((name) => {
    const i = name === "other" ? -1 : next++;
    return { name, ink: i < 0 ? "quiet" : INKS[i], shape: i < 0 ? "circle" : SHAPES[i], joined: i >= 0 };
  });
}

function trace(ctx, shape, x, y, r) {
  ctx.beginPath();
  if (shape === "circle") ctx.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === "square") ctx.rect(x - 0.88 * r, y - 0.88 * r, 1.76 * r, 1.76 * r);
  else {
    const corners = {
      triangle: [[0, -1.15], [1.1, 0.8], [-1.1, 0.8]], down: [[0, 1.15], [1.1, -0.8], [-1.1, -0.8]],
      diamond: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
      cross: [[-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4], [0.4, 1.2], [-0.4, 1.2], [-0.4, 0.4],
        [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]],
    }[shape];
    for (const [dx, dy] of corners) ctx.lineTo(x + dx * r, y + dy * r);
    ctx.closePath();
  }
}

// Filled where nothing speaks against the layer, hollow where it carries a warning.
function drawMarkers(u, shown, groups, key) {
  const { ctx, bbox } = u;
  const pixel = devicePixelRatio;
  const size = Math.max(1.6, Math.min(4, bbox.width / pixel / shown.length / 2.2)) * pixel;
  ctx.save();
  ctx.lineWidth = 1.4 * pixel;
  styles(groups).forEach(({ name, ink, shape }, g) => {
    if (!u.series[g + 1].show) return;
    ctx.strokeStyle = color(ink);
    for (const at of groups[name]) {
      const value = valueOf(shown[at], key);
      if (value === null) continue;
      ctx.fillStyle = shown[at].severity > 0 ? color("paper") : color(ink);
      trace(ctx, shape, u.valToPos(at, "x", true), u.valToPos(value, "y", true), size);
      ctx.fill();
      ctx.stroke();
    }
  });
  ctx.restore();
}

function drawErrors(u, shown, groups, log) {
  const { ctx, bbox } = u;
  const clip = (v) => Math.min(Math.max(v, bbox.top), bbox.top + bbox.height);
  ctx.save();
  ctx.fillStyle = color("good");
  const [top, bottom] = [clip(u.valToPos(6, "y", true)), clip(u.valToPos(2, "y", true))];
  ctx.fillRect(bbox.left, top, bbox.width, bottom - top);
  ctx.lineWidth = devicePixelRatio;
  styles(groups).forEach(({ name, ink }, g) => {
    if (!u.series[g + 1].show) return;
    ctx.strokeStyle = color(ink);
    ctx.globalAlpha = 0.55;
    ctx.beginPath();
    for (const at of groups[name]) { // one standard error to each side
      const [alpha, sigma] = [valueOf(shown[at], "alpha"), valueOf(shown[at], "sigma")];
      if (alpha === null || !sigma) continue;
      const x = u.valToPos(at, "x", true);
      ctx.moveTo(x, clip(u.valToPos(log ? Math.max(alpha - sigma, 1) : alpha - sigma, "y", true)));
      ctx.lineTo(x, clip(u.valToPos(alpha + sigma, "y", true)));
    }
    ctx.stroke();
  });
  ctx.restore();
}

function placeAxis({ blocks }) {
  if (!blocks.length) {
    const axis = axisOf("layer in network order", false, 2);
    return { ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000] };
  }
  const every = Math.ceil(blocks.length / Math.max(4, Math.min(24, Math.floor(innerWidth / 60))));
  const kept = blocks.filter((_, i) => i % every === 0);
  const names = new Map(kept);
  return {
    ...axisOf("layer in network order, ticks at its blocks", false, 2),
    splits: () => kept.map(([at]) => at), values: (u, ticks) => ticks.map((at) => names.get(at)), filter: (u, ticks) => ticks,
  };
}

// The range of an axis and whether it is logarithmic: a single wild value must not press all others flat.
function rangeOf(key, values, upper) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (key === "alpha") {
    const log = high > 20;
    const top = Math.max(6, ...upper);
    return { log, range: log ? [Math.max(Math.min(low, 2) / 1.2, 1), top * 1.2] : [Math.max(Math.min(low, 2) - 0.8, 0), top + 0.4] };
  }
  if (low > 0 && high > 30 * low) return { log: true, range: [low / 1.3, high * 1.3] };
  const margin = 0.06 * (high - low || Math.abs(high) || 1);
  return { log: false, range: [low >= 0 && low < 0.5 * high ? 0 : low - margin, high + margin] };
}

function drawDepth(box, legend, depth, layers, key) {
  const shown = depth.layers.map((i) => layers[i]);
  const values = shown.map((layer) => valueOf(layer, key));
  const known = values.filter((v) => v !== null);
  legend.replaceChildren();
  if (!known.length) return say(box, key === "alpha" ? "no layer has a power-law fit" : `no layer has a value of ${labelOf(key)}`);
  const isAlpha = key === "alpha";
  const { log, range } = rangeOf(key, known, isAlpha ? shown.map((l) => (valueOf(l, key) ?? 0) + (valueOf(l, "sigma") ?? 0)) : []);
  const look = styles(depth.groups);
  const lines = look.map(({ name }) => {
    const members = new Set(depth.groups[name]);
    return values.map((v, i) => (members.has(i) && v !== null ? v : undefined));
  });
  const label = labelOf(key) + (log ? " (log axis)" : "");
  const plot = chart(box, `${label} of every layer by depth`, {
    padding: [10, 8, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
    scales: { x: scaleOf(false, [-0.5, shown.length - 0.5]), y: scaleOf(log, range) },
    axes: [placeAxis(depth), axisOf(label, log, 3, gutter() - 20)],
    series: [{}, ...look.map(({ name, ink, joined }) => ({
      label: name, stroke: color(ink), width: 1, alpha: 0.5, spanGaps: true, points: { show: false }, show: !hiddenGroups.has(name),
      ...(joined ? {} : { paths: () => null }),
    }))],
    hooks: {
      drawAxes: isAlpha ? [(u) => drawErrors(u, shown, depth.groups, log)] : [],
      draw: [(u) => drawMarkers(u, shown, depth.groups, key)],
      setCursor: [(u) => point(u, shown, key)],
    },
  }, [shown.map((_, i) => i), ...lines], 220);
  plot.over.style.cursor = "pointer";
  plot.over.addEventListener("mouseleave", hush);
  plot.over.addEventListener("click", () => plot.cursor.idx !== null && reveal(shown[plot.cursor.idx]));
  fillLegend(legend, look, isAlpha);
}

function point(u, shown, key) {
  const { idx, left, top } = u.cursor;
  const layer = shown[idx];
  if (!layer || left < 0) return hush();
  const at = u.over.getBoundingClientRect();
  const error = key === "alpha" && valueOf(layer, "sigma") !== null ? ` ± ${brief(valueOf(layer, "sigma"))}` : "";
  tell(at.left + left, at.top + top, shorten(layer.name, 60), `${labelOf(key)} = ${brief(valueOf(layer, key))}${error}`, ...reasons(layer));
}

const reasons = (layer) => (layer.severity ? [layer.notes.filter((n) => notes[n].severity).map((n) => notes[n].label).join(", ")] : []);

// Roles to switch on and off; the same in all charts by depth.
function fillLegend(legend, look, isAlpha) {
  for (const { name, ink, shape } of look) {
    const key = element("canvas", { width: 28, height: 28, class: "key", "aria-hidden": "true" });
    const ctx = key.getContext("2d");
    ctx.fillStyle = color(ink);
    trace(ctx, shape, 14, 14, 8);
    ctx.fill();
    const item = button("", () => {
      if (!hiddenGroups.delete(name)) hiddenGroups.add(name);
      for (const box of [byId("alpha-chart"), byId("metric-chart")]) charts.get(box)?.();
    }, { class: "entry", "aria-pressed": String(!hiddenGroups.has(name)), title: `Show or hide ${name}` });
    item.append(key, shorten(name, 18));
    legend.append(item);
  }
  legend.append(element("p", {}, "hollow: with a warning"));
  if (isAlpha) legend.append(element("p", {}, "bars: ± σ", element("br"), element("span", { class: "band" }), "2 ≤ α ≤ 6"));
}
