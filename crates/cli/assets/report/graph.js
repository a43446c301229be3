// The graph: groups, layers, order within layers, places, drawing.
const NODE = { w: 196, h: 42, gap: 22, rank: 22, slot: 10 };
/** Ops that a group holds at most, and from how many on groups are shown first. */
const GROUP = 120, MANY = 600, MOST = 6000;

/** Consecutive ops on one unit, long runs cut where few values cross. */
function groupsOf() {
  const crossing = new Array(data.ops.length + 1).fill(0);
  for (const [from, to] of data.edges) {
    if (typeof from !== "number" || typeof to !== "number") continue;
    crossing[from + 1] += 1;
    crossing[to + 1] -= 1;
  }
  for (let i = 1; i < crossing.length; i += 1) crossing[i] += crossing[i - 1];
  const groups = [];
  for (const segment of data.segments) {
    let first = segment.first;
    const end = segment.first + segment.ops;
    while (end - first > GROUP * 1.5) {
      let cut = first + GROUP;
      for (let at = first + GROUP; at > first + GROUP / 2; at -= 1) if (crossing[at] < crossing[cut]) cut = at;
      groups.push({ unit: segment.unit, first, end: cut });
      first = cut;
    }
    groups.push({ unit: segment.unit, first, end });
  }
  return groups;
}

const graph = {
  groups: groupsOf(),
  groupOf: [],
  open: new Set(),
  zoom: 1,
  laid: null,
  shown: new Map(),
};
graph.groups.forEach((group, g) => { for (let i = group.first; i < group.end; i += 1) graph.groupOf[i] = g; });
const grouped = () => graph.groups.length > graph.open.size;
if (data.ops.length <= MANY) graph.groups.forEach((_, g) => graph.open.add(g));

/** What stands for an end: an op, its group, an input or an output. */
const standsFor = place => typeof place !== "number" ? place : graph.open.has(graph.groupOf[place]) ? place : `g${graph.groupOf[place]}`;

/** Nodes and edges at the present level of detail. */
function visible() {
  const nodes = new Map();
  data.inputs.forEach((port, i) => nodes.set(`i${i}`, { id: `i${i}`, port }));
  for (let i = 0; i < data.ops.length; i += 1) {
    const id = standsFor(i);
    if (!nodes.has(id)) nodes.set(id, id === i ? { id, op: i } : { id, group: graph.groupOf[i] });
  }
  data.outputs.forEach((port, i) => nodes.set(`o${i}`, { id: `o${i}`, port }));
  const edges = new Map();
  for (const [from, to, bytes] of data.edges) {
    const a = standsFor(from), b = standsFor(to);
    if (a === b) continue;
    const key = `${a}>${b}`;
    const same = edges.get(key);
    if (same) { same.bytes += bytes; continue; }
    edges.set(key, { from: nodes.get(a), to: nodes.get(b), bytes });
  }
  return { nodes: [...nodes.values()], edges: [...edges.values()] };
}

/** Layers by longest path; what has a single reader far below moves next to it. */
function rank(nodes, edges) {
  for (const node of nodes) { node.rank = 0; node.in = []; node.out = []; }
  for (const edge of edges) { edge.from.out.push(edge); edge.to.in.push(edge); }
  // Nodes are in program order, so every edge leads forward.
  for (const node of nodes) for (const edge of node.in) node.rank = Math.max(node.rank, edge.from.rank + 1);
  for (const node of [...nodes].reverse()) {
    if (!node.in.length && node.out.length) node.rank = Math.max(0, Math.min(...node.out.map(e => e.to.rank)) - 1);
  }
}

