// The graph of a DAG: laid out by the server once per version and set of folded groups, drawn as SVG, coloured by
// the states of a run. Zoom with the wheel, move by dragging, click a task to open it.
// Data: {layout (URL), dag_id, run_id, states: {task: state}, mapped: {task: {state: n}}, hrefs?, find?: what the search
// says, held?: {node: what holds it up}}. The page's address keeps the search (find) and, once the reader has moved, what is
// in the middle and how large (at=X,Y,SCALE): a link shows the same place, also in a window of another size.
import { _, ngettext, component, counts, go, h, here, icon, open, ORDER, replace, s, state, withParams, word, worst } from "./base.js";

const MIN = 0.04, MAX = 2.5;
const views = new Map(); // layout URL → where the reader was

function path(points) {
  const [first, ...rest] = points;
  let d = `M${first[0]} ${first[1]}`, [px, py] = first;
  for (const [x, y] of rest) {
    const bend = Math.max(12, (x - px) * 0.45);
    d += `C${px + bend} ${py} ${x - bend} ${y} ${x} ${y}`;
    [px, py] = [x, y];
  }
  return d;
}
const cut = (text, px, per) => {
  const n = Math.floor(px / per);
  return text.length <= n ? text : `${text.slice(0, Math.max(1, n - 1))}…`;
};

