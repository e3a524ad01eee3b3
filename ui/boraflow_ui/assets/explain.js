// Why a task instance is where it is: the scheduler's own conditions, the blocking ones first, and its story.
import { _, component, h, icon, moment, state } from "./base.js";

// Times within a sentence are shown as everywhere: in the reader's zone or UTC, both on hover.
const STAMP = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))/;
const timed = (text) => text.split(STAMP).map((part, i) => (i % 2 ? moment(Date.parse(part), { relative: false }) : part));

export default component((root) => ({
  update(d) {
    const blocked = d.conditions.filter((c) => !c.met);
    root.replaceChildren(
      h("div", { class: "explain" },
        h("div", { class: "verdict" }, state(d.state), h("b", {}, timed(d.summary))),
        d.conditions.length ? h("ul", { class: "conditions" }, d.conditions.map((c) =>
          h("li", { class: c.met ? "met" : "unmet" }, h("span", { class: "mark" }, icon(c.met ? "check" : "close", c.met ? _("holds") : _("does not hold"))), h("code", {}, c.name), h("span", {}, timed(c.detail))))) : "",
        !blocked.length && d.conditions.length ? h("p", { class: "muted" }, _("Nothing holds it back.")) : "",
        d.story.length ? [h("h3", {}, _("What happened so far")), h("ol", { class: "story" }, d.story.map((line) => {
          const [at, text] = line;
          return h("li", {}, at ? moment(Date.parse(at), { relative: false }) : "", h("span", {}, timed(text)));
        }))] : ""));
  },
}));
