// Overview, table, findings, sizes, details, keys.
function tile(label, value, more) {
  return el("div", { class: "tile" }, el("div", { class: "label" }, label), el("div", { class: "value" }, value), el("div", { class: "label" }, more));
}

function overview() {
  const s = data.summary, d = data.device;
  document.title = `${data.package} – Anemone report`;
  $("name").textContent = data.package;
  const units = { all: "all units", "cpu-and-ne": "CPU and ANE", "cpu-and-gpu": "CPU and GPU", "cpu-only": "CPU only" }[d.units] || d.units;
  $("subject").textContent = [`function ${data.function}`, d.chip, d.os, units].filter(Boolean).join(" · ");
  const count = severity => data.findings.filter(f => f.severity === severity).length;
  const t = data.timeline, simulated = t.basis === "simulation";
  const time = simulated ? "Simulated time" : "Estimated time";
  $("tiles").replaceChildren(
    tile(time, words.ms(t.total_ms), simulated ? `${words.ms(t.low_ms)} to ${words.ms(t.high_ms)}` : `${words.ms(s.fixed_ms)} fixed costs`),
    tile("Ops on ANE", words.share(s.ane_share_by_count), `${s.ops_on_ane} of ${words.many(s.ops, "op")}`),
    tile("Changes of unit", String(s.crossings), words.many(data.segments.length, "segment")),
    tile("Convolutions on ANE", s.convolutions ? `${s.convolutions_on_ane} of ${s.convolutions}` : "–", s.convolutions ? "" : "there are none"),
    tile("Weights", words.bytes(s.weight_bytes), `${words.count(s.parameters)} parameters`),
    tile("Findings", String(data.findings.length), data.findings.length ? [["error", count("error")], ["warning", count("warning")], ["note", count("note")]].filter(p => p[1]).map(p => words.many(p[1], p[0])).join(", ") : "nothing to object to"));
  strip();
  if (t.changes.length) $("changes").replaceChildren(el("div", { class: "strip" }, el("h3", {}, "What would help most, each simulated by itself"), el("ol", { class: "changes" }, t.changes.map(c => el("li", {}, el("span", {}, c.what), el("b", {}, `−${words.ms(c.saves_ms)}`))))));
  if (data.notes.length) $("notes").replaceChildren(el("details", { class: "notes", open: data.notes.length < 4 }, el("summary", {}, "What to know before trusting this"), el("ul", {}, data.notes.map(n => el("li", {}, n)))));
}

/** Segments in order, as wide as their ops are many. */
function strip() {
  const lanes = el("div", { class: "lanes" }, data.segments.map((segment, i) => {
    const text = `segment ${i + 1}: ${words.many(segment.ops, "op")} on ${segment.unit}, ${words.ms(segment.ms)}`;
    return el("button", { type: "button", class: `fill u-${segment.unit}`, style: `flex: ${segment.ops}`, "aria-label": text, on: {
      click: () => { chosen.set(segment.first, "strip"); revealInGraph(); },
      pointermove: event => tip.show(event, [text]), pointerleave: tip.hide,
    } });
  }));
  const used = UNITS.filter(u => data.ops.some(op => op.unit === u));
  const share = unit => data.ops.filter(op => op.unit === unit).reduce((sum, op) => sum + (op.share || 0), 0);
  $("strip").replaceChildren(el("div", { class: "strip" },
    el("div", { class: "head" }, el("h3", {}, "Where the ops would run, in program order"),
      el("div", { class: "legend" }, used.map(u => el("span", {}, el("i", { class: `swatch fill u-${u}` }), `${u}: ${words.many(data.ops.filter(op => op.unit === u).length, "op")}, ${words.share(share(u))} of the time`)))),
    lanes));
}

const COLUMNS = [
  { title: "#", value: i => i, num: true },
  { title: "Op", value: i => data.ops[i].kind },
  { title: "Unit", value: i => data.ops[i].unit },
  { title: "Time", value: i => data.ops[i].ms, num: true },
  { title: "Share", value: i => data.ops[i].share || 0, num: true },
  { title: "Result", value: i => data.ops[i].results.length ? data.ops[i].results[0].type : "" },
  { title: "Weights", value: i => data.ops[i].weight_bytes, num: true },
  { title: "Findings", value: i => findingsOf[i].length },
  { title: "Name", value: i => data.ops[i].name },
];
const PAGE = 400;
const table = { text: "", units: new Set(), kind: "", finding: "", sort: 0, down: false, limit: PAGE, rows: [] };

