// A row of numbers, each a link to what it counts.
import { component, h, reconcile } from "./base.js";

export default component((root) => {
  const list = h("div", { class: "tiles" });
  root.append(list);
  return {
    update({ tiles }) {
      reconcile(list, tiles, (t) => t.label,
        (t) => h("a", { class: "tile" }, h("span", { class: "label" }), h("span", { class: "value" }), h("span", { class: "sub" }), h("span", { class: "meter" }, h("i"))),
        (el, t) => {
          const [label, value, sub, meter] = el.children;
          el.className = `tile ${t.tone ?? ""}`;
          if (t.href) el.setAttribute("href", t.href);
          label.textContent = t.label;
          value.textContent = t.value;
          sub.textContent = t.sub ?? "";
          meter.hidden = t.share === undefined || t.share === null;
          meter.firstChild.style.width = `${Math.round(100 * Math.min(1, t.share ?? 0))}%`;
        });
    },
  };
});
