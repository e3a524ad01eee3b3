// Sections of names and values.
import { _, component, h, value } from "./base.js";

export default component((root) => ({
  update({ sections }) {
    root.replaceChildren(h("div", { class: "details" }, sections.map((s) =>
      h("section", {}, h("h3", {}, s.title),
        s.facts.length ? h("dl", {}, s.facts.map((f) => h("div", {}, h("dt", {}, f.label), h("dd", {}, value(f.value), f.note ? h("div", { class: "sub" }, f.note) : "")))) : h("p", { class: "muted" }, s.empty ?? _("None."))))));
  },
}));