/** Everything of an op that the filter looks through. */
const haystack = data.ops.map((op, i) => [op.kind, op.name, op.source || "", op.unit, ...op.results.map(r => `${r.name} ${r.type}`), ...findingsOf[i].map(f => f.rule), ...op.facts].join("\n").toLowerCase());

function matches(i) {
  const op = data.ops[i];
  if (table.units.size && !table.units.has(op.unit)) return false;
  if (table.kind && op.kind !== table.kind) return false;
  if (table.finding === "any" && !findingsOf[i].length) return false;
  if (table.finding && table.finding !== "any" && !findingsOf[i].some(f => f.rule === table.finding)) return false;
  return table.text.split(/\s+/).every(word => haystack[i].includes(word));
}

function fillTable() {
  const { value } = COLUMNS[table.sort];
  const compare = (a, b) => { const x = value(a), y = value(b); return (x < y ? -1 : x > y ? 1 : 0) * (table.down ? -1 : 1) || a - b; };
  table.rows = data.ops.map((_, i) => i).filter(matches).sort(compare);
  const most = Math.max(1e-12, ...data.ops.map(op => op.share || 0));
  $("ops-table").tBodies[0].replaceChildren(...table.rows.slice(0, table.limit).map(i => row(i, most)));
  if (!table.rows.length) $("ops-table").tBodies[0].append(el("tr", {}, el("td", { colspan: COLUMNS.length, class: "empty" }, "No op matches. Escape clears the filter.")));
  $("ops-count").textContent = table.rows.length === data.ops.length ? words.many(data.ops.length, "op") : `${table.rows.length} of ${words.many(data.ops.length, "op")}`;
  const left = table.rows.length - table.limit;
  $("ops-more").parentElement.hidden = left <= 0;
  $("ops-more").textContent = `Show ${Math.min(PAGE, left)} more of ${left}`;
  markRow(chosen.op, false);
}

function row(i, most) {
  const op = data.ops[i];
  const found = findingsOf[i];
  const rules = [...new Set(found.map(f => f.rule))];
  return el("tr", { tabindex: -1, "data-op": i, "aria-selected": "false" },
    el("td", { class: "num" }, String(i)),
    el("td", {}, op.kind),
    el("td", {}, el("span", { class: `badge u-${op.unit}`, title: op.uncertain ? "rests on something unknown" : null }, op.unit + (op.uncertain ? "?" : ""))),
    el("td", { class: "num" }, words.time(op)),
    el("td", { class: "num" }, words.share(op.share), el("span", { class: `meter u-${op.unit}`, "aria-hidden": "true" }, el("i", { style: `width: ${((op.share || 0) / most * 100).toFixed(1)}%` }))),
    el("td", { class: "mono" }, op.results.length ? words.shape(op.results[0].type) : "–"),
    el("td", { class: "num" }, op.weight_bytes ? words.bytes(op.weight_bytes) : "–"),
    el("td", {}, rules.length ? el("span", { class: `sev s-${worst(found)}`, title: rules.join(", ") }, rules[0] + (rules.length > 1 ? ` +${rules.length - 1}` : "")) : ""),
    el("td", { class: "name", title: op.name }, op.name));
}