/** Layers with a point of each long edge in every layer that it passes. */
function layersOf(nodes, edges) {
  const layers = [];
  const put = (node, at) => { (layers[at] ||= []).push(node); };
  for (const node of nodes) { node.w = NODE.w; node.up = []; node.down = []; node.left = node.right = null; put(node, node.rank); }
  for (const edge of edges) {
    edge.points = [];
    let last = edge.from;
    for (let at = edge.from.rank + 1; at < edge.to.rank; at += 1) {
      const point = { w: NODE.slot, up: [last], down: [], rank: at, point: true };
      last.down.push(point);
      put(point, at);
      edge.points.push(point);
      last = point;
    }
    last.down.push(edge.to);
    edge.to.up.push(last);
  }
  for (let i = 0; i < layers.length; i += 1) layers[i] ||= [];
  return layers;
}

/** Orders layers by the mean place of neighbours, down and up. */
function order(layers) {
  const number = layer => layer.forEach((node, i) => { node.at = i; });
  layers.forEach(number);
  const mean = (near, own) => near.length ? near.reduce((sum, n) => sum + n.at, 0) / near.length : own;
  for (let sweep = 0; sweep < 6; sweep += 1) {
    const down = sweep % 2 === 0;
    const list = down ? layers : [...layers].reverse();
    for (const layer of list) {
      for (const node of layer) node.key = mean(down ? node.up : node.down, node.at);
      layer.sort((a, b) => a.key - b.key || a.at - b.at);
      number(layer);
    }
  }
}

/** Ops that follow one another alone stand in one column. */
function columnsOf(layers) {
  const columns = [];
  for (const layer of layers) {
    let last = -1;
    for (const node of layer) {
      if (node.point) continue;
      const above = node.in.length === 1 ? node.in[0].from : null;
      const joins = above && above.out.length === 1 && above.rank === node.rank - 1 && above.at > last;
      if (joins) last = above.at;
      node.column = joins ? above.column : { nodes: [], x: 0 };
      if (!joins) columns.push(node.column);
      node.column.nodes.push(node);
    }
  }
  return columns;
}

/** Horizontal places: columns near what they are joined to, then the long edges in the room between them. */
function place(layers) {
  const columns = columnsOf(layers);
  for (const layer of layers) {
    let left = null, points = 0;
    for (const node of layer) {
      if (node.point) { points += 1; continue; }
      node.left = left;
      node.room = left ? NODE.w + NODE.gap + points * NODE.slot : 0;
      if (left) left.right = node;
      left = node;
      points = 0;
    }
  }
  pack(columns);
  settle(columns);
  for (const column of columns) for (const node of column.nodes) node.x = column.x;
  for (const layer of layers) bounds(layer);
}

/** A first place for each column: as far left as those beside it allow. */
function pack(columns) {
  const waits = new Map(columns.map(c => [c, c.nodes.filter(n => n.left).length]));
  const open = columns.filter(c => waits.get(c) === 0);
  while (open.length) {
    const column = open.pop();
    for (const node of column.nodes) {
      if (!node.right) continue;
      const next = node.right.column;
      next.x = Math.max(next.x, column.x + node.right.room);
      waits.set(next, waits.get(next) - 1);
      if (waits.get(next) === 0) open.push(next);
    }
  }
}

/** Moves columns towards the middle of what they are joined to, and a little towards the axis. */
function settle(columns) {
  const PULL = .15;
  for (const column of columns) {
    column.joined = column.nodes.flatMap(n => [...n.in.map(e => [e.from, e]), ...n.out.map(e => [e.to, e])])
      .filter(([other]) => other.column !== column).map(([other, edge]) => [other.column, edge.points.length ? .25 : 1]);
  }
  for (let sweep = 0; sweep < 60; sweep += 1) {
    const list = sweep % 2 ? [...columns].reverse() : columns;
    for (const column of list) {
      let sum = 0, weight = PULL;
      for (const [other, w] of column.joined) { sum += other.x * w; weight += w; }
      let low = -Infinity, high = Infinity;
      for (const node of column.nodes) {
        if (node.left) low = Math.max(low, node.left.column.x + node.room);
        if (node.right) high = Math.min(high, node.right.column.x - node.right.room);
      }
      column.x = Math.max(low, Math.min(high, sum / weight));
    }
  }
}

