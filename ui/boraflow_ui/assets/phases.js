// How long each phase of many attempts took: half of them, 95 % of them, the longest, on one logarithmic scale.
// Data: {rows: [{key, label, tip, count, p50, p95, max, run}]}, milliseconds.
import { _, component, h, span } from "./base.js";

const at = (ms, top) => (100 * Math.log10(1 + Math.max(0, ms))) / Math.log10(1 + top);

export default component((root) => ({
  update({ rows }) {
    const top = Math.max(10, ...rows.map((r) => r.max));
    const ticks = [1, 10, 100, 1000, 10000, 60000, 600000, 3600000, 86400000].filter((t) => t < top);
    root.replaceChildren(h("div", { class: "ph" },
      h("div", { class: "ph-row ph-head" }, h("span", {}, _("Phase")), h("span", { class: "ph-axis" }, ticks.map((t) => h("i", { style: { left: `${at(t, top)}%` } }, span(t)))),
        h("span", {}, _("Half")), h("span", {}, "95 %"), h("span", {}, _("Longest")), h("span", {}, _("Attempts"))),
      rows.map((r) => h("div", { class: `ph-row ${r.run ? "run" : ""}` },
        h("span", { class: "ph-name", "data-tip": r.tip }, r.label),
        h("span", { class: "ph-bar", "data-tip": [r.label, _("Half: {t}", { t: span(r.p50) }), _("95 %: {t}", { t: span(r.p95) }), _("Longest: {t}", { t: span(r.max) })].join("\n") },
          ticks.map((t) => h("u", { style: { left: `${at(t, top)}%` } })),
          r.count ? [h("i", { class: "max", style: { width: `${at(r.max, top)}%` } }), h("i", { class: "p95", style: { width: `${at(r.p95, top)}%` } }), h("i", { class: "p50", style: { width: `${at(r.p50, top)}%` } })] : ""),
        r.count ? [h("span", { class: "num" }, span(r.p50)), h("span", { class: "num" }, span(r.p95)), h("span", { class: "num" }, span(r.max))] : [h("span", { class: "none" }, "–"), h("span", { class: "none" }, "–"), h("span", { class: "none" }, "–")],
        h("span", { class: "num muted" }, r.count.toLocaleString("en"))))));
  },
}));