function markRow(op, scroll) {
  const body = $("ops-table").tBodies[0];
  for (const old of body.querySelectorAll('tr[aria-selected="true"], tr[tabindex="0"]')) { old.setAttribute("aria-selected", "false"); old.tabIndex = -1; }
  const found = op === null ? null : body.querySelector(`tr[data-op="${op}"]`);
  if (found) {
    found.setAttribute("aria-selected", "true");
    if (scroll) {
      // Only the table moves, never the page.
      const box = body.closest(".scroll"), top = found.offsetTop;
      if (top < box.scrollTop + 34 || top + found.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
    }
  }
  const first = found || body.querySelector("tr[data-op]");
  if (first) first.tabIndex = 0;
}

function startTable() {
  const head = el("tr", {}, COLUMNS.map((column, at) => el("th", { scope: "col", class: column.num ? "num" : null },
    el("button", { type: "button", on: { click: () => sortBy(at) } }, column.title))));
  $("ops-table").tHead.replaceChildren(head);
  const kinds = [...new Set(data.ops.map(op => op.kind))].sort();
  const option = (value, text) => el("option", { value }, text);
  const countOf = test => data.ops.filter((_, i) => test(i)).length;
  $("f-kind").replaceChildren(option("", "All kinds"), ...kinds.map(k => option(k, `${k} (${countOf(i => data.ops[i].kind === k)})`)));
  const rules = [...new Set(data.findings.filter(f => f.op !== null).map(f => f.rule))];
  $("f-finding").replaceChildren(option("", "Findings: all ops"), option("any", `With findings (${countOf(i => findingsOf[i].length)})`), ...rules.map(r => option(r, r)));
  $("f-units").replaceChildren(...UNITS.filter(u => countOf(i => data.ops[i].unit === u)).map(unit => el("button", { type: "button", "aria-pressed": "false", "data-unit": unit, on: { click: () => toggleUnit(unit) } }, unit, " ", el("span", { class: "n" }, String(countOf(i => data.ops[i].unit === unit))))));
  const changed = () => { table.limit = PAGE; fillTable(); };
  $("f-text").addEventListener("input", () => { table.text = $("f-text").value.trim().toLowerCase(); changed(); });
  $("f-kind").addEventListener("change", () => { table.kind = $("f-kind").value; changed(); });
  $("f-finding").addEventListener("change", () => { table.finding = $("f-finding").value; changed(); });
  $("f-clear").addEventListener("click", clearFilter);
  $("ops-more").addEventListener("click", () => { table.limit += PAGE; fillTable(); });
  const body = $("ops-table").tBodies[0];
  const opOf = event => { const tr = event.target.closest("tr[data-op]"); return tr ? Number(tr.dataset.op) : null; };
  body.addEventListener("click", event => { if (opOf(event) !== null) chosen.set(opOf(event), "table"); });
  body.addEventListener("keydown", event => tableKey(event, opOf(event)));
  chosen.listeners.push((op, from) => markRow(op, from !== "table" && from !== "start"));
  sortBy(0);
}

function tableKey(event, op) {
  if (op === null) return;
  const rows = [...$("ops-table").tBodies[0].querySelectorAll("tr[data-op]")];
  const at = rows.findIndex(r => Number(r.dataset.op) === op);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1, PageDown: Math.min(rows.length - 1, at + 12), PageUp: Math.max(0, at - 12) }[event.key];
  if (event.key === "Enter") { event.preventDefault(); chosen.set(op, "table"); $("details").focus(); return; }
  if (to === undefined) return;
  event.preventDefault();
  if (to < 0) { $("f-text").focus(); return; }
  if (!rows[to]) return;
  chosen.set(Number(rows[to].dataset.op), "table");
  rows[to].focus();
}

function sortBy(at) {
  table.down = table.sort === at ? !table.down : Boolean(COLUMNS[at].num && at > 0);
  if (at === 0 && table.rows.length === 0) table.down = false;
  table.sort = at;
  [...$("ops-table").tHead.rows[0].cells].forEach((cell, i) => cell.setAttribute("aria-sort", i !== at ? "none" : table.down ? "descending" : "ascending"));
  fillTable();
}

function toggleUnit(unit) {
  if (!table.units.delete(unit)) table.units.add(unit);
  for (const button of $("f-units").children) button.setAttribute("aria-pressed", String(table.units.has(button.dataset.unit)));
  table.limit = PAGE;
  fillTable();
}

function clearFilter() {
  Object.assign(table, { text: "", kind: "", finding: "", limit: PAGE });
  table.units.clear();
  $("f-text").value = $("f-kind").value = $("f-finding").value = "";
  for (const button of $("f-units").children) button.setAttribute("aria-pressed", "false");
  fillTable();
}

/** Findings of one rule are one entry: what it says of each op, and once what helps. */
function findings() {
  const rules = new Map();
  for (const finding of data.findings) {
    const key = `${finding.severity} ${finding.rule}`;
    if (!rules.has(key)) rules.set(key, { ...finding, said: new Map() });
    const said = rules.get(key).said;
    if (!said.has(finding.message)) said.set(finding.message, []);
    if (finding.op !== null) said.get(finding.message).push(finding.op);
  }
  $("findings-count").textContent = data.findings.length ? words.many(data.findings.length, "finding") : "";
  if (!rules.size) { $("findings-list").replaceChildren(el("p", { class: "empty" }, "No rule found anything to object to.")); return; }
  $("findings-list").replaceChildren(...[...rules.values()].map(entry => el("article", { class: `finding s-${entry.severity}` },
    el("div", { class: "head" }, el("span", { class: "sev" }, entry.severity), el("span", { class: "rule" }, entry.rule)),
    el("p", { class: "help" }, prose(entry.help)),
    el("ul", { class: "said" }, [...entry.said].slice(0, 50).map(([message, ops]) => el("li", {}, el("p", { class: "text" }, prose(message)), places(ops)))),
    entry.said.size > 50 ? el("p", { class: "help" }, `and ${entry.said.size - 50} more; the table shows them all`) : null,
    facts(entry.facts))));
}

