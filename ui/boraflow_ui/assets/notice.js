// A sentence in a box: an empty state that says what to do next, a warning, an error with its text.
import { component, h, icon } from "./base.js";

// `back`: a page of the server's own, told in this parameter where to come back to.
function link(a) {
  const href = a.back ? `${a.href}?${new URLSearchParams({ [a.back]: location.pathname.split("/").at(-1) + location.search })}` : a.href;
  return h("a", { class: "button", href, "data-reload": !!a.back }, a.label);
}

export default component((root) => ({
  update({ title, text, tone, code, actions }) {
    root.replaceChildren(
      h("div", { class: `notice ${tone}`, role: tone === "error" ? "alert" : null },
        tone === "error" || tone === "warning" ? icon("warn") : null,
        h("div", {},
          h("b", {}, title),
          text ? h("p", {}, text) : null,
          code ? h("pre", {}, code) : null,
          actions.length ? h("p", {}, actions.map((a) => link(a))) : null)),
    );
  },
}));
