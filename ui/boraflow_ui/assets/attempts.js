// The hand-outs of a task instance, newest first: how each ended, and how long each of its phases took.
// Data: {attempts: [{id, title, kind, outcome, executor, error, exit, pid, log, href, on, times: {ready, open, claim,
// import, start, end, close}}]}.
import { _, component, h, length, moment, reconcile, span, state } from "./base.js";

const PHASES = [
  ["ready", "open", _("waited"), _("Dependencies met → decision committed")],
  ["open", "claim", _("handed over"), _("Decision committed → a worker has it")],
  ["claim", "import", _("imported"), _("A worker has it → the DAG file is imported")],
  ["import", "start", _("prepared"), _("Imported → your code began")],
  ["start", "end", _("ran"), _("Your code")],
  ["end", "close", _("recorded"), _("Your code ended → outcome recorded")],
];

export default component((root) => {
  const list = h("div", { class: "attempts" });
  root.append(list);
  return {
    update({ attempts }) {
      reconcile(list, attempts, (a) => a.id, () => h("section", { class: "attempt" }), (el, a) => {
        const t = a.times;
        const parts = [];
        let last = null;
        for (const [from, to, name, tip] of PHASES) {
          const start = t[from] ?? last, end = t[to];
          if (end !== null && end !== undefined) {
            if (start !== null && start !== undefined) parts.push({ name, tip, ms: Math.max(0, end - start), run: name === _("ran") });
            last = end;
          }
        }
        const running = t.start && !t.end;
        el.classList.toggle("on", !!a.on);
        el.replaceChildren(
          h("div", { class: "attemptline" }, h("b", {}, a.title), state(a.outcome),
            h("span", { class: "muted" }, a.kind), h("span", { class: "grow" }),
            t.start ? moment(t.start) : t.open ? moment(t.open) : "", running ? length(t.start, null) : "",
            h("a", { class: "button small", href: a.href }, _("Log"))),
          a.error ? h("pre", { class: "errortext" }, a.error) : "",
          parts.length ? h("div", { class: "phases" }, parts.map((p) => h("span", { class: p.run ? "run" : "", "data-s": p.run ? a.outcome : null, style: { flex: `${Math.max(Math.sqrt(p.ms), 0.5)} 1 84px` }, "data-tip": `${p.tip}\n${span(p.ms)}` }, h("i"), h("span", {}, p.name), h("b", {}, span(p.ms))))) : "",
          h("dl", { class: "facts small" },
            [[_("Executor"), a.executor], [_("Process"), a.pid || null], [_("Exit code"), a.exit], [_("Log"), a.log], [_("Attempt"), a.id]]
              .filter(([, v]) => v !== null && v !== undefined && v !== "")
              .map(([k, v]) => h("div", {}, h("dt", {}, k), h("dd", {}, String(v))))));
      });
    },
  };
});
