// The heat map of layers × metrics: a row a metric, coloured from its lowest value to its highest.

const VIRIDIS = ["440154", "481b6d", "46327e", "3f4788", "365c8d", "2e6e8e", "277f8e", "21918c", "1fa187", "2db27d", "4ac16d", "73d056", "a0da39", "d0e11c", "fde725"]
  .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
const ROW = 19; // pixels

function viridis(shade) {
  const at = (shade / 255) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[low].map((c, i) => Math.round(c + (at - low) * (VIRIDIS[low + 1][i] - c)));
}

function drawHeat(box, depth, layers, choose) {
  clear(box);
  const { metrics, shades, scales } = depth.heat;
  if (!metrics.length) return say(box, "no layer has a metric to show");
  const shown = depth.layers.map((i) => layers[i]);
  const names = element("div", { class: "names" });
  const ranges = element("div", { class: "ranges" });
  metrics.forEach((key, row) => {
    names.append(button(labelOf(key), () => choose(key), { title: `${titleOf(key)}. Click to draw it by depth.` }));
    const known = shown.map((layer) => valueOf(layer, key)).filter((v) => v !== null);
    const scale = scales[row] === "linear" ? "" : scales[row] === "log" ? " log" : " asinh";
    const [low, high] = [Math.min(...known), Math.max(...known)];
    ranges.append(element("div", {}, low === high ? `all ${brief(low)}` : `${brief(low)} … ${brief(high)}${scale}`));
  });
  names.style.width = `${gutter()}px`;
  const canvas = element("canvas", { tabindex: "0", role: "img", "aria-label": `Heat map of ${metrics.length} metrics of ${shown.length} layers; the arrow keys move, Enter opens the layer` });
  box.append(names, canvas, ranges);
  const width = Math.max(box.clientWidth - gutter() - ranges.offsetWidth - 8, shown.length, 60);
  paint(canvas, shades, width);
  listen(canvas, metrics, shown, width);
}

// One pixel a cell would blur; the borders between cells fall on whole pixels.
function paint(canvas, shades, width) {
  const scale = devicePixelRatio;
  const count = shades[0].length;
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(shades.length * ROW * scale)];
  [canvas.style.width, canvas.style.height] = [`${width}px`, `${shades.length * ROW}px`];
  const ctx = canvas.getContext("2d");
  const edge = (i) => Math.round((i / count) * canvas.width);
  const gap = canvas.width / count > 6 * scale ? scale : 0;
  shades.forEach((row, r) => row.forEach((shade, i) => {
    if (shade === null) return;
    ctx.fillStyle = `rgb(${viridis(shade).join(" ")})`;
    ctx.fillRect(edge(i), Math.round(r * ROW * scale), edge(i + 1) - edge(i) - gap, Math.round((ROW - 1) * scale));
  }));
}

function listen(canvas, metrics, shown, width) {
  let [row, at] = [0, 0];
  const cell = () => {
    const box = canvas.getBoundingClientRect();
    const value = valueOf(shown[at], metrics[row]);
    tell(box.left + ((at + 0.5) / shown.length) * width, box.top + (row + 0.5) * ROW, shorten(shown[at].name, 60),
      `${labelOf(metrics[row])} = ${brief(value)}`, ...reasons(shown[at]));
  };
  const limit = (v, n) => Math.min(Math.max(v, 0), n - 1);
  canvas.addEventListener("pointermove", (event) => {
    at = limit(Math.floor((event.offsetX / width) * shown.length), shown.length);
    row = limit(Math.floor(event.offsetY / ROW), metrics.length);
    cell();
  });
  for (const end of ["pointerleave", "blur"]) canvas.addEventListener(end, hush);
  canvas.addEventListener("click", () => reveal(shown[at]));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Enter") reveal(shown[at]);
    if (!step) return;
    event.preventDefault();
    [row, at] = [limit(row + step[0], metrics.length), limit(at + step[1], shown.length)];
    cell();
  });
}
