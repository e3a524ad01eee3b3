// When each task of a run was ready, and the phases of each of its attempts. Unfinished bars grow by themselves.
// Data: {from, to, rows: [{key, label, href, s, ready, queued, start, end, tries: [{n, kind, s, on, t: [7 times]}]}]};
// times are milliseconds or null. A row without attempts (a mapped task, one that needs no worker) is one bar.
// Zoom: drag over a stretch of time, the wheel over the axis (anywhere with Ctrl), the buttons, or + and -; the arrows
// move, 0 shows the whole. What is seen stands in the page's address as zoom=FROM-TO, milliseconds after the start.
import { _, bothZones, component, h, here, icon, reconcile, replace, shortStamp, span, word } from "./base.js";

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5, 432e5, 864e5];
// What lies between two times of an attempt.
const PHASES = [
  ["ready", _("waited for a slot")], ["queued", _("handed to a worker")], ["claimed", _("imported the DAG file")],
  ["imported", _("started")], ["run", _("ran")], ["ended", _("recorded")],
];
const CLOSEST = 4; // Milliseconds that fill the width at the closest look.

// Pairs of times that are known, each with its phase; the last one is open while the attempt is.
function parts(t) {
  const out = [];
  for (let i = 0; i < 6; i++) {
    if (t[i] === null || t[i] === undefined) continue;
    let j = i + 1;
    while (j < 7 && (t[j] === null || t[j] === undefined)) j++;
    if (j < 7 || i < 5) out.push([PHASES[i][0], t[i], j < 7 ? t[j] : null, PHASES[i][1]]);
    if (j >= 7) break;
  }
  return out;
}