function places(ops) {
  if (!ops.length) return null;
  const box = el("div", { class: "places" }, ops.slice(0, 12).map(op => opLink(op, "findings")));
  if (ops.length > 12) box.append(el("button", { type: "button", class: "link", on: { click: event => { event.target.replaceWith(...ops.slice(12).map(op => opLink(op, "findings"))); } } }, `and ${ops.length - 12} more`));
  return box;
}

function sizes() {
  const kinds = new Map();
  for (const op of data.ops) {
    const entry = kinds.get(op.kind) || { count: 0, ANE: 0, GPU: 0, CPU: 0, share: 0, bytes: 0 };
    entry.count += 1;
    entry[op.unit] += 1;
    entry.share += op.share || 0;
    entry.bytes += op.weight_bytes;
    kinds.set(op.kind, entry);
  }
  const meter = share => el("span", { class: "meter long", "aria-hidden": "true" }, el("i", { style: `width: ${(share * 100).toFixed(1)}%` }));
  const cells = (list, nums) => list.map((c, i) => el("td", { class: nums[i] ? "num" : null }, c));
  const tableOf = (title, heads, nums, rows) => el("div", {}, el("h3", {}, title), el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((h, i) => el("th", { scope: "col", class: nums[i] ? "num" : null }, h)))),
    el("tbody", {}, rows.map(r => el("tr", {}, cells(r, nums)))))));
  const total = Math.max(1, data.summary.weight_bytes);
  const weights = data.sizes.weights.map(w => [w.encoding, w.dtype, String(w.tensors), words.count(w.parameters), words.bytes(w.bytes), meter(w.bytes / total)]);
  const byCost = [...kinds].sort((a, b) => b[1].share - a[1].share || b[1].count - a[1].count);
  const units = UNITS.filter(u => data.ops.some(op => op.unit === u));
  const shown = n => (n ? String(n) : "");
  const rows = byCost.map(([kind, e]) => [kind, ...units.map(u => shown(e[u])), e.bytes ? words.bytes(e.bytes) : "–", words.share(e.share), meter(e.share)]);
  const heavy = data.ops.map((op, i) => [op, i]).filter(([op]) => op.weight_bytes).sort((a, b) => b[0].weight_bytes - a[0].weight_bytes).slice(0, 10);
  $("sizes-count").textContent = `${words.bytes(data.summary.bytes)} on disk, ${words.bytes(data.summary.weight_bytes)} of weights`;
  $("sizes-list").replaceChildren(
    tableOf("Kinds of ops, by time", ["Kind", ...units, "Weights", "Time", ""], [0, ...units.map(() => 1), 1, 1, 0], rows),
    el("div", {}, weights.length ? tableOf("Weights, as stored", ["Encoding", "Type", "Tensors", "Parameters", "Size", ""], [0, 0, 1, 1, 1, 0], weights) : el("p", { class: "empty" }, "There are no weights."),
      heavy.length ? el("div", { style: "margin-top: 20px" }, tableOf("Largest ops", ["Op", "Name", "Weights", ""], [0, 0, 1, 0], heavy.map(([op, i]) => [op.kind, opLink(i, "sizes"), words.bytes(op.weight_bytes), meter(op.weight_bytes / total)]))) : null));
}

