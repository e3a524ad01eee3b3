// The instances of a mapped task beside the one that is shown: a square each, in the colour of its state.
// Data: {items: [{i, label, s, href}], at, all: href, total}.
import { _, component, h, icon, reconcile, word } from "./base.js";

export default component((root) => {
  const back = h("a", { class: "iconbutton", "aria-label": _("Instance before") }, icon("chevron"));
  const on = h("a", { class: "iconbutton", "aria-label": _("Instance after") }, icon("chevron"));
  back.style.transform = "scaleX(-1)";
  const squares = h("div", { class: "squares" });
  const all = h("a", {});
  root.append(h("nav", { class: "siblings", "aria-label": _("Instances of the mapped task") }, back, squares, on, all));
  return {
    update({ items, at, all: href, total }) {
      const here = items.findIndex((i) => i.i === at);
      for (const [a, to] of [[back, items[here - 1]], [on, items[here + 1]]]) {
        a.toggleAttribute("hidden", !to || here < 0);
        if (to) a.setAttribute("href", to.href);
      }
      all.href = href;
      all.textContent = _("All {n}", { n: total.toLocaleString("en") });
      reconcile(squares, items.map((i) => ({ ...i, on: i.i === at })), (i) => i.i, () => h("a", { "data-tip": "" }), (a, i) => {
        a.href = i.href;
        a.className = i.on ? "on" : "";
        a.setAttribute("data-s", i.s);
        a.setAttribute("aria-label", `${i.label}: ${word(i.s)}`);
        a.setAttribute("aria-current", i.on ? "page" : "false");
        a._tip = () => [i.label, word(i.s)];
      });
    },
  };
});
