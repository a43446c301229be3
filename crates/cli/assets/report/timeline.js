// The timeline: a lane for each unit, an op where it would run.
const LANE = { left: 52, top: 26, h: 34, gap: 8 };
const time = { zoom: 1 };

/** A step that makes round numbers on the axis. */
function stepFor(total, ticks) {
  const raw = total / ticks;
  const base = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map(m => m * base).find(s => s >= raw) || raw;
}

function drawTime() {
  const view = $("time-view");
  const used = UNITS.filter(u => data.ops.some(op => op.unit === u));
  const width = Math.max(320, (view.clientWidth - 2) * time.zoom);
  const total = Math.max(data.timeline.total_ms, 1e-9);
  const x = ms => LANE.left + ms / total * (width - LANE.left - 14);
  const bottom = LANE.top + used.length * (LANE.h + LANE.gap);
  const svg = el("svg", { width, height: bottom + 6 });
  svg.append(el("defs", {}, el("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    el("line", { class: "hatch", x1: 0, y1: 0, x2: 0, y2: 6 }))));
  used.forEach((unit, lane) => {
    const y = LANE.top + lane * (LANE.h + LANE.gap);
    svg.append(el("rect", { class: "back", x: LANE.left, y, width: width - LANE.left - 14, height: LANE.h, rx: 4 }), el("text", { class: "lane", x: 12, y: y + LANE.h / 2 + 4 }, unit));
  });
  const step = stepFor(total, Math.max(2, width / 110));
  for (let at = 0; at <= total * 1.0001; at += step) {
    const label = at === 0 ? "0" : words.ms(at).replace(".0 ", " ");
    svg.append(el("line", { class: "tick", x1: x(at), x2: x(at), y1: LANE.top - 6, y2: bottom }), el("text", { x: x(at), y: 14, "text-anchor": at === 0 ? "start" : "middle" }, label));
  }
  drawFixed(svg, used, x);
  time.spans = [];
  data.timeline.ops.forEach(([start, ms], i) => {
    if (!(ms > 0)) return;
    const op = data.ops[i];
    const y = LANE.top + used.indexOf(op.unit) * (LANE.h + LANE.gap);
    const odd = i % 2 ? " odd" : "";
    const span = el("rect", { class: `span u-${op.unit}${odd}`, x: x(start).toFixed(2), y: y + 4, width: Math.max(.6, x(start + ms) - x(start)).toFixed(2), height: LANE.h - 8, rx: 1.5, "data-op": i });
    time.spans[i] = span;
    svg.append(span);
  });
  view.replaceChildren(svg);
  lightTime(chosen.op);
}

/** What entering, leaving and changing units costs, before the first op of each segment. */
function drawFixed(svg, used, x) {
  let end = 0;
  for (const segment of data.segments) {
    const start = data.timeline.ops[segment.first][0];
    const lane = used.indexOf(segment.unit);
    if (start > end && lane >= 0) svg.append(fixed(x(end), x(start), lane));
    const last = data.timeline.ops[segment.first + segment.ops - 1];
    end = last[0] + last[1];
  }
  const last = data.segments.at(-1);
  if (last && data.timeline.total_ms > end * 1.0001) svg.append(fixed(x(end), x(data.timeline.total_ms), used.indexOf(last.unit)));
}

function fixed(from, to, lane) {
  const y = LANE.top + lane * (LANE.h + LANE.gap) + 4;
  return el("rect", { class: "fixed", x: from, y, width: Math.max(0, to - from), height: LANE.h - 8 }, el("title", {}, "entering, leaving or changing the unit"));
}

function lightTime(op) {
  for (const span of $("time-view").querySelectorAll(".span.chosen")) span.classList.remove("chosen");
  const span = op === null ? null : time.spans[op];
  if (!span) return;
  span.classList.add("chosen");
  const view = $("time-view"), at = Number(span.getAttribute("x"));
  if (at < view.scrollLeft + LANE.left || at > view.scrollLeft + view.clientWidth - 20) view.scrollLeft = at - view.clientWidth / 2;
}

function startTimeline() {
  drawTime();
  const view = $("time-view");
  const zoom = z => {
    const middle = (view.scrollLeft + view.clientWidth / 2) / time.zoom;
    time.zoom = Math.min(64, Math.max(1, z));
    drawTime();
    view.scrollLeft = middle * time.zoom - view.clientWidth / 2;
  };
  $("time-in").addEventListener("click", () => zoom(time.zoom * 1.6));
  $("time-out").addEventListener("click", () => zoom(time.zoom / 1.6));
  $("time-fit").addEventListener("click", () => zoom(1));
  addEventListener("resize", drawTime);
  const opAt = event => event.target.dataset.op === undefined ? null : Number(event.target.dataset.op);
  view.addEventListener("click", event => { if (opAt(event) !== null) chosen.set(opAt(event), "time"); });
  view.addEventListener("pointermove", event => opAt(event) === null ? tip.hide() : tip.show(event, opTip(opAt(event))));
  view.addEventListener("pointerleave", tip.hide);
  view.addEventListener("keydown", event => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    chosen.set(chosen.op === null ? 0 : Math.min(data.ops.length - 1, Math.max(0, chosen.op + by)), "time");
  });
  chosen.listeners.push(lightTime);
  $("time-hint").textContent = data.timeline.basis === "simulation"
    ? "Simulated. The first op of a run on a unit bears the call and the hand-over; fused ops take no time of their own."
    : "What the planner of Core ML would count, one op after the other; not a measured time. Hatched parts are the fixed costs of entering, leaving and changing units.";
}
