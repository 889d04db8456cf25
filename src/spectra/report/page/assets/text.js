// Text and numbers. Text goes in as text nodes only, so that no name of a layer can become markup.

const source = JSON.parse(document.getElementById("data").textContent);
const { reports, notes } = source;
const columns = new Map(source.columns.map((column) => [column.key, column]));
const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function button(text, act, attributes = {}) {
  const node = element("button", { type: "button", ...attributes }, text);
  node.addEventListener("click", act);
  return node;
}

function format(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(3).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

// In the table and captions; the list of all metrics has more digits.
function brief(value) {
  if (value === null || typeof value === "string" || Number.isInteger(value)) return format(value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1).replace("e+", "e");
  return size >= 1000 ? format(Math.round(value)) : value.toPrecision(3);
}

function shorten(text, length) {
  const keep = length - 1;
  return text.length <= length ? text : text.slice(0, keep - (keep >> 1)) + "…" + text.slice(text.length - (keep >> 1));
}

// A name that may break after its dots, slashes and underscores.
function breakable(name) {
  return shorten(name, 120).split(/(?<=[./_])/).flatMap((part, i) => (i ? [element("wbr"), part] : [part]));
}

const superscript = (n) => String(n).replace(/./g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻");
const valueOf = (layer, key) => (Object.hasOwn(layer.metrics, key) ? layer.metrics[key] : layer[key]) ?? null;
const labelOf = (key) => columns.get(key)?.label ?? key;
const titleOf = (key) => [columns.get(key)?.text, columns.get(key)?.unit && `(${columns.get(key).unit})`].filter(Boolean).join(" ");
