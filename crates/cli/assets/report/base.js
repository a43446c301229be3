// Data, words, elements, and the one thing that all views share: which op is chosen.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const UNITS = ["ANE", "GPU", "CPU"];

/** An element with attributes and children; texts stay texts. */
function el(name, attributes = {}, ...children) {
  const svg = /^(svg|g|rect|path|text|line|circle|defs|pattern|title)$/.test(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
    else made.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) made.append(child);
  return made;
}

const digits = v => (v >= 100 ? v.toFixed(0) : v.toFixed(1));
const words = {
  ms(ms) {
    if (ms === null || ms === undefined) return "–";
    if (!(ms > 0)) return "0";
    if (ms < 1e-3) return digits(ms * 1e6) + " ns";
    if (ms < 1) return digits(ms * 1e3) + " µs";
    return ms < 1e3 ? digits(ms) + " ms" : digits(ms / 1e3) + " s";
  },
  bytes(n) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let at = 0;
    while (n >= 1000 && at + 1 < units.length) { n /= 1000; at += 1; }
    return (at === 0 ? String(n) : digits(n)) + " " + units[at];
  },
  count(n) {
    if (n < 10000) return String(n);
    const units = ["", "k", "M", "G"];
    let at = 0;
    while (n >= 1000 && at + 1 < units.length) { n /= 1000; at += 1; }
    return digits(n) + " " + units[at];
  },
  share(s) {
    if (s === null || s === undefined) return "–";
    const p = s * 100;
    return (p > 0 && p < 1 ? p.toFixed(1) : p.toFixed(0)) + " %";
  },
  /** The time of an op; a fused one has none of its own. */
  time: op => (op.fused ? "fused" : words.ms(op.ms)),
  many: (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`,
  shape: type => type.replace(/^(\S+) \[(.*)\]$/, (_, t, dims) => (dims ? dims.replaceAll(", ", " × ") + "  " : "") + t),
};

/** Findings of each op, and before and after it. */
const findingsOf = data.ops.map(() => []);
for (const finding of data.findings) if (finding.op !== null) findingsOf[finding.op].push(finding);
const before = data.ops.map(() => []), after = data.ops.map(() => []);
for (const [from, to] of data.edges) {
  if (typeof to === "number") before[to].push(from);
  if (typeof from === "number") after[from].push(to);
}
const RANK = { error: 0, warning: 1, note: 2 };
const worst = list => list.reduce((w, f) => (w === null || RANK[f.severity] < RANK[w] ? f.severity : w), null);

const chosen = {
  op: null,
  listeners: [],
  /** Chooses an op, or none; `from` is the view that asks, which has shown it already. */
  set(op, from) {
    if (op === this.op && from !== "again") return;
    this.op = op;
    for (const listen of this.listeners) listen(op, from);
  },
};

/** A button that chooses an op, or names an input or output. */
function opLink(place, from) {
  if (typeof place !== "number") {
    const port = (place[0] === "i" ? data.inputs : data.outputs)[Number(place.slice(1))];
    return el("span", { class: "mono" }, `${place[0] === "i" ? "input" : "output"} ${port.name}`);
  }
  const op = data.ops[place];
  return el("button", { type: "button", class: "link", title: `${op.kind} ${op.name}`, on: { click: () => { chosen.set(place, from); revealInGraph(); } } }, op.name);
}

/** A sentence with a capital, what stands in backticks as code. */
const prose = text => (text[0] || "").toUpperCase().concat(text.slice(1)).split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part)).filter(part => part !== "");

/** Facts, folded. */
function facts(ids) {
  if (!ids.length) return null;
  const claim = id => el("p", {}, el("b", {}, id), " ", data.facts[id] || "");
  return el("details", { class: "facts" }, el("summary", {}, `${ids.length === 1 ? "Fact" : "Facts"} ${ids.join(", ")}`), ids.map(claim));
}

const tip = {
  show(event, lines) {
    const box = $("tip");
    box.replaceChildren(...lines.flatMap((line, i) => [i ? el("br") : null, i ? line : el("b", {}, line)].filter(Boolean)));
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    box.style.left = Math.max(8, Math.min(event.clientX + 14, innerWidth - width - 8)) + "px";
    box.style.top = (event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18) + "px";
  },
  hide() { $("tip").hidden = true; },
};

function opTip(i) {
  const op = data.ops[i];
  return [`${op.kind} on ${op.unit}`, op.name, op.fused ? "done by the op before it" : `${words.ms(op.ms)}, ${words.share(op.share)} of the time`];
}

/** Light or dark: what was chosen here, else what the system has. */
const theme = {
  media: matchMedia("(prefers-color-scheme: dark)"),
  kept: null,
  now() { return this.kept || (this.media.matches ? "dark" : "light"); },
  apply() {
    const now = this.now();
    document.documentElement.dataset.theme = now;
    const other = now === "dark" ? "light" : "dark";
    $("theme").textContent = now === "dark" ? "☀ Light" : "☾ Dark";
    $("theme").setAttribute("aria-label", `Change to ${other} colours`);
  },
  toggle() {
    this.kept = this.now() === "dark" ? "light" : "dark";
    try { localStorage.setItem("anemone-theme", this.kept); } catch { /* a file may have no storage */ }
    this.apply();
  },
  start() {
    try { this.kept = localStorage.getItem("anemone-theme"); } catch { /* as above */ }
    if (this.kept !== "dark" && this.kept !== "light") this.kept = null;
    this.media.addEventListener("change", () => this.apply());
    $("theme").addEventListener("click", () => this.toggle());
    this.apply();
  },
};
