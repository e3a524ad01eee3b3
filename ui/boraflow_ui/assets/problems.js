// Things that are wrong, one box each: what, since when, in its own words.
// Data: {items: [{key, title, text, code, at, href, tone?}]}; the tone is error or warning.
import { component, h, icon, moment, reconcile } from "./base.js";

export default component((root) => {
  const list = h("div", { class: "problems" });
  root.append(list);
  return {
    update({ items }) {
      root.classList.toggle("gone", !items.length);
      reconcile(list, items, (i) => i.key, () => h("section", { class: "notice error" }), (el, i) => {
        el.className = `notice ${i.tone ?? "error"}`;
        el.replaceChildren(icon("warn"), h("div", {},
          h("div", { class: "problemhead" }, h("b", { class: "mono" }, i.href ? h("a", { href: i.href }, i.title) : i.title), h("span", { class: "grow" }), i.at ? moment(i.at) : ""),
          h("p", {}, i.text), i.code ? h("pre", {}, i.code) : ""));
      });
    },
  };
});