/** How far left and right each point of a long edge may be in its layer. */
function bounds(layer) {
  const half = NODE.w / 2 + NODE.slot;
  let low = -Infinity, run = [];
  const close = high => {
    run.forEach((point, k) => { point.low = low + k * NODE.slot; point.high = high - (run.length - 1 - k) * NODE.slot; });
    run = [];
  };
  for (const node of layer) {
    if (node.point) { run.push(node); continue; }
    close(node.x - half);
    low = node.x + half;
  }
  close(Infinity);
}

/** Points of an edge in one straight line where there is one, else each where it may be. */
function straighten(edge) {
  if (!edge.points.length) return;
  const low = Math.max(...edge.points.map(p => p.low)), high = Math.min(...edge.points.map(p => p.high));
  const want = (edge.from.x + edge.to.x) / 2;
  for (const point of edge.points) {
    const [a, b] = low <= high ? [low, high] : [point.low, point.high];
    point.x = Math.max(a, Math.min(b, want));
  }
}

function layOut() {
  const { nodes, edges } = visible();
  rank(nodes, edges);
  const layers = layersOf(nodes, edges);
  order(layers);
  place(layers);
  edges.forEach(straighten);
  let left = Infinity, right = -Infinity;
  layers.forEach((layer, i) => {
    for (const node of layer) {
      node.y = i * (NODE.h + NODE.rank);
      left = Math.min(left, node.x - node.w / 2);
      right = Math.max(right, node.x + node.w / 2);
    }
  });
  const edge = 20;
  for (const layer of layers) for (const node of layer) { node.x += edge - left; node.y += edge; }
  graph.laid = { nodes, edges, layers, w: right - left + 2 * edge, h: layers.length * (NODE.h + NODE.rank) - NODE.rank + 2 * edge };
}

const unitOf = node => node.op !== undefined ? data.ops[node.op].unit : node.group !== undefined ? graph.groups[node.group].unit : "none";

function pathOf(edge) {
  let x = edge.from.x, y = edge.from.y + NODE.h;
  let path = `M${x.toFixed(1)} ${y}`;
  const to = (nx, ny) => {
    if (Math.abs(nx - x) < .5) path += `V${ny}`;
    else { const m = (y + ny) / 2; path += `C${x.toFixed(1)} ${m} ${nx.toFixed(1)} ${m} ${nx.toFixed(1)} ${ny}`; }
    x = nx; y = ny;
  };
  for (const point of edge.points) {
    to(point.x, point.y);
    to(point.x, point.y + NODE.h);
  }
  to(edge.to.x, edge.to.y);
  return path;
}

/** Cuts a text to about so many characters. */
const short = (text, most) => text.length > most ? text.slice(0, most - 1) + "…" : text;

