// What changed between two texts: lines that went, lines that came, a few around them.
// Data: {changes: [[kind, text]], hunks: [[[kind, old number, new number, text]]]}; a kind is " ", "-" or "+".
import { _, component, h } from "./base.js";

export default component((root) => ({
  update({ changes, hunks }) {
    root.replaceChildren(
      changes.length ? h("div", { class: "df-changes" }, changes.map(([kind, text]) => h("span", { class: `df-chip ${kind === "+" ? "came" : kind === "-" ? "went" : ""}` }, text))) : "",
      h("div", { class: "diff", tabindex: "0", role: "region", "aria-label": _("Changes") }, hunks.flatMap((lines, i) => [
        i ? h("div", { class: "df-gap" }, "⋯") : "",
        ...lines.map(([kind, a, b, text]) => h("div", { class: `df-line ${kind === "+" ? "came" : kind === "-" ? "went" : ""}` },
          h("span", { class: "df-no" }, a ?? ""), h("span", { class: "df-no" }, b ?? ""), h("span", { class: "df-mark" }, kind), h("code", {}, text))),
      ])));
  },
}));