export default component((root, self) => {
  const world = s("g");
  const svg = s("svg", { class: "gr-svg", tabindex: "0", role: "group", "aria-label": _("Graph of the DAG") },
    s("defs", {}, s("marker", { id: "arrow", viewBox: "0 0 8 8", refX: "7", refY: "4", markerWidth: "7", markerHeight: "7", orient: "auto-start-reverse" }, s("path", { d: "M1 1.2L7 4 1 6.8" }))),
    world);
  const find = h("input", { type: "search", placeholder: _("Find a task"), "aria-label": _("Find a task"), spellcheck: "false" });
  const tool = (name, title, act) => h("button", { class: "iconbutton", type: "button", title, "aria-label": title, onclick: act }, icon(name));
  const groupTools = h("span", { class: "gr-groups", hidden: true },
    h("button", { class: "button small", type: "button", onclick: () => go(withParams({ closed: layout.groups.join(",") }), { replace: true }) }, _("Fold all")),
    h("button", { class: "button small", type: "button", onclick: () => go(withParams({ closed: "-" }), { replace: true }) }, _("Open all")));
  const mini = h("canvas", { class: "gr-mini", width: "180", height: "110", hidden: true, "aria-hidden": "true" });
  const legend = h("div", { class: "gr-legend" });
  const box = h("div", { class: "graph" },
    h("div", { class: "gr-tools" }, h("label", { class: "search" }, icon("search"), find), groupTools, h("span", { class: "grow" }),
      tool("minus", _("Zoom out"), () => zoom(1 / 1.3)), tool("plus", _("Zoom in"), () => zoom(1.3)), tool("fit", _("Show all"), () => all())),
    svg, mini, legend);
  root.append(box);

  let layout = null, url = null, data = null, nodes = new Map(), edges = [], labels = [], view = { x: 0, y: 0, k: 1 };

  // --- view ---
  let pending = false;
  function apply() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      show();
      drawMini();
    });
  }
  function show() {
    world.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);
    const far = view.k < 0.3 ? "2" : view.k < 0.78 ? "1" : "0";
    // What all nodes inherit from is touched only when it changes: each of thousands gets its style anew.
    if (svg.dataset.far !== far) svg.dataset.far = far;
    if (far === "2") for (const label of labels) label.style.setProperty("--k", view.k);
  }
  // What the reader did, said when they pause: browsers refuse hundreds of addresses at a time.
  let keeping = null, kept = "";
  function keep(whole = false) {
    clearTimeout(keeping);
    keeping = setTimeout(() => {
      keeping = null;
      whole ? views.delete(url) : views.set(url, view);
      tell(whole);
    }, 200);
  }
  function tell(whole) {
    const { w, h: hh } = size();
    kept = whole ? "" : [((w / 2 - view.x) / view.k).toFixed(1), ((hh / 2 - view.y) / view.k).toFixed(1), view.k.toPrecision(4)].join();
    // On the way to another page its address is not ours to change.
    if (self.path === location.pathname) replace({ at: kept || null });
  }
  // To where the address says; false where it says nothing.
  function obey() {
    kept = here().get("at") ?? "";
    const [x, y, k] = kept.split(",").map(Number);
    if (!(k >= MIN && k <= MAX) || !Number.isFinite(x) || !Number.isFinite(y)) return false;
    const { w, h: hh } = size();
    view = { k, x: w / 2 - x * k, y: hh / 2 - y * k };
    apply();
    return true;
  }
  const size = () => ({ w: svg.clientWidth || 900, h: svg.clientHeight || 500 });
  function scaleToFit() {
    const { w, h: hh } = size();
    return Math.max(MIN, Math.min((w - 48) / layout.w, (hh - 72) / layout.h, 1.15));
  }
  function fit() {
    const { w, h: hh } = size(), k = scaleToFit();
    view = { k, x: (w - layout.w * k) / 2, y: (hh - layout.h * k) / 2 + 8 };
    apply();
  }
  function all() {
    fit();
    keep(true);
  }
  // A big graph opens where it can be read: at its left, or at the first task that failed or runs.
  function start() {
    const { w, h: hh } = size(), k = scaleToFit();
    if (k >= 0.5) return fit();
    const wanted = ["failed", "running", "up_for_retry", "queued"];
    const target = wanted.map((st) => layout.nodes.find((n) => stateOf(n) === st)).find(Boolean);
    const kk = layout.h * 0.62 < hh * 1.6 ? Math.max(k, Math.min(0.7, (hh - 72) / layout.h)) : 0.7;
    const zoomed = Math.max(0.5, kk);
    if (target) view = { k: zoomed, x: w / 2 - (target.x + target.w / 2) * zoomed, y: hh / 2 - (target.y + target.h / 2) * zoomed };
    else {
      const first = layout.nodes.reduce((a, b) => (b.x < a.x ? b : a), layout.nodes[0]);
      view = { k: zoomed, x: 40 - first.x * zoomed, y: hh / 2 - (first.y + first.h / 2) * zoomed };
      if (layout.h * zoomed < hh) view.y = (hh - layout.h * zoomed) / 2;
    }
    apply();
  }
  function zoom(by, cx = size().w / 2, cy = size().h / 2) {
    const k = Math.max(MIN, Math.min(MAX, view.k * by));
    view = { k, x: cx - ((cx - view.x) * k) / view.k, y: cy - ((cy - view.y) * k) / view.k };
    apply();
    keep();
  }
  svg.addEventListener("wheel", (e) => {
    e.preventDefault();
    const r = svg.getBoundingClientRect();
    if (e.shiftKey) {
      view = { ...view, x: view.x - e.deltaY - e.deltaX };
      apply();
      keep();
    } else zoom(Math.exp(-e.deltaY * (e.ctrlKey ? 0.01 : 0.0016)), e.clientX - r.left, e.clientY - r.top);
  }, { passive: false });
  let drag = null;
  svg.addEventListener("pointerdown", (e) => {
    if (e.button) return;
    drag = { x: e.clientX, y: e.clientY, vx: view.x, vy: view.y, moved: false };
  });
  svg.addEventListener("pointermove", (e) => {
    if (!drag) return;
    const dx = e.clientX - drag.x, dy = e.clientY - drag.y;
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    if (!drag.moved) svg.setPointerCapture(e.pointerId);
    drag.moved = true;
    svg.classList.add("dragging");
    view = { ...view, x: drag.vx + dx, y: drag.vy + dy };
    apply();
  });
  const drop = () => {
    svg.classList.remove("dragging");
    if (drag?.moved) keep();
    setTimeout(() => (drag = null));
  };
  svg.addEventListener("pointerup", drop);
  svg.addEventListener("pointercancel", drop);
  // To the nearest task that way; what lies askew counts as farther.
  function step(from, [dx, dy]) {
    const x = from.x + from.w / 2, y = from.y + from.h / 2;
    let best = null, least = Infinity;
    for (const n of nodes.values()) {
      const ax = n.x + n.w / 2 - x, ay = n.y + n.h / 2 - y;
      const along = ax * dx + ay * dy, askew = Math.abs(ax * dy) + Math.abs(ay * dx);
      if (n === from || along < 4 || along + 2 * askew >= least) continue;
      [best, least] = [n, along + 2 * askew];
    }
    if (best) focusOn(best);
  }
  // One task takes part in the page's order of focus, the others are reached from it.
  function focusOn(n) {
    for (const other of nodes.values()) other.el.setAttribute("tabindex", other === n ? "0" : "-1");
    n.el.focus({ preventScroll: true });
    const { w, h: hh } = size(), left = n.x * view.k + view.x, top = n.y * view.k + view.y;
    if (left < 0 || top < 0 || left + n.w * view.k > w || top + n.h * view.k > hh) {
      view = { ...view, x: w / 2 - (n.x + n.w / 2) * view.k, y: hh / 2 - (n.y + n.h / 2) * view.k };
      apply();
    }
  }
  svg.addEventListener("keydown", (e) => {
    const from = [...nodes.values()].find((n) => n.el === e.target);
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (from && way) {
      e.preventDefault();
      step(from, way);
      return;
    }
    if (from && from.kind === "closed" && e.key === "Enter") {
      toggle(from.id);
      return;
    }
    if (e.target === svg && e.key === "Enter" && nodes.size) {
      focusOn(nodes.get(center()) ?? [...nodes.values()].find((n) => n.state === "failed") ?? nodes.values().next().value);
      return;
    }
    const pan = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[e.key];
    if (pan) {
      e.preventDefault();
      view = { ...view, x: view.x + pan[0], y: view.y + pan[1] };
      apply();
      keep();
    } else if (e.key === "+" || e.key === "=") zoom(1.3);
    else if (e.key === "-") zoom(1 / 1.3);
    else if (e.key === "0") all();
  });

  // --- map ---
  function drawMini() {
    const k = Math.min(172 / layout.w, 102 / layout.h), { w, h: hh } = size();
    mini.hidden = view.k < scaleToFit() * 1.25;
    if (mini.hidden) return;
    const c = mini.getContext("2d"), style = getComputedStyle(svg);
    c.clearRect(0, 0, 180, 110);
    const colors = {};
    for (const n of nodes.values()) {
      c.fillStyle = colors[n.state] ??= getComputedStyle(n.el).getPropertyValue("--s") || style.color;
      c.globalAlpha = n.state && n.state !== "none" ? 0.9 : 0.3;
      c.fillRect(4 + n.x * k, 4 + n.y * k, Math.max(1.2, n.w * k), Math.max(1.2, n.h * k));
    }
    c.globalAlpha = 1;
    c.strokeStyle = style.color;
    c.strokeRect(4 + (-view.x / view.k) * k, 4 + (-view.y / view.k) * k, (w / view.k) * k, (hh / view.k) * k);
  }
  const jump = (e) => {
    const r = mini.getBoundingClientRect(), k = Math.min(172 / layout.w, 102 / layout.h), { w, h: hh } = size();
    view = { ...view, x: w / 2 - ((e.clientX - r.left - 4) / k) * view.k, y: hh / 2 - ((e.clientY - r.top - 4) / k) * view.k };
    apply();
    keep();
  };
  mini.addEventListener("pointerdown", (e) => {
    mini.setPointerCapture(e.pointerId);
    jump(e);
  });
  mini.addEventListener("pointermove", (e) => e.buttons && jump(e));

  // --- drawing ---
  const taskHref = (id) => {
    if (data.hrefs) return data.hrefs[id] ?? null;
    if (!data.run_id) return null;
    const page = data.mapped[id] ? "run" : "task";
    return `${page}?${new URLSearchParams({ dag_id: data.dag_id, run_id: data.run_id, task_id: id })}`;
  };
  function toggle(id) {
    const closed = new Set(layout.closed);
    closed.has(id) ? closed.delete(id) : closed.add(id);
    go(withParams({ closed: [...closed].join(",") || "-" }), { replace: true });
  }
  function build() {
    nodes = new Map();
    edges = [];
    labels = [];
    for (const b of layout.boxes) {
      const g = s("g", { class: `gr-box ${b.kind}`, transform: `translate(${b.x} ${b.y})` }, s("rect", { width: b.w, height: b.h, rx: 10 }));
      if (b.label) {
        const label = s("g", { class: "gr-boxlabel", role: "button", tabindex: "0", "aria-label": _("Fold {name}", { name: b.id }) },
          s("text", { x: 14, y: 19 }, cut(b.label, Math.max(90, b.w - 30), 7)), s("title", {}, _("{name}: click to fold", { name: b.tip || b.id })));
        label.addEventListener("click", () => drag?.moved || toggle(b.id));
        label.addEventListener("keydown", (e) => e.key === "Enter" && toggle(b.id));
        labels.push(label);
        g.append(label);
      }
      world.append(g);
    }
    const lines = s("g");
    for (const e of layout.edges) {
      const el = s("path", { class: "gr-edge", d: path(e.points), "marker-end": "url(#arrow)" });
      lines.append(el);
      edges.push({ ...e, el });
      if (e.label) {
        const [x, y] = e.at;
        const w = e.label.length * 6.2 + 12;
        lines.append(s("g", { class: "gr-edgelabel", transform: `translate(${x} ${y})` }, s("rect", { x: -w / 2, y: -9, width: w, height: 18, rx: 9 }), s("text", { y: 4, "text-anchor": "middle" }, e.label)));
      }
    }
    world.append(lines);
    for (const n of layout.nodes) {
      const a = s("a", { class: `gr-node ${n.kind}`, transform: `translate(${n.x} ${n.y})`, "data-tip": "" },
        s("rect", { class: "card", width: n.w, height: n.h, rx: 8 }),
        s("path", { class: "edgebar", d: `M8 0H5.5A5.5 5.5 0 0 0 0 5.5V${n.h - 5.5}A5.5 5.5 0 0 0 5.5 ${n.h}H8Z` }),
        s("text", { class: "name", x: 16, y: n.h / 2 - 3 }, cut(n.label, n.w - 40, 6.9)),
        s("text", { class: "sub", x: 16, y: n.h / 2 + 12 }, ""),
        s("circle", { class: "dot", cx: n.w - 14, cy: n.h / 2, r: 5 }));
      a.addEventListener("click", (e) => {
        e.preventDefault();
        e.stopPropagation();
        if (drag?.moved) return;
        if (n.kind === "closed") toggle(n.id);
        else if (taskHref(n.id)) open(e, taskHref(n.id));
      });
      a.addEventListener("pointerenter", () => near(n.id, true));
      a.addEventListener("pointerleave", () => near(n.id, false));
      const it = { ...n, el: a, state: null };
      a._tip = () => tip(it);
      a.setAttribute("tabindex", nodes.size ? "-1" : "0");
      nodes.set(n.id, it);
      world.append(a);
    }
    groupTools.hidden = !layout.groups.length;
  }
  function near(id, on) {
    svg.classList.toggle("hovering", on);
    for (const e of edges) {
      if (e.from !== id && e.to !== id) continue;
      e.el.classList.toggle("near", on);
      for (const other of [e.from, e.to]) nodes.get(other)?.el.classList.toggle("near", on);
    }
    nodes.get(id)?.el.classList.toggle("near", on);
  }
  // In the graph of DAGs and assets an id has its kind before it.
  const named = (n) => (data.hrefs ? n.label : n.id);
  function tip(n) {
    const out = [named(n)];
    if (n.tip) out.push(n.tip);
    if (n.state) out.push(word(n.state));
    if (data.held?.[n.id]) out.push(data.held[n.id]);
    const c = countsOf(n);
    if (c) out.push(Object.entries(c).map(([k, v]) => `${v} ${word(k)}`).join(", "));
    return out;
  }
  function countsOf(n) {
    if (n.kind !== "closed") return data.mapped[n.id] ?? null;
    const out = {};
    for (const id of n.members) {
      const st = data.states[id];
      if (st) out[st] = (out[st] ?? 0) + 1;
    }
    return Object.keys(out).length ? out : null;
  }
  function stateOf(n, c = countsOf(n)) {
    if (n.kind === "closed") return c ? worst(Object.keys(c)) : null;
    return data.states[n.id] ?? null;
  }
  function paint() {
    const used = new Set();
    for (const n of nodes.values()) {
      const c = countsOf(n);
      const st = stateOf(n, c);
      if (st) used.add(st);
      const held = data.held?.[n.id] ?? null;
      const text = JSON.stringify([st, c, data.run_id, held]);
      if (n.painted === text) continue;
      n.painted = text;
      n.state = st;
      st ? n.el.setAttribute("data-s", st) : n.el.removeAttribute("data-s");
      const href = n.kind === "closed" ? null : taskHref(n.id);
      href ? n.el.setAttribute("href", href) : n.el.removeAttribute("href");
      n.el.setAttribute("aria-label", [named(n), st ? word(st) : "", held].filter(Boolean).join(": "));
      n.el.classList.toggle("held", !!held);
      const total = c ? Object.values(c).reduce((a, b) => a + b, 0) : 0;
      const sub = n.kind === "closed" ? ngettext("{n} task", "{n} tasks", n.members.length) : held ?? (n.mapped ? (c ? `${n.sub} [${total}]` : `${n.sub} [ ]`) : n.sub);
      n.el.querySelector(".sub").textContent = cut(sub, n.w - 40, 5.9);
      n.el.classList.toggle("counted", !!c);
      n.el.querySelector(".parts")?.remove();
      if (c) {
        const parts = s("g", { class: "parts" });
        n.el.append(parts);
        let x = 16;
        const w = n.w - 44;
        for (const k of [...ORDER].reverse()) {
          if (!c[k]) continue;
          const width = (w * c[k]) / total;
          parts.append(s("rect", { "data-s": k, x, y: n.h - 7, width: Math.max(1, width - 0.5), height: 3, rx: 1 }));
          x += width;
        }
      }
    }
    for (const e of edges) e.el.classList.toggle("held", !!data.held?.[e.to] && (!!data.held[e.from] || data.states[e.from] === "failed"));
    legend.replaceChildren(...[...used].sort().map((st) => state(st)));
    search();
  }
  function search() {
    const q = find.value.trim().toLowerCase();
    svg.classList.toggle("searching", !!q);
    let first = null;
    for (const n of nodes.values()) {
      const hit = !!q && (n.id.toLowerCase().includes(q) || (n.members ?? []).some((m) => m.toLowerCase().includes(q)));
      n.el.classList.toggle("hit", hit);
      if (hit && !first) first = n;
    }
    return first;
  }
  function seek() {
    const n = search(), { w, h: hh } = size();
    if (!n) return;
    const k = Math.max(view.k, 0.7);
    view = { k, x: w / 2 - (n.x + n.w / 2) * k, y: hh / 2 - (n.y + n.h / 2) * k };
    apply();
  }
  find.addEventListener("input", () => {
    clearTimeout(keeping);
    replace({ find: find.value, at: (kept = "") });
    seek();
  });
  find.addEventListener("keydown", (e) => e.stopPropagation());

  const resize = new ResizeObserver(() => layout && apply());
  resize.observe(svg);

  return {
    follows: true,
    async update(next) {
      data = next;
      if (next.find) {
        find.placeholder = next.find;
        find.setAttribute("aria-label", next.find);
      }
      if (next.layout !== url) {
        const wanted = (url = next.layout);
        box.classList.add("loading");
        let got;
        try {
          const answer = await fetch(new URL(wanted, document.baseURI));
          if (!answer.ok) throw new Error(await answer.text());
          got = await answer.json();
        } catch (error) {
          if (url !== wanted) return;
          url = null;
          box.classList.remove("loading");
          legend.replaceChildren(h("span", { class: "muted" }, _("The graph could not be loaded: {error}", { error: error.message })));
          return;
        }
        if (url !== wanted) return;
        const known = layout !== null && layout.dag_id === got.dag_id;
        const anchor = known ? center() : null;
        layout = got;
        // As high as it needs to be, at most what the window has left.
        box.style.setProperty("--need", `${Math.round(Math.max(340, layout.h * 1.15 + 150))}px`);
        // The view comes before the nodes: to measure after them would lay out and style all of them twice.
        world.replaceChildren();
        box.classList.remove("loading");
        const n = anchor && layout.nodes.find((one) => one.id === anchor);
        find.value = here().get("find") ?? "";
        if (!known && obey()) {
          // As the link says.
        } else if (views.has(wanted) && !known) {
          view = views.get(wanted);
          tell();
          apply();
        } else if (n) {
          const { w, h: hh } = size();
          view = { ...view, x: w / 2 - (n.x + n.w / 2) * view.k, y: hh / 2 - (n.y + n.h / 2) * view.k };
          apply();
          if (kept) keep();
        } else start();
        show();
        build();
        paint();
        if (find.value && !known && !kept) seek();
        return;
      }
      if (!layout) return;
      // Back and forward change the address only.
      if (find.value !== (here().get("find") ?? "")) {
        find.value = here().get("find") ?? "";
        if (find.value) seek();
      }
      if (!keeping && (here().get("at") ?? "") !== kept) obey() || fit();
      paint();
    },
    destroy() {
      clearTimeout(keeping);
      resize.disconnect();
    },
  };
  // The node in the middle of what is seen: it stays there when groups fold.
  function center() {
    if (view.k < scaleToFit() * 1.2) return null;
    const { w, h: hh } = size(), cx = (w / 2 - view.x) / view.k, cy = (hh / 2 - view.y) / view.k;
    let best = null, least = Infinity;
    for (const n of nodes.values()) {
      const away = Math.hypot(n.x + n.w / 2 - cx, n.y + n.h / 2 - cy);
      if (away < least) [best, least] = [n.id, away];
    }
    return best;
  }
});