function kindsOf(group) {
  const counts = new Map();
  for (let i = group.first; i < group.end; i += 1) counts.set(data.ops[i].kind, (counts.get(data.ops[i].kind) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function face(node) {
  if (node.op !== undefined) {
    const op = data.ops[node.op];
    const type = op.results.length ? words.shape(op.results[0].type) : "";
    return { title: short(op.kind, 21), sub: short(type, 30), time: words.time(op), label: `${op.kind} ${op.name} on ${op.unit}, ${words.time(op)}` };
  }
  if (node.group !== undefined) {
    const group = graph.groups[node.group];
    let ms = 0;
    for (let i = group.first; i < group.end; i += 1) ms += data.ops[i].ms;
    const kinds = kindsOf(group).map(([k, n]) => (n > 1 ? `${n} ${k}` : k)).join(", ");
    const n = group.end - group.first;
    return { title: `${words.many(n, "op")} on ${group.unit}`, sub: short(kinds, 31), time: words.ms(ms), label: `${words.many(n, "op")} on ${group.unit}: ${kinds}` };
  }
  const way = node.id[0] === "i" ? "Input" : "Output";
  return { title: short(`${way} ${node.port.name}`, 26), sub: short(words.shape(node.port.type), 31), time: "", label: `${way} ${node.port.name}` };
}

function drawNode(node) {
  const { title, sub, time, label } = face(node);
  const kind = node.op !== undefined ? "" : node.group !== undefined ? " group" : " port";
  const unsure = node.op !== undefined && data.ops[node.op].uncertain ? " unsure" : "";
  const drawn = el("g", { class: `node u-${unitOf(node)}${kind}${unsure}`, transform: `translate(${(node.x - NODE.w / 2).toFixed(1)} ${node.y})`, role: "button", "aria-label": label },
    el("rect", { class: "box", width: NODE.w, height: NODE.h, rx: 7 }));
  if (!kind) drawn.append(el("rect", { class: "side", x: 0, y: 0, width: 5, height: NODE.h, rx: 2.5 }));
  drawn.append(el("text", { x: 14, y: 17 }, title), el("text", { class: "sub", x: 14, y: 33 }, sub));
  if (time) drawn.append(el("text", { class: "time", x: NODE.w - 10, y: 17 }, time));
  const found = node.op !== undefined ? findingsOf[node.op] : node.group === undefined ? [] : findingsOf.slice(graph.groups[node.group].first, graph.groups[node.group].end).flat();
  if (found.length) drawn.append(el("circle", { class: `dot s-${worst(found)}`, cx: NODE.w - 2, cy: 2, r: 5 }));
  drawn.addEventListener("click", () => { if (!graph.dragged) pick(node); });
  if (node.op !== undefined) {
    drawn.addEventListener("pointermove", event => tip.show(event, opTip(node.op)));
    drawn.addEventListener("pointerleave", tip.hide);
  }
  node.drawn = drawn;
  return drawn;
}

function pick(node) {
  tip.hide();
  if (node.group !== undefined) { graph.open.add(node.group); redraw(graph.groups[node.group].first); return; }
  if (node.op !== undefined) chosen.set(node.op, "graph");
}

function drawGraph() {
  const { nodes, edges, w, h } = graph.laid;
  graph.shown = new Map(nodes.map(node => [node.id, node]));
  const lines = el("g", { "aria-hidden": "true" }), boxes = el("g", {});
  for (const edge of edges) {
    const units = [unitOf(edge.from), unitOf(edge.to)];
    const crossing = units[0] !== units[1] && !units.includes("none");
    edge.drawn = el("path", { class: crossing ? "edge crossing" : "edge", d: pathOf(edge) });
    lines.append(edge.drawn);
  }
  for (const node of nodes) boxes.append(drawNode(node));
  graph.svg = el("svg", { viewBox: `0 0 ${w.toFixed(0)} ${h}`, xmlns: "http://www.w3.org/2000/svg" }, lines, boxes);
  $("graph-view").replaceChildren(graph.svg);
  drawMap();
  setZoom(graph.zoom);
  light(chosen.op);
}

/** The whole graph, small, with the part that is in view. */
function drawMap() {
  const { nodes, w, h } = graph.laid;
  const map = $("graph-map"), view = $("graph-view");
  map.style.height = Math.max(40, Math.min(view.clientHeight - 22, map.clientWidth * h / w)) + "px";
  const svg = el("svg", { viewBox: `0 0 ${w.toFixed(0)} ${h}`, preserveAspectRatio: "none" });
  for (const node of nodes) {
    svg.append(el("rect", { class: `u-${unitOf(node)}`, style: "fill: var(--unit)", x: (node.x - NODE.w / 2).toFixed(0), y: node.y, width: NODE.w, height: NODE.h + NODE.rank * .5 }));
  }
  graph.frame = el("rect", { class: "frame" });
  svg.append(graph.frame);
  map.replaceChildren(svg);
}

function moveFrame() {
  if (!graph.frame) return;
  const view = $("graph-view"), z = graph.zoom;
  const { w, h } = graph.laid;
  const all = view.clientWidth >= w * z && view.clientHeight >= h * z;
  $("graph-map").hidden = all;
  const pad = (view.clientWidth - w * z) / 2;
  graph.frame.setAttribute("x", Math.max(0, view.scrollLeft / z));
  graph.frame.setAttribute("y", view.scrollTop / z);
  graph.frame.setAttribute("width", Math.min(w, pad > 0 ? w : view.clientWidth / z));
  graph.frame.setAttribute("height", Math.min(h, view.clientHeight / z));
}

/** Zooms around the middle of what is in view, or around a point of it. */
function setZoom(zoom, at) {
  const view = $("graph-view"), { w, h } = graph.laid;
  const old = graph.zoom;
  graph.zoom = Math.min(2.5, Math.max(.02, zoom));
  const point = at || { x: view.clientWidth / 2, y: view.clientHeight / 2 };
  const x = (view.scrollLeft + point.x) / old, y = (view.scrollTop + point.y) / old;
  graph.svg.setAttribute("width", w * graph.zoom);
  graph.svg.setAttribute("height", h * graph.zoom);
  graph.svg.style.margin = `0 auto`;
  view.scrollLeft = x * graph.zoom - point.x;
  view.scrollTop = y * graph.zoom - point.y;
  moveFrame();
}

/** Width of the view beside the map. */
const roomFor = view => view.clientWidth - parseFloat(getComputedStyle(view).paddingRight) - 4;
const fitWidth = () => Math.min(1, Math.max(.35, roomFor($("graph-view")) / graph.laid.w));
function fitAll() {
  const view = $("graph-view");
  setZoom(Math.min(1, roomFor(view) / graph.laid.w, (view.clientHeight - 4) / graph.laid.h));
}

/** Draws again, with a node of an op in the middle. */
function redraw(op) {
  layOut();
  drawGraph();
  graphLevel();
  if (op !== undefined && op !== null) centre(graph.shown.get(standsFor(op)));
}

function centre(node) {
  if (!node) return;
  const view = $("graph-view"), z = graph.zoom;
  view.scrollLeft = node.x * z - view.clientWidth / 2;
  view.scrollTop = (node.y + NODE.h / 2) * z - view.clientHeight / 2;
  moveFrame();
}

/** Marks the chosen op and what it is joined to. */
function light(op) {
  for (const line of $("graph-view").querySelectorAll(".edge.lit")) line.classList.remove("lit");
  for (const box of $("graph-view").querySelectorAll(".node.chosen")) box.classList.remove("chosen");
  const node = op === null ? null : graph.shown.get(standsFor(op));
  if (!node) return;
  node.drawn.classList.add("chosen");
  for (const edge of [...node.in, ...node.out]) edge.drawn.classList.add("lit");
}

function revealInGraph() {
  if (chosen.op === null) return;
  const group = graph.groupOf[chosen.op];
  if (graph.open.has(group)) centre(graph.shown.get(chosen.op));
  else { graph.open.add(group); redraw(chosen.op); }
  if (graph.zoom < .4) { setZoom(.8); centre(graph.shown.get(chosen.op)); }
}

/** Along the edges: down and up; to its neighbours in the layer: left and right. */
function walk(key) {
  if (chosen.op === null) { chosen.set(0, "graph"); revealInGraph(); return; }
  const node = graph.shown.get(standsFor(chosen.op));
  if (!node) return;
  const near = list => list.filter(n => n.op !== undefined || n.group !== undefined).sort((a, b) => Math.abs(a.x - node.x) - Math.abs(b.x - node.x))[0];
  let next;
  if (key === "ArrowDown") next = near(node.out.map(e => e.to));
  else if (key === "ArrowUp") next = near(node.in.map(e => e.from));
  else {
    const layer = graph.laid.layers[node.rank].filter(n => n.op !== undefined || n.group !== undefined);
    next = layer[layer.indexOf(node) + (key === "ArrowRight" ? 1 : -1)];
  }
  if (!next) return;
  chosen.set(next.op !== undefined ? next.op : graph.groups[next.group].first, "graph");
  centre(graph.shown.get(standsFor(chosen.op)));
}

function graphLevel() {
  const all = !grouped(), none = graph.open.size === 0;
  const button = (text, pressed, run, disabled) => el("button", { type: "button", "aria-pressed": String(pressed), disabled, on: { click: run } }, text);
  $("graph-level").replaceChildren(
    button(`${words.many(data.ops.length, "op")}`, all, () => { graph.groups.forEach((_, g) => graph.open.add(g)); redraw(chosen.op); }, data.ops.length > MOST),
    button(`${words.many(graph.groups.length, "group")}`, none, () => { graph.open.clear(); redraw(chosen.op); }));
  $("graph-hint").replaceChildren(graph.groups.length > 1 && !all ? "A group opens with a click. " : "",
    data.summary.crossings ? "Dashed red lines are values that go from one unit to another. " : "",
    data.ops.some(op => op.uncertain) ? "A dashed frame marks an op whose unit rests on something unknown. " : "");
}

function startGraph() {
  const view = $("graph-view");
  layOut();
  drawGraph();
  graphLevel();
  setZoom(fitWidth());
  view.scrollLeft = (graph.laid.w * graph.zoom - roomFor(view)) / 2;
  view.scrollTop = 0;
  $("zoom-in").addEventListener("click", () => setZoom(graph.zoom * 1.3));
  $("zoom-out").addEventListener("click", () => setZoom(graph.zoom / 1.3));
  $("zoom-fit").addEventListener("click", fitAll);
  view.addEventListener("scroll", moveFrame, { passive: true });
  addEventListener("resize", () => { drawMap(); moveFrame(); });
  view.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = view.getBoundingClientRect();
    setZoom(graph.zoom * Math.exp(-event.deltaY / 300), { x: event.clientX - box.left, y: event.clientY - box.top });
  }, { passive: false });
  view.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const run = {
      ArrowDown: () => walk("ArrowDown"), ArrowUp: () => walk("ArrowUp"), ArrowLeft: () => walk("ArrowLeft"), ArrowRight: () => walk("ArrowRight"),
      "+": () => setZoom(graph.zoom * 1.3), "=": () => setZoom(graph.zoom * 1.3), "-": () => setZoom(graph.zoom / 1.3), 0: fitAll,
      Enter: () => { if (chosen.op === null) walk("ArrowDown"); else { revealInGraph(); $("details").focus(); } },
    }[event.key];
    if (run) { event.preventDefault(); run(); }
  });
  drag(view);
  dragMap();
  chosen.listeners.push((op, from) => { light(op); if (op !== null && from !== "graph" && from !== "start") centre(graph.shown.get(standsFor(op))); });
}

