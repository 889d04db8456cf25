// The table of layers: its columns, its rows, its order.

const sorting = { key: null, direction: 0 };
let entries = []; // of the shown report: { layer, row, opener, details, open, text, index }
const shownColumns = () => source.columns.filter((column) => column.shown);

function fillHead() {
  const cells = shownColumns().map((column) => {
    const sorted = sorting.direction && sorting.key === column.key ? { "aria-sort": sorting.direction > 0 ? "ascending" : "descending" } : {};
    const head = button(column.label, () => sortBy(column.key), { title: titleOf(column.key) || column.label });
    return element("th", { scope: "col", class: column.numeric ? "number" : column.key, "data-key": column.key, ...sorted }, head);
  });
  byId("head").replaceChildren(element("tr", {}, ...cells));
}

function cell(layer, { key, numeric }) {
  if (key === "warning") return element("td", { class: "warning" }, ...pills(layer));
  const value = valueOf(layer, key);
  return element("td", numeric ? { class: "number" } : { class: key }, numeric ? brief(value) : value === "" ? "–" : format(value));
}

function pills(layer) {
  if (layer.status !== "success" && layer.warning) return [layer.severity ? pill(layer.warning, layer.severity) : shorten(layer.warning, 70)];
  const labels = layer.notes.filter((key) => notes[key].severity).map((key) => [key === "better:" || key === "other" ? said(layer, key) : notes[key].label, notes[key].severity]);
  return labels.flatMap(([text, severity]) => [pill(text, severity), " "]);
}

// The words of the warning itself, where they say more than the label.
const said = (layer, key) => layer.warning.split("; ").find((part) => key === "other" || part.toLowerCase().includes(key)) ?? layer.warning;
const pill = (text, severity) => element("span", { class: "pill", "data-severity": severity, title: text }, shorten(text, 60));

function fillRow(entry) {
  const { layer, row, opener } = entry;
  const rest = shownColumns().filter(({ key }) => key !== "name");
  row.replaceChildren(element("th", { scope: "row" }, opener), ...rest.map((column) => cell(layer, column)));
}

function entryOf(layer, index) {
  const row = element("tr", { class: "layer", "data-severity": layer.severity });
  const opener = element("button", { type: "button", class: "opener", "aria-expanded": "false", title: layer.name });
  opener.append(element("span", {}, ...breakable(layer.name)));
  const labels = layer.notes.map((key) => notes[key].label);
  const text = [layer.name, layer.kind, layer.role, layer.outcome, layer.status, layer.warning, ...labels].join(" ").toLowerCase();
  const entry = { layer, index, row, opener, details: null, open: false, text };
  row.addEventListener("click", (event) => {
    if (event.target.closest("button") || !getSelection().toString()) toggle(entry);
  });
  return entry;
}

function toggle(entry, open = !entry.open) {
  if (open === entry.open) return;
  entry.open = open;
  entry.row.classList.toggle("open", open);
  entry.opener.setAttribute("aria-expanded", String(open));
  if (open) {
    entry.details = element("tr", { class: "details" }, element("td", { colspan: shownColumns().length }));
    entry.row.after(entry.details);
    fillDetails(entry);
  } else {
    forget(entry.details);
    entry.details.remove();
  }
}

function reveal(layer) {
  const entry = entries.find((one) => one.layer === layer);
  if (!entry.row.isConnected) clearFilters();
  toggle(entry, true);
  entry.row.scrollIntoView({ block: "start" });
  entry.opener.focus({ preventScroll: true });
}

// What is missing comes last, whatever the direction.
function compare(a, b) {
  const [x, y] = [valueOf(a.layer, sorting.key), valueOf(b.layer, sorting.key)];
  if (x === null || y === null || x === "" || y === "") return ((x ?? "") === "") - ((y ?? "") === "") || a.index - b.index;
  const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
  return order * sorting.direction || a.index - b.index;
}

function refresh() {
  const { chosen, worth } = currentFilter();
  const found = entries.filter(chosen);
  const shown = found.filter(worth);
  const kept = new Set(shown);
  for (const entry of entries) if (!kept.has(entry)) toggle(entry, false);
  shown.sort(sorting.direction ? compare : (a, b) => a.index - b.index);
  byId("rows").replaceChildren(...shown.flatMap((entry) => (entry.open ? [entry.row, entry.details] : [entry.row])));
  if (!shown.length) byId("rows").append(element("tr", {}, element("td", { class: "none", colspan: shownColumns().length }, entries.length ? "No layer matches." : "This model has no layers.")));
  const left = found.length - shown.length;
  const more = left ? [` · ${left} more with the above, `, button("show all", () => { byId("worth").value = "all"; refresh(); }, { class: "link" })] : [];
  byId("shown").replaceChildren(`${shown.length} of ${entries.length} layers`, ...(more.length ? more : []));
  pressVerdicts();
}

// Ascending, descending, network order.
function sortBy(key) {
  const next = sorting.key !== key ? 1 : sorting.direction === 1 ? -1 : sorting.direction === -1 ? 0 : 1;
  Object.assign(sorting, { key, direction: next });
  fillHead();
  refresh();
}

// ---- columns ---------------------------------------------------------------------------------------------------

function fillColumnMenu() {
  const groups = ["Layer", ...source.groups].map((group) => {
    const items = source.columns.filter((column) => column.group === group && column.key !== "name").map((column) => {
      const box = element("input", { type: "checkbox", "data-column": column.key });
      box.checked = column.shown;
      box.addEventListener("change", () => { column.shown = box.checked; fillTable(); });
      return element("label", { title: titleOf(column.key) }, box, ` ${column.key}`);
    });
    return items.length ? element("fieldset", {}, element("legend", {}, group), ...items) : null;
  });
  byId("column-menu").replaceChildren(...groups.filter(Boolean));
}

// Wherever the button stands, the menu stays within the window.
function placeColumnMenu() {
  const [menu, left] = [byId("column-menu"), byId("column-choice").getBoundingClientRect().left];
  menu.style.left = `${Math.max(8 - left, Math.min(0, root.clientWidth - 8 - left - menu.offsetWidth))}px`;
}

function fillTable() {
  for (const entry of entries) toggle(entry, false);
  fillHead();
  for (const entry of entries) fillRow(entry);
  refresh();
  fitTable();
}

// Headers can stick to the top of the page only where the table needs no scrolling of its own.
function fitTable() {
  const scroller = byId("table-scroll");
  scroller.classList.remove("layers-fit");
  scroller.classList.toggle("layers-fit", scroller.scrollWidth <= scroller.clientWidth);
  for (const panel of scroller.querySelectorAll(".panel")) panel.style.width = `${scroller.clientWidth}px`;
}
