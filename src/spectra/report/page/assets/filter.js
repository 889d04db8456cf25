// Which layers the table shows: words, comparisons such as alpha>6, kind, verdict, and a choice of what is worth seeing.

const COMPARISON = /^([^<>=]+)(<=|>=|<|>|=)(-?\d+\.?\d*(?:e[-+]?\d+)?)$/i;
const HOLDS = {
  "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "=": (a, b) => a === b,
};
const SHOWN = {
  spectral: (layer) => layer.spectral || layer.status === "failed", all: () => true,
  warned: (layer) => layer.severity > 0, sound: (layer) => layer.spectral && layer.severity === 0,
};

// A comparison asks for a column by its name or its label; anything else must occur in the layer's words.
function testOf(word) {
  const match = COMPARISON.exec(word);
  const key = match && [...columns.values()].find((c) => c.numeric && [c.key, c.label].some((n) => n.toLowerCase() === match[1]))?.key;
  if (!key) return (entry) => entry.text.includes(word);
  return ({ layer }) => valueOf(layer, key) !== null && HOLDS[match[2]](valueOf(layer, key), Number(match[3]));
}

function currentFilter() {
  const tests = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean).map(testOf);
  const [kind, outcome, worth] = [byId("kind").value, byId("outcome").value, SHOWN[byId("worth").value]];
  const chosen = (entry) => (!kind || entry.layer.kind === kind) && (!outcome || entry.layer.outcome === outcome)
    && tests.every((test) => test(entry));
  return { chosen, worth: ({ layer }) => worth(layer) };
}

function offer(select, names) {
  select.replaceChildren(new Option("all", ""), ...names.map(([value, text]) => new Option(text, value)));
}

function fillFilters(report) {
  const counted = (key) => {
    const counts = new Map();
    for (const layer of report.layers) counts.set(layer[key], (counts.get(layer[key]) ?? 0) + 1);
    return [...counts].sort().map(([name, n]) => [name, `${name || "unknown"} (${n})`]);
  };
  offer(byId("kind"), counted("kind"));
  offer(byId("outcome"), counted("outcome"));
  byId("find").value = "";
  byId("worth").value = report.layers.some((layer) => layer.spectral) ? "spectral" : "all";
}

function clearFilters() {
  byId("find").value = byId("kind").value = byId("outcome").value = "";
  byId("worth").value = "all";
  refresh();
}
