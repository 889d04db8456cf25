// What opens below a layer's row: what was found, in words; its charts; all of its numbers.

function fillDetails(entry) {
  const { layer } = entry;
  const panel = element("div", { class: "panel" });
  const facts = [layer.kind, layer.role, layer.dtype, layer.shape, layer.depth === null ? "" : `block ${layer.depth}`];
  panel.append(element("p", { class: "full" }, element("b", {}, ...breakable(layer.name)), " · ", facts.filter(Boolean).join(" · ")));
  panel.append(...explained(layer));
  const figures = [weightsFigure(layer), densityFigure(layer), tailFigure(layer)];
  panel.append(element("div", { class: "charts" }, ...figures.map(({ node }) => node)));
  const tables = [familiesTable(layer), tailsTable(layer)].filter(Boolean);
  if (tables.length) panel.append(element("div", { class: "tables" }, ...tables));
  if (Object.keys(layer.metrics).length) panel.append(allMetrics(layer));
  entry.details.firstChild.replaceChildren(panel); // in the page first: charts take their width from it
  panel.style.width = `${byId("table-scroll").clientWidth}px`;
  for (const { draw } of figures) draw();
}

// The reasons for warnings, and what the numbers say.
function explained(layer) {
  const found = [];
  const serious = layer.notes.filter((key) => notes[key].severity);
  const mild = layer.notes.filter((key) => !notes[key].severity);
  const why = layer.notes.includes("failed") || layer.notes.includes("other") || layer.status === "skipped";
  if (why && layer.warning) found.push(element("p", { class: "reason" }, element("b", {}, layer.warning)));
  for (const key of serious) {
    const [head, ...rest] = notes[key].text.split(": ");
    const words = rest.length ? [element("b", {}, head), `: ${rest.join(": ")}`] : [notes[key].text];
    found.push(element("p", {}, ...words));
  }
  const warning = found.length ? [element("div", { class: "explained", "data-severity": layer.severity }, ...found)] : [];
  const words = [...layer.words, ...mild.map((key) => notes[key].text)];
  return [...warning, ...(words.length ? [element("ul", { class: "words" }, ...words.map((text) => element("li", {}, ...unbroken(text))))] : [])];
}

// Options of the program keep their two strokes together.
const unbroken = (text) => text.split(/(--[a-z]+)/).map((part, i) => (i % 2 ? element("code", {}, part) : part));

function table(caption, head, rows) {
  const isText = (i) => rows.every((row) => /[a-z]{3}/.test(row[i]));
  const numeric = (i) => (isText(i) ? {} : { class: "number" });
  return element("div", { class: "scroll" }, element("table", { class: "small" },
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head.map((text, i) => element("th", { scope: "col", ...numeric(i) }, text)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((text, i) => element(i ? "td" : "th", i ? numeric(i) : { scope: "row" }, text)))))));
}

// R and p of the power law against each family.
function familiesTable(layer, prefix = "") {
  const names = Object.keys(layer.metrics).filter((key) => key.startsWith(`${prefix}R_`) && layer.metrics[key] !== null);
  if (!names.length) return null;
  return table("Other families on the same tail", ["family", "R", "p", "the power law is"], names.map((key) => {
    const family = key.slice(prefix.length + 2);
    const [ratio, p] = [layer.metrics[key], valueOf(layer, `${prefix}p_${family}`)];
    const sure = p !== null && p <= 0.1;
    return [family.replaceAll("_", " "), brief(ratio), brief(p), !sure ? "not told apart" : ratio < 0 ? "worse" : "better"];
  }));
}

// The tails of the weight entries themselves.
function tailsTable(layer) {
  const sides = [["positive weights", "right_"], ["negative weights", "left_"]].filter(([, side]) => valueOf(layer, `${side}alpha`) !== null);
  if (!sides.length) return null;
  return table("Tails of the weights", ["side", "α", "σ", "xmin", "weights", "verdict"], sides.map(([name, side]) =>
    [name, ...["alpha", "sigma", "xmin", "n_tail", "verdict"].map((key) => brief(valueOf(layer, side + key)))]));
}

function allMetrics(layer) {
  const groups = source.groups.map((group) => {
    const keys = Object.keys(layer.metrics).filter((key) => (columns.get(key)?.group ?? "Other") === group);
    const items = keys.map((key) => element("div", { title: titleOf(key) }, element("dt", {}, key), element("dd", {}, format(layer.metrics[key]))));
    return items.length ? element("section", {}, element("h4", {}, group), element("dl", { class: "metrics" }, ...items)) : null;
  });
  return element("details", { class: "all" }, element("summary", {}, "All metrics, by the names of their columns"), ...groups.filter(Boolean));
}