/** Moves what is in view with the pointer; fingers scroll by themselves. */
function drag(view) {
  let from = null;
  view.addEventListener("pointerdown", event => {
    graph.dragged = false;
    if (event.pointerType === "mouse" && event.button === 0) from = { x: event.clientX, y: event.clientY, left: view.scrollLeft, top: view.scrollTop };
  });
  addEventListener("pointermove", event => {
    if (!from) return;
    const dx = event.clientX - from.x, dy = event.clientY - from.y;
    if (!graph.dragged && Math.hypot(dx, dy) < 4) return;
    graph.dragged = true;
    view.classList.add("drag");
    tip.hide();
    view.scrollLeft = from.left - dx;
    view.scrollTop = from.top - dy;
  });
  addEventListener("pointerup", () => { from = null; view.classList.remove("drag"); });
}

function dragMap() {
  const map = $("graph-map"), view = $("graph-view");
  const go = event => {
    const box = map.getBoundingClientRect();
    const { w, h } = graph.laid, z = graph.zoom;
    view.scrollLeft = (event.clientX - box.left) / box.width * w * z - view.clientWidth / 2;
    view.scrollTop = (event.clientY - box.top) / box.height * h * z - view.clientHeight / 2;
  };
  map.addEventListener("pointerdown", event => { map.setPointerCapture(event.pointerId); go(event); });
  map.addEventListener("pointermove", event => { if (event.buttons) go(event); });
}
