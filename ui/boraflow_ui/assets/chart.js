// Bars over time, each stacked of parts: runs by state, or how long runs took. A bar may be a link.
// Data: {title, unit: "n" | "ms", bars: [{key, at, href?, parts: [[kind, value]], tip: [line]}], legend: [[kind, label]],
// mean?, height?, empty?}. A kind is a state, or "wait".
import { _, bothZones, component, h, reconcile, shortStamp, span } from "./base.js";

const NICE = [1, 2, 3, 4, 5, 6, 8, 10];
function top(most, unit) {
  if (!most) return 1;
  // Of times, steps that people count in.
  const steps = unit === "ms" ? [1, 1e3, 6e4, 36e5, 864e5] : [1];
  const base = steps.filter((s) => s <= most).at(-1) ?? 1;
  const n = most / base, ten = 10 ** Math.floor(Math.log10(n));
  const nice = NICE.find((k) => k * ten >= n) * ten;
  return (base === 1e3 || base === 6e4 ? Math.min(nice, Math.ceil(n / 10) * 10 || nice) : nice) * base;
}

export default component((root) => {
  const title = h("div", { class: "ch-title", role: "heading", "aria-level": "2" });
  const legend = h("div", { class: "ch-legend" });
  const scale = h("div", { class: "ch-scale" });
  const bars = h("div", { class: "ch-bars", role: "group" });
  const axis = h("div", { class: "ch-axis" });
  const mean = h("div", { class: "ch-mean", hidden: true });
  const empty = h("div", { class: "ch-empty", hidden: true });
  const plot = h("div", { class: "ch-plot" }, h("div", { class: "ch-lines" }), mean, bars);
  root.append(h("div", { class: "chart" }, h("div", { class: "ch-head" }, title, legend), h("div", { class: "ch-body" }, scale, plot), axis, empty));
  return {
    update(d) {
      title.textContent = d.title ?? "";
      bars.setAttribute("aria-label", title.textContent);
      legend.replaceChildren(...(d.legend ?? []).map(([kind, label]) => h("span", {}, h("i", { "data-s": kind }), label)));
      plot.style.height = scale.style.height = `${d.height ?? 150}px`;
      const total = (b) => b.parts.reduce((n, [, v]) => n + (v ?? 0), 0);
      const most = top(Math.max(0, d.mean ?? 0, ...d.bars.map(total)), d.unit);
      const say = (v) => (d.unit === "ms" ? span(v).replace(/ 0 h$/, "") : v.toLocaleString("en"));
      scale.replaceChildren(...[1, 0.5, 0].map((f) => h("span", { style: { bottom: `${100 * f}%` } }, f === 0.5 && d.unit === "n" && most % 2 ? "" : f ? say(most * f) : "0")));
      mean.hidden = !d.mean;
      if (d.mean) {
        mean.style.bottom = `${(100 * d.mean) / most}%`;
        mean.setAttribute("data-label", _("median {t}", { t: say(d.mean) }));
      }
      reconcile(bars, d.bars, (b) => b.key, (b) => h(b.href ? "a" : "span", { class: "ch-bar", "data-tip": "", role: b.href ? null : "img" }), (el, b) => {
        if (b.href) el.setAttribute("href", b.href);
        el._tip = () => [bothZones(b.at).split("\n")[0].replace(".000", ""), ...b.tip];
        el.setAttribute("aria-label", [shortStamp(b.at), ...b.tip].join(", "));
        el.replaceChildren(...b.parts.filter(([, v]) => v).map(([kind, v]) => h("i", { "data-s": kind })));
      });
      // Heights depend on the highest bar: set them for all.
      d.bars.forEach((b, i) => {
        const parts = b.parts.filter(([, v]) => v);
        [...bars.children[i].children].forEach((el, k) => (el.style.height = `${(100 * parts[k][1]) / most}%`));
      });
      // As many as there is room for.
      const wide = Math.min(46, (axis.clientWidth || 700) / Math.max(1, d.bars.length));
      const every = Math.max(1, Math.ceil(88 / wide));
      axis.replaceChildren(...d.bars.map((b, i) => h("span", {}, i % every ? "" : shortStamp(b.at).replace(/(\d\d:\d\d):\d\d$/, "$1"))));
      bars.classList.toggle("dense", d.bars.length > 60);
      empty.hidden = d.bars.some((b) => total(b) > 0);
      empty.textContent = d.empty ?? _("Nothing yet");
    },
  };
});
