// A heading between parts of a page.
import { component, h } from "./base.js";

export default component((root) => ({
  update({ text }) {
    root.replaceChildren(h("div", { class: "h3", role: "heading", "aria-level": "2" }, text));
  },
}));
