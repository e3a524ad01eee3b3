// The line at the top that says which service is down, since when, and what helps.
import { component, h, icon, moment, reconcile } from "./base.js";

export default component((root) => {
  const list = h("div", { class: "banners", role: "status" });
  root.append(list);
  return {
    update({ items }) {
      root.classList.toggle("gone", !items.length);
      reconcile(list, items, (i) => i.title, (i) =>
        h("div", { class: `banner ${i.tone}` }, icon("warn"),
          h("div", {}, h("b", {}, i.title), i.since ? [" ", moment(i.since)] : "", h("p", {}, i.text),
            i.code ? h("code", {}, i.code) : null)));
    },
  };
});
