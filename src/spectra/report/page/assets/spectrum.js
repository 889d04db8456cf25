// The spectrum of a layer: its density with fit, bulk and spikes, and its complementary distribution with the families.

const FAMILIES = { // colour and dash, as in the figures on paper
  truncated_power_law: ["family-1", []], lognormal: ["family-2", [8, 4]], exponential: ["family-3", [2, 3]],
  stretched_exponential: ["family-4", [8, 3, 2, 3]],
};

const powerLaw = (fit, density) => {
  const points = Array.from({ length: 24 }, (_, i) => fit.xmin * (fit.xmax / fit.xmin) ** (i / 23));
  const [scale, power] = density ? [(fit.share * (fit.alpha - 1)) / fit.xmin, -fit.alpha] : [fit.share, 1 - fit.alpha];
  return { x: points, y: points.map((v) => (density ? 0 : fit.beyond) + scale * (v / fit.xmin) ** power) };
};

const noiseMarks = (layer) => (layer.bulk ? [
  { at: layer.bulk.edge, name: "edge of noise", ink: "noise" },
  { at: layer.bulk.shuffled, name: "shuffled", ink: "noise", dash: [1, 3] },
] : []);
const fitMarks = (layer) => (layer.fit ? [{ at: layer.fit.xmin, name: "xmin", ink: "fit" }] : []);

function densityFigure(layer) {
  const modes = layer.esd ? ["log", ...(layer.bulk ? ["bulk"] : [])] : [];
  const alpha = valueOf(layer, "alpha");
  const known = (key, text) => (valueOf(layer, key) === null ? "" : text + brief(valueOf(layer, key)));
  const fitted = layer.fit ? `α = ${brief(alpha)}${known("sigma", " ± ")}${known("D", ", D = ")}` : layer.esd ? "no power-law fit" : "";
  return figure("ESD", modes, "log", (box, mode) => (mode === "bulk" ? drawBulk(box, layer) : drawDensity(box, layer)), fitted);
}

function drawDensity(box, layer) {
  if (!layer.esd) return say(box, layer.empty.esd);
  const { edges, density } = layer.esd;
  const bars = density.map((v) => v || null);
  const extra = [
    ...(layer.fit ? [[powerLaw(layer.fit, true), line("fitted tail", "fit")]] : []),
    ...(layer.bulk ? [[layer.bulk.law, line("noise (Marchenko–Pastur)", "noise")]] : []),
  ];
  const [x, , ...drawn] = together([{ x: edges, y: edges }, ...extra.map(([curve]) => curve)]);
  const seen = [...bars, ...(layer.fit ? drawn[0] : [])].filter((v) => v > 0);
  const [low, high] = [Math.min(...seen), Math.max(...seen)];
  const range = [edges[0] / 1.25, edges[edges.length - 1] * 1.25];
  chart(box, `Density of the eigenvalues of ${layer.name}`, {
    scales: { x: scaleOf(true, range), y: scaleOf(true, [low / 1.5, high * 4]) },
    axes: [axisOf("eigenvalue λ of WᵀW", true, 2), axisOf("density, per unit of λ", true, 3)],
    series: [{ label: "λ", value: told }, bar("eigenvalues"), ...extra.map(([, look]) => look)],
    hooks: { draw: [marks([...fitMarks(layer), ...noiseMarks(layer)]), spikes(layer)] },
  }, [x, spread(edges, bars, x), ...drawn]);
}

// On linear axes around the bulk, where the law of noise is to be judged.
function drawBulk(box, layer) {
  const { edges, density, law, beyond, spikes: count } = layer.bulk;
  const [x, , drawn] = together([{ x: edges, y: edges }, law]);
  const top = Math.max(...density.slice(1), ...law.y.slice(law.y.length >> 2)) * 1.25; // at zero both may be endless
  chart(box, `Bulk of the eigenvalues of ${layer.name}`, {
    scales: { x: scaleOf(false, [0, edges[edges.length - 1]]), y: scaleOf(false, [0, top || 1]) },
    axes: [axisOf(`eigenvalue λ of WᵀW; ${format(beyond)} lie further out`, false, 2), axisOf("density, per unit of λ", false, 3)],
    series: [{ label: "λ", value: told }, bar("eigenvalues"), line("noise (Marchenko–Pastur)", "noise")],
    hooks: { draw: [marks(noiseMarks(layer)), spikes(layer)] },
  }, [x, spread(edges, density, x), drawn]);
  box.plot.root.dataset.spikes = count;
}

// A stroke at the foot of the chart for each eigenvalue beyond the edge of noise.
function spikes(layer) {
  const found = layer.bulk?.spikes ? layer.ccdf.x.slice(-layer.bulk.spikes).filter((v) => v > layer.bulk.edge) : [];
  return (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = color("spike");
    ctx.lineWidth = 1.2 * devicePixelRatio;
    ctx.beginPath();
    for (const value of found) {
      const x = u.valToPos(value, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x, bbox.top + bbox.height - 9 * devicePixelRatio);
    }
    ctx.stroke();
    ctx.restore();
  };
}

function tailFigure(layer) {
  const known = (key, text) => (valueOf(layer, key) === null ? "" : text + brief(valueOf(layer, key)));
  const aside = layer.fit ? `${known("num_pl_spikes", "tail of ")}${known("num_evals", " of ")}` : "";
  const modes = layer.ccdf ? (layer.fit ? ["all", "tail"] : ["all"]) : [];
  return figure("CCDF", modes, layer.families ? "tail" : "all", (box, mode) => drawTail(box, layer, mode === "tail"), aside);
}

function drawTail(box, layer, tailOnly) {
  if (!layer.ccdf) return say(box, layer.empty.esd);
  const { fit, families, ccdf } = layer;
  const start = tailOnly ? Math.max(0, ccdf.x.findIndex((v) => v >= fit.xmin * (1 - 1e-5))) : 0;
  const data = { x: ccdf.x.slice(start), y: ccdf.p.slice(start) };
  const points = { show: true, size: 4, fill: color("points"), stroke: color("points") };
  const extra = fit ? [[powerLaw(fit, false), line("power law", "fit")]] : [];
  for (const [name, y] of Object.entries(families?.p ?? {})) {
    const [ink, dash] = FAMILIES[name] ?? ["quiet", [3, 3]];
    extra.push([{ x: families.x, y }, line(name.replaceAll("_", " "), ink, dash)]);
  }
  const joined = together([data, ...extra.map(([curve]) => curve)]);
  const [low, high] = [Math.min(...data.y), Math.max(...data.y)];
  chart(box, `Complementary distribution of the eigenvalues of ${layer.name}`, {
    scales: { x: scaleOf(true, padded), y: scaleOf(true, [low / 3, high * 1.5]) },
    axes: [axisOf("eigenvalue λ of WᵀW", true, 2), axisOf("P(Λ ≥ λ)", true, 3)],
    series: [
      { label: "λ", value: told },
      { label: "eigenvalues", stroke: color("points"), value: told, width: 0, paths: () => null, points },
      ...extra.map(([, look]) => look),
    ],
    hooks: { draw: [marks([...(tailOnly ? [] : fitMarks(layer)), ...noiseMarks(layer).slice(0, 1)]), spikes(layer)] },
  }, joined);
}
