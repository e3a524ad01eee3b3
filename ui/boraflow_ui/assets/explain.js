// Why a task instance is where it is: the scheduler's own conditions, the blocking ones first, and its story.
import { _, component, h, icon, state } from "./base.js";

export default component((root) => ({
  update(d) {
    const blocked = d.conditions.filter((c) => !c.met);
    root.replaceChildren(
      h("div", { class: "explain" },
        h("div", { class: "verdict" }, state(d.state), h("b", {}, d.summary)),
        d.conditions.length ? h("ul", { class: "conditions" }, d.conditions.map((c) =>
          h("li", { class: c.met ? "met" : "unmet" }, h("span", { class: "mark" }, icon(c.met ? "check" : "close", c.met ? _("holds") : _("does not hold"))), h("code", {}, c.name), h("span", {}, c.detail)))) : "",
        !blocked.length && d.conditions.length ? h("p", { class: "muted" }, _("Nothing holds it back.")) : "",
        d.story.length ? [h("h3", {}, _("What happened so far")), h("ol", { class: "story" }, d.story.map((line) => {
          const [time, ...rest] = line.split("  ");
          return h("li", {}, rest.length ? [h("time", {}, time), h("span", {}, rest.join("  "))] : h("span", {}, line));
        }))] : ""));
  },
}));
