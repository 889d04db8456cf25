// The page: which model is shown, its verdicts, the theme, and what happens when the window changes.

let current = 0;
let metric = "near_zero_std"; // of the second chart by depth

function showReport(index) {
  current = index;
  for (const section of document.querySelectorAll(".report")) section.hidden = Number(section.dataset.report) !== index;
  for (const node of document.querySelectorAll(".switch")) node.setAttribute("aria-pressed", String(Number(node.dataset.report) === index));
  const report = reports[index];
  forget(byId("rows"));
  hiddenGroups.clear();
  entries = report.layers.map(entryOf);
  fillVerdicts(report);
  fillFilters(report);
  fillTable();
  byId("by-depth").hidden = !report.layers.length;
  if (report.layers.length) drawByDepth(report);
}

function drawByDepth({ depth, layers }) {
  const select = byId("metric");
  const numeric = source.columns.filter((c) => c.numeric && c.key !== "alpha" && depth.layers.some((i) => valueOf(layers[i], c.key) !== null));
  if (numeric.length && !numeric.some(({ key }) => key === metric)) metric = numeric[0].key;
  select.replaceChildren(...source.groups.flatMap((group) => {
    const options = numeric.filter((c) => c.group === group).map((c) => new Option(c.label === c.key ? c.key : `${c.label} (${c.key})`, c.key));
    return options.length ? [element("optgroup", { label: group }, ...options)] : [];
  }));
  select.value = metric;
  select.disabled = !numeric.length;
  const choose = (key) => {
    if (key === "alpha") return;
    select.value = metric = key;
    charts.get(byId("metric-chart"))();
  };
  select.onchange = () => choose(select.value);
  show(byId("alpha-chart"), () => drawDepth(byId("alpha-chart"), byId("alpha-legend"), depth, layers, "alpha"));
  show(byId("metric-chart"), () => drawDepth(byId("metric-chart"), byId("metric-legend"), depth, layers, metric));
  show(byId("heat-chart"), () => drawHeat(byId("heat-chart"), depth, layers, choose));
}

// One bar of all verdicts; each part chooses its layers in the table.
function fillVerdicts({ verdicts }) {
  const [bar, list] = [element("div", { class: "bar", "aria-hidden": "true" }), element("div", { class: "parts" })];
  for (const [name, n] of Object.entries(verdicts)) {
    const choose = () => {
      byId("outcome").value = byId("outcome").value === name ? "" : name;
      refresh();
      byId("layers-title").scrollIntoView({ block: "start" });
    };
    const part = element("span", { "data-verdict": name });
    part.style.flexGrow = n;
    bar.append(part);
    const item = button("", choose, { class: "entry", "data-outcome": name, "aria-pressed": "false", title: `Show these ${n} layers in the table` });
    item.append(element("span", { class: "dot", "data-verdict": name }), element("b", {}, String(n)), ` ${name === "better" ? "better described by another family" : name}`);
    list.append(item);
  }
  const box = byId("verdicts");
  box.hidden = !list.children.length;
  box.replaceChildren(bar, list);
}

function pressVerdicts() {
  for (const item of document.querySelectorAll("[data-outcome]")) item.setAttribute("aria-pressed", String(item.dataset.outcome === byId("outcome").value));
}

function redraw() {
  fitTable();
  placeColumnMenu();
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

if (reports.length) {
  for (const node of document.querySelectorAll(".switch")) node.addEventListener("click", () => showReport(Number(node.dataset.report)));
  for (const id of ["find", "kind", "outcome", "worth"]) byId(id).addEventListener("input", refresh);
  document.addEventListener("click", (event) => { // outside of the menu of columns, which then closes
    if (!event.target.closest("#column-choice")) byId("column-choice").open = false;
  });
  let [width, waiting] = [innerWidth, 0];
  addEventListener("resize", () => { // a phone's address bar changes the height alone
    if (width === innerWidth) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 120);
  });
  addEventListener("scroll", hush, { passive: true });
  byId("column-choice").addEventListener("toggle", placeColumnMenu);
  fillColumnMenu();
  showReport(0);
}