export default component((root) => {
  const axis = h("div", { class: "gt-axis" });
  const body = h("div", { class: "gt-body" });
  const grid = h("div", { class: "gt-grid", "aria-hidden": "true" });
  const brush = h("div", { class: "gt-brush", hidden: true });
  const area = h("div", { class: "gt-area" }, grid, body, brush);
  const since = h("span", { class: "muted" });
  const tool = (name, label, press) => h("button", { class: "iconbutton", type: "button", "aria-label": label, title: label, onclick: press }, icon(name));
  const whole = h("button", { class: "button small", type: "button", hidden: true, onclick: () => look(null) }, icon("fit"), _("Whole run"));
  const tools = h("span", { class: "gt-tools" }, whole, tool("minus", _("Zoom out"), () => zoom(2)), tool("plus", _("Zoom in"), () => zoom(0.5)));
  const legend = h("div", { class: "gt-legend" }, PHASES.map(([name, words]) => h("span", {}, h("i", { class: name, "data-s": "success" }), words)));
  const box = h("div", { class: "gantt", tabindex: "0", role: "group", "aria-label": _("Time line. Plus and minus zoom, the arrow keys move, 0 shows the whole run.") },
    h("div", { class: "gt-head" }, h("div", { class: "gt-label" }, since, tools), axis), area);
  root.append(box, legend);
  let d = null;
  let view = null; // [from, to] in milliseconds after the start; null is the whole run.
  let shown = [0, 1];

  const tipOf = (r, t) => () => {
    const now = Date.now();
    if (t) {
      return [_("{name}, try {n}", { name: r.label, n: t.n }), [word(t.s), t.on && _("on {name}", { name: t.on }), ["", "try"].includes(t.kind) ? "" : t.kind].filter(Boolean).join(", "),
        ...parts(t.t).map(([, a, b, words]) => `${span((b ?? now) - a).padEnd(8)}  ${words}${b === null ? " " + _("so far") : ""}`),
        bothZones(t.t.find((x) => x !== null) ?? 0).split("\n")[0]];
    }
    const out = [r.label, word(r.s)];
    if (r.start) out.push(_("started {time}", { time: bothZones(r.start).split("\n")[0] }));
    if (r.ready && r.queued) out.push(_("ready for {t}", { t: span(r.queued - r.ready) }));
    if (r.queued && r.start) out.push(_("queued for {t}", { t: span(r.start - r.queued) }));
    if (r.start) out.push(_("ran for {t}", { t: span((r.end ?? now) - r.start) }));
    return out;
  };
  function bars(r) {
    if (!r.tries?.length) {
      return [[r, null, [["ready", r.ready, r.queued ?? r.start ?? r.end], ["queued", r.queued, r.start ?? r.end], ["run", r.start, r.end]]]];
    }
    return r.tries.map((t) => [r, t, parts(t.t)]);
  }

  const most = () => Math.max(1, (d.to ?? Date.now()) - d.from) * 1.02;

  // What is looked at, in the address too: a link pasted in a chat shows the same stretch.
  function look(next) {
    const end = most();
    if (next) {
      const width = Math.min(end, Math.max(CLOSEST, next[1] - next[0]));
      const from = Math.max(0, Math.min(next[0], end - width));
      next = width >= end * 0.999 ? null : [from, from + width];
    }
    view = next;
    replace({ zoom: view ? view.map((t) => Math.round(t)).join("-") : null });
    place();
  }
  function zoom(factor, at = 0.5) {
    const [a, b] = shown, middle = a + (b - a) * at, width = Math.max(CLOSEST, (b - a) * factor);
    look([middle - width * at, middle + width * (1 - at)]);
  }
  const move = (part) => view && look(view.map((t) => t + (view[1] - view[0]) * part));

  function place() {
    const now = Date.now();
    const [a0, b0] = (shown = view ?? [0, most()]), total = b0 - a0;
    const x = (ms) => (100 * (ms - d.from - a0)) / total;
    whole.hidden = !view;
    const step = STEPS.find((s) => total / s <= 9) ?? Math.ceil(total / 864e5 / 9) * 864e5;
    const ticks = [];
    for (let t = Math.ceil(a0 / step) * step; t <= a0 + total * 0.95; t += step) ticks.push(t);
    reconcile(axis, ticks, (t) => t, (t) => h("span", {}, t ? `+${span(t)}` : "0"), () => {});
    reconcile(grid, ticks, (t) => t, () => h("i"), () => {});
    for (const list of [axis, grid]) [...list.children].forEach((el, i) => (el.style.left = `${(100 * (ticks[i] - a0)) / total}%`));
    for (const row of body.children) {
      for (const el of row.lastChild.querySelectorAll("i")) {
        // Far outside of what is seen a bar ends somewhere: browsers give up on very wide ones.
        const [a, b] = el._at, left = Math.max(-50, x(a)), right = Math.min(150, x(b ?? now));
        el.style.display = right < 0 || left > 100 ? "none" : "";
        el.style.left = `${left}%`;
        el.style.width = `${Math.max(0, right - left)}%`;
      }
    }
  }

  // --- the pointer and the keys ---
  const part = (e) => {
    const r = axis.getBoundingClientRect();
    return Math.max(0, Math.min(1, (e.clientX - r.left) / r.width));
  };
  box.addEventListener("wheel", (e) => {
    if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
      if (!view) return;
      e.preventDefault();
      move((e.deltaX || e.deltaY) / axis.clientWidth);
    } else if (e.ctrlKey || e.metaKey || axis.contains(e.target)) {
      e.preventDefault();
      zoom(Math.exp(e.deltaY * (e.ctrlKey && Math.abs(e.deltaY) < 30 ? 0.01 : 0.002)), part(e));
    }
  }, { passive: false });
  let drag = null;
  box.addEventListener("pointerdown", (e) => {
    if (e.button || e.pointerType === "touch" || e.target.closest(".gt-label")) return;
    drag = { x: e.clientX, at: part(e), moved: false };
  });
  box.addEventListener("pointermove", (e) => {
    if (!drag || (!drag.moved && Math.abs(e.clientX - drag.x) < 4)) return;
    if (!drag.moved) {
      drag.moved = true;
      box.setPointerCapture(e.pointerId);
    }
    const at = part(e), [a, b] = [Math.min(at, drag.at), Math.max(at, drag.at)];
    const width = axis.getBoundingClientRect().width, start = axis.offsetLeft;
    brush.hidden = false;
    brush.style.left = `${start + a * width}px`;
    brush.style.width = `${(b - a) * width}px`;
    brush.textContent = span((b - a) * (shown[1] - shown[0]));
  });
  const drop = (e) => {
    if (drag?.moved && e.type === "pointerup") {
      const at = part(e), width = shown[1] - shown[0];
      const [a, b] = [Math.min(at, drag.at), Math.max(at, drag.at)];
      if (b > a) look([shown[0] + a * width, shown[0] + b * width]);
    }
    drag = null;
    brush.hidden = true;
  };
  box.addEventListener("pointerup", drop);
  box.addEventListener("pointercancel", drop);
  box.addEventListener("dblclick", (e) => {
    if (!e.target.closest(".gt-label")) look(null);
  });
  box.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const act = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => look(null),
      ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2) }[e.key];
    if (!act) return;
    e.preventDefault();
    e.stopPropagation();
    act();
  });
  function told() {
    const given = /^(\d+)-(\d+)$/.exec(here().get("zoom") ?? "")?.slice(1).map(Number);
    return given && given[1] > given[0] ? given : null;
  }
  const timer = setInterval(() => {
    if (d && d.to === null && !document.hidden) place();
  }, 1000);
  return {
    follows: true,
    update(data) {
      view = told();
      d = data;
      since.replaceChildren(_("from {time}", { time: shortStamp(d.from) }));
      since.title = bothZones(d.from);
      legend.hidden = !d.rows.some((r) => r.tries?.length);
      reconcile(body, d.rows, (r) => r.key,
        () => h("div", { class: "gt-row" }, h("a", { class: "gt-label" }), h("div", { class: "gt-line" })),
        (row, r) => {
          const [label, line] = row.children;
          label.textContent = r.label;
          label.title = r.label;
          label.setAttribute("href", r.href);
          line.setAttribute("data-s", r.s);
          line.replaceChildren(...bars(r).map(([of, t, phases]) => {
            return h("span", { class: "gt-try", "data-s": t ? t.s : of.s }, phases.filter(([, a]) => a !== null && a !== undefined).map(([name, a, b]) => {
              const el = h("i", { class: name === "run" ? "run bar" : name, "data-tip": "" });
              el._at = [a, b ?? null];
              el._tip = tipOf(of, t);
              return el;
            }));
          }));
        });
      place();
    },
    destroy: () => clearInterval(timer),
  };
});
