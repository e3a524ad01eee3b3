// A sentence in a box: an empty state that says what to do next, a warning, an error with its text.
import { component, h, icon } from "./base.js";

export default component((root) => ({
  update({ title, text, tone, code, actions }) {
    root.replaceChildren(
      h("div", { class: `notice ${tone}`, role: tone === "error" ? "alert" : null },
        tone === "error" || tone === "warning" ? icon("warn") : null,
        h("div", {},
          h("b", {}, title),
          text ? h("p", {}, text) : null,
          code ? h("pre", {}, code) : null,
          actions.length ? h("p", {}, actions.map((a) => h("a", { class: "button", href: a.href }, a.label))) : null)),
    );
  },
}));