function details(i) {
  const box = $("details");
  box.classList.toggle("idle", i === null);
  if (i === null) {
    box.replaceChildren(el("p", { class: "blank" }, "Choose an op in the graph, the timeline or the table to see why it is where it is."));
    return;
  }
  const op = data.ops[i];
  const list = (title, places) => places.length ? [el("h3", {}, title), el("ul", {}, places.slice(0, 24).map(p => el("li", {}, typeof p === "number" ? [data.ops[p].kind + " ", opLink(p, "details")] : opLink(p))), places.length > 24 ? el("li", {}, `and ${places.length - 24} more`) : null)] : [];
  const time = (label, ms) => el("tr", {}, el("td", {}, label), el("td", { class: "num" }, words.ms(ms)));
  const found = findingsOf[i];
  box.replaceChildren(...[
    el("div", { class: "kind" }, el("span", {}, op.kind), el("span", { class: `badge u-${op.unit}` }, op.unit + (op.uncertain ? "?" : "")), el("button", { type: "button", class: "quiet close", "aria-label": "Close", on: { click: () => chosen.set(null, "details") } }, "×")),
    el("p", { class: "name mono" }, op.name),
    el("h3", {}, `Why ${op.unit}`),
    el("p", { class: "reason" }, prose(data.reasons[op.reason] + ".")),
    op.uncertain ? el("p", { class: "hint" }, "Rests on something that is not known for this chip.") : null,
    op.carried ? el("p", { class: "hint" }, "Observed on another chip and carried over.") : null,
    op.fused ? el("p", { class: "hint" }, "Takes no time of its own: the op before it does it while writing.") : null,
    op.tie ? el("p", { class: "hint" }, "ANE and CPU give the same total: either answer is as good.") : null,
    facts(op.facts),
    el("h3", {}, "Cost"),
    el("table", {}, el("tbody", {}, time(data.timeline.basis === "simulation" ? "simulated here" : "here", op.ms), op.bound && op.bound !== "nothing" ? el("tr", {}, el("td", {}, "waits for"), el("td", { class: "num" }, op.bound)) : null, time("estimate, ANE", op.ane_ms), time("estimate, CPU", op.cpu_ms),
      el("tr", {}, el("td", {}, "share of the time"), el("td", { class: "num" }, words.share(op.share))),
      el("tr", {}, el("td", {}, "taken by"), el("td", { class: "num" }, op.takes.join(", "))),
      op.weight_bytes ? el("tr", {}, el("td", {}, "constants"), el("td", { class: "num" }, words.bytes(op.weight_bytes))) : null)),
    ...(found.length ? [el("h3", {}, "Findings"), ...found.map(f => el("div", { class: `finding s-${f.severity}` }, el("div", { class: "head" }, el("span", { class: "sev" }, f.severity), el("span", { class: "rule" }, f.rule)), el("p", { class: "text" }, prose(f.message)), el("p", { class: "help" }, prose(f.help))))] : []),
    el("h3", {}, op.results.length > 1 ? "Results" : "Result"),
    el("table", {}, el("tbody", {}, op.results.map(r => el("tr", {}, el("td", { class: "mono" }, words.shape(r.type)))))),
    ...list("From", before[i]),
    ...list("To", after[i]),
    ...(op.source ? [el("h3", {}, "Source"), el("p", { class: "mono name" }, op.source)] : []),
    ...(op.line ? [el("h3", {}, "MIL"), el("pre", {}, op.line)] : []),
  ].filter(Boolean));
  box.scrollTop = 0;
}

function keys() {
  const help = $("help");
  $("help-open").addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", event => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (help.open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { escape(typing); return; }
    if (event.target === $("f-text") && (event.key === "ArrowDown" || event.key === "Enter")) {
      const first = $("ops-table").tBodies[0].querySelector("tr[data-op]");
      if (first) { event.preventDefault(); chosen.set(Number(first.dataset.op), "table"); first.focus(); }
      return;
    }
    if (typing) return;
    const run = { "/": () => { $("ops").scrollIntoView(); $("f-text").focus({ preventScroll: true }); $("f-text").select(); }, "?": () => help.showModal(), d: () => theme.toggle(), g: () => { revealInGraph(); $("graph").scrollIntoView(); $("graph-view").focus({ preventScroll: true }); } }[event.key];
    if (run) { event.preventDefault(); run(); }
  });
}

/** First what is chosen, then the filter. */
function escape(typing) {
  tip.hide();
  if (!typing && chosen.op !== null) {
    if ($("details").contains(document.activeElement)) { const row = $("ops-table").tBodies[0].querySelector(`tr[data-op="${chosen.op}"]`); if (row) row.focus({ preventScroll: true }); }
    chosen.set(null, "escape");
    return;
  }
  clearFilter();
  if (typing) document.activeElement.blur();
}

/** Marks the section that is read. */
function follow() {
  const links = [...document.querySelectorAll(".top nav a")];
  const sections = links.map(a => $(a.getAttribute("href").slice(1)));
  const mark = () => {
    let at = 0;
    sections.forEach((section, i) => { if (section.getBoundingClientRect().top < innerHeight * .35) at = i; });
    if (innerHeight + scrollY >= document.documentElement.scrollHeight - 4) at = sections.length - 1;
    links.forEach((a, i) => i === at ? a.setAttribute("aria-current", "true") : a.removeAttribute("aria-current"));
  };
  addEventListener("scroll", mark, { passive: true });
  mark();
}

theme.start();
overview();
startGraph();
startTimeline();
startTable();
findings();
sizes();
details(null);
chosen.listeners.push(details);
keys();
follow();
// Something to see at once where there is room beside: the op that takes longest.
if (data.ops.length && matchMedia("(min-width: 1121px)").matches) {
  chosen.set(data.ops.reduce((most, op, i) => ((op.share || 0) > (data.ops[most].share || 0) ? i : most), 0), "start");
}
document.documentElement.dataset.ready = "true";
