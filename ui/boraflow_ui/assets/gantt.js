// When each task of a run was ready, queued and running. Unfinished bars grow by themselves.
// Data: {from, to, rows: [{key, label, href, s, ready, queued, start, end, sub}]}; times are milliseconds or null.
import { bothZones, component, h, reconcile, span, word } from "./base.js";

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5, 432e5, 864e5];

export default component((root) => {
  const axis = h("div", { class: "gt-axis" });
  const body = h("div", { class: "gt-body" });
  root.append(h("div", { class: "gantt" }, h("div", { class: "gt-head" }, h("div", { class: "gt-label muted" }, "Task"), axis), body));
  let d = null;

  function place() {
    const now = Date.now();
    const to = d.to ?? now, total = Math.max(1, to - d.from) * 1.02;
    const pct = (ms) => `${(100 * Math.max(0, ms - d.from)) / total}%`;
    const step = STEPS.find((s) => total / s <= 9) ?? 864e5;
    const ticks = [];
    for (let t = 0; t <= total; t += step) ticks.push(t);
    reconcile(axis, ticks, (t) => t, (t) => h("span", {}, t ? `+${span(t)}` : "0"), () => {});
    [...axis.children].forEach((el, i) => (el.style.left = `${(100 * ticks[i]) / total}%`));
    body.style.setProperty("--step", `${(100 * step) / total}%`);
    for (const row of body.children) {
      const r = row._row, [wait, queue, bar] = row.lastChild.children;
      const put = (el, a, b) => {
        el.hidden = a === null || a === undefined;
        if (el.hidden) return;
        el.style.left = pct(a);
        el.style.width = `${(100 * Math.max(0, (b ?? now) - a)) / total}%`;
      };
      put(wait, r.ready, r.queued ?? r.start ?? r.end);
      put(queue, r.queued, r.start ?? r.end);
      put(bar, r.start, r.end);
    }
  }
  const timer = setInterval(() => {
    if (d && d.to === null && !document.hidden) place();
  }, 1000);
  return {
    update(data) {
      d = data;
      reconcile(body, d.rows, (r) => r.key,
        () => {
          const row = h("div", { class: "gt-row" }, h("a", { class: "gt-label" }), h("div", { class: "gt-line", "data-tip": "" }, h("i", { class: "wait" }), h("i", { class: "queue" }), h("i", { class: "bar" })));
          row.lastChild._tip = () => {
            const r = row._row, out = [r.label, word(r.s)];
            if (r.start) out.push(`started ${bothZones(r.start).split("\n")[0]}`);
            if (r.ready && r.queued) out.push(`ready for ${span(r.queued - r.ready)}`);
            if (r.queued && r.start) out.push(`queued for ${span(r.start - r.queued)}`);
            if (r.start) out.push(`ran ${span((r.end ?? Date.now()) - r.start)}`);
            return out;
          };
          return row;
        },
        (row, r) => {
          row._row = r;
          const [label, line] = row.children;
          label.textContent = r.label;
          label.title = r.label;
          label.setAttribute("href", r.href);
          line.setAttribute("data-s", r.s);
        });
      place();
    },
    destroy: () => clearInterval(timer),
  };
});
