// Which run's states the graph shows: the newest runs as bars, the chosen one by name.
import { _, bothZones, component, h, reconcile, span, state, turns, word } from "./base.js";

export default component((root) => {
  const bars = h("span", { class: "strip pick" });
  const name = h("a");
  const badge = h("span");
  root.append(h("div", { class: "picker" }, h("span", { class: "muted" }, _("States of")), name, badge, h("span", { class: "grow" }), bars));
  return {
    update({ runs, of, state: now, version }) {
      name.textContent = of;
      name.href = `run?${new URLSearchParams({ dag_id: new URLSearchParams(location.search).get("dag_id"), run_id: of })}`;
      badge.replaceChildren(state(now), h("span", { class: "note" }, `v${version}`));
      const top = Math.max(1, ...runs.map((r) => r.d ?? 0));
      reconcile(bars, runs.map((r) => ({ ...r, on: r.id === of })), (r) => r.id, () => h("a", { "data-tip": "" }, h("i")), (a, r) => {
        a.setAttribute("data-s", r.s);
        a.className = r.on ? "on" : "";
        // Another run has another time line.
        turns(a, { of: r.id, zoom: null });
        a.setAttribute("aria-label", _("Show {name}", { name: r.id }));
        a._tip = () => [word(r.s), r.id, bothZones(r.at).split("\n")[0], ...(r.d === null ? [] : [span(r.d)])];
        a.firstChild.style.height = `${r.d === null ? 22 : Math.max(4, Math.round((22 * r.d) / top))}px`;
      });
    },
  };
});
