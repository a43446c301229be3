// Works a page of `anemone report` as a user would and writes what it saw into the element #report-check, as JSON:
// a list of [what must hold, whether it does, what was seen].
(() => {
  const seen = [];
  const expect = (what, holds, found) => seen.push([what, Boolean(holds), holds ? "" : String(found ?? "")]);
  const $ = id => document.getElementById(id);
  const press = (key, target = document.activeElement || document.body) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const rows = () => [...document.querySelectorAll("#ops-table tbody tr[data-op]")];
  const data = JSON.parse($("data").textContent);

  function parts() {
    expect("the page is ready", document.documentElement.dataset.ready === "true");
    expect("every op is a row or behind the button", rows().length === Math.min(400, data.ops.length), rows().length);
    expect("the graph has nodes", document.querySelectorAll("#graph-view .node").length > 2);
    expect("the timeline has spans", document.querySelectorAll("#time-view .span").length > 0);
    expect("findings are shown", document.querySelectorAll("#findings-list .finding").length > 0 === data.findings.length > 0);
    expect("sizes are shown", document.querySelectorAll("#sizes-list tbody tr").length > 0);
    const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
    expect("ids are unique", new Set(ids).size === ids.length);
    const nameless = [...document.querySelectorAll("button, select, input, [role=button]")].filter(e => !(e.textContent.trim() || e.getAttribute("aria-label") || e.closest("label")));
    expect("every control has a name", nameless.length === 0, nameless.map(e => e.outerHTML.slice(0, 80)));
    expect("the page is no wider than the window", document.documentElement.scrollWidth <= innerWidth, `${document.documentElement.scrollWidth} > ${innerWidth}`);
  }

  /** Boxes of nodes, in the units of the graph. */
  function boxes() {
    return [...document.querySelectorAll("#graph-view .node")].map(node => {
      const [, x, y] = node.getAttribute("transform").match(/translate\((\S+) (\S+)\)/);
      const box = node.querySelector(".box");
      return { x: Number(x), y: Number(y), w: Number(box.getAttribute("width")), h: Number(box.getAttribute("height")) };
    });
  }

  function graph() {
    const [all, groups] = $("graph-level").children;
    all.click();
    const list = boxes();
    expect("every op, input and output is a node", list.length === data.ops.length + data.inputs.length + data.outputs.length, list.length);
    const layers = new Map();
    for (const box of list) { if (!layers.has(box.y)) layers.set(box.y, []); layers.get(box.y).push(box); }
    let over = 0;
    for (const layer of layers.values()) {
      layer.sort((a, b) => a.x - b.x);
      for (let i = 1; i < layer.length; i += 1) if (layer[i].x < layer[i - 1].x + layer[i - 1].w - .5) over += 1;
    }
    expect("no node lies over another", over === 0, `${over} do`);
    const broken = [...document.querySelectorAll("#graph-view .edge")].filter(e => /NaN|undefined|Infinity/.test(e.getAttribute("d")));
    expect("edges have places", broken.length === 0, broken.length);
    groups.click();
    expect("groups fold the graph", boxes().length <= list.length, boxes().length);
    const group = document.querySelector("#graph-view .node.group");
    const folded = boxes().length;
    group.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    expect("a group opens", boxes().length >= folded && document.querySelectorAll("#graph-view .node.group").length === data.segments.length - 1 || document.querySelectorAll("#graph-view .node.group").length > 0, boxes().length);
    all.click();
    const width = () => Number(document.querySelector("#graph-view svg").getAttribute("width"));
    const wide = width();
    $("zoom-out").click();
    expect("the graph zooms", width() < wide, width());
  }

  function filter() {
    const text = $("f-text");
    press("/", document.body);
    expect("/ goes to the filter", document.activeElement === text, document.activeElement.id);
    const word = data.ops[data.ops.length - 1].name.toLowerCase();
    text.value = word;
    text.dispatchEvent(new Event("input", { bubbles: true }));
    const wanted = data.ops.filter((op, i) => JSON.stringify(op).toLowerCase().includes(JSON.stringify(word).slice(1, -1)));
    expect("the text filters", rows().length >= 1 && rows().length <= Math.max(1, wanted.length + 1), `${rows().length} of ${wanted.length}`);
    expect("the count is told", $("ops-count").textContent.includes(" of ") || data.ops.length === rows().length, $("ops-count").textContent);
    press("ArrowDown", text);
    expect("down goes to the first row", document.activeElement === rows()[0]);
    expect("and chooses it", rows()[0].getAttribute("aria-selected") === "true");
    press("Enter");
    expect("Enter shows details", document.activeElement === $("details") && $("details").textContent.includes(data.ops[Number(rows()[0].dataset.op)].name));
    press("Escape");
    expect("Escape closes them", $("details").classList.contains("idle"));
    press("Escape", document.body);
    expect("and then clears the filter", text.value === "" && rows().length === Math.min(400, data.ops.length), rows().length);
    const unit = $("f-units").firstElementChild;
    unit.click();
    expect("a unit filters", unit.getAttribute("aria-pressed") === "true" && rows().every(r => data.ops[Number(r.dataset.op)].unit === unit.dataset.unit));
    $("f-clear").click();
    $("f-kind").value = data.ops[0].kind;
    $("f-kind").dispatchEvent(new Event("change"));
    expect("a kind filters", rows().length > 0 && rows().every(r => data.ops[Number(r.dataset.op)].kind === data.ops[0].kind));
    $("f-clear").click();
    const heads = [...document.querySelectorAll("#ops-table th button")];
    heads[3].click();
    const times = rows().map(r => data.ops[Number(r.dataset.op)].ms);
    expect("a heading sorts", times.every((t, i) => !i || times[i - 1] >= t) && heads[3].closest("th").getAttribute("aria-sort") === "descending");
    heads[0].click();
    if (heads[0].closest("th").getAttribute("aria-sort") === "descending") heads[0].click();
    text.value = "no op is called so";
    text.dispatchEvent(new Event("input", { bubbles: true }));
    expect("nothing that matches is said", document.querySelector("#ops-table .empty") !== null);
    $("f-clear").click();
  }

  function keys() {
    const view = $("graph-view");
    rows()[0].click();
    view.focus();
    press("ArrowDown");
    const at = $("details").querySelector(".name").textContent;
    expect("the graph is walked by keys", at !== data.ops[0].name || data.ops.length === 1, at);
    press("ArrowUp");
    expect("and back", $("details").querySelector(".name").textContent.length > 0);
    expect("the chosen op is marked", view.querySelectorAll(".node.chosen").length === 1);
    $("time-view").focus();
    rows()[0].click();
    press("ArrowRight", $("time-view"));
    expect("the timeline is walked by keys", $("details").querySelector(".name").textContent === data.ops[Math.min(1, data.ops.length - 1)].name);
    press("?", document.body);
    expect("? tells the keys", $("help").open);
    $("help").close();
    press("Escape", document.body);
  }

  /** Contrast of two colours after WCAG 2. */
  function contrast(a, b) {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const light = colour => {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, bl] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255).map(v => (v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4));
      return .2126 * r + .7152 * g + .0722 * bl;
    };
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + .05) / (y + .05);
  }

  function colours() {
    const root = document.documentElement;
    const first = root.dataset.theme;
    const pairs = [["text", "card"], ["soft", "card"], ["soft", "sunk"], ["faint", "card"], ["text", "bg"], ["soft", "bg"], ["accent", "card"], ["ane", "ane-soft"], ["gpu", "gpu-soft"], ["cpu", "cpu-soft"], ["error", "error-soft"], ["warning", "warning-soft"], ["note", "note-soft"]];
    for (let turn = 0; turn < 2; turn += 1) {
      const style = getComputedStyle(root);
      for (const [ink, paper] of pairs) {
        const ratio = contrast(style.getPropertyValue(`--${ink}`), style.getPropertyValue(`--${paper}`));
        expect(`${root.dataset.theme}: --${ink} is readable on --${paper}`, ratio >= 4.5, ratio.toFixed(2));
      }
      const ground = getComputedStyle(document.body).backgroundColor;
      if (turn === 0) $("theme").click(); else press("d", document.body);
      expect(`the button and d change the colours (${turn})`, getComputedStyle(document.body).backgroundColor !== ground && (turn === 0) === (root.dataset.theme !== first), root.dataset.theme);
    }
  }

  for (const part of [parts, graph, filter, keys, colours]) {
    try { part(); } catch (error) { expect(`${part.name} runs`, false, error.stack); }
  }
  expect("no error was reported", window.reportErrors.length === 0, window.reportErrors.join("; "));
  const out = document.createElement("pre");
  out.id = "report-check";
  out.textContent = JSON.stringify(seen);
  document.body.append(out);
})();
