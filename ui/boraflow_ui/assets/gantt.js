// When each task of a run was ready, and the phases of each of its attempts. Unfinished bars grow by themselves.
// Data: {from, to, rows: [{key, label, href, s, ready, queued, start, end, tries: [{n, kind, s, on, t: [7 times]}]}]};
// times are milliseconds or null. A row without attempts (a mapped task, one that needs no worker) is one bar.
import { _, bothZones, component, h, reconcile, span, word } from "./base.js";

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5, 432e5, 864e5];
// What lies between two times of an attempt.
const PHASES = [
  ["ready", _("waited for a slot")], ["queued", _("handed to a worker")], ["claimed", _("imported the DAG file")],
  ["imported", "started"], ["run", "ran"], ["ended", "recorded"],
];

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
  const legend = h("div", { class: "gt-legend" }, PHASES.map(([name, words]) => h("span", {}, h("i", { class: name, "data-s": "success" }), words)));
  root.append(h("div", { class: "gantt" }, h("div", { class: "gt-head" }, h("div", { class: "gt-label muted" }, _("Task")), axis), body), legend);
  let d = null;

  const tipOf = (r, t) => () => {
    const now = Date.now();
    if (t) {
      return [`${r.label}, try ${t.n}`, `${word(t.s)}${t.on ? ` on ${t.on}` : ""}${["", "try"].includes(t.kind) ? "" : `, ${t.kind}`}`,
        ...parts(t.t).map(([, a, b, words]) => `${span((b ?? now) - a).padEnd(8)}  ${words}${b === null ? " so far" : ""}`),
        bothZones(t.t.find((x) => x !== null) ?? 0).split("\n")[0]];
    }
    const out = [r.label, word(r.s)];
    if (r.start) out.push(`started ${bothZones(r.start).split("\n")[0]}`);
    if (r.ready && r.queued) out.push(_("ready for {t}", { t: span(r.queued - r.ready) }));
    if (r.queued && r.start) out.push(_("queued for {t}", { t: span(r.start - r.queued) }));
    if (r.start) out.push(`ran ${span((r.end ?? now) - r.start)}`);
    return out;
  };
  function bars(r) {
    if (!r.tries?.length) {
      return [[r, null, [["ready", r.ready, r.queued ?? r.start ?? r.end], ["queued", r.queued, r.start ?? r.end], ["run", r.start, r.end]]]];
    }
    return r.tries.map((t) => [r, t, parts(t.t)]);
  }

  function place() {
    const now = Date.now();
    const to = d.to ?? now, total = Math.max(1, to - d.from) * 1.02;
    const pct = (ms) => `${(100 * Math.max(0, ms - d.from)) / total}%`;
    const step = STEPS.find((s) => total / s <= 9) ?? 864e5;
    const ticks = [];
    for (let t = 0; t <= total * 0.95; t += step) ticks.push(t);
    reconcile(axis, ticks, (t) => t, (t) => h("span", {}, t ? `+${span(t)}` : "0"), () => {});
    [...axis.children].forEach((el, i) => (el.style.left = `${(100 * ticks[i]) / total}%`));
    body.style.setProperty("--step", `${(100 * step) / total}%`);
    for (const row of body.children) {
      for (const el of row.lastChild.querySelectorAll("i")) {
        const [a, b] = el._at;
        el.style.left = pct(a);
        el.style.width = `${(100 * Math.max(0, (b ?? now) - a)) / total}%`;
      }
    }
  }
  const timer = setInterval(() => {
    if (d && d.to === null && !document.hidden) place();
  }, 1000);
  return {
    update(data) {
      d = data;
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
